//! A client: a backend with an environment, and one driver for everything it does.

use std::collections::HashMap;
use std::future::Future;
use std::mem;
use std::path::PathBuf;
#[cfg(feature = "file")]
use std::sync::OnceLock;
use std::sync::{Arc, Mutex, PoisonError};

use leasehold_core::backend::{Backend, BackendError, BoxFuture, Key};
use leasehold_core::lease::{Memory, Watch};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::env::{Env, Host};
use crate::error::{Error, ErrorKind};
use crate::holder::HeldBy;
use crate::mutex::Mutex as MutexHandle;
use crate::once::Once;
#[cfg(feature = "file")]
use crate::sightings::Sightings;
use crate::status::stopped;

/// A connection to a store, from which locks are made. Cheap to clone; all clones share one driver.
///
/// The driver runs on a thread of its own and outlives the client while guards are alive or
/// releases are under way. A process that ends at once after dropping a guard may end before the
/// release was sent: [`close`](Client::close) waits for it.
#[derive(Clone, Debug)]
pub struct Client(pub(crate) Arc<Shared>);

/// What a client's locks share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) env: Arc<dyn Env>,
    /// The process that made it.
    pub(crate) process: u32,
    jobs: mpsc::UnboundedSender<BoxFuture<'static, ()>>,
    lanes: Mutex<HashMap<Key, Arc<Lane>>>,
    /// How many acquisitions nobody waits for any more still have something to say to the store.
    leaving: watch::Sender<usize>,
    #[cfg(feature = "file")]
    sightings: OnceLock<Option<Arc<Sightings>>>,
}

/// The acquisitions of one name in one process: they queue here, first come first served, and only
/// the first in the queue talks to the store.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) turn: Arc<Semaphore>,
    pub(crate) memory: Mutex<Memory>,
    /// Who has the lock, as far as this process knows, for the tasks that queue.
    pub(crate) holder: watch::Sender<Option<HeldBy>>,
}

/// More names than this in one client, and those not in use are forgotten.
const LANES_KEPT: usize = 1024;

impl Client {
    /// A client of this backend, on this host.
    ///
    /// [`connect`](crate::connect) is the usual way; this one is for a backend of your own. Fails
    /// only if the threads that it needs cannot be started: the driver's, one for what blocks, and one
    /// per process that watches deadlines.
    pub fn new(backend: Arc<dyn Backend>) -> Result<Client, Error> {
        Client::with_env(backend, Arc::new(Host))
    }

    /// A client with clocks, randomness and a thread of your choice: for tests on virtual time.
    pub fn with_env(backend: Arc<dyn Backend>, env: Arc<dyn Env>) -> Result<Client, Error> {
        let (jobs, queue) = mpsc::unbounded_channel();
        env.run(Box::pin(work(queue))).map_err(|e| {
            let why = "a lock needs threads of its own, and they cannot be started";
            Error::new(ErrorKind::Unavailable, format!("{why}: {e}"))
        })?;
        let process = env.process();
        Ok(Client(Arc::new(Shared {
            backend,
            env,
            process,
            jobs,
            lanes: Mutex::default(),
            leaving: watch::Sender::new(0),
            #[cfg(feature = "file")]
            sightings: OnceLock::new(),
        })))
    }

    /// Keeps what this process sees of a holder for the next process of this user on this host, in the
    /// first of these directories that belongs to the user or can be made.
    ///
    /// Where nothing else tells how old a lease is, a holder must be seen without a sign of life for a
    /// whole ttl before its lock is taken over. A process that tries once, or waits for less than that,
    /// never sees it for so long; with this, a try goes on where the try before ended. It is off unless
    /// asked for, because a process that lives as long as its locks matter remembers by itself.
    ///
    /// What is kept holds for one boot of one host. The directories may be shared by hosts, be lost, or
    /// not be writable.
    #[cfg(feature = "file")]
    #[must_use]
    pub fn remembering(self, directories: Vec<PathBuf>) -> Client {
        self.0.sightings.get_or_init(|| Sightings::new(directories).map(Arc::new));
        self
    }

    /// The mutex of this name. Nothing is sent before it is acquired; a name that cannot be used is
    /// an error then.
    pub fn mutex(&self, name: impl Into<String>) -> MutexHandle {
        MutexHandle::new(self.clone(), name.into())
    }

    /// The run-once of this name. Nothing is sent before it is run; a name that cannot be
    /// used is an error then.
    pub fn once(&self, name: impl Into<String>) -> Once {
        Once::new(self.clone(), name.into())
    }

