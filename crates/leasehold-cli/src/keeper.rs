//! The keeper: a second, small process of ours, which ends the critical section when we cannot.
//!
//! It reads one line for each new deadline. When the deadline passes (we are stopped), or its input
//! ends without a `done` (we were killed), it closes its output, kills the section and waits until it
//! is really dead. Until then it keeps a lock on our liveness file, so that nobody on this host takes
//! us for gone.
//!
//! It lives in a session of its own, so that no terminal's signal reaches it, and under a name of its
//! own, so that `pkill leasehold` does not hit it.

use std::ffi::{CStr, OsString};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use leasehold::env::{Env, Host};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use signal_hook::consts::signal::{
    SIGALRM, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1,
    SIGUSR2, SIGXCPU, SIGXFSZ,
};

use crate::exit::Exit;
use crate::section::{Root, Section};
use crate::{inherited, procs, show};

/// The name it is seen under. Other sections recognise keepers by it.
pub(crate) const NAME: &CStr = c"lh-keeper";

/// The hidden subcommand.
pub(crate) const COMMAND: &str = "__keeper";

/// Where it finds the path of the liveness file: in the environment, because `pkill -f` matches
/// arguments.
pub(crate) const LIVENESS: &str = "LEASEHOLD_KEEPER_LIVENESS";

/// Where it finds the lock's name, for what it says.
pub(crate) const LOCK: &str = "LEASEHOLD_NAME";

/// What it is told, one line each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Line {
    /// Kill at this reading of `CLOCK_BOOTTIME`.
    Deadline(Duration),
    /// The section's first process.
    Child(Root),
    /// The lock is released: nothing is left to do.
    Done,
}

impl Line {
    /// The line with its line feed.
    pub(crate) fn encode(self) -> String {
        match self {
            Line::Deadline(boot) => format!("deadline {}\n", boot.as_nanos()),
            Line::Child(Root { pid, start, session, own_group }) => {
                format!("child {} {start} {session} {}\n", pid.as_raw_pid(), u8::from(own_group))
            }
            Line::Done => "done\n".into(),
        }
    }

    /// Reads a line without its line feed.
    pub(crate) fn decode(line: &str) -> Option<Line> {
        let mut words = line.split(' ');
        let decoded = match words.next()? {
            "deadline" => Line::Deadline(Duration::from_nanos(words.next()?.parse().ok()?)),
            "child" => Line::Child(Root {
                // Below 0 it would be a group, and -1 everybody.
                pid: Pid::from_raw(procs::parse_pid(words.next()?).ok()?)?,
                start: words.next()?.parse().ok()?,
                session: words.next()?.parse().ok()?,
                own_group: words.next()? == "1",
            }),
            "done" => Line::Done,
            _ => return None,
        };
        words.next().is_none().then_some(decoded)
    }
}

/// The keeper's whole life. Its argument is the holder id.
pub(crate) fn main(mut arguments: impl Iterator<Item = OsString>) -> Exit {
    inherited::close_descriptors();
    let holder = arguments.next().and_then(|holder| holder.into_string().ok()).unwrap_or_default();
    match prepare() {
        Ok((lock, timer, nowhere)) => Keeper::new(&holder, timer, nowhere).keep(lock),
        Err(problem) => {
            show::say(&format!("the keeper cannot start: {problem}"));
            Exit::Unreachable
        }
    }
}

/// The lock on the liveness file, the timer, and a descriptor that leads nowhere. All are had now: later
/// something might be in the way.
fn prepare() -> Result<(Option<OwnedFd>, OwnedFd, OwnedFd), String> {
    // The name comes first: before anything can take us for a member of an outer section.
    rustix::thread::set_name(NAME).map_err(|e| e.to_string())?;
    procs::require().map_err(|failure| failure.message)?;
    rustix::process::setsid().map_err(|e| e.to_string())?;
    let_signals_pass().map_err(|e| e.to_string())?;
    let lock = std::env::var_os(LIVENESS).map(lock).transpose()?.flatten();
    // A directory that we stand in cannot be unmounted.
    let _ = std::env::set_current_dir("/");
    let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC)
        .map_err(|e| format!("no timer: {e}"))?;
    // A pipe without another end, and not /dev/null, which need not be there.
    let (_, nowhere) = std::io::pipe().map_err(|e| format!("no pipe: {e}"))?;
    Ok((lock, timer, nowhere.into()))
}

/// Makes this process deaf to all signals that would end or stop it and can be refused. They are
/// not ignored but handled by doing nothing, which safe code can do.
pub(crate) fn let_signals_pass() -> std::io::Result<()> {
    for signal in [
        SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2, SIGPIPE,
        SIGALRM, SIGXCPU, SIGXFSZ,
    ] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}

/// Takes our share of the liveness lock, which our parent holds too, so it never has to be waited
/// for.
fn lock(path: OsString) -> Result<Option<OwnedFd>, String> {
    let shown = path.to_string_lossy().into_owned();
    let fd = match rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => fd,
        // Without the file nobody can prove that we are gone.
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(format!("{shown}: {errno}")),
    };
    rustix::fs::flock(&fd, FlockOperation::NonBlockingLockShared)
        .map_err(|errno| format!("cannot lock {shown}: {errno}"))?;
    Ok(Some(fd))
}

