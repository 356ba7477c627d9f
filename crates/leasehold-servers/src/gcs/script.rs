//! What a test asks of the fake: which requests are to go wrong, and how.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use super::chance::Chance;

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Every request; of a [`Seen`] one, none of the kinds below.
    Any,
    /// A read of one object.
    Read,
    /// A write on the condition that the object does not exist.
    Create,
    /// Any other write.
    Overwrite,
    /// Both kinds of write. No [`Seen`] request has it.
    Write,
    /// The deletion of an object.
    Delete,
    /// A list of objects.
    List,
    /// Anything about a bucket: reading it, making it, asking for rights.
    Bucket,
}

impl When {
    /// Whether a request of kind `seen` is meant.
    pub(crate) fn fits(self, seen: When) -> bool {
        match self {
            When::Any => true,
            When::Write => seen.is_write(),
            one => one == seen,
        }
    }

    pub(super) fn is_write(self) -> bool {
        matches!(self, When::Create | When::Overwrite | When::Write)
    }
}

/// The next `times` requests of a kind go wrong in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The requests that are meant.
    pub when: When,
    /// How many of them; `None`: all until [`heal`](super::Fake::heal).
    pub times: Option<u32>,
    /// What becomes of them.
    pub fault: Fault,
}

/// How a request goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Done, then the connection is closed without an answer.
    LoseAnswer,
    /// Not done; the connection is closed without an answer.
    Close,
    /// Never answered.
    Hang {
        /// Whether it is carried out nevertheless.
        done: bool,
    },
    /// Never answered, but carried out after this time, whatever the client does meanwhile.
    Late(Duration),
    /// Answered with an error of Google's, whatever would be true.
    Answer {
        /// The HTTP status.
        code: u16,
        /// Seconds for the header `Retry-After`.
        retry_after: Option<u64>,
        /// Whether it is carried out nevertheless.
        done: bool,
    },
    /// Done and answered, but the connection is closed in the middle of the body; where the answer has
    /// none, before the answer.
    Truncate,
    /// Done, and something on the way makes something else of the answer.
    Odd(Odd),
    /// A lie, of reads only: the state before the newest.
    Stale,
    /// A lie, of writes and deletions only: done whatever the condition says.
    IgnorePrecondition,
}

/// What something between a client and Google may make of an answer: a proxy, a portal, a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Odd {
    /// Half of the body, as if that were all.
    Short,
    /// Another byte at its start.
    Changed,
    /// Without Google's own headers.
    Bare,
    /// A page of HTML with this status.
    Page(u16),
    /// A body that breaks off.
    Garbage,
}

impl Fault {
    fn can_befall(&self, seen: When) -> bool {
        match self {
            Fault::Stale => seen == When::Read,
            Fault::IgnorePrecondition => seen.is_write() || seen == When::Delete,
            _ => true,
        }
    }
}

/// A request that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its kind.
    pub when: When,
    /// The bucket's name; empty where the request has none.
    pub bucket: String,
    /// The object's name; empty where the request has none.
    pub object: String,
    /// Whether it carried credentials.
    pub authorized: bool,
    /// The token it carried, if it was a bearer token.
    pub bearer: Option<Bearer>,
    /// The HTTP status it came to when it was carried out, told to the client or not; `None` while it is not.
    pub outcome: Option<u16>,
    /// The HTTP status it was answered with; `None` where it was not.
    pub status: Option<u16>,
    /// When it had arrived whole, since the start of the server.
    pub at: Duration,
}

/// A token. It is shown nowhere: somebody may try the fake with a real one.
#[derive(Clone, PartialEq, Eq)]
pub struct Bearer(pub(super) String);

impl Deref for Bearer {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer(..)")
    }
}

/// The rules, in the order they were given.
#[derive(Debug, Default)]
pub(crate) struct Script {
    rules: Vec<Rule>,
    /// What befalls requests that no rule is for.
    pub(super) chance: Option<Chance>,
}

impl Script {
    pub(crate) fn add(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    pub(crate) fn clear(&mut self) {
        *self = Script::default();
    }

    /// What is to befall a request of this kind, by the first rule that fits and is not used up.
    pub(crate) fn take(&mut self, seen: When) -> Option<Fault> {
        let rule = self.rules.iter_mut().find(|rule| {
            rule.times != Some(0) && rule.when.fits(seen) && rule.fault.can_befall(seen)
        });
        let Some(rule) = rule else { return self.chance.as_mut()?.draw(seen) };
        rule.times = rule.times.map(|times| times - 1);
        Some(rule.fault.clone())
    }
}
