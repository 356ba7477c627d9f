//! Our end of the [keeper](crate::keeper).

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use leasehold::Deadline;
use leasehold::env::{Env, Host};
use rustix::fs::{OFlags, fcntl_setfl};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use crate::keeper::{self, Line};
use crate::section::Root;

/// How long a keeper may take to start on a busy host.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// How long we wait for it to end when we told it to, so that it leaves no zombie.
const END_PATIENCE: Duration = Duration::from_millis(500);

/// A keeper that works for us.
#[derive(Debug)]
pub(crate) struct Kept {
    process: Child,
    tell: OwnedFd,
    told: Receiver,
    allowance: Duration,
    /// The last deadline it knows.
    pub(crate) deadline: Deadline,
}

/// How long before the deadline the keeper kills, so that all are dead when it comes. A tenth of the
/// ttl, because finding and killing takes its time on a busy host; no more is needed than half a
/// second.
pub(crate) fn kill_allowance(ttl: Duration) -> Duration {
    (ttl / 10).min(Duration::from_millis(500))
}

impl Kept {
    /// Starts a keeper and waits until it stands guard.
    pub(crate) async fn start(
        name: &str,
        holder: &str,
        liveness: Option<&Path>,
        deadline: Deadline,
        allowance: Duration,
    ) -> Result<Kept, String> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("lh-keeper").arg(keeper::COMMAND).arg(holder).env(keeper::LOCK, name);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        match liveness {
            Some(path) => command.env(keeper::LIVENESS, path),
            None => command.env_remove(keeper::LIVENESS),
        };
        let mut process = command.spawn().map_err(|e| e.to_string())?;
        let (tell, told) = ends(&mut process).map_err(|e| e.to_string())?;
        let mut kept = Kept { process, tell, told, allowance, deadline };
        kept.renewed(deadline);
        let mut answer = [0; 16];
        tokio::select! {
            read = kept.told.read(&mut answer) => match read {
                Ok(n) if n > 0 => Ok(kept),
                _ => Err("it ended at once".into()),
            },
            () = Host.sleep(START_PATIENCE) => Err("it does not answer".into()),
        }
    }

    /// Tells a new deadline.
    pub(crate) fn renewed(&mut self, deadline: Deadline) {
        if self.say(Line::Deadline(kills_at(deadline, self.allowance))) {
            self.deadline = deadline;
        }
    }

    /// When it kills, by `CLOCK_BOOTTIME`, as far as it was told.
    pub(crate) fn kills_at(&self) -> Duration {
        kills_at(self.deadline, self.allowance)
    }

    /// What is left until it kills.
    pub(crate) fn time_left(&self) -> Duration {
        self.deadline.left(Host.now().moment).saturating_sub(self.allowance)
    }

    /// Tells the first process of the section.
    pub(crate) fn begins_with(&mut self, root: Root) {
        self.say(Line::Child(root));
    }

    /// Waits until the keeper has ended or has begun to kill. Cancel-safe.
    pub(crate) async fn gone(&mut self) {
        let mut byte = [0; 1];
        while matches!(self.told.read(&mut byte).await, Ok(n) if n > 0) {}
    }

    /// Whether it has ended or has begun to kill. True before anything that it kills is dead: what we
    /// tell it from then on it does not hear.
    pub(crate) fn is_gone(&self) -> bool {
        // Asked of the kernel: the runtime may not have looked yet.
        matches!(rustix::io::read(&self.told, &mut [0; 1]), Ok(0))
    }

    /// Lets it go: nothing is left to keep.
    pub(crate) async fn dismiss(mut self) {
        self.say(Line::Done);
        tokio::select! {
            () = self.gone() => {}
            () = Host.sleep(END_PATIENCE) => {}
        }
        // If it is slow, init adopts it.
        let _ = self.process.try_wait();
    }

    /// A keeper that cannot be told is stopped or dead: it kills too early, never too late.
    fn say(&mut self, line: Line) -> bool {
        let line = line.encode();
        rustix::io::write(&self.tell, line.as_bytes()).is_ok_and(|n| n == line.len())
    }
}

fn kills_at(deadline: Deadline, allowance: Duration) -> Duration {
    (deadline.sent.boot + deadline.span).saturating_sub(allowance)
}

fn ends(process: &mut Child) -> io::Result<(OwnedFd, Receiver)> {
    let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
    let stdin = OwnedFd::from(process.stdin.take().ok_or_else(closed)?);
    let stdout = OwnedFd::from(process.stdout.take().ok_or_else(closed)?);
    fcntl_setfl(&stdin, OFlags::NONBLOCK)?;
    Ok((stdin, Receiver::from_owned_fd(stdout)?))
}