struct Keeper {
    section: Section,
    timer: OwnedFd,
    /// What takes the place of the pipe to our parent when we begin to kill.
    nowhere: OwnedFd,
    deadline: Option<Duration>,
    input: Vec<u8>,
}

/// What woke the keeper.
#[derive(PartialEq, Eq)]
enum Woken {
    Told,
    Done,
    /// Its parent is gone.
    Alone,
}

impl Keeper {
    fn new(holder: &str, timer: OwnedFd, nowhere: OwnedFd) -> Keeper {
        Keeper { section: Section::new(holder), timer, nowhere, deadline: None, input: vec![] }
    }

    fn keep(mut self, lock: Option<OwnedFd>) -> Exit {
        let mut ready = false;
        let why = loop {
            match self.listen() {
                Woken::Done => return Exit::Done,
                Woken::Alone => break "the main process has ended",
                Woken::Told => {}
            }
            let Some(deadline) = self.deadline else { continue };
            if !ready {
                ready = true;
                // If nobody reads it, nobody lives to start a child, and the input ends.
                let _ = writeln!(std::io::stdout(), "ready");
            }
            // The input was drained first: a keeper that was stopped knows the newest deadline.
            if Host.now().moment.boot >= deadline {
                break "the lease is over and the main process did not act";
            }
        };
        // Before the first signal, so that a process that sees the command's end sees ours too, and does not
        // take a renewal that comes now for a reason to believe that the command ended by itself.
        let _ = rustix::stdio::dup2_stdout(&self.nowhere);
        // For as long as it takes: as long as one member runs, the lock on the liveness file stays.
        let killed = self.section.kill_and_wait(None);
        drop(lock);
        // Words come last, because writing them may block.
        let name = std::env::var(LOCK).unwrap_or_default();
        match killed {
            Ok(false) if !self.section.has_begun() => {}
            Ok(false) => show::say(&format!("{name:?}: {why}: its command has ended")),
            Ok(true) => show::say(&format!("{name:?}: {why}: its command was killed")),
            Err(problem) => {
                show::say(&format!("{name:?}: {why}: its command was killed; {problem}"));
            }
        }
        Exit::Lost
    }

    /// Waits for input or for the deadline, and takes in what there is.
    fn listen(&mut self) -> Woken {
        let stdin = rustix::stdio::stdin();
        let mut fds = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(&self.timer, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) if !fds[0].revents().is_empty() => {}
            Ok(_) | Err(Errno::INTR) => return Woken::Told,
            // Who cannot wait cannot keep.
            Err(_) => return Woken::Alone,
        }
        let mut bytes = [0; 4096];
        match rustix::io::read(stdin.as_fd(), &mut bytes) {
            Ok(0) => return Woken::Alone,
            Ok(n) => self.input.extend_from_slice(&bytes[..n]),
            Err(Errno::INTR | Errno::AGAIN) => return Woken::Told,
            Err(_) => return Woken::Alone,
        }
        while let Some(end) = self.input.iter().position(|&b| b == b'\n') {
            let line: Vec<u8> = self.input.drain(..=end).collect();
            match std::str::from_utf8(&line[..end]).ok().and_then(Line::decode) {
                Some(Line::Deadline(boot)) => self.arm(boot),
                Some(Line::Child(root)) => self.section.begins_with(root),
                Some(Line::Done) => return Woken::Done,
                // Both ends are one program.
                None => return Woken::Alone,
            }
        }
        Woken::Told
    }

    fn arm(&mut self, boot: Duration) {
        self.deadline = Some(boot);
        let it_value = Timespec {
            tv_sec: boot.as_secs().cast_signed(),
            // Zero would disarm it.
            tv_nsec: i64::from(boot.subsec_nanos()).max(1),
        };
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let time = Itimerspec { it_interval: zero, it_value };
        // It cannot fail: the descriptor is a timer and the time is well formed.
        let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_survive_the_pipe() {
        let pid = Pid::from_raw(4711).expect("not zero");
        let root = Root { pid, start: 99, session: 12, own_group: true };
        let lines = [
            Line::Deadline(Duration::from_nanos(123_456_789_012)),
            Line::Child(root),
            Line::Child(Root { own_group: false, ..root }),
            Line::Done,
        ];
        for line in lines {
            assert_eq!(Line::decode(line.encode().trim_end_matches('\n')), Some(line));
        }
    }

    /// To kill the process -1 is to kill all that there are. No line to the keeper can name it.
    #[test]
    fn a_child_is_one_process() {
        for line in ["child -1 1 1 0", "child -4711 1 1 1", "child 0 1 1 1", "child +1 1 1 1"] {
            assert_eq!(Line::decode(line), None, "{line}");
        }
    }

    #[test]
    fn half_a_line_is_no_line() {
        for line in ["", "deadline", "deadline x", "child 1 2 3", "child 0 1 1 1", "done 1", "gone"]
        {
            assert_eq!(Line::decode(line), None, "{line}");
        }
    }
}
