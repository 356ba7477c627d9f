//! A lock that is asked for inside itself: by a command that runs under it, or by a shell that holds it.
//! Its holder waits for us, so that waiting for it would never end.

use leasehold::{HeldBy, HolderId};
use rustix::process::Pid;

use crate::exit::Failure;
use crate::section::COOKIE;
use crate::{procs, sessions};

/// Whether a holder is above us. Its id is its own, so that neither a lock of the same name in another
/// store nor one that was released or lost meanwhile is taken for it.
pub(crate) fn is_above(holder: HolderId) -> bool {
    let id = holder.to_string();
    if std::env::var(COOKIE).is_ok_and(|ours| ours == id) {
        return true;
    }
    // The environment tells the innermost of several; those further out were told to processes above us.
    let above = procs::ancestors();
    let entry = format!("{COOKIE}={id}");
    let was_told = |pid: &i32| {
        Pid::from_raw(*pid).is_some_and(|pid| procs::was_given(pid, &entry) == Some(true))
    };
    above.iter().any(was_told)
        || sessions::all(false).into_iter().any(|session| {
            let is_it = session.socket.file_stem().is_some_and(|stem| stem == &*id);
            is_it && session.pid.is_some_and(|pid| above.contains(&pid))
        })
}

/// Why a lock is not waited for.
pub(crate) fn refusal(name: &str, holder: &HeldBy) -> Failure {
    Failure::usage(format!(
        "{name:?} is held by {holder}, and this runs under it: it would wait for itself for ever. \
         Do without the second lock, or give it another name; -n does not wait"
    ))
}
