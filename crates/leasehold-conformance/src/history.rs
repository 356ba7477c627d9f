//! What a backend was asked and what it answered, so that its answers can be held against each other.
//!
//! A [`Recorder`] around a backend writes a [`History`], and [`History::check`] says whether a
//! linearizable register can have answered like that. It needs nothing but the backend, so it works
//! on any store, also a real one with a real network before it:
//!
//! ```
//! # use std::sync::Arc;
//! # use leasehold::backend::memory::MemoryBackend;
//! # use leasehold_conformance::{History, Recorder, Refusals};
//! # use leasehold_core::backend::{Backend, Expected, Key};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # let store = Arc::new(MemoryBackend::default());
//! let history = History::default();
//! let ours = Recorder::new("ours", store.clone(), &history);
//! let theirs = Recorder::new("theirs", store, &history);
//! # let name = Key::new("never-used-before").unwrap();
//! // Whatever many tasks do with them at once, on a name that was never used:
//! let _ = ours.write(&name, &Expected::Absent, b"one").await;
//! let _ = theirs.read(&name).await;
//!
//! history.check(Refusals::Prove).unwrap_or_else(|contradiction| panic!("{contradiction}"));
//! # }
//! ```

mod check;
mod compile;
mod line;
mod wire;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use check::{Contradiction, Refusals, Summary};
use leasehold::env::{Env, Host};
use leasehold_core::backend::{
    Backend, BackendError, BoxFuture, Expected, Facts, Fate, Key, Reading, Version, Versioned,
    Written,
};

/// What was asked and answered, by any number of [`Recorder`]s. Clones are the same history.
#[derive(Clone, Default, Debug)]
pub struct History(Arc<Mutex<Vec<Operation>>>);

/// One call and its answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    /// Who asked: a word for the reader of a contradiction.
    pub client: String,
    /// Under which name.
    pub key: Key,
    /// What was asked.
    pub asked: Asked,
    /// When it was asked, on the clock of this host that all its processes share.
    pub called: Duration,
    /// When it was answered, and what. `None` where it is unknown what became of it: it failed, its
    /// caller gave up, or it is still under way.
    pub told: Option<(Duration, Told)>,
}

/// What a backend can be asked that concerns one record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// [`Backend::read`].
    Read,
    /// [`Backend::write`].
    Write {
        /// The state that it is conditioned on.
        expected: Expected,
        /// What it writes. Different from what all others write.
        bytes: Vec<u8>,
    },
    /// [`Backend::delete`].
    Delete {
        /// The state that it is conditioned on.
        version: Version,
    },
}

/// What a backend can answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// A read shows this.
    Shown(Option<Seen>),
    /// A write or a delete landed, and this came of it.
    Landed(Expected),
    /// A write or a delete found another state than it expected: this one, where it is told.
    Refused(Option<Seen>),
    /// It never took effect and never will.
    NotSent,
}

/// A state of a record, as somebody was shown it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Its version.
    pub version: Version,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl From<Versioned> for Seen {
    fn from(state: Versioned) -> Seen {
        Seen { version: state.version, bytes: state.bytes }
    }
}

impl History {
    /// What happened so far, in the order of the calls' recording.
    pub fn operations(&self) -> Vec<Operation> {
        self.lock().clone()
    }

    /// Adds what happened elsewhere: in another process of this host.
    pub fn push(&self, operation: Operation) {
        self.lock().push(operation);
    }

    fn call(&self, client: &str, key: &Key, asked: Asked) -> usize {
        let (client, key) = (client.to_owned(), key.clone());
        let mut operations = self.lock();
        operations.push(Operation { client, key, asked, called: now(), told: None });
        operations.len() - 1
    }

    fn answer(&self, operation: usize, told: Option<Told>) {
        // The clock first: waiting for the others' turn is no part of the answer's time.
        let now = now();
        self.lock()[operation].told = told.map(|told| (now, told));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Operation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FromIterator<Operation> for History {
    fn from_iter<I: IntoIterator<Item = Operation>>(operations: I) -> History {
        History(Arc::new(Mutex::new(operations.into_iter().collect())))
    }
}

/// One clock for all processes of the host, so that histories of several can be put together.
fn now() -> Duration {
    Host.now().moment.mono
}

/// A [`Backend`] around a [`Backend`] that notes what is asked and answered, and changes nothing.
#[derive(Debug)]
pub struct Recorder {
    client: String,
    inner: Arc<dyn Backend>,
    history: History,
}

impl Recorder {
    /// Notes into `history` what `client` asks `inner`.
    pub fn new(client: impl Into<String>, inner: Arc<dyn Backend>, history: &History) -> Recorder {
        Recorder { client: client.into(), inner, history: history.clone() }
    }

    /// Notes the answer. Where the caller gives up before there is one, the outcome stays unknown.
    fn note<T>(
        &self,
        operation: usize,
        answer: &Result<T, BackendError>,
        told: impl FnOnce(&T) -> Told,
    ) {
        let told = match answer {
            Ok(answer) => Some(told(answer)),
            Err(BackendError { fate: Fate::NotSent, .. }) => Some(Told::NotSent),
            Err(_) => None,
        };
        self.history.answer(operation, told);
    }
}

impl Backend for Recorder {
    fn facts(&self) -> Facts {
        self.inner.facts()
    }

    fn url(&self) -> String {
        self.inner.url()
    }

    fn locate(&self, key: &Key) -> String {
        self.inner.locate(key)
    }

    fn locate_state(&self, key: &Key, version: &Version) -> String {
        self.inner.locate_state(key, version)
    }

    fn read<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Reading, BackendError>> {
        Box::pin(async move {
            let operation = self.history.call(&self.client, key, Asked::Read);
            let answer = self.inner.read(key).await;
            self.note(operation, &answer, |a| Told::Shown(a.record.clone().map(Seen::from)));
            answer
        })
    }

    fn write<'a>(
        &'a self,
        key: &'a Key,
        expected: &'a Expected,
        bytes: &'a [u8],
    ) -> BoxFuture<'a, Result<Written, BackendError>> {
        Box::pin(async move {
            let asked = Asked::Write { expected: expected.clone(), bytes: bytes.to_vec() };
            let operation = self.history.call(&self.client, key, asked);
            let answer = self.inner.write(key, expected, bytes).await;
            self.note(operation, &answer, |written| match written {
                Written::Applied(version) => Told::Landed(Expected::Version(version.clone())),
                Written::Conflict(state) => Told::Refused(state.clone().map(Seen::from)),
            });
            answer
        })
    }

    fn delete<'a>(
        &'a self,
        key: &'a Key,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            let asked = Asked::Delete { version: version.clone() };
            let operation = self.history.call(&self.client, key, asked);
            let answer = self.inner.delete(key, version).await;
            self.note(operation, &answer, |deleted| match deleted {
                true => Told::Landed(Expected::Absent),
                false => Told::Refused(None),
            });
            answer
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Key>, BackendError>> {
        self.inner.list(prefix)
    }

    fn changed<'a>(&'a self, key: &'a Key, since: &'a Expected) -> BoxFuture<'a, ()> {
        self.inner.changed(key, since)
    }

    fn liveness(&self) -> Option<PathBuf> {
        self.inner.liveness()
    }
}
