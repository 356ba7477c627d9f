//! `leasehold run`: wait, run, release.
//!
//! The child is spawned on the main thread, because the kernel kills it when the *thread* that
//! spawned it ends.

use std::ffi::OsString;
use std::fs::File;
use std::time::Duration;

use leasehold::env::{Env, Host};
use leasehold::{Client, ErrorKind, Guard};
use signal_hook::consts::signal::SIGINT;

use crate::acquire::{acquire, close};
use crate::cli::Run;
use crate::exit::{Exit, Failure};
use crate::kept::Kept;
use crate::label::label;
use crate::shim::{self, Resolved};
use crate::show::say;
use crate::signals::{Caught, Signals};
use crate::supervise::{Ended, Holding, Rules, cannot};
use crate::{place, procs, times};

/// How long the store may take to confirm the release.
const RELEASE_PATIENCE: Duration = Duration::from_secs(10);

/// The whole command.
pub(crate) async fn run(mut options: Run, backend: Option<&str>) -> Result<Exit, Failure> {
    options.wanted.or_environment()?;
    let program = options.command.first().map(OsString::as_os_str);
    options.wanted.label.get_or_insert_with(|| label(program));
    let has_terminal = File::open("/dev/tty").is_ok();
    let rules = Rules::new(options.wanted.ttl(), options.grace, has_terminal)?;
    // Found before any waiting: a typing error should not show an hour later.
    let command = shim::resolve(options.command)?;
    procs::require()?;
    let mut signals = Signals::listen(has_terminal).map_err(cannot("listen to signals"))?;
    let client = tokio::select! {
        biased;
        signal = signals.ending() => return Ok(signal.exit()),
        client = place::connect_to_lock(backend, options.wanted.voice) => client?,
    };
    let got = tokio::select! {
        biased;
        signal = signals.ending() => Err(Ok(signal.exit())),
        got = acquire(&client, &options.name, &options.wanted) => got.map_err(Err),
    };
    let exit = match got {
        Ok(guard) => {
            let began = Host.now().moment;
            let exit = hold(&client, guard, &command, rules, &mut signals).await;
            options.wanted.voice.detail(|| {
                let held_for = times::show(Host.now().moment.longest_since(began));
                format!("done with {:?} after {held_for}", options.name)
            });
            exit
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

/// The time between acquire and release.
async fn hold(
    client: &Client,
    guard: Guard,
    command: &Resolved,
    rules: Rules,
    signals: &mut Signals,
) -> Result<Exit, Failure> {
    let begun = Holding::begin(client, &guard, command, rules, |_| {}, signals).await;
    let mut holding = match begun {
        Ok(holding) => holding,
        Err(instead) => return instead,
    };
    let ended = holding.supervise(signals).await?;
    let ctrl_c = holding.caught().iter().copied().any(Caught::is_ctrl_c);
    let kept = holding.kept;
    match ended {
        Ended::Itself(status) => {
            let exit = match Exit::of_child(status) {
                Exit::Signal(SIGINT) if ctrl_c => Exit::Interrupted,
                exit => exit,
            };
            Ok(release(guard, kept, rules.ttl, exit, signals).await)
        }
        Ended::Lost { all } => {
            if all {
                leave(guard.release()).await;
                kept.dismiss().await;
            }
            // Otherwise the keeper goes on.
            Ok(Exit::Lost)
        }
        // There is no deadline.
        Ended::TooLong => Ok(Exit::Lost),
    }
}

/// After a loss: if the lease is still ours, the next holder need not wait for its end.
pub(crate) async fn leave<T>(release: impl Future<Output = T>) {
    tokio::select! {
        _ = release => {}
        () = Host.sleep(Duration::from_secs(1)) => {}
    }
}

/// The command has ended by itself, with `exit`.
async fn release(
    guard: Guard,
    kept: Kept,
    ttl: Duration,
    exit: Exit,
    signals: &mut Signals,
) -> Exit {
    // A moment before the deadline, when it would count as lost.
    let in_time = kept.time_left().min(RELEASE_PATIENCE);
    // In doubt, the release itself has to prove that it was held to the end.
    let unanswered = match guard.is_held() || in_time.is_zero() {
        true => ErrorKind::Unavailable,
        false => ErrorKind::Lost,
    };
    let released = tokio::select! {
        biased;
        // First: after a stall of this process, a lease that ended meanwhile is no loss of a
        // command that ended before.
        () = Host.sleep(in_time) => Err((unanswered, "no answer".into())),
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
            let ttl = times::show(ttl);
            say(&format!("the lock was not released: {why}; it ends by itself within {ttl}"));
            exit
        }
    }
}
