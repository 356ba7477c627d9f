//! The critical section: all processes that run because a lock is held, and how they are ended.
//!
//! They are found in three ways, because each has its gap: the child's process group (a program may
//! leave it), the child's descendants (a process that loses its parent is adopted by init), and everything
//! that was started with our holder id in its environment (a program may clear it).

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use leasehold::env::{Env, Host};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, getsid, kill_process, kill_process_group, pidfd_open,
    pidfd_send_signal, test_kill_process_group,
};

use crate::keeper;
use crate::procs::{self, Process};

/// The environment variable by which members are recognised.
pub(crate) const COOKIE: &str = "LEASEHOLD_HOLDER";

/// The processes of one critical section.
#[derive(Debug)]
pub(crate) struct Section {
    /// The entry in their environment.
    cookie: String,
    /// When we started: they started later.
    since: u64,
    root: Option<Root>,
    /// The root's process descriptor, if the root was there.
    life: Option<OwnedFd>,
}

/// The process that the section began with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Root {
    pub(crate) pid: Pid,
    /// 0 where /proc does not show it: another user's, under `hidepid`.
    pub(crate) start: u64,
    pub(crate) session: i32,
    /// Whether it leads a process group of its own, in which everybody is a member.
    pub(crate) own_group: bool,
}

impl Root {
    /// A child of ours that was not waited for, so that its pid is its own.
    pub(crate) fn of_child(pid: Pid, own_group: bool) -> Root {
        let (start, session) = match procs::look(pid) {
            Some(process) => (process.start, process.session),
            None => (0, getsid(Some(pid)).map_or(0, Pid::as_raw_pid)),
        };
        Root { pid, start, session, own_group }
    }
}

/// How often to look at a process whose environment cannot be seen, a millisecond apart: an `exec`
/// hides it for less.
const EXEC_LOOKS: u32 = 5;

/// How long to rest between two looks at processes that do not end: the first time, and at most.
const REST_MIN: Duration = Duration::from_millis(1);
const REST_MAX: Duration = Duration::from_secs(1);

/// How far to look.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Group and descendants: quick, and nothing can hold it up.
    Kin,
    /// Environments too. Reading one waits for the memory of its process, which may be busy.
    All,
}

impl Section {
    /// A section that has no process yet.
    pub(crate) fn new(holder: &str) -> Section {
        let since = procs::look(rustix::process::getpid()).map_or(0, |us| us.start);
        Section { cookie: format!("{COOKIE}={holder}"), since, root: None, life: None }
    }

    /// Its first process.
    pub(crate) fn begins_with(&mut self, root: Root) {
        self.root = Some(root);
        let life = pidfd_open(root.pid, PidfdFlags::empty()).ok();
        // If its number is another's by now, that one is seen with another start.
        let is_other = procs::look(root.pid).is_some_and(|seen| seen.start != root.start);
        self.life = life.filter(|_| !is_other);
    }

    /// Whether it has had a first process.
    pub(crate) fn has_begun(&self) -> bool {
        self.root.is_some()
    }

    /// Sends a signal to every member but those below another leasehold: that one hands it on.
    pub(crate) fn signal(&self, signal: Signal) {
        let Ok(all) = procs::all() else {
            self.signal_blindly(signal);
            return;
        };
        let me = rustix::process::getpid();
        let ours = all.iter().find(|p| p.pid == me).map(|p| p.name.clone());
        let others = |p: &Process| Some(&p.name) == ours.as_ref();
        for member in self.members_among(&all, Look::All, others) {
            if !is_keeper(member) {
                send(member, signal);
            }
        }
    }

    /// Asks every member to end, and waits until all have, for at most `grace`. Who is stopped is
    /// woken, because it could not hear otherwise.
    pub(crate) fn ask_to_end(&self, grace: Duration) {
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
        self.await_end(grace);
    }

    /// Waits until every member has ended, for at most `patience`.
    pub(crate) fn await_end(&self, patience: Duration) {
        if let Ok(all) = procs::all() {
            let members = self.members_among(&all, Look::All, |_| false).cloned();
            await_ends(&members.collect::<Vec<_>>(), patience);
        }
    }

