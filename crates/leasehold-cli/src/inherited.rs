//! What we were started with, and what of it the command finds as it would without us: ignored signals,
//! the signal mask, sockets of a socket activation.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use signal_hook::consts::signal::SIGPIPE;

use crate::procs;

/// The signals that were ignored and blocked when this program began, as bit masks.
static IGNORED: AtomicU64 = AtomicU64::new(0);
static BLOCKED: AtomicU64 = AtomicU64::new(0);

/// Runs before `main`, because the runtime ignores SIGPIPE before it calls that, and whether it was ignored
/// before (as in a service of systemd) can be learned at no other time.
#[ctor::ctor]
fn note() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    for (title, mask) in [("SigIgn:", &IGNORED), ("SigBlk:", &BLOCKED)] {
        let line = status.lines().find_map(|line| line.strip_prefix(title));
        let noted = line.and_then(|line| u64::from_str_radix(line.trim(), 16).ok());
        mask.store(noted.unwrap_or(0), Ordering::Relaxed);
    }
}

/// The signals that this process was started with as ignored (`nohup`, a shell's
/// background job), as a bit mask.
pub(crate) fn ignored() -> u64 {
    IGNORED.load(Ordering::Relaxed)
}

/// Lets signals reach us that were blocked when we were started. The command gets them blocked.
pub(crate) fn unblock() {
    let _ = SigSet::empty().thread_set_mask();
}

/// What the shim has to know of it, as one word.
pub(crate) fn word() -> String {
    format!("{:x}:{:x}", ignored(), BLOCKED.load(Ordering::Relaxed))
}

/// Gives this process the signals that such a word tells. The next `exec` leaves them so.
pub(crate) fn restore(word: &str) -> Option<()> {
    let (ignored, blocked) = word.split_once(':')?;
    let ignored = u64::from_str_radix(ignored, 16).ok()?;
    let blocked = u64::from_str_radix(blocked, 16).ok()?;
    if !procs::contains(ignored, SIGPIPE) {
        // The runtime ignores it. What is handled is not ignored, and `exec` makes it the default.
        let _ = signal_hook::flag::register(SIGPIPE, Arc::new(AtomicBool::new(false)));
    }
    let mask = Signal::iterator().filter(|signal| procs::contains(blocked, *signal as i32));
    let mask: SigSet = mask.collect();
    let _ = nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&mask), None);
    Some(())
}

/// Closes all but stdin, stdout and stderr: a helper of ours must not keep a socket, a pipe or a lock open
/// that its caller left open for the command. To be called before anything is opened.
pub(crate) fn close_descriptors() {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return };
    let names = open.flatten().map(|entry| entry.file_name());
    let open: Vec<i32> = names.filter_map(|name| name.to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // Not ours: nothing in this process owns it.
        let _ = nix::unistd::close(fd);
    }
}

/// The environment of the command that this process, a child of `parent`, becomes. What named `parent` as
/// the one that it is for (`sd_listen_fds`, `sd_watchdog_enabled`) names the command.
pub(crate) fn environment(parent: &str) -> Vec<CString> {
    let is_parents = |name: &str| std::env::var_os(name).is_some_and(|pid| pid == parent);
    let has_sockets = is_parents("LISTEN_PID");
    let me = getpid();
    let entries = std::env::vars_os().map(|(name, value)| {
        let value = match name.to_str() {
            Some("LISTEN_PID" | "WATCHDOG_PID") if value == parent => me.to_string().into(),
            Some("LISTEN_PIDFDID") if has_sockets => {
                let life = pidfd_open(me, PidfdFlags::empty());
                let id = life.and_then(|life| rustix::fs::fstat(&life)).map(|stat| stat.st_ino);
                id.map_or(value, |id| OsString::from(id.to_string()))
            }
            _ => value,
        };
        CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())
    });
    entries.flatten().collect()
}
