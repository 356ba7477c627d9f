//! A backend that fails on request, to test what stands on a backend.
//!
//! ```
//! # use std::sync::Arc;
//! # use leasehold::backend::memory::MemoryBackend;
//! # use leasehold_conformance::{Call, Fault, Faulty};
//! # use leasehold_core::backend::Fate;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), leasehold::Error> {
//! let store = Arc::new(Faulty::new(Arc::new(MemoryBackend::default())));
//! let client = leasehold::Client::new(store.clone())?;
//!
//! store.nth(Call::Write, 1, Fault::LoseReply(Fate::Unknown)); // it lands, and nobody is told
//! let guard = client.mutex("x").acquire().await?; // reads it back
//!
//! store.always(Fault::Hang); // from now on the network swallows everything
//! # let _ = guard;
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::future::pending;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use leasehold_core::backend::{
    Backend, BackendError, BoxFuture, Expected, Facts, Fate, Key, Reading, Trouble, Version,
    Written,
};
use leasehold_core::record::Record;
use tokio::sync::{oneshot, watch};

/// A [`Backend`] around a [`Backend`] that does to each request what a script says. Without a
/// script it only counts.
///
/// `list` and `delete`, which the protocol never calls, pass through untouched.
pub struct Faulty {
    inner: Arc<dyn Backend>,
    facts: Option<Facts>,
    rules: Mutex<Vec<Rule>>,
    counts: watch::Sender<Counts>,
    late: Mutex<Vec<Late>>,
    is_deaf: AtomicBool,
}

type Rule = Box<dyn FnMut(&Request<'_>) -> Option<Fault> + Send>;

/// The two kinds of request that the protocol makes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Call {
    /// [`Backend::read`].
    Read,
    /// [`Backend::write`].
    Write,
}

/// A request, as a rule sees it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its kind.
    pub call: Call,
    /// Its number among the requests of its kind on this [`Faulty`], from 1.
    pub number: u64,
    /// The record's key.
    pub key: &'a Key,
    /// The bytes that it writes, if it is a write.
    pub bytes: Option<&'a [u8]>,
}

impl Request<'_> {
    /// The record that it writes, if it writes one that can be read.
    pub fn record(&self) -> Option<Record> {
        Record::decode(self.bytes?).ok()
    }
}

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It waits on its way until the gate opens. If its caller gives up before, it never arrives.
    Delay(Gate),
    /// It is done at once, and its answer waits until the gate opens.
    DelayReply(Gate),
    /// It is not done, and fails like this.
    Refuse(Fate, Trouble),
    /// It is done, and fails like this nevertheless.
    LoseReply(Fate),
    /// Somebody's hidden retry: it is sent twice, and the answer is that to the second copy,
    /// without the winning record. A write that landed is told as a conflict.
    Repeat,
    /// It is not done, and never answered.
    Hang,
    /// It is on its way for as long as the test likes, also after its caller gave up:
    /// [`Faulty::land_late`] does it. A read hangs.
    Late,
    /// A read is answered with this instead of the truth. A write is refused as unknown.
    Answer(Reading),
}

/// How many requests there were.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Reads that were asked for.
    pub reads: u64,
    /// Writes that were asked for.
    pub writes: u64,
    /// Reads that the store has answered, whether the caller heard it or not.
    pub reads_done: u64,
    /// Writes that the store has answered, whether the caller heard it or not.
    pub writes_done: u64,
    /// Writes that landed.
    pub landed: u64,
    /// Writes that are [`Fault::Late`] now.
    pub late: u64,
}

/// Something that opens once and stays open. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Default for Gate {
    fn default() -> Gate {
        Gate(Arc::new(watch::Sender::new(false)))
    }
}

impl Gate {
    /// A gate that is closed.
    pub fn new() -> Gate {
        Gate::default()
    }

