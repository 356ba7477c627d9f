//! The contract a backend must meet: a linearizable register per key, written by compare-and-swap.
//!
//! Three rules make a backend usable for a lock, and the conformance kit checks each:
//!
//! 1. **One attempt on the wire per call.** A client library's own retry of a conditional write is
//!    switched off: a hidden second attempt turns one's own success into a conflict.
//! 2. **An honest outcome.** [`Fate::NotSent`] is said only where it is proven that the write will
//!    never land. Everything else that is not an answer is [`Fate::Unknown`].
//! 3. **A version never comes back.** A version names one state of one record for ever, across
//!    deletion too. Records differ from each other in their bytes (each carries the id of the write
//!    that put it there), so a hash of the content qualifies.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use crate::admin::Admin;

/// A boxed future, spelled out so that a backend needs no macro.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A lock's name, checked: what every backend can be trusted to store under.
///
/// 1 to [`Key::MAX_BYTES`] bytes of UTF-8. Any reasonable Unicode is welcome, and `/` separates
/// segments for those who like to group. Refused are control characters (a name must not be able to
/// move a terminal's cursor), invisible direction marks, leading or trailing white space, and the
/// segments `""`, `.` and `..`, so that no name can point outside the place it is given.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

impl Key {
    /// The longest name, in bytes. Short enough for every backend's own limit (a file name holds
    /// 255 bytes and escaping can triple a name, so the file backend hashes the tail of long ones).
    pub const MAX_BYTES: usize = 200;

    /// Checks a name. The error says what is wrong with it, for the person who typed it.
    pub fn new(name: impl Into<String>) -> Result<Key, BadName> {
        let name = name.into();
        let fail = |why: String| Err(BadName { name: name.clone(), why });
        if name.is_empty() {
            return fail("it is empty".into());
        }
        if name.len() > Key::MAX_BYTES {
            return fail(format!(
                "it has {} bytes, at most {} are allowed",
                name.len(),
                Key::MAX_BYTES
            ));
        }
        if let Some(c) = name.chars().find(|&c| c.is_control() || is_invisible(c)) {
            return fail(format!("it contains the control character U+{:04X}", u32::from(c)));
        }
        if name.trim() != name {
            return fail("it starts or ends with white space".into());
        }
        if let Some(bad) = name.split('/').find(|s| matches!(*s, "" | "." | "..")) {
            return fail(format!("it has the path segment {bad:?}"));
        }
        Ok(Key(name))
    }

    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Characters that change how neighbouring text is shown without being seen themselves: direction
/// marks, overrides and isolates, zero-width and soft marks, separators, annotations and tags.
pub fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{00AD}'
            | '\u{061C}'
            | '\u{180E}'
            | '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}'
            | '\u{FFF9}'..='\u{FFFB}'
            | '\u{E0000}'..='\u{E007F}'
    )
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Why a name cannot be a lock's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadName {
    name: String,
    why: String,
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.name.chars().take(40).collect();
        let dots = if shown.len() < self.name.len() { "…" } else { "" };
        write!(f, "the lock name {shown:?}{dots} cannot be used: {}", self.why)
    }
}

impl std::error::Error for BadName {}

/// The backend's tag of one state of a record. Compared for equality only; it has no order.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Version(String);

impl Version {
    /// Wraps what the backend uses: a generation, an `ETag`, a row version, a hash.
    pub fn new(tag: impl Into<String>) -> Version {
        Version(tag.into())
    }

    /// The tag as the backend gave it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The state a write is conditioned on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Expected {
    /// Nothing is stored under the key.
    Absent,
    /// Exactly this state is stored.
    Version(Version),
}

/// One state of a record, as read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Versioned {
    /// What is stored. A backend hands out at most [`MAX_RECORD_BYTES`]` + 1` bytes: enough to see
    /// that there is too much.
    pub bytes: Vec<u8>,
    /// Names this state, for ever.
    pub version: Version,
    /// How long this state has stood, by the *backend's own* clock: the difference of the time it
    /// was written and the time of this answer. `None` where the backend has no clock. Never
    /// computed with a client's clock.
    pub age: Option<Duration>,
    /// True only where the backend can prove that the process that wrote this state has ended, with
    /// everything that it left in charge. The file backend can, on one host; a bucket cannot.
    pub orphaned: bool,
}

/// The answer to a read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reading {
    /// The newest state, or `None` where nothing is stored.
    pub record: Option<Versioned>,
    /// The backend's own Unix time in milliseconds at this answer, where it has a clock. It dates
    /// the first token of a record; it never decides whether a lease is over.
    pub unix_ms: Option<u64>,
}