    /// Where the records are, as a URL without secrets.
    pub fn url(&self) -> String {
        self.0.backend.url()
    }

    /// See [`Backend::liveness`].
    pub fn liveness(&self) -> Option<PathBuf> {
        self.0.backend.liveness()
    }

    /// Waits until every release is settled that is under way without a guard: of dropped guards,
    /// of cancelled acquisitions, and of those that ended without the lock while a write was on its
    /// way. Guards that are still alive are not waited for. In a forked child there is nothing to wait
    /// for.
    pub async fn close(self) {
        if self.0.is_forked() {
            return;
        }
        let mut leaving = self.0.leaving.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = leaving.wait_for(|n| *n == 0).await;
    }
}

impl Shared {
    /// Runs a job on the driver.
    pub(crate) fn spawn(&self, job: impl Future<Output = ()> + Send + 'static) {
        // Fails only if the driver's thread is gone, and then nothing can be done about anything.
        let _ = self.jobs.send(Box::pin(job));
    }

    /// Runs a job on the driver and waits for its result. Dropping the future lets the job go on.
    pub(crate) async fn on_driver<T: Send + 'static>(
        &self,
        job: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.check_process()?;
        let (tell, told) = oneshot::channel();
        self.spawn(async move {
            let _ = tell.send(job.await);
        });
        told.await.unwrap_or_else(|_| stopped())
    }

    /// Whether this is a fork of the process that made the client. It has none of the client's threads:
    /// whatever waits for them waits for ever.
    pub(crate) fn is_forked(&self) -> bool {
        self.process != self.env.process()
    }

    pub(crate) fn check_process(&self) -> Result<(), Error> {
        if self.is_forked() { Err(self.forked(ErrorKind::Invalid)) } else { Ok(()) }
    }

    /// What a fork is told.
    pub(crate) fn forked(&self, kind: ErrorKind) -> Error {
        let why = format!(
            "this is a fork of process {}, which made this client of {} and keeps it and its \
             locks: make another client here",
            self.process,
            self.backend.url(),
        );
        Error::new(kind, why)
    }

    pub(crate) fn lane(&self, key: &Key) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.len() > LANES_KEPT {
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        }
        let lane = lanes.entry(key.clone()).or_insert_with(|| {
            Arc::new(Lane {
                turn: Arc::new(Semaphore::new(1)),
                memory: Mutex::default(),
                holder: watch::Sender::new(None),
            })
        });
        Arc::clone(lane)
    }

    /// What another process saw under a name.
    pub(crate) async fn recall(&self, key: &Key) -> Watch {
        #[cfg(feature = "file")]
        if let Some(Some(sightings)) = self.sightings.get() {
            return sightings.recall(&*self.env, self.backend.url(), key.clone()).await;
        }
        let _ = key;
        Watch::default()
    }

    /// Keeps for the next process what is seen under a name.
    pub(crate) async fn note(&self, key: &Key, watch: Watch) {
        #[cfg(feature = "file")]
        if let Some(Some(sightings)) = self.sightings.get() {
            let place = (self.backend.url(), key.clone());
            return sightings.note(&*self.env, place, watch).await;
        }
        let _ = (key, watch);
    }

    pub(crate) fn leaving(&self) -> Leaving {
        self.leaving.send_modify(|n| *n += 1);
        Leaving(self.leaving.clone())
    }

    /// A backend's failure as a user sees it.
    pub(crate) fn backend_error(&self, doing: &str, key: &Key, error: &BackendError) -> Error {
        let place = self.backend.url();
        Error::new(error.trouble.into(), format!("cannot {doing} {key:?} at {place}: {error}"))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.is_forked() {
            // What they wake at their end is in the other process, and a lock on the way there may be
            // one that a thread of that process held when this one was made.
            mem::forget((self.jobs.clone(), Arc::clone(&self.backend)));
        }
    }
}

/// The message "nobody wants this acquisition any more". It counts as unsettled until it is dropped:
/// by the driver when all is said to the store, or by the channel if there is no driver.
#[derive(Debug)]
pub(crate) struct Leaving(watch::Sender<usize>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n -= 1);
    }
}

/// The driver: runs jobs until nobody can give one any more and all are done.
async fn work(mut queue: mpsc::UnboundedReceiver<BoxFuture<'static, ()>>) {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            // Nothing here is left to chance, and what has ended does not pile up.
            biased;
            Some(_) = running.join_next() => {}
            job = queue.recv() => match job {
                Some(job) => drop(running.spawn(job)),
                None => break,
            },
        }
    }
    while running.join_next().await.is_some() {}
}
