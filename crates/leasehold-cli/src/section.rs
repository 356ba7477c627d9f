//! The critical section: all processes that run because a lock is held, and how they are ended.
//!
//! They are found in three ways, because each has its gap: the child's process group (a program may
//! leave it), the child's descendants (whoever loses its parent is adopted by init), and everything
//! that was started with our holder id in its environment (a program may clear it).

use std::collections::HashSet;
use std::time::Duration;

use leasehold::env::{Env, Host};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open, pidfd_send_signal,
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
}

/// The process that the section began with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Root {
    pub(crate) pid: Pid,
    pub(crate) start: u64,
    pub(crate) session: i32,
    /// Whether it leads a process group of its own, in which everybody is a member.
    pub(crate) own_group: bool,
}

impl Root {
    /// A child of ours that was not waited for, so that its pid is its own.
    pub(crate) fn of_child(pid: Pid, own_group: bool) -> Option<Root> {
        let process = procs::look(pid)?;
        Some(Root { pid, start: process.start, session: process.session, own_group })
    }
}

/// How often to look at a process whose environment cannot be seen, a millisecond apart: an `exec`
/// hides it for less.
const EXEC_LOOKS: u32 = 5;

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
        Section { cookie: format!("{COOKIE}={holder}"), since, root: None }
    }

    /// Its first process.
    pub(crate) fn begins_with(&mut self, root: Root) {
        self.root = Some(root);
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
        loop {
            let all = procs::all().map_err(|error| format!("cannot read /proc: {error}"))?;
            let mut members = vec![];
            // Each is killed as it is found, and not after all were looked at.
            for member in self.members_among(&all, look, |_| false) {
                if !is_keeper(member) {
                    send(member, Signal::KILL);
                }
                members.push(member.clone());
            }
            if members.is_empty() && look == Look::All {
                empty += 1;
                // One look is not one moment: a process may have been made behind its back.
                if empty == 2 {
                    return Ok(found);
                }
                continue;
            }
            empty = 0;
            found |= !members.is_empty();
            // Who cannot be killed (another user's) may still make new members: look again soon.
            let mut slice = Duration::from_secs(1);
            if let Some(patience) = patience {
                let left = patience.saturating_sub(Host.now().moment.longest_since(begun));
                if left.is_zero() {
                    let pids: Vec<_> = members.iter().map(|m| m.pid.as_raw_pid()).collect();
                    return Err(format!("processes that do not end: {pids:?}"));
                }
                slice = slice.min(left);
            }
            // After the quick look comes the thorough one, before any waiting.
            if look == Look::All {
                await_ends(&members, slice);
            }
            look = Look::All;
        }
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
        let since = self.root.map_or(self.since, |root| root.start);
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

    /// What can be done without looking around. True if there was somebody to hear it.
    fn signal_blindly(&self, signal: Signal) -> bool {
        let Some(root) = self.root else { return false };
        if procs::look(root.pid).is_some_and(|process| process.start != root.start) {
            return false;
        }
        let sent = match root.own_group {
            true => kill_process_group(root.pid, signal),
            false => kill_process(root.pid, signal),
        };
        sent.is_ok()
    }
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
