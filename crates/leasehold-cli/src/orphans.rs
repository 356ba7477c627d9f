//! As the first process of a container, or a subreaper, we are given the children of processes that have
//! ended. They are waited for, so that they do not stay zombies until no process can be made any more.

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use leasehold::env::{Env, Host};
use rustix::process::{Pid, WaitOptions, child_subreaper, getpid, waitpid};
use tokio::signal::unix::{SignalKind, signal};

use crate::procs;

/// How long a zombie is left to the part of the program that may have started it.
const LEFT_ALONE: Duration = Duration::from_millis(200);

/// The command. Its end is waited for elsewhere, whenever that is.
static COMMAND: AtomicI32 = AtomicI32::new(0);

/// Says that this one is not for us.
pub(crate) fn is_ours(command: Option<Pid>) {
    COMMAND.store(command.map_or(0, Pid::as_raw_pid), Ordering::Relaxed);
}

/// Waits for adopted processes as they end, and never returns.
pub(crate) async fn reap() -> std::convert::Infallible {
    let adopts = getpid().is_init() || matches!(child_subreaper(), Ok(Some(_)));
    let Some(mut ends) = adopts.then(|| signal(SignalKind::child()).ok()).flatten() else {
        return std::future::pending().await;
    };
    let mut before = vec![];
    loop {
        let zombies = zombies();
        for zombie in zombies.iter().filter(|zombie| before.contains(*zombie)) {
            let _ = waitpid(Some(zombie.0), WaitOptions::NOHANG);
        }
        before = zombies;
        if before.is_empty() {
            let _ = ends.recv().await;
        } else {
            Host.sleep(LEFT_ALONE).await;
        }
    }
}

/// Our children that have ended, but for the command, with the moments when they started.
fn zombies() -> Vec<(Pid, u64)> {
    let me = getpid().as_raw_pid();
    let command = COMMAND.load(Ordering::Relaxed);
    let mut all = procs::all().unwrap_or_default();
    all.retain(|p| p.ended && p.parent == me && p.pid.as_raw_pid() != command);
    all.into_iter().map(|p| (p.pid, p.start)).collect()
}
