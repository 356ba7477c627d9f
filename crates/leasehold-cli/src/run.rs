//! `leasehold run`: wait, run, release.
//!
//! The child is spawned on the main thread, because the kernel kills it when the *thread* that
//! spawned it ends.

use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::ExitStatus;
use std::time::Duration;

use leasehold::core::deadline::belief;
use leasehold::env::{Env, Host};
use leasehold::{Client, ErrorKind, Guard};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::signal::SIGINT;
use tokio::process::{Child, Command};

use crate::acquire::{acquire, close};
use crate::cli::Run;
use crate::exit::{Exit, Failure};
use crate::kept::{Kept, kill_allowance};
use crate::section::{COOKIE, Root, Section};
use crate::shim::{self, Resolved};
use crate::show::say;
use crate::signals::{Caught, Signals};
use crate::{place, procs, times};

/// How long killed processes may take to be gone before we stop waiting (the keeper does not).
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// How long the store may take to confirm the release.
const RELEASE_PATIENCE: Duration = Duration::from_secs(10);

/// The whole command.
pub(crate) async fn run(options: Run, backend: Option<&str>) -> Result<Exit, Failure> {
    let grace = grace(options.grace, options.wanted.ttl)?;
    // Found before any waiting: a typing error should not show an hour later.
    let command = shim::resolve(options.command)?;
    let has_terminal = File::open("/dev/tty").is_ok();
    let mut signals = Signals::listen(has_terminal).map_err(cannot("listen to signals"))?;
    let client = tokio::select! {
        biased;
        signal = signals.ending() => return Ok(signal.exit()),
        client = place::connect(backend) => client?,
    };
    let got = tokio::select! {
        biased;
        signal = signals.ending() => Err(Ok(signal.exit())),
        got = acquire(&client, &options.name, &options.wanted) => got.map_err(Err),
    };
    let exit = match got {
        Ok(guard) => {
            let allowance = kill_allowance(options.wanted.ttl);
            let rules = Rules { ttl: options.wanted.ttl, grace, allowance, has_terminal };
            hold(&client, guard, &command, rules, &mut signals).await
        }
        Err(instead) => instead,
    };
    tokio::select! {
        () = close(client) => {}
        // Asked twice, we leave at once; what we leave behind ends with its lease.
        _ = signals.ending() => {}
    }
    exit
}

/// What is fixed for the time of the section.
#[derive(Clone, Copy)]
struct Rules {
    ttl: Duration,
    grace: Duration,
    allowance: Duration,
    /// The child shares our process group, and the kernel does all that a terminal asks for.
    has_terminal: bool,
}