    /// Opens it.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is open.
    pub async fn opened(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

struct Late {
    key: Key,
    expected: Expected,
    bytes: Vec<u8>,
    answer: oneshot::Sender<Result<Written, BackendError>>,
}

impl Faulty {
    /// Wraps a store. It works until it is told otherwise.
    pub fn new(inner: Arc<dyn Backend>) -> Faulty {
        Faulty {
            inner,
            facts: None,
            rules: Mutex::default(),
            counts: watch::Sender::new(Counts::default()),
            late: Mutex::default(),
            is_deaf: AtomicBool::new(false),
        }
    }

    /// Lets the store say something else about itself.
    pub fn with_facts(mut self, facts: Facts) -> Faulty {
        self.facts = Some(facts);
        self
    }

    /// Asks `rule` about every request from now on, after the rules that are there already: the
    /// first that names a fault decides.
    pub fn when(&self, rule: impl FnMut(&Request<'_>) -> Option<Fault> + Send + 'static) {
        lock(&self.rules).push(Box::new(rule));
    }

    /// Spoils the `n`-th request of this kind from now on, counted from 1.
    pub fn nth(&self, call: Call, n: u64, fault: Fault) {
        let counts = self.counts();
        let number = n + if call == Call::Read { counts.reads } else { counts.writes };
        self.when(move |r| (r.call == call && r.number == number).then(|| fault.clone()));
    }

    /// Spoils every request from now on.
    pub fn always(&self, fault: Fault) {
        self.when(move |_| Some(fault.clone()));
    }

    /// Forgets all rules: what comes from now on works. What hangs, hangs.
    pub fn clear(&self) {
        lock(&self.rules).clear();
    }

    /// Whether hints of changes are withheld, as from a host that is cut off.
    pub fn set_deaf(&self, is_deaf: bool) {
        self.is_deaf.store(is_deaf, Ordering::Relaxed);
    }

    /// Its host is gone, as far as the store can tell: nothing arrives and nothing is heard.
    pub fn cut(&self) {
        self.set_deaf(true);
        self.clear();
        self.always(Fault::Hang);
    }

    /// How many requests there were.
    pub fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Waits until the counts are as wanted: `until(|c| c.landed >= 3)` is the third write that
    /// landed.
    pub async fn until(&self, wanted: impl FnMut(&Counts) -> bool) -> Counts {
        let mut counts = self.counts.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        counts.wait_for(wanted).await.map_or_else(|_| self.counts(), |c| *c)
    }

    /// Does the writes that are [`Fault::Late`], in their order, and says how many of them landed.
    pub async fn land_late(&self) -> usize {
        let mut landed = 0;
        let late = std::mem::take(&mut *lock(&self.late));
        for Late { key, expected, bytes, answer } in late {
            self.count(|c| c.late -= 1);
            let written = self.pass_write(&key, &expected, &bytes).await;
            landed += usize::from(matches!(written, Ok(Written::Applied(_))));
            // Whoever asked may have gone long ago.
            drop(answer.send(written));
        }
        landed
    }

    fn count(&self, count: impl FnOnce(&mut Counts)) {
        self.counts.send_modify(count);
    }

    /// Counts a request and asks the rules about it.
    fn fault(&self, call: Call, key: &Key, bytes: Option<&[u8]>) -> Option<Fault> {
        let mut number = 0;
        self.count(|counts| {
            let counted = match call {
                Call::Read => &mut counts.reads,
                Call::Write => &mut counts.writes,
            };
            *counted += 1;
            number = *counted;
        });
        let request = Request { call, number, key, bytes };
        lock(&self.rules).iter_mut().find_map(|rule| rule(&request))
    }

    async fn pass_read(&self, key: &Key) -> Result<Reading, BackendError> {
        let reading = self.inner.read(key).await;
        self.count(|c| c.reads_done += 1);
        reading
    }

    async fn pass_write(
        &self,
        key: &Key,
        expected: &Expected,
        bytes: &[u8],
    ) -> Result<Written, BackendError> {
        let written = self.inner.write(key, expected, bytes).await;
        self.count(|c| {
            c.writes_done += 1;
            c.landed += u64::from(matches!(written, Ok(Written::Applied(_))));
        });
        written
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failure<T>(fate: Fate, trouble: Trouble) -> Result<T, BackendError> {
    let message = match fate {
        Fate::NotSent => "a fault: it was not sent",
        Fate::Throttled { .. } => "a fault: too many requests",
        Fate::Unknown => "a fault: no answer",
    };
    Err(BackendError { fate, trouble, message: message.into() })
}

impl Backend for Faulty {
    fn facts(&self) -> Facts {
        self.facts.unwrap_or_else(|| self.inner.facts())
    }

    fn url(&self) -> String {
        self.inner.url()
    }

    fn locate(&self, key: &Key) -> String {
        self.inner.locate(key)
    }

    fn read<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Reading, BackendError>> {
        Box::pin(async move {
            match self.fault(Call::Read, key, None) {
                None => self.pass_read(key).await,
                Some(Fault::Delay(gate)) => {
                    gate.opened().await;
                    self.pass_read(key).await
                }
                Some(Fault::DelayReply(gate)) => {
                    let reading = self.pass_read(key).await;
                    gate.opened().await;
                    reading
                }
                Some(Fault::Refuse(fate, trouble)) => failure(fate, trouble),
                Some(Fault::LoseReply(fate)) => {
                    let _ = self.pass_read(key).await;
                    failure(fate, Trouble::Unavailable)
                }
                Some(Fault::Repeat) => {
                    let _ = self.pass_read(key).await;
                    self.pass_read(key).await
                }
                Some(Fault::Hang | Fault::Late) => pending().await,
                Some(Fault::Answer(reading)) => Ok(reading),
            }
        })
    }

    fn write<'a>(
        &'a self,
        key: &'a Key,
        expected: &'a Expected,
        bytes: &'a [u8],
    ) -> BoxFuture<'a, Result<Written, BackendError>> {
        Box::pin(async move {
            match self.fault(Call::Write, key, Some(bytes)) {
                None => self.pass_write(key, expected, bytes).await,
                Some(Fault::Delay(gate)) => {
                    gate.opened().await;
                    self.pass_write(key, expected, bytes).await
                }
                Some(Fault::DelayReply(gate)) => {
                    let written = self.pass_write(key, expected, bytes).await;
                    gate.opened().await;
                    written
                }
                Some(Fault::Refuse(fate, trouble)) => failure(fate, trouble),
                Some(Fault::LoseReply(fate)) => {
                    let _ = self.pass_write(key, expected, bytes).await;
                    failure(fate, Trouble::Unavailable)
                }
                Some(Fault::Repeat) => {
                    let _ = self.pass_write(key, expected, bytes).await;
                    let second = self.pass_write(key, expected, bytes).await;
                    second.map(|written| match written {
                        Written::Conflict(_) => Written::Conflict(None),
                        applied @ Written::Applied(_) => applied,
                    })
                }
                Some(Fault::Hang) => pending().await,
                Some(Fault::Late) => {
                    let (answer, answered) = oneshot::channel();
                    let (key, expected, bytes) = (key.clone(), expected.clone(), bytes.to_vec());
                    lock(&self.late).push(Late { key, expected, bytes, answer });
                    self.count(|c| c.late += 1);
                    match answered.await {
                        Ok(written) => written,
                        Err(_) => pending().await,
                    }
                }
                Some(Fault::Answer(_)) => failure(Fate::Unknown, Trouble::Unavailable),
            }
        })
    }

    fn delete<'a>(
        &'a self,
        key: &'a Key,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        self.inner.delete(key, version)
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Key>, BackendError>> {
        self.inner.list(prefix)
    }

    fn changed<'a>(&'a self, key: &'a Key, since: &'a Expected) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.inner.changed(key, since).await;
            if self.is_deaf.load(Ordering::Relaxed) {
                pending::<()>().await;
            }
        })
    }

    fn liveness(&self) -> Option<PathBuf> {
        self.inner.liveness()
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({:?}, {:?})", self.inner, self.counts())
    }
}
