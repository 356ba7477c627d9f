//! `leasehold doctor`: proves a store, and says what locks in it come to.

mod figures;
#[cfg(test)]
mod liars;
mod plan;
mod probe;
mod proof;
mod race;
mod report;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use leasehold::core::admin::{Admin, Right, Step, StepState};
use leasehold::core::backend::{Backend, Trouble};
use leasehold::env::{Env, Host};
use rustix::fs::{Access, access};
use rustix::io::Errno;
use serde::Serialize;
use serde_json::Value;

use self::plan::Plan;
use self::probe::{Left, Probe, Stopped, attempt};
use self::report::{Report, Verdict, note, ok, warn};
use crate::cli::Doctor;
use crate::exit::{Exit, Failure};
use crate::signals::{Caught, Signals};
use crate::{answer, place, show};

/// How long the whole may take, beside what the store's own limits ask for.
const WHOLE: Duration = Duration::from_mins(2);

/// How many writes to one name the proof may make: so many intervals are waited for.
const WRITES: u32 = 30;

/// The whole command.
pub(crate) async fn doctor(options: Doctor, backend: Option<&str>) -> Result<Exit, Failure> {
    let mut signals = Signals::listen(true)
        .map_err(|e| Failure::new(Exit::NotExecutable, format!("cannot listen to signals: {e}")))?;
    let backend = tokio::select! {
        biased;
        signal = signals.ending() => return Ok(signal.exit()),
        backend = place::open(options.url.as_deref().or(backend)) => backend?,
    };
    let width = (!options.output.json).then(show::width);
    let exam = Exam::new(backend, Arc::new(Host), width);
    let caught = async { signals.ending().await };
    match exam.perform(caught).await {
        Outcome::Judged { verdict, value } => {
            if options.output.json {
                show::print(&answer::json(&value));
            }
            Ok(verdict.exit)
        }
        Outcome::Interrupted { signal, left } => {
            for Left { place, why } in left {
                show::say(&format!("{place} could not be removed: {why}"));
            }
            Ok(signal.exit())
        }
    }
}

/// How an exam ends.
#[derive(Debug)]
enum Outcome {
    Judged { verdict: Verdict, value: Value },
    Interrupted { signal: Caught, left: Vec<Left> },
}

/// One exam of one store.
#[derive(Debug)]
struct Exam {
    probe: Probe,
    report: Report,
    rights: Vec<Right>,
}

impl Exam {
    /// With a `width` it is for a person, and each line is printed as it comes.
    fn new(backend: Arc<dyn Backend>, env: Arc<dyn Env>, width: Option<usize>) -> Exam {
        Exam { probe: Probe::new(backend, env), report: Report::new(width), rights: vec![] }
    }

    /// Proves the store, unless `caught` comes first, and removes everything again.
    async fn perform(mut self, caught: impl Future<Output = Caught>) -> Outcome {
        let (backend, env) = (Arc::clone(&self.probe.backend), Arc::clone(&self.probe.env));
        let url = backend.url();
        self.report.say(&format!("doctor of {url}"));
        let signal = tokio::select! {
            biased;
            signal = caught => Some(signal),
            () = self.prove(&*backend, &*env) => None,
        };
        if signal.is_some() {
            show::say("interrupted: removing what was made");
        }
        let left = self.probe.tidy().await;
        if let Some(signal) = signal {
            return Outcome::Interrupted { signal, left };
        }
        for Left { place, why } in &left {
            let why = self.report.once(why);
            self.report.tell("left behind", warn(format!("{place}: {why}")));
        }
        let plan = self.plan();
        let verdict = Verdict::of(&self.report, &url, plan);
        self.report.say("");
        self.report.say(&verdict.text);
        let value = self.answer(&url, plan, &left, &verdict);
        Outcome::Judged { verdict, value }
    }

    async fn prove(&mut self, backend: &dyn Backend, env: &dyn Env) {
        let whole = WHOLE + backend.facts().least_write_interval * WRITES;
        let proven = tokio::select! {
            biased;
            proven = proof::prove(&mut self.probe, &mut self.report) => proven,
            () = env.sleep(whole) => {
                let message = format!("the whole takes longer than {} seconds", whole.as_secs());
                let stopped = Stopped { trouble: Trouble::Unavailable, message };
                self.report.add("time", Err(stopped))
            }
        };
        let trouble = proven.as_ref().err().map(|stopped| stopped.trouble);
        if !matches!(trouble, None | Some(Trouble::Denied | Trouble::Invalid)) {
            return;
        }
        if trouble != Some(Trouble::Invalid) {
            self.ask_rights(backend, env).await;
        }
        self.look_at_settings(backend, env).await;
        if proven.is_ok() {
            self.look_at_names(backend, env).await;
            self.tell_figures();
        }
    }

