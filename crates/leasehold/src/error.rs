//! The one error type, opaque, with a kind for what the caller can do about it.

use std::fmt;
use std::sync::Arc;

use leasehold_core::backend::Trouble;

/// What the caller can do about an [`Error`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Timed out waiting for the lock. Try later.
    Timeout,
    /// The lock is held no longer. Stop the work.
    Lost,
    /// The store or the network does not answer. Try later, or look at them.
    Unavailable,
    /// The store refuses. Get the permission.
    Denied,
    /// The call can never work: a name, an option, a URL. Change it.
    Invalid,
    /// A run of `once` ended after the lease was lost, and by then the record was another
    /// holder's: neither its completion nor its failure is recorded, and another may have done it again.
    Superseded,
    /// What stands in the store is not a record that this version can use. The message says which:
    /// a newer format asks for a newer leasehold and must not be repaired; a name whose token is the
    /// highest that there is asks for another name; a damaged record is looked at, then repaired with
    /// [`Client::force_release`](crate::Client::force_release).
    Corrupt,
}

/// What went wrong: a sentence for a person, naming the lock and the store, and a
/// [kind](Error::kind) for a program. Cheap to clone. Contains no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Arc<Inner>);

#[derive(PartialEq, Eq)]
struct Inner {
    kind: ErrorKind,
    message: String,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Arc::new(Inner { kind, message: message.into() }))
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
}

impl From<Trouble> for ErrorKind {
    fn from(trouble: Trouble) -> ErrorKind {
        match trouble {
            Trouble::Unavailable => ErrorKind::Unavailable,
            Trouble::Denied => ErrorKind::Denied,
            Trouble::Invalid => ErrorKind::Invalid,
            Trouble::Corrupt => ErrorKind::Corrupt,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.0.message)
    }
}

impl std::error::Error for Error {}
