//! Looking without touching: who holds what.

use std::fmt;
use std::sync::Arc;

use leasehold_core::backend::{Key, Versioned};
use leasehold_core::record::{BadRecord, FencingToken, Kind, Outcome, Past, Record};
use leasehold_core::register::Told;
use leasehold_core::silence;

use tokio::task::JoinSet;

use crate::client::{Client, Shared};
use crate::error::{Error, ErrorKind};
use crate::holder::HeldBy;

/// What one look at a lock showed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Status {
    /// The lock's name.
    pub name: String,
    /// Where its record is: a path, an object.
    pub location: String,
    /// In a word.
    pub state: State,
    /// What the name is used as. `None` where there is no record that can be read.
    pub kind: Option<Kind>,
    /// The token of the holder, or of the last one.
    pub token: Option<FencingToken>,
    /// Who holds, or held when the lease ran out.
    pub holder: Option<HeldBy>,
    /// Who held before, and how that ended.
    pub past: Option<Past>,
    /// Of a name that `once` uses: how far it has come.
    pub outcome: Option<Outcome>,
    /// Why the record cannot be used, where it cannot.
    pub problem: Option<String>,
    /// Why it could not be read, where it could not. Only in a [list](Client::list): it has a row for
    /// each name all the same.
    pub error: Option<Error>,
}

/// The state of a lock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum State {
    /// The name was never used, or was forgotten: there is no record.
    Absent,
    /// Nobody holds it.
    Free,
    /// It is held, as far as one look can tell.
    Held,
    /// Its holder is gone or its lease is over: the next one takes it.
    Expired,
    /// What stands there is not a record that can be used.
    Unreadable,
    /// It could not be read: [`Status::error`] says why. Only in a [list](Client::list).
    Unknown,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Absent => "absent",
            State::Free => "free",
            State::Held => "held",
            State::Expired => "expired",
            State::Unreadable => "unreadable",
            State::Unknown => "unknown",
        })
    }
}

impl Status {
    /// In a word: where `once` uses it, how far that has come; otherwise its [state](Status::state).
    pub fn summary(&self) -> String {
        match &self.outcome {
            Some(it) => it.word(self.state == State::Held).to_owned(),
            None => self.state.to_string(),
        }
    }
}

impl Client {
    /// Looks at one lock. A name that was never used is [`Absent`](State::Absent), and can be
    /// acquired like a free one.
    pub async fn status(&self, name: &str) -> Result<Status, Error> {
        let key = checked(name)?;
        let shared = Arc::clone(&self.0);
        self.0.on_driver(async move { look(&shared, key).await }).await
    }

    /// Looks at every lock whose name starts with `prefix`, in the order of their names. One that cannot
    /// be read does not hide the others: it is there with its [error](Status::error).
    pub async fn list(&self, prefix: &str) -> Result<Vec<Status>, Error> {
        let (shared, prefix) = (Arc::clone(&self.0), prefix.to_owned());
        let job = async move {
            let keys = keys(&shared, &prefix).await?;
            let mut looks = JoinSet::new();
            let mut all = Vec::with_capacity(keys.len());
            for key in keys {
                if looks.len() >= LOOKS_AT_ONCE {
                    all.extend(looks.join_next().await.and_then(Result::ok));
                }
                let shared = Arc::clone(&shared);
                looks.spawn(async move {
                    look(&shared, key.clone()).await.unwrap_or_else(|e| unknown(&shared, &key, e))
                });
            }
            while let Some(looked) = looks.join_next().await {
                all.extend(looked.ok());
            }
            all.sort_by(|a: &Status, b: &Status| a.name.cmp(&b.name));
            Ok(all)
        };
        self.0.on_driver(job).await
    }

    /// The names in the store that start with `prefix`, sorted. Nothing else is read.
    pub async fn names(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let (shared, prefix) = (Arc::clone(&self.0), prefix.to_owned());
        let job = async move {
            let keys = keys(&shared, &prefix).await?;
            Ok(keys.iter().map(|key| key.as_str().to_owned()).collect())
        };
        self.0.on_driver(job).await
    }
}

/// How many records of a list are read at the same time.
const LOOKS_AT_ONCE: usize = 32;

async fn keys(shared: &Shared, prefix: &str) -> Result<Vec<Key>, Error> {
    shared.backend.list(prefix).await.map_err(|e| {
        let place = shared.backend.url();
        Error::new(e.trouble.into(), format!("cannot list the locks at {place}: {e}"))
    })
}

/// A name of which nothing is known.
fn blank(shared: &Shared, key: &Key) -> Status {
    Status {
        name: key.as_str().to_owned(),
        location: shared.backend.locate(key),
        state: State::Absent,
        kind: None,
        token: None,
        holder: None,
        past: None,
        outcome: None,
        problem: None,
        error: None,
    }
}

fn unknown(shared: &Shared, key: &Key, error: Error) -> Status {
    let problem = Some(error.to_string());
    Status { state: State::Unknown, problem, error: Some(error), ..blank(shared, key) }
}

/// What is to be done about a record that cannot be used, beside what `bad` says of it.
pub(crate) fn remedy(bad: &BadRecord, place: &str) -> String {
    match bad {
        BadRecord::Corrupt(_) => format!(
            "nothing was overwritten: look at {place}, then repair it with `leasehold break`"
        ),
        BadRecord::NewerFormat(_) | BadRecord::Spent => {
            format!("nothing was overwritten at {place}")
        }
    }
}

pub(crate) fn checked(name: &str) -> Result<Key, Error> {
    Key::new(name).map_err(|e| Error::new(ErrorKind::Invalid, e.to_string()))
}

pub(crate) fn stopped<T>() -> Result<T, Error> {
    Err(Error::new(ErrorKind::Unavailable, "the driver of this client has stopped"))
}

async fn look(shared: &Shared, key: Key) -> Result<Status, Error> {
    let reading = shared.backend.read(&key).await;
    let reading = reading.map_err(|e| shared.backend_error("read", &key, &e))?;
    let mut status = blank(shared, &key);
    let Some(versioned) = reading.record else { return Ok(status) };
    match Record::decode(&versioned.bytes) {
        Ok(record) => describe(shared, &versioned, record, &mut status),
        Err(bad) => {
            status.location = shared.backend.locate_state(&key, &versioned.version);
            status.state = State::Unreadable;
            status.problem = Some(bad.to_string());
        }
    }
    Ok(status)
}

/// What a name is used for, in a sentence.
pub(crate) fn used_as(kind: Kind) -> String {
    match kind {
        Kind::Once => "by `once`".into(),
        kind => format!("as a {kind}"),
    }
}

fn describe(shared: &Shared, versioned: &Versioned, record: Record, status: &mut Status) {
    status.kind = Some(record.kind);
    status.state = State::Free;
    status.problem = record.token.is_last().then(|| BadRecord::Spent.to_string());
    status.token = Some(record.token);
    if let Some(holder) = record.holder() {
        let told = Told { age: versioned.age, orphaned: versioned.orphaned, unix_ms: None };
        let left = silence::at_one_look(holder, &told, &shared.backend.facts());
        let is_over = left.is_some_and(|left| left.is_zero());
        status.state = if is_over { State::Expired } else { State::Held };
        let unix_ms = shared.env.now().unix_ms;
        let left = left.filter(|_| !is_over);
        status.holder = Some(HeldBy::new(holder, record.token, unix_ms, left));
    }
    status.past = record.past;
    status.outcome = record.outcome;
}
