//! What a test asks of the fake: which requests are to go wrong, and how.

use std::time::Duration;

use tonic::Code;

use super::chance::Chance;

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Every request; of a [`Seen`] one, none of the kinds below.
    Any,
    /// Making, reading or deleting a session.
    Session,
    /// A read of rows.
    Read,
    /// A commit.
    Commit,
    /// Anything about instances, databases, rights and long operations.
    Admin,
}

impl When {
    /// Whether a request of kind `seen` is meant.
    pub(super) fn fits(self, seen: When) -> bool {
        self == When::Any || self == seen
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
    /// Done, then the connection is closed without an answer, and with it whatever else is on it.
    LoseAnswer,
    /// Not done; the connection is closed without an answer.
    Close,
    /// Never answered, while the connection lives on.
    Hang {
        /// Whether it is carried out nevertheless.
        done: bool,
    },
    /// Never answered, but carried out after this time, whatever the client does meanwhile.
    Late(Duration),
    /// Done at once, and answered after this time.
    Slow(Duration),
    /// Answered with an error of Google's, whatever would be true.
    Answer {
        /// What it says.
        code: Code,
        /// How long it asks to be left alone, as `RetryInfo`.
        retry_after: Option<Duration>,
        /// Whether it is carried out nevertheless.
        done: bool,
    },
    /// Done, and half of it answered; then the request, but not the connection, is reset.
    Truncate,
}

/// A request that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its kind.
    pub when: When,
    /// What it calls, like `Commit`.
    pub method: String,
    /// What it is about, like `projects/P/instances/I/databases/D`; of what is in a database, that database.
    pub resource: String,
    /// Its header `google-cloud-resource-prefix`, empty if it has none.
    pub prefix: String,
    /// Whether it carried credentials.
    pub authorized: bool,
    /// The database role that a session is made with, or that the session of the request has; mostly empty.
    pub role: String,
    /// What it came to when it was carried out, told to the client or not; `None` while it is not.
    pub outcome: Option<Code>,
    /// What it was answered with; `None` where it was not, or not to the end.
    pub status: Option<Code>,
    /// When it had arrived whole, since the start of the server.
    pub at: Duration,
}

/// The rules, in the order they were given.
#[derive(Debug, Default)]
pub(super) struct Script {
    rules: Vec<Rule>,
    /// What befalls requests that no rule is for.
    pub(super) chance: Option<Chance>,
}

impl Script {
    pub(super) fn add(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    pub(super) fn clear(&mut self) {
        *self = Script::default();
    }

    /// What is to befall a request of this kind, by the first rule that fits and is not used up.
    pub(super) fn take(&mut self, seen: When) -> Option<Fault> {
        let fits = |rule: &&mut Rule| rule.times != Some(0) && rule.when.fits(seen);
        let Some(rule) = self.rules.iter_mut().find(fits) else {
            return self.chance.as_mut()?.draw(seen);
        };
        rule.times = rule.times.map(|times| times - 1);
        Some(rule.fault.clone())
    }
}