/// The answer to a conditional write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Written {
    /// It landed, and this is now the version.
    Applied(Version),
    /// The condition did not hold when this answer was made. Not a proof that the write is dead: it
    /// may be the answer to a second copy of a request whose first copy landed. A backend that
    /// learns the winning state with the refusal gives it, and saves a read.
    Conflict(Option<Versioned>),
}

/// What became of a request that failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fate {
    /// It is proven that it never took effect and never will.
    NotSent,
    /// The backend asks for patience. The outcome is as unknown as in [`Fate::Unknown`].
    Throttled {
        /// How long the backend asks to wait, where it says so.
        retry_after: Option<Duration>,
    },
    /// It may have taken effect, or may still.
    Unknown,
}

/// What the caller can do about a failure.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Trouble {
    /// Try again later: the store, the network or this host has a problem.
    Unavailable,
    /// Get the right to do it: credentials or permissions.
    Denied,
    /// Change the request or the configuration: it can never work like this.
    Invalid,
    /// Repair what is stored: it is not a record that this program wrote.
    Corrupt,
}

/// A request that got no answer, or an answer that is none.
#[derive(Debug)]
pub struct BackendError {
    /// What became of the request.
    pub fate: Fate,
    /// What the caller can do.
    pub trouble: Trouble,
    /// What happened, in words for a person. Contains no secret.
    pub message: String,
}

impl BackendError {
    /// A failure of unknown fate: the honest default.
    pub fn unknown(trouble: Trouble, message: impl Into<String>) -> BackendError {
        BackendError { fate: Fate::Unknown, trouble, message: message.into() }
    }

    /// A failure that is proven to have had no effect.
    pub fn not_sent(trouble: Trouble, message: impl Into<String>) -> BackendError {
        BackendError { fate: Fate::NotSent, trouble, message: message.into() }
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for BackendError {}

/// What a backend says about itself, so that deadlines and polls can be planned.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Facts {
    /// The least time between two writes of one key that the backend accepts for long.
    pub least_write_interval: Duration,
    /// By how much an age that the backend tells may be wrong.
    pub clock_uncertainty: Duration,
    /// The least time between two reads by which a waiter may look again. It says what a read
    /// costs: milliseconds for a file, a second where every read is billed.
    pub least_poll: Duration,
    /// Whether [`Backend::changed`] wakes waiters, so that polls are only the safety net.
    pub notifies: bool,
}

/// The most bytes a record may have, everywhere. A record is read whole on every look, so it must
/// stay small; 16 KiB leaves room for an outcome and a checkpoint.
pub const MAX_RECORD_BYTES: usize = 16 * 1024;

/// A store of records: a linearizable register per key.
///
/// All futures may be dropped at any moment. A dropped write has an unknown outcome.
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// Facts for planning. Constant for the life of the value.
    fn facts(&self) -> Facts;

    /// Where the records are, as a URL without secrets, for messages and for the environment of a
    /// child process.
    fn url(&self) -> String;

    /// Where one record is, as a person would look it up: a path, an object's URL.
    fn locate(&self, key: &Key) -> String;

    /// Where one state of a record is, for the person who has to look at a damaged one. The same as
    /// [`locate`](Backend::locate) where states have no place of their own.
    fn locate_state(&self, key: &Key, version: &Version) -> String {
        let _ = version;
        self.locate(key)
    }

    /// Reads the newest state. Every write whose answer was given before this call is seen.
    fn read<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Reading, BackendError>>;

    /// Stores `bytes` if the newest state is still `expected`. One attempt, never a retry.
    fn write<'a>(
        &'a self,
        key: &'a Key,
        expected: &'a Expected,
        bytes: &'a [u8],
    ) -> BoxFuture<'a, Result<Written, BackendError>>;

    /// Removes the record if it is still at `version`; true if it did. For tools; the protocol
    /// never deletes.
    fn delete<'a>(
        &'a self,
        key: &'a Key,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<bool, BackendError>>;

    /// The names that start with `prefix`, sorted. For tools; the protocol never lists.
    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Key>, BackendError>>;

    /// Returns when the state may have become another than `since`. A hint: it may return for no
    /// reason and may miss a change, so nobody relies on it alone.
    fn changed<'a>(&'a self, key: &'a Key, since: &'a Expected) -> BoxFuture<'a, ()> {
        let _ = (key, since);
        Box::pin(std::future::pending())
    }

    /// A file whose kernel lock, held shared, tells other processes of this host that the writer of
    /// our records still lives. A helper process that must end too before a record counts as
    /// [orphaned](Versioned::orphaned) takes the same lock. `None` where the backend has no such
    /// thing.
    fn liveness(&self) -> Option<PathBuf> {
        None
    }

    /// What the tools can ask beside the records: prices, rights, what has to be made. `None` where
    /// there is nothing to ask.
    fn admin(&self) -> Option<&dyn Admin> {
        None
    }
}
