//! A command that runs while a lock is held: started, watched, and ended in time. `run` and `once` differ
//! in what comes before and after.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::ExitStatus;
use std::time::Duration;

use leasehold::core::deadline::{Moment, belief};
use leasehold::env::{Env, Host};
use leasehold::{Client, Guard};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::low_level::signal_name;
use tokio::process::{Child, Command};

use crate::exit::{Exit, Failure};
use crate::kept::{Kept, kill_allowance};
use crate::section::{COOKIE, Root, Section};
use crate::shim::Resolved;
use crate::show::say;
use crate::signals::{Caught, Signals};
use crate::{orphans, procs, times};

/// How long killed processes may take to be gone before we stop waiting (the keeper does not).
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// How long a command may go on after a signal that asks to end before we say that it does.
const REMARK_PATIENCE: Duration = Duration::from_secs(1);

/// What is fixed for the time of the section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) ttl: Duration,
    pub(crate) grace: Duration,
    /// How long the command may run.
    pub(crate) deadline: Option<Duration>,
    /// The child shares our process group, and the kernel does all that a terminal asks for.
    pub(crate) has_terminal: bool,
    /// A command that ended well has done what it was to do, whatever became of the lease.
    pub(crate) success_stays: bool,
}

impl Rules {
    pub(crate) fn new(
        ttl: Duration,
        grace: Option<Duration>,
        has_terminal: bool,
    ) -> Result<Rules, Failure> {
        let grace = checked_grace(grace, ttl)?;
        Ok(Rules { ttl, grace, deadline: None, has_terminal, success_stays: false })
    }
}

fn checked_grace(asked: Option<Duration>, ttl: Duration) -> Result<Duration, Failure> {
    let Some(grace) = asked else { return Ok((ttl / 6).min(Duration::from_secs(5))) };
    let most = belief(ttl) / 2;
    if grace >= most {
        return Err(Failure::usage(format!(
            "a grace of {} is too long for a ttl of {}: it must be below {}, so that there is time \
             to renew",
            times::show(grace),
            times::show(ttl),
            times::show(most),
        )));
    }
    Ok(grace)
}

pub(crate) fn cannot<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> Failure {
    move |error| Failure::new(Exit::NotExecutable, format!("cannot {what}: {error}"))
}

/// Unix milliseconds until which the lease is good.
pub(crate) fn deadline_unix_ms(guard: &Guard) -> u64 {
    let left = u64::try_from(guard.time_left().as_millis()).unwrap_or(u64::MAX);
    Host.now().unix_ms.saturating_add(left)
}

/// Waits while it is in doubt whether the lock is held, for the renewal or the loss that ends the doubt.
async fn sure(guard: &Guard) -> Result<(), Failure> {
    let mut renewals = guard.renewals();
    while !guard.is_held() {
        tokio::select! {
            biased;
            lost = guard.lost() => return Err(Failure::new(Exit::Lost, lost.to_string())),
            _ = renewals.next() => {}
        }
    }
    Ok(())
}

/// How the time of the command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// By itself.
    Itself(ExitStatus),
    /// It was stopped, because the lock was lost. `all`: nothing of it runs any more.
    Lost { all: bool },
    /// It was stopped, because it had run for too long.
    TooLong,
}

/// A lock, and the command that runs under it.
pub(crate) struct Holding<'a> {
    guard: &'a Guard,
    pub(crate) kept: Kept,
    section: Section,
    child: Child,
    pid: Option<Pid>,
    rules: Rules,
    began: Moment,
    /// Since when the command is asked to end, because it has run for too long.
    late: Option<Moment>,
    /// The first signal that was passed on and asks to end, and when, until that was remarked upon.
    asked: Option<(i32, Moment)>,
    /// Whether that was.
    remarked: bool,
    /// What reached us, and by us the command.
    caught: Vec<Caught>,
}

