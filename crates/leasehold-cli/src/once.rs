//! `leasehold once`: one runs it, all others wait and inherit the result.

use std::fs::File;
use std::process::ExitStatus;
use std::time::Duration;

use leasehold::env::{Env, Host};
use leasehold::{Begun, Client, Error, ErrorKind, Section};
use signal_hook::consts::signal::SIGINT;

use crate::acquire::{close, how_to_see};
use crate::checkpoint::{self, Server};
use crate::cli;
use crate::exit::{Exit, Failure, TOO_LONG};
use crate::pump::Pump;
use crate::run::leave;
use crate::shim::{self, Resolved};
use crate::show::say;
use crate::signals::{Caught, Signals};
use crate::supervise::{Ended, Holding, cannot};
use crate::waiting::{self, Shown};
use crate::{place, procs, times};

mod needed;
mod plan;
mod tell;

use needed::Needed;
use plan::Plan;

/// How long the store may take to hear that a run was interrupted.
const RELEASE_PATIENCE: Duration = Duration::from_secs(10);

/// The whole command.
pub(crate) async fn once(options: cli::Once, backend: Option<&str>) -> Result<Exit, Failure> {
    let has_terminal = File::open("/dev/tty").is_ok();
    // All that can be wrong with what was typed is found before any waiting.
    let (plan, command) = Plan::new(options, backend, has_terminal)?;
    let command = shim::resolve(command)?;
    procs::require()?;
    let mut signals = Signals::listen(has_terminal).map_err(cannot("listen to signals"))?;
    let client = tokio::select! {
        biased;
        signal = signals.ending() => return Ok(signal.exit()),
        client = place::connect_to_lock(plan.backend.as_deref(), plan.voice) => client?,
    };
    let exit = Work { plan: &plan, client: &client, command: &command }.all(&mut signals).await;
    tokio::select! {
        () = close(client) => {}
        // Asked twice, we leave at once; what we leave behind ends with its lease.
        _ = signals.ending() => {}
    }
    exit
}

/// What is to be done, and where.
struct Work<'a> {
    plan: &'a Plan,
    client: &'a Client,
    command: &'a Resolved,
}

/// What comes after a run.
enum Next {
    /// We end.
    Over(Exit),
    /// It has failed, as this attempt and with this code: we compete again like everybody else.
    Failed(u64, u8),
}

impl Work<'_> {
    /// Waits and runs until it is settled what becomes of it.
    async fn all(&self, signals: &mut Signals) -> Result<Exit, Failure> {
        let plan = self.plan;
        Server::is_possible(self.client)?;
        let needed = Needed::new(plan)?;
        let once = needed.ask_before(plan.once(self.client));
        // Our own last failure.
        let mut ours: Option<(u64, u8)> = None;
        loop {
            let (report, reports) = waiting::channel();
            let mut shown = Shown::new(&plan.title, plan.voice, plan.is_a_try());
            let once = once.clone().on_wait(report);
            let begun = tokio::select! {
                biased;
                signal = signals.ending() => return Ok(signal.exit()),
                begun = shown.during(once.begin(), reports) => begun?,
            };
            // An error of the question is no answer to it.
            needed.problem()?;
            match begun {
                Ok(Begun::Section(section)) => {
                    shown.done(&format!("acquired {:?}", plan.title));
                    match self.run(section, signals).await? {
                        Next::Over(exit) => return Ok(exit),
                        Next::Failed(attempt, code) => ours = Some((attempt, code)),
                    }
                }
                Ok(Begun::Before(done)) => {
                    plan.voice.tell(&tell::before(plan, &done));
                    return Ok(Exit::Done);
                }
                Ok(Begun::NotNeeded) => return Ok(Exit::Done),
                Ok(Begun::GaveUp(failed)) => {
                    let is_ours = ours.is_some_and(|(attempt, _)| attempt == failed.attempts);
                    tell::gave_up(plan, &failed, is_ours);
                    return Ok(Exit::GaveUp(failed.code));
                }
                Ok(Begun::Outdated(by)) => {
                    return Err(Failure::new(Exit::Outdated, tell::outdated(plan, &by)));
                }
                Err(error) => return Err(self.not_begun(&error, ours)),
            }
        }
    }

    fn not_begun(&self, error: &Error, ours: Option<(u64, u8)>) -> Failure {
        match ours {
            // We may not wait for another attempt, and so our own failure is the result. `-E` is for
            // the calls that ran nothing.
            Some((_, code)) if error.kind() == ErrorKind::Timeout => {
                Failure::new(Exit::GaveUp(Some(code)), format!("not tried again here: {error}"))
            }
            _ => {
                let more = how_to_see(error, &self.plan.name, &self.client.url());
                let exit = Exit::of_error(error.kind(), self.plan.conflict);
                Failure::new(exit, format!("{error}{more}"))
            }
        }
    }

    /// One run, from its beginning to the record of its end.
    async fn run(&self, section: Section, signals: &mut Signals) -> Result<Next, Failure> {
        let rules = self.plan.rules;
        let server = Server::open(self.client, &section);
        let mut pump = None;
        let prepare = |command: &mut std::process::Command| {
            environment(&section, &server, command);
            match Pump::start(command) {
                Ok(started) => pump = started,
                Err(error) => say(&format!("the end of its stderr will not be kept: {error}")),
            }
        };
        let (client, guard) = (self.client, section.guard());
        let begun = Holding::begin(client, guard, self.command, rules, prepare, signals).await;
        let mut holding = match begun {
            Ok(holding) => holding,
            Err(instead) => {
                leave(section.withdraw()).await;
                return instead.map(Next::Over);
            }
        };
        let ended = tokio::select! {
            biased;
            ended = holding.supervise(signals) => ended?,
            never = server.serve(&section) => match never {},
        };
        drop(server);
        let (caught, kept) = (holding.caught().to_vec(), holding.kept);
        let tail = match &mut pump {
            Some(pump) => pump.tail().await,
            None => String::new(),
        };
        let next = match ended {
            Ended::Lost { all } => {
                if all {
                    leave(section.interrupted()).await;
                    kept.dismiss().await;
                }
                // Otherwise the keeper goes on.
                Ok(Next::Over(Exit::Lost))
            }
            ended => {
                // The command is over: nothing is left to keep, however long the store takes.
                kept.dismiss().await;
                self.record(section, ended, tail, &caught, signals).await
            }
        };
        if let Some(pump) = pump {
            tokio::select! {
                () = pump.written() => {}
                _ = signals.ending() => {}
            }
        }
        next
    }

    /// Records how a command ended whose lease lasted to its end, or that ended well.
    async fn record(
        &self,
        section: Section,
        ended: Ended,
        tail: String,
        caught: &[Caught],
        signals: &mut Signals,
    ) -> Result<Next, Failure> {
        let attempt = section.attempt();
        let (code, error) = match ended {
            Ended::Itself(status) if status.success() => {
                recorded(section.done(Some(0)), signals).await?;
                return Ok(Next::Over(Exit::Done));
            }
            Ended::Itself(status) => match interrupted_by(status, caught) {
                Some(exit) => {
                    interrupt(section, self.plan.rules.ttl, signals).await;
                    return Ok(Next::Over(exit));
                }
                None => (Exit::of_child(status).code(), tail),
            },
            _ => {
                let deadline = times::show(self.plan.rules.deadline.unwrap_or_default());
                (TOO_LONG, format!("{}\nit ran into its deadline of {deadline}", tail.trim_end()))
            }
        };
        say(&tell::failed_here(self.plan, attempt, code));
        recorded(section.failed(Some(code), &error), signals).await?;
        Ok(Next::Failed(attempt, code))
    }
}