fn grace(asked: Option<Duration>, ttl: Duration) -> Result<Duration, Failure> {
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

fn cannot<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> Failure {
    move |error| Failure::new(Exit::NotExecutable, format!("cannot {what}: {error}"))
}

/// The time between acquire and release.
async fn hold(
    client: &Client,
    guard: Guard,
    command: &Resolved,
    rules: Rules,
    signals: &mut Signals,
) -> Result<Exit, Failure> {
    let holder = guard.holder().to_string();
    let liveness = client.liveness();
    let kept = Kept::start(&holder, liveness.as_deref(), guard.deadline(), rules.allowance);
    let mut kept = tokio::select! {
        biased;
        signal = signals.ending() => return Ok(signal.exit()),
        kept = kept => kept.map_err(cannot("start the keeper process"))?,
    };
    if !guard.is_held() {
        return Err(Failure::new(Exit::Lost, guard.lost().await.to_string()));
    }
    let mut shim = command.shim(kept.kills_at());
    shim.env("LEASEHOLD_NAME", guard.name())
        .env("LEASEHOLD_TOKEN", guard.token().to_string())
        .env(COOKIE, &holder)
        .env("LEASEHOLD_BACKEND", client.url())
        .env("LEASEHOLD_DEADLINE", deadline_unix_ms(&guard).to_string());
    if !rules.has_terminal {
        shim.process_group(0);
    }
    let child = Command::from(shim).spawn().map_err(cannot("start a process"))?;
    let mut section = Section::new(&holder);
    let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    if let Some(root) = pid.and_then(|pid| Root::of_child(pid, !rules.has_terminal)) {
        section.begins_with(root);
        kept.begins_with(root);
    }
    Holding { guard, kept, section, child, pid, rules, ctrl_c: false }.supervise(signals).await
}

/// Unix milliseconds until which the lease is good.
pub(crate) fn deadline_unix_ms(guard: &Guard) -> u64 {
    let left = u64::try_from(guard.time_left().as_millis()).unwrap_or(u64::MAX);
    Host.now().unix_ms.saturating_add(left)
}

/// A lock, and the command that runs under it.
struct Holding {
    guard: Guard,
    kept: Kept,
    section: Section,
    child: Child,
    pid: Option<Pid>,
    rules: Rules,
    /// The terminal's Ctrl-C came, for us and for the command.
    ctrl_c: bool,
}

impl Holding {
    async fn supervise(mut self, signals: &mut Signals) -> Result<Exit, Failure> {
        let mut renewals = self.guard.renewals();
        // A renewal before this moment was not seen as one.
        self.kept.renewed(self.guard.deadline());
        loop {
            let to_grace = self.to_grace();
            tokio::select! {
                biased;
                status = self.child.wait() => {
                    let status = status.map_err(cannot("learn how the command ended"))?;
                    return Ok(self.finish(status, signals).await);
                }
                lost = self.guard.lost() => return Ok(self.stop(&lost.to_string()).await),
                Some(deadline) = renewals.next() => self.kept.renewed(deadline),
                () = self.kept.gone() => {
                    let why = "the keeper process has ended, or ends the command";
                    return Ok(self.stop(why).await);
                }
                caught = signals.next() => self.forward(caught),
                () = Host.sleep(to_grace) => if self.to_grace().is_zero() {
                    let name = self.guard.name();
                    let mut why = format!("the lease of {name:?} could not be renewed in time");
                    if let Some(trouble) = self.guard.trouble() {
                        why = format!("{why}: {trouble}");
                    }
                    return Ok(self.stop(&why).await);
                },
            }
        }
    }

    /// How long until the command has to be told to end, if nothing is renewed.
    fn to_grace(&self) -> Duration {
        let grace = self.rules.grace.saturating_sub(self.rules.allowance);
        self.kept.time_left().saturating_sub(grace)
    }

    /// Hands a signal on. What the kernel sent to us by a terminal it sent to the command too.
    fn forward(&mut self, caught: Caught) {
        self.ctrl_c |= caught.is_ctrl_c();
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
    async fn finish(mut self, status: ExitStatus, signals: &mut Signals) -> Exit {
        // What came with the command's end may be its cause; what comes now is meant for us.
        self.ctrl_c |= signals.so_far().any(Caught::is_ctrl_c);
        // The keeper kills when the lease was not renewed for too long, because we were stopped or
        // the store was away; then the lock is as good as lost, also if a renewal comes after all.
        let killed = status.signal() == Some(Signal::KILL.as_raw());
        if self.kept.is_gone() || (killed && self.kept.time_left().is_zero()) {
            return self.stop("the lease was not renewed in time").await;
        }
        let Holding { guard, kept, rules, ctrl_c, .. } = self;
        let exit = match Exit::of_child(status) {
            Exit::Signal(SIGINT) if ctrl_c => Exit::Interrupted,
            exit => exit,
        };
        // A moment before the deadline, when it would count as lost.
        let in_time = kept.time_left().min(RELEASE_PATIENCE);
        let released = tokio::select! {
            biased;
            // First: after a stall of this process, a lease that ended meanwhile is no loss of a
            // command that ended before.
            () = Host.sleep(in_time) => Err((ErrorKind::Unavailable, "no answer".into())),
            released = guard.release() => released.map_err(|e| (e.kind(), e.to_string())),
            _ = signals.ending() => Err((ErrorKind::Unavailable, "interrupted".into())),
        };
        kept.dismiss().await;
        match released {
            Ok(()) => exit,
            Err((ErrorKind::Lost, why)) => {
                say(&format!("{why} (noticed when the command had ended)"));
                Exit::Lost
            }
            Err((_, why)) => {
                let ttl = times::show(rules.ttl);
                say(&format!("the lock was not released: {why}; it ends by itself within {ttl}"));
                exit
            }
        }
    }

    /// The lock is lost: ends the section while the lease lasts.
    ///
    /// This blocks, on purpose: nothing else matters any more, and the keeper watches the time.
    async fn stop(mut self, why: &str) -> Exit {
        let grace = self.kept.time_left().min(self.rules.grace);
        say(&match grace.is_zero() {
            true => format!("{why}: killing the command"),
            false => format!("{why}: the command has {} to end", times::show(grace)),
        });
        if !grace.is_zero() {
            self.section.ask_to_end(grace);
        }
        match self.section.kill_and_wait(Some(KILL_PATIENCE)) {
            Ok(_) => {
                // All are dead, the child too: this does not block.
                let _ = self.child.wait().await;
                // If the lease is still ours, the next holder need not wait for its end.
                tokio::select! {
                    _ = self.guard.release() => {}
                    () = Host.sleep(Duration::from_secs(1)) => {}
                }
                self.kept.dismiss().await;
            }
            // Not dismissed: the keeper goes on.
            Err(problem) => say(&problem),
        }
        Exit::Lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grace_leaves_time_to_renew() {
        let secs = Duration::from_secs;
        assert_eq!(grace(None, secs(30)).expect("default"), secs(5));
        assert_eq!(grace(None, secs(3)).expect("default"), Duration::from_millis(500));
        assert_eq!(grace(Some(secs(11)), secs(30)).expect("fits"), secs(11));
        assert!(grace(Some(secs(12)), secs(30)).is_err_and(|f| f.exit == Exit::Usage));
        assert_eq!(grace(Some(secs(0)), secs(30)).expect("none at all"), secs(0));
    }
}
