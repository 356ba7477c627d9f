//! `leasehold reset`: forget the outcome of a `once`.

use leasehold::Reset;
use leasehold::core::record::Outcome;
use serde::Serialize;

use crate::answer::Store;
use crate::cli;
use crate::exit::{Exit, Failure, NOT_ACQUIRED};
use crate::show::{clean, print};
use crate::status::outcome;
use crate::{near, place, show};

/// For a program.
#[derive(Serialize)]
struct Answer<'a> {
    name: &'a str,
    #[serde(flatten)]
    reset: &'a Reset,
}

/// The whole command.
pub(crate) async fn reset(options: cli::Reset, backend: Option<&str>) -> Result<Exit, Failure> {
    if options.reason.trim().is_empty() {
        return Err(Failure::usage("a reason is needed: the one who finds it run again will ask"));
    }
    let client = place::connect(backend).await?;
    let name = &options.name;
    let reset = client.reset(name, &options.reason).await?;
    let store = Store::of(&client, backend);
    let (exit, text) = match &reset {
        Reset::Forgotten { outcome, token } => (
            Exit::Done,
            format!("{name:?} is forgotten ({}); its token is now {token}", what(outcome)),
        ),
        Reset::Running { holder } => (
            Exit::NotAcquired(NOT_ACQUIRED),
            format!(
                "{name:?} is run by {holder}: nothing was forgotten; wait, or end that with \
                 `leasehold break` first"
            ),
        ),
        Reset::Changed { now } => (
            Exit::NotAcquired(NOT_ACQUIRED),
            format!(
                "{name:?} went on meanwhile, and nothing was forgotten: it is now {}",
                now.as_ref().map_or("reset".into(), what)
            ),
        ),
        Reset::Absent => {
            let near = near::question(&near::names(&client, name).await);
            let text = format!("there is nothing of {name:?} to forget: it was never used{near}");
            (Exit::Done, text)
        }
        // `Reset` may grow.
        _ => (Exit::Done, format!("there is nothing of {name:?} to forget")),
    };
    match (options.output.json, exit) {
        (true, _) => print(&store.json(Answer { name, reset: &reset })),
        (false, Exit::Done) => print(&format!("{}{}\n", store.line(), clean(&text))),
        (false, _) => show::say(&text),
    }
    Ok(exit)
}

/// `done by alice@web-1:4711 …, key v42`, in one line.
fn what(it: &Outcome) -> String {
    let key = if it.key.is_empty() { String::new() } else { format!(", key {}", it.key) };
    let earlier = match it.earlier.len() {
        0 => String::new(),
        1 => ", one earlier key".into(),
        n => format!(", {n} earlier keys"),
    };
    format!("{}{key}{earlier}", outcome::sentence(it, false))
}