impl<'a> Holding<'a> {
    /// Starts the keeper, then the command, which `prepare` gives what only it gets. `Err` is what to end
    /// with instead: the command was not started.
    pub(crate) async fn begin(
        client: &Client,
        guard: &'a Guard,
        command: &Resolved,
        rules: Rules,
        prepare: impl FnOnce(&mut std::process::Command),
        signals: &mut Signals,
    ) -> Result<Holding<'a>, Result<Exit, Failure>> {
        let holder = guard.holder().to_string();
        let liveness = client.liveness();
        sure(guard).await.map_err(Err)?;
        let allowance = kill_allowance(rules.ttl);
        let (liveness, deadline) = (liveness.as_deref(), guard.deadline());
        let kept = Kept::start(guard.name(), &holder, liveness, deadline, allowance);
        let mut kept = tokio::select! {
            biased;
            signal = signals.ending() => return Err(Ok(signal.exit())),
            kept = kept => kept.map_err(|e| Err(cannot("start the keeper process")(e)))?,
        };
        sure(guard).await.map_err(Err)?;
        kept.renewed(guard.deadline());
        let mut shim = command.shim(kept.kills_at());
        shim.env("LEASEHOLD_NAME", guard.name())
            .env("LEASEHOLD_TOKEN", guard.token().to_string())
            .env(COOKIE, &holder)
            .env(leasehold::BACKEND_VARIABLE, client.url())
            .env("LEASEHOLD_DEADLINE", deadline_unix_ms(guard).to_string());
        prepare(&mut shim);
        if !rules.has_terminal {
            shim.process_group(0);
        }
        let child = Command::from(shim).spawn().map_err(|e| Err(cannot("start a process")(e)))?;
        let mut section = Section::new(&holder);
        let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        orphans::is_ours(pid);
        if let Some(root) = pid.map(|pid| Root::of_child(pid, !rules.has_terminal)) {
            section.begins_with(root);
            kept.begins_with(root);
        }
        let began = Host.now().moment;
        let (late, asked, remarked, caught) = (None, None, false, vec![]);
        Ok(Holding {
            guard,
            kept,
            section,
            child,
            pid,
            rules,
            began,
            late,
            asked,
            remarked,
            caught,
        })
    }

    /// Waits for the end of the command, and brings it about when the lock is lost or the time is up.
    pub(crate) async fn supervise(&mut self, signals: &mut Signals) -> Result<Ended, Failure> {
        let mut renewals = self.guard.renewals();
        // A renewal before this moment was not seen as one. In doubt there is no deadline.
        if self.guard.is_held() {
            self.kept.renewed(self.guard.deadline());
        }
        loop {
            let to_look = self.to_grace().min(self.to_deadline()).min(self.to_remark());
            tokio::select! {
                biased;
                status = self.child.wait() => {
                    let status = status.map_err(cannot("learn how the command ended"))?;
                    return Ok(self.over(status, signals).await);
                }
                lost = self.guard.lost() => return Ok(self.lost(&lost.to_string()).await),
                Some(deadline) = renewals.next() => self.kept.renewed(deadline),
                () = self.kept.gone() => {
                    let name = self.guard.name();
                    let why =
                        format!("the keeper process of {name:?} has ended, or ends the command");
                    return Ok(self.lost(&why).await);
                }
                caught = signals.next() => self.forward(caught),
                () = Host.sleep(to_look) => {
                    if let Some(ended) = self.look_at_time().await {
                        return Ok(ended);
                    }
                }
            }
        }
    }

    /// Acts if a time is over.
    async fn look_at_time(&mut self) -> Option<Ended> {
        if self.to_grace().is_zero() {
            let mut why =
                format!("the lease of {:?} could not be renewed in time", self.guard.name());
            if let Some(trouble) = self.guard.trouble() {
                why = format!("{why}: {trouble}");
            }
            return Some(self.lost(&why).await);
        }
        self.remark();
        if !self.to_deadline().is_zero() {
            return None;
        }
        if self.late.is_none() {
            let (deadline, grace) = (self.rules.deadline.unwrap_or_default(), self.rules.grace);
            let (deadline, grace) = (times::show(deadline), times::show(grace));
            let name = self.guard.name();
            say(&format!(
                "{name:?} has run for {deadline}, its deadline: the command has {grace} to end"
            ));
            // Nothing blocks here: it may want to save a checkpoint, and the lease is renewed.
            self.section.signal(Signal::TERM);
            self.section.signal(Signal::CONT);
            self.late = Some(Host.now().moment);
            return None;
        }
        self.kill().await;
        Some(Ended::TooLong)
    }

    /// The signals that reached us while the command ran.
    pub(crate) fn caught(&self) -> &[Caught] {
        &self.caught
    }

    /// How long until the command has to be told to end, if nothing is renewed.
    fn to_grace(&self) -> Duration {
        let grace = self.rules.grace.saturating_sub(kill_allowance(self.rules.ttl));
        self.kept.time_left().saturating_sub(grace)
    }

    /// How long until it is said that the command goes on though it was asked to end.
    fn to_remark(&self) -> Duration {
        let ran = |since| Host.now().moment.longest_since(since);
        self.asked.map_or(Duration::MAX, |(_, since)| REMARK_PATIENCE.saturating_sub(ran(since)))
    }

    /// Says so, if it is time. A person who waits for the lock to be free has to know what it waits for.
    fn remark(&mut self) {
        if !self.to_remark().is_zero() {
            return;
        }
        let Some((number, _)) = self.asked.take() else { return };
        self.remarked = true;
        let signal = signal_name(number).unwrap_or("the signal");
        let or = match self.rules.deadline {
            Some(deadline) => format!(", or its deadline of {} is over", times::show(deadline)),
            None => String::new(),
        };
        let name = self.guard.name();
        say(&format!(
            "{name:?}: {signal} was passed on to the command, which still runs: the lock is held \
             until the command ends{or}"
        ));
    }

    /// How long the command may run on, or end.
    fn to_deadline(&self) -> Duration {
        let (since, span) = match self.late {
            Some(late) => (late, Some(self.rules.grace)),
            None => (self.began, self.rules.deadline),
        };
        let ran = Host.now().moment.longest_since(since);
        span.map_or(Duration::MAX, |span| span.saturating_sub(ran))
    }

    /// Hands a signal on. What the kernel sent to us by a terminal it sent to the command too.
    fn forward(&mut self, caught: Caught) {
        self.caught.push(caught);
        // A program may use a terminal's Ctrl-C for something else than its end.
        if caught.ends() && !caught.by_kernel && !self.remarked && self.asked.is_none() {
            self.asked = Some((caught.number, Host.now().moment));
        }
        let Some(signal) = procs::signal(caught.number) else { return };
        match self.pid {
            // The child was not waited for, so the number is still its own. If all have ended, they
            // need no signal.
            Some(pid) if !self.rules.has_terminal => drop(kill_process_group(pid, signal)),
            _ if caught.by_kernel => {}
            _ => self.section.signal(signal),
        }
    }

    /// The command has ended by itself, or so it seems.
    async fn over(&mut self, status: ExitStatus, signals: &mut Signals) -> Ended {
        // What came with the command's end may be its cause; what comes now is meant for us.
        self.caught.extend(signals.so_far());
        if self.late.is_some() {
            // What it started has the rest of the time.
            self.section.await_end(self.to_deadline().min(self.kept.time_left()));
            self.kill().await;
            return Ended::TooLong;
        }
        if self.rules.success_stays && status.success() {
            return Ended::Itself(status);
        }
        // The keeper kills when the lease was not renewed for too long, because we were stopped or
        // the store was away; then the lock is as good as lost, also if a renewal comes after all.
        let killed = status.signal() == Some(Signal::KILL.as_raw());
        if self.kept.is_gone() || (killed && self.kept.time_left().is_zero()) {
            let why = format!("the lease of {:?} was not renewed in time", self.guard.name());
            return self.lost(&why).await;
        }
        Ended::Itself(status)
    }

    async fn lost(&mut self, why: &str) -> Ended {
        // Perhaps it had ended before, and that was not heard of yet: we may have been stopped.
        if self.rules.success_stays
            && let Ok(Some(status)) = self.child.try_wait()
            && status.success()
        {
            return Ended::Itself(status);
        }
        Ended::Lost { all: self.stop(why).await }
    }

    /// Ends the section while the lease lasts. Says whether all are dead.
    ///
    /// This blocks, on purpose: nothing else matters any more, and the keeper watches the time.
    async fn stop(&mut self, why: &str) -> bool {
        let grace = self.kept.time_left().min(self.rules.grace);
        say(&match grace.is_zero() {
            true => format!("{why}: killing the command"),
            false => format!("{why}: the command has {} to end", times::show(grace)),
        });
        if !grace.is_zero() {
            self.section.ask_to_end(grace);
        }
        self.kill().await
    }

    /// Kills what there is of the section, and says on stderr how it ended. Says whether all are dead.
    async fn kill(&mut self) -> bool {
        let name = self.guard.name();
        let before = self.child.try_wait().ok().flatten();
        let killed = self.section.kill_and_wait(Some(KILL_PATIENCE));
        let (ended, are_dead) = match (before, killed) {
            (None, Ok(_)) => {
                // All are dead, the child too: this does not block.
                let _ = self.child.wait().await;
                ("the command was killed".into(), true)
            }
            (Some(status), Ok(found)) => {
                let others = if found { ", and what it had started was killed" } else { "" };
                let code = Exit::of_child(status).code();
                (format!("the command has ended, with exit code {code}{others}"), true)
            }
            (_, Err(problem)) => (format!("{problem}; the keeper waits for their end"), false),
        };
        say(&format!("{name:?}: {ended}"));
        are_dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grace_leaves_time_to_renew() {
        let secs = Duration::from_secs;
        let grace = checked_grace;
        assert_eq!(grace(None, secs(30)).expect("default"), secs(5));
        assert_eq!(grace(None, secs(3)).expect("default"), Duration::from_millis(500));
        assert_eq!(grace(Some(secs(11)), secs(30)).expect("fits"), secs(11));
        assert!(grace(Some(secs(12)), secs(30)).is_err_and(|f| f.exit == Exit::Usage));
        assert_eq!(grace(Some(secs(0)), secs(30)).expect("none at all"), secs(0));
    }
}