    /// What the proof made was a name of its own. Those that are there may be another user's, on a
    /// store of this host; elsewhere a right is for all names, and reading them may cost money.
    async fn look_at_names(&mut self, backend: &dyn Backend, env: &dyn Env) {
        let names = match backend.facts().notifies {
            true => attempt(env, backend.list("")).await.unwrap_or_default(),
            false => return,
        };
        let mut refused = vec![];
        for name in &names {
            let place = backend.locate(name);
            let read = attempt(env, backend.read(name)).await;
            if read.is_err_and(|error| error.trouble == Trouble::Denied)
                || access(&*place, Access::WRITE_OK) == Err(Errno::ACCESS)
            {
                refused.push(place);
            }
        }
        if let Some(first) = refused.first() {
            let message =
                format!("of the names there this user may not use {}: {first}", refused.len());
            // It is told, and the rest of the exam goes on.
            let _ = self.report.add("names", Err(Stopped { trouble: Trouble::Denied, message }));
        }
    }

    /// Which rights are there, and which role gives what is lacking.
    async fn ask_rights(&mut self, backend: &dyn Backend, env: &dyn Env) {
        let Some(admin) = backend.admin() else {
            return self.report.tell("rights", note("this store has none that could be asked for"));
        };
        match attempt(env, admin.rights()).await {
            Ok(rights) => self.rights = rights,
            Err(error) => {
                let why = self.report.once(&error.to_string());
                return self.report.tell("rights", warn(format!("cannot be asked for: {why}")));
            }
        }
        let names = |held: Option<bool>| {
            let names = self.rights.iter().filter(|right| right.is_held == held);
            names.map(|right| right.name).collect::<Vec<_>>().join(", ")
        };
        let (held, untold) = (names(Some(true)), names(None));
        if !held.is_empty() {
            self.report.tell("rights", ok(held));
        }
        if !untold.is_empty() {
            self.report.tell("rights", note(format!("the store does not say of {untold}")));
        }
        for right in self.rights.iter().filter(|right| right.is_held == Some(false)) {
            let Right { name, needed, role, .. } = right;
            let optional = if right.is_optional { "; locks work without it" } else { "" };
            let fact = format!("{name} is lacking, needed {needed}: {role} gives it{optional}");
            self.report.tell("rights", warn(fact));
        }
    }

    /// What in the store's settings deletes locks or keeps them from being written. A service need not be
    /// allowed to look.
    async fn look_at_settings(&mut self, backend: &dyn Backend, env: &dyn Env) {
        let Some(admin) = backend.admin() else { return };
        let steps = match attempt(env, admin.init(true)).await {
            Ok(steps) => steps,
            Err(error) => {
                let why = self.report.once(&error.to_string());
                return self.report.tell("settings", note(format!("cannot be seen: {why}")));
            }
        };
        let is_found = |step: &&Step| step.state == StepState::Found;
        let found = steps.iter().filter(is_found).map(|step| step.what.as_str());
        let found: Vec<&str> = found.collect();
        if !found.is_empty() {
            self.report.tell("settings", ok(found.join(", ")));
        }
        for Step { what, state } in &steps {
            match state {
                StepState::Wrong(why) => {
                    self.report.tell_breaking(format!("{what}: {why}"));
                }
                StepState::Planned => {
                    let fact = format!("{what} is lacking: `leasehold init` makes it");
                    self.report.tell("settings", warn(fact));
                }
                StepState::Found | StepState::Made => {}
            }
        }
    }

    fn tell_figures(&mut self) {
        self.report.tell("latency", self.probe.figures.latency());
        let plan = self.plan();
        self.report.tell("a held lock", plan.held());
        self.report.tell("a waiter", plan.waiting());
        if let Some(bill) = self.probe.backend.admin().and_then(Admin::bill) {
            self.report.tell("cost", note(bill));
        }
    }

    fn plan(&self) -> Plan {
        let backend = &self.probe.backend;
        let prices = backend.admin().and_then(Admin::prices);
        Plan::new(backend.facts(), self.probe.figures.slowest(), prices)
    }

    /// All of it for a program.
    fn answer(&self, url: &str, plan: Plan, left: &[Left], verdict: &Verdict) -> Value {
        let rights = self.rights.iter().map(|right| RightAnswer {
            name: right.name,
            needed: right.needed,
            optional: right.is_optional,
            held: right.is_held,
            role: right.role,
        });
        let left = left.iter().map(|Left { place, why }| LeftAnswer { place, why });
        let answer = Answer {
            store: url,
            usable: verdict.exit == Exit::Done,
            verdict: &verdict.text,
            checks: self.report.answer(),
            rights: rights.collect(),
            measured: self.probe.figures.answer(),
            plan: plan.answer(),
            left_behind: left.collect(),
        };
        serde_json::to_value(answer).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    store: &'a str,
    usable: bool,
    verdict: &'a str,
    checks: Vec<report::CheckAnswer<'a>>,
    rights: Vec<RightAnswer>,
    measured: figures::FiguresAnswer,
    plan: plan::PlanAnswer,
    left_behind: Vec<LeftAnswer<'a>>,
}

#[derive(Serialize)]
struct RightAnswer {
    name: &'static str,
    needed: &'static str,
    optional: bool,
    held: Option<bool>,
    role: &'static str,
}

#[derive(Serialize)]
struct LeftAnswer<'a> {
    place: &'a str,
    why: &'a str,
}