/// What the command finds beside what it finds under `run`.
fn environment(section: &Section, server: &Server, command: &mut std::process::Command) {
    command
        .env("LEASEHOLD_KEY", section.key())
        .env("LEASEHOLD_ATTEMPT", section.attempt().to_string())
        .env(checkpoint::SOCKET, &server.place);
    match section.resumed() {
        Some(token) => command.env("LEASEHOLD_RESUMED", token.to_string()),
        // It may be that of an outer one.
        None => command.env_remove("LEASEHOLD_RESUMED"),
    };
}

/// How we end if the command, which has not done its work, was ended by a signal that came through us.
/// What does not end well after it was asked to end has not failed either.
fn interrupted_by(status: ExitStatus, caught: &[Caught]) -> Option<Exit> {
    let asked = caught.iter().copied().rfind(|caught| caught.ends());
    match Exit::of_child(status) {
        Exit::Signal(SIGINT) if caught.iter().copied().any(Caught::is_ctrl_c) => {
            Some(Exit::Interrupted)
        }
        Exit::Signal(n) if caught.iter().any(|caught| caught.number == n) => Some(Exit::Signal(n)),
        _ => asked.map(Caught::exit),
    }
}

/// Waits until the end of a run is recorded. Who is asked to end meanwhile does not wait, and does not know.
async fn recorded(
    recording: impl Future<Output = Result<(), Error>>,
    signals: &mut Signals,
) -> Result<(), Failure> {
    tokio::select! {
        biased;
        recorded = recording => Ok(recorded?),
        _ = signals.ending() => Err(Failure::new(
            Exit::Unreachable,
            "the command has ended, and the store had not confirmed that when we were asked to \
             end: it is not known whether it is recorded",
        )),
    }
}

/// Lets go of a run that was interrupted, so that the next one need not wait for the end of its lease.
async fn interrupt(section: Section, ttl: Duration, signals: &mut Signals) {
    let released = tokio::select! {
        biased;
        released = section.interrupted() => released.map_err(|e| e.to_string()),
        () = Host.sleep(RELEASE_PATIENCE) => Err("no answer".into()),
        _ = signals.ending() => Err("interrupted again".into()),
    };
    if let Err(why) = released {
        let ttl = times::show(ttl);
        say(&format!("the lock was not released: {why}; it ends by itself within {ttl}"));
    }
}
