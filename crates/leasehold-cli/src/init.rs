//! `leasehold init`: makes a store ready for locks, or says what there is to do.

use std::fmt::Write;
use std::time::Duration;

use leasehold::ErrorKind;
use leasehold::core::admin::{Step, StepState};
use leasehold::core::backend::Backend;
use leasehold::env::{Env, Host};
use serde::Serialize;

use crate::cli::Init;
use crate::exit::{Exit, Failure, NOT_ACQUIRED};
use crate::show::{clean, print};
use crate::{answer, place};

/// How long the whole may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// The whole command.
pub(crate) async fn init(options: Init, backend: Option<&str>) -> Result<Exit, Failure> {
    let backend = place::open(options.url.as_deref().or(backend)).await?;
    let steps = steps(&*backend, options.dry_run, &Host).await?;
    let url = backend.url();
    print(&match options.output.json {
        true => answer::json(answer(&url, options.dry_run, &steps)),
        false => lines(&url, &steps),
    });
    Ok(if Outlook::of(&steps) == Outlook::Wrong { Exit::Unfit } else { Exit::Done })
}

/// Lets the store make itself ready; none where there is nothing to make.
async fn steps(backend: &dyn Backend, dry_run: bool, env: &dyn Env) -> Result<Vec<Step>, Failure> {
    let Some(admin) = backend.admin() else { return Ok(vec![]) };
    let url = backend.url();
    tokio::select! {
        biased;
        steps = admin.init(dry_run) => steps.map_err(|error| {
            let exit = Exit::of_error(ErrorKind::from(error.trouble), NOT_ACQUIRED);
            Failure::new(exit, format!("cannot make {url} ready: {error}"))
        }),
        () = env.sleep(PATIENCE) => Err(Failure::new(Exit::Unreachable, format!(
            "cannot make {url} ready: no answer within {} seconds; some of it may be done: run it \
             again, it makes nothing twice",
            PATIENCE.as_secs()
        ))),
    }
}

/// What the steps come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outlook {
    /// Everything is there.
    Ready,
    /// There is something to be made.
    Planned,
    /// A person has to mend something.
    Wrong,
}

impl Outlook {
    fn of(steps: &[Step]) -> Outlook {
        let any = |is: fn(&StepState) -> bool| steps.iter().any(|step| is(&step.state));
        match () {
            () if any(|state| matches!(state, StepState::Wrong(_))) => Outlook::Wrong,
            () if any(|state| *state == StepState::Planned) => Outlook::Planned,
            () => Outlook::Ready,
        }
    }
}

/// For a person.
fn lines(url: &str, steps: &[Step]) -> String {
    let mut out = String::new();
    for Step { what, state } in steps {
        let (word, remedy) = match state {
            StepState::Found => ("is there", None),
            StepState::Planned => ("would make", None),
            StepState::Made => ("made", None),
            StepState::Wrong(remedy) => ("WRONG", Some(remedy)),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{word:<10}  {}", clean(what));
        if let Some(remedy) = remedy {
            let _ = writeln!(out, "{:<10}  {}", "", clean(remedy));
        }
    }
    let rest = match Outlook::of(steps) {
        Outlook::Wrong => "is not ready: mend what is wrong, then run this again",
        Outlook::Planned => "is not ready: without --dry-run the rest is made",
        Outlook::Ready if steps.is_empty() => {
            "needs nothing to be made; `leasehold doctor` proves it"
        }
        Outlook::Ready => "is ready; `leasehold doctor` proves it",
    };
    let _ = writeln!(out, "{} {rest}", clean(url));
    out
}

/// For a program.
fn answer<'a>(url: &'a str, dry_run: bool, steps: &'a [Step]) -> Answer<'a> {
    let shown = steps.iter().map(|Step { what, state }| {
        let (state, remedy) = match state {
            StepState::Found => ("found", None),
            StepState::Planned => ("planned", None),
            StepState::Made => ("made", None),
            StepState::Wrong(remedy) => ("wrong", Some(remedy.as_str())),
        };
        StepAnswer { what, state, remedy }
    });
    let ready = Outlook::of(steps) == Outlook::Ready;
    Answer { store: url, dry_run, ready, steps: shown.collect() }
}

#[derive(Serialize)]
struct Answer<'a> {
    store: &'a str,
    dry_run: bool,
    ready: bool,
    steps: Vec<StepAnswer<'a>>,
}

#[derive(Serialize)]
struct StepAnswer<'a> {
    what: &'a str,
    state: &'static str,
    remedy: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(what: &str, state: StepState) -> Step {
        Step { what: what.into(), state }
    }

    /// Somebody looks first, then makes, then looks again; and meets a bucket that another made wrongly.
    #[test]
    fn a_person_sees_what_is_there_and_what_to_do() {
        let bucket = |state| [step("the project", StepState::Found), step("the bucket", state)];
        let shown = lines("gs://b", &bucket(StepState::Planned));
        assert!(shown.contains("is there    the project\nwould make  the bucket\n"), "{shown}");
        assert!(shown.ends_with("not ready: without --dry-run the rest is made\n"), "{shown}");
        let shown = lines("gs://b", &bucket(StepState::Made));
        assert!(shown.contains("made        the bucket\ngs://b is ready"), "{shown}");
        let wrong = bucket(StepState::Wrong("turn \x1b[31mretention off".into()));
        let shown = lines("gs://b", &wrong);
        assert!(shown.contains("WRONG       the bucket\n            turn \\u{1b}"), "{shown}");
        assert!(shown.ends_with("mend what is wrong, then run this again\n"), "{shown}");
    }

    /// A program asks whether it may go on: only if nothing is left to be made or mended.
    #[test]
    fn a_program_sees_whether_it_is_ready() {
        let cases = [
            (StepState::Found, true, "found"),
            (StepState::Made, true, "made"),
            (StepState::Planned, false, "planned"),
            (StepState::Wrong("do this".into()), false, "wrong"),
        ];
        for (state, ready, word) in cases {
            let steps = [step("x", StepState::Found), step("y", state)];
            let answer = answer("gs://b", true, &steps);
            assert_eq!((answer.ready, answer.steps[1].state), (ready, word));
        }
    }
}