    /// Kills every member and waits until all are dead, for at most `patience`. Says whether there
    /// was any; an error if some live on.
    ///
    /// Keepers of other sections inside this one are not killed: they end by themselves, after they
    /// have ended what they keep, and are waited for.
    pub(crate) fn kill_and_wait(&self, patience: Option<Duration>) -> Result<bool, String> {
        let begun = Host.now().moment;
        // Most are killed at once, before any looking, which takes time on a busy host.
        let mut found = self.signal_blindly(Signal::KILL);
        let mut look = Look::Kin;
        let mut empty = 0;
        let mut rest = REST_MIN;
        loop {
            let seen = self.kill_seen(look);
            let left = patience.map(|p| p.saturating_sub(Host.now().moment.longest_since(begun)));
            match &seen {
                Ok(seen) if seen.members.is_empty() && !seen.hides_one => {
                    if look == Look::All {
                        empty += 1;
                        // One look is not one moment: a process may have been made behind its back.
                        if empty == 2 {
                            return Ok(found);
                        }
                    }
                    look = Look::All;
                    continue;
                }
                Ok(seen) => found |= !seen.members.is_empty(),
                Err(_) => {}
            }
            empty = 0;
            if left.is_some_and(|left| left.is_zero()) {
                return Err(match seen {
                    Ok(seen) => seen.problem(),
                    Err(error) => format!("cannot read /proc: {error}"),
                });
            }
            // After the quick look comes the thorough one, before any waiting.
            if look == Look::All {
                // Who cannot be killed (another user's) may still make new members: look again soon.
                let slice = left.unwrap_or(REST_MAX).min(REST_MAX);
                if let Ok(seen) = &seen {
                    await_ends(&seen.members, slice);
                }
                // What cannot be waited for must not keep a processor busy either.
                pause(rest.min(slice));
                rest = (rest * 2).min(REST_MAX);
            }
            look = Look::All;
        }
    }

    /// Kills the members that are found. Each is killed as it is found, and not after all were looked at.
    fn kill_seen(&self, look: Look) -> io::Result<Seen> {
        let all = procs::all()?;
        let mut members = vec![];
        for member in self.members_among(&all, look, |_| false) {
            if !is_keeper(member) {
                send(member, Signal::KILL);
            }
            members.push(member.clone());
        }
        let hides_one = self.hides_one(&all);
        if let Some(root) = self.root.filter(|root| hides_one && root.own_group && root.start != 0)
        {
            // All that is left of the group: it was started as us, and became another user.
            let _ = kill_process_group(root.pid, Signal::KILL);
        }
        Ok(Seen { members, hides_one })
    }

    /// Whether some of it is not shown to us (`hidepid`), because it is another user's or may not be looked
    /// into: the first process, or all that is left of its group.
    fn hides_one(&self, all: &[Process]) -> bool {
        let Some(root) = self.root.filter(|_| procs::hides_some()) else { return false };
        let shows_root = all.iter().any(|p| p.pid == root.pid);
        if !shows_root && self.life.as_ref().is_some_and(|life| !has_ended(life)) {
            return true;
        }
        // A zombie that is shown may be all that there is. It has to go before that can be known.
        root.own_group
            && !all.iter().any(|p| !p.ended && p.group == root.pid.as_raw_pid())
            && test_kill_process_group(root.pid) != Err(Errno::SRCH)
    }

