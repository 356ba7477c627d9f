//! The exit codes, all of them.
//!
//! They follow sysexits.h and the shell where those have a word for it. The child's own code has
//! precedence over everything but a lost lock.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

use leasehold::ErrorKind;
use signal_hook::consts::signal::SIGINT;
use signal_hook::low_level::emulate_default_handler;

/// How the program ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// All is well.
    Done,
    /// As the command ended.
    Child(u8),
    /// The command, or we while waiting, were ended by this signal: 128 + n, as shells say it.
    Signal(i32),
    /// Ctrl-C: 130 too, but by dying of the signal ourselves, because that is how a shell knows that
    /// its script shall end and not go on with the next command.
    Interrupted,
    /// Timed out waiting for the lock: 75, or what `-E` says.
    NotAcquired(u8),
    /// The run of `once` has failed for good, here or elsewhere: as its last run ended, and 1
    /// where that is not known.
    GaveUp(Option<u8>),
    /// The run of `once` is superseded: a later key came first.
    Outdated,
    /// There is no checkpoint.
    NoCheckpoint,
    /// The lock was lost while the command ran.
    Lost,
    /// What was typed cannot be meant.
    Usage,
    /// What stands in the store is not a record of ours.
    Corrupt,
    /// The store does not answer.
    Unreachable,
    /// There is no directory for a socket. `EX_CANTCREAT`.
    NoPlace,
    /// What was asked for could not be written to stdout. `EX_IOERR`.
    NotWritten,
    /// The store is not what a lock needs: it does not keep the contract, or is not set up as it should
    /// be. `EX_PROTOCOL`.
    Unfit,
    /// The store refuses.
    Denied,
    /// The command was found, but cannot be run.
    NotExecutable,
    /// There is no such command.
    NotFound,
}

/// The default of `-E`: `EX_TEMPFAIL`, "try again later".
pub(crate) const NOT_ACQUIRED: u8 = 75;

/// What is recorded of a command that ran for too long: as `timeout` says it.
pub(crate) const TOO_LONG: u8 = 124;

impl Exit {
    /// The number.
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Child(code) | Exit::NotAcquired(code) => code,
            // Success it was not, whatever somebody wrote there.
            Exit::GaveUp(code) => code.filter(|code| *code != 0).unwrap_or(1),
            Exit::Outdated => NOT_ACQUIRED,
            Exit::NoCheckpoint => 1,
            Exit::Signal(n) => u8::try_from(128 + n).unwrap_or(u8::MAX),
            Exit::Interrupted => 130,
            Exit::Usage => 64,
            Exit::Corrupt => 65,
            Exit::Unreachable => 69,
            Exit::NoPlace => 73,
            Exit::NotWritten => 74,
            Exit::Unfit => 76,
            Exit::Denied => 77,
            Exit::Lost => 79,
            Exit::NotExecutable => 126,
            Exit::NotFound => 127,
        }
    }

    /// How a command ended.
    pub(crate) fn of_child(status: ExitStatus) -> Exit {
        match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Child(u8::try_from(code).unwrap_or(u8::MAX)),
            (None, signal) => Exit::Signal(signal.unwrap_or(0)),
        }
    }

    /// What an error of the library means here. `-E` sets the code of `Timeout`.
    pub(crate) fn of_error(kind: ErrorKind, not_acquired: u8) -> Exit {
        match kind {
            ErrorKind::Timeout => Exit::NotAcquired(not_acquired),
            ErrorKind::Lost | ErrorKind::Superseded => Exit::Lost,
            ErrorKind::Denied => Exit::Denied,
            ErrorKind::Invalid => Exit::Usage,
            ErrorKind::Corrupt => Exit::Corrupt,
            // `ErrorKind` may grow; whatever comes is trouble with the store.
            _ => Exit::Unreachable,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        // The first process of a container does not die of it.
        if exit == Exit::Interrupted && std::process::id() != 1 {
            // If we survive it, the code says the same.
            let _ = emulate_default_handler(SIGINT);
        }
        ExitCode::from(exit.code())
    }
}

/// Why a command of ours ends without what it was asked for: the code, and a sentence for stderr.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into() }
    }

    /// `-E` does not apply.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, message)
    }
}

impl From<leasehold::Error> for Failure {
    fn from(error: leasehold::Error) -> Failure {
        Failure::new(Exit::of_error(error.kind(), NOT_ACQUIRED), error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_the_documented_one() {
        // Scripts depend on these numbers: a change here is a breaking change.
        let table = [
            (Exit::Done, 0),
            (Exit::Child(42), 42),
            (Exit::Signal(15), 143),
            (Exit::Signal(9), 137),
            (Exit::Interrupted, 130),
            (Exit::NotAcquired(NOT_ACQUIRED), 75),
            (Exit::NotAcquired(0), 0),
            (Exit::GaveUp(Some(3)), 3),
            (Exit::GaveUp(Some(TOO_LONG)), 124),
            (Exit::GaveUp(Some(0)), 1),
            (Exit::GaveUp(None), 1),
            (Exit::Outdated, 75),
            (Exit::NoCheckpoint, 1),
            (Exit::Usage, 64),
            (Exit::Corrupt, 65),
            (Exit::Unreachable, 69),
            (Exit::NoPlace, 73),
            (Exit::NotWritten, 74),
            (Exit::Unfit, 76),
            (Exit::Denied, 77),
            (Exit::Lost, 79),
            (Exit::NotExecutable, 126),
            (Exit::NotFound, 127),
        ];
        for (exit, code) in table {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }

    #[test]
    fn a_childs_wait_status_becomes_what_a_shell_would_say() {
        assert_eq!(Exit::of_child(ExitStatus::from_raw(7 << 8)), Exit::Child(7));
        assert_eq!(Exit::of_child(ExitStatus::from_raw(15)), Exit::Signal(15));
        assert_eq!(Exit::of_child(ExitStatus::from_raw(0x8b)), Exit::Signal(11), "core dump");
    }

    #[test]
    fn every_kind_of_error_has_its_code() {
        let codes = [
            (ErrorKind::Timeout, 3),
            (ErrorKind::Lost, 79),
            (ErrorKind::Superseded, 79),
            (ErrorKind::Unavailable, 69),
            (ErrorKind::Denied, 77),
            (ErrorKind::Invalid, 64),
            (ErrorKind::Corrupt, 65),
        ];
        for (kind, code) in codes {
            assert_eq!(Exit::of_error(kind, 3).code(), code, "{kind:?}");
        }
    }
}