    /// The members that run. Descendants of a process that `hides` them count only if they are
    /// found in another way.
    fn members_among<'a>(
        &self,
        all: &'a [Process],
        look: Look,
        hides: impl Fn(&Process) -> bool,
    ) -> impl Iterator<Item = &'a Process> {
        let me = rustix::process::getpid();
        let family = self.family(all, hides);
        all.iter().filter(move |p| !p.ended && p.pid != me).filter(move |p| {
            family.contains(&p.pid)
                || self.is_in_group(p)
                || (look == Look::All && self.has_cookie(p))
        })
    }

    /// The first process and its descendants, as far as the line of parents is unbroken.
    fn family(&self, all: &[Process], hides: impl Fn(&Process) -> bool) -> HashSet<Pid> {
        let root =
            self.root.and_then(|r| all.iter().find(|p| p.pid == r.pid && p.start == r.start));
        let mut family = HashSet::new();
        let mut next: Vec<&Process> = root.into_iter().collect();
        while let Some(process) = next.pop() {
            if family.insert(process.pid) && !hides(process) {
                let pid = process.pid.as_raw_pid();
                next.extend(all.iter().filter(|child| child.parent == pid));
            }
        }
        family
    }

    fn has_cookie(&self, process: &Process) -> bool {
        // Most need no further look, which matters when there is little time.
        let since = self.root.map_or(0, |root| root.start).max(self.since);
        if process.is_kernels || process.start < since {
            return false;
        }
        for _ in 0..EXEC_LOOKS {
            if let Some(given) = procs::was_given(process.pid, &self.cookie) {
                return given;
            }
            pause(Duration::from_millis(1));
        }
        false
    }

    /// The session is compared because a group's number can be used again when all of it are gone.
    fn is_in_group(&self, process: &Process) -> bool {
        self.root.is_some_and(|root| {
            root.own_group
                && process.group == root.pid.as_raw_pid()
                && process.session == root.session
        })
    }

    /// What can be done without looking around. True if there was a process to hear it. As long as the first
    /// process lives, its number and that of its group cannot be those of strangers.
    fn signal_blindly(&self, signal: Signal) -> bool {
        let (Some(root), Some(life)) = (self.root, &self.life) else { return false };
        if root.start == 0 || has_ended(life) {
            return false;
        }
        let sent = match root.own_group {
            true => kill_process_group(root.pid, signal),
            false => pidfd_send_signal(life, signal),
        };
        sent.is_ok()
    }
}

/// What a look found.
struct Seen {
    members: Vec<Process>,
    /// There is one more, which is not shown to us.
    hides_one: bool,
}

impl Seen {
    fn problem(&self) -> String {
        let mut pids: Vec<_> = self.members.iter().map(|m| m.pid.to_string()).collect();
        if self.hides_one {
            pids.push("another user's, which /proc does not show".into());
        }
        format!("processes that do not end: {}", pids.join(", "))
    }
}

fn has_ended(life: &OwnedFd) -> bool {
    poll(&mut [PollFd::new(life, PollFlags::IN)], Some(&timespec(Duration::ZERO))) == Ok(1)
}

fn is_keeper(process: &Process) -> bool {
    process.name == keeper::NAME.to_bytes()
}

/// Sends a signal to exactly the process that was seen, never to one that got its pid since.
fn send(process: &Process, signal: Signal) {
    let sent = match pidfd_open(process.pid, PidfdFlags::empty()) {
        Ok(fd) if is_still(process) => pidfd_send_signal(fd, signal),
        Ok(_) | Err(Errno::SRCH) => Ok(()),
        // Without a descriptor to spare, the small risk of a reused pid is the lesser one.
        Err(_) if is_still(process) => kill_process(process.pid, signal),
        Err(_) => Ok(()),
    };
    // Gone meanwhile, or another user's: the caller looks again, and sees who is left.
    let _ = sent;
}

fn is_still(process: &Process) -> bool {
    procs::look(process.pid).is_some_and(|now| now.start == process.start)
}

/// Waits until all of these have ended, or `patience` is over.
fn await_ends(processes: &[Process], patience: Duration) {
    let begun = Host.now().moment;
    for process in processes {
        let left = patience.saturating_sub(Host.now().moment.longest_since(begun));
        let Ok(fd) = pidfd_open(process.pid, PidfdFlags::empty()) else { continue };
        if !is_still(process) {
            continue;
        }
        // An interruption only makes the caller look again.
        let _ = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timespec(left)));
    }
}

fn pause(span: Duration) {
    let _ = poll(&mut [], Some(&timespec(span)));
}

fn timespec(span: Duration) -> Timespec {
    Timespec { tv_sec: span.as_secs().cast_signed(), tv_nsec: span.subsec_nanos().into() }
}
