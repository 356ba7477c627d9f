//! A mutex: one holder at a time, everywhere.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use leasehold_core::backend::Key;
use leasehold_core::deadline::{self, TAKEOVER_DELAY_MAX, TTL_DEFAULT, TTL_MAX};
use leasehold_core::lease::{Patience, Settings};
use leasehold_core::mutex;

use crate::client::Client;
use crate::driver::{self, Late, Order, Outcome};
use crate::env::host_label;
use crate::error::{Error, ErrorKind};
use crate::guard::Guard;
use crate::holder::{HeldBy, Span};
use crate::once::Failed;

/// A lock by name. Made by [`Client::mutex`]; acquiring it any number of times, one after another or
/// at once, is fine: every acquisition is a rival of every other, also within one process.
#[derive(Clone)]
#[must_use = "nothing is acquired before one of its methods is awaited"]
pub struct Mutex {
    pub(crate) client: Client,
    pub(crate) name: String,
    ttl: Duration,
    takeover_delay: Duration,
    timeout: Option<Duration>,
    label: String,
    pub(crate) on_wait: Option<OnWait>,
}

pub(crate) type OnWait = Arc<dyn Fn(&Waiting) + Send + Sync>;

/// What an attempt that does not wait came to. That another holds is an outcome, not an error.
#[derive(Debug)]
#[must_use = "it may hold the lock, which is released as soon as it is dropped"]
pub enum Attempt {
    /// It is ours.
    Acquired(Guard),
    /// Another has it.
    Held(HeldBy),
}

/// What a waiter is told while it waits.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Waiting {
    /// Who has the lock, where it is known.
    pub held_by: Option<HeldBy>,
    /// For how long we have waited.
    pub waited: Duration,
    /// Trouble with the store, while there is any.
    pub trouble: Option<String>,
    /// `once`: why it failed last, while it is too early for the next run.
    pub failed: Option<Failed>,
}

impl Waiting {
    pub(crate) fn new(held_by: Option<HeldBy>, waited: Duration, trouble: Option<String>) -> Self {
        Waiting { held_by, waited, trouble, failed: None }
    }
}

impl Mutex {
    pub(crate) fn new(client: Client, name: String) -> Mutex {
        Mutex {
            client,
            name,
            ttl: TTL_DEFAULT,
            takeover_delay: Duration::ZERO,
            timeout: None,
            label: host_label(),
            on_wait: None,
        }
    }

    /// How long the lease lasts unrenewed, and so how long others wait at most after this process
    /// died: 30 s unless said, at least 100 ms or ten times the backend's least time between two
    /// writes, at most 24 hours. It is renewed every third of it, and the holder stops believing at
    /// four fifths.
    pub fn with_ttl(mut self, ttl: Duration) -> Mutex {
        self.ttl = ttl;
        self
    }

    /// How long to wait for the lock at most. Without it, for ever. With zero, one look.
    pub fn with_timeout(mut self, timeout: Duration) -> Mutex {
        self.timeout = Some(timeout);
        self
    }

    /// Who we are, for people who ask who holds it: `user@host:pid` unless said. Cut to 256 bytes.
    pub fn with_label(mut self, label: impl Into<String>) -> Mutex {
        self.label = label.into();
        self
    }

    /// Keeps others out for this long after our lease ran out (not after a release): for resources
    /// that cannot check tokens. At most a minute.
    pub fn with_takeover_delay(mut self, delay: Duration) -> Mutex {
        self.takeover_delay = delay;
        self
    }

    /// Calls `f` while waiting: when the wait begins, when the holder changes, and now and then. It
    /// runs where the wait is awaited, and what it missed while it blocked is skipped.
    pub fn on_wait(mut self, f: impl Fn(&Waiting) + Send + Sync + 'static) -> Mutex {
        self.on_wait = Some(Arc::new(f));
        self
    }

    /// Waits for the lock and takes it.
    ///
    /// Fails with [`Timeout`](ErrorKind::Timeout) when [`with_timeout`](Mutex::with_timeout) is over;
    /// with `Denied`, `Invalid` and `Corrupt` at once; with `Unavailable` when the store did not
    /// answer for a whole ttl.
    ///
    /// Dropping the future is safe at any moment: what is under way is settled by the driver, and a
    /// lock that it gets after all is released.
    pub async fn acquire(&self) -> Result<Guard, Error> {
        let patience = self.patience();
        match self.begin(patience).await? {
            Attempt::Acquired(guard) => Ok(guard),
            Attempt::Held(holder) => Err(self.timed_out(Some(&holder))),
        }
    }

    /// Takes the lock if it is free now, and says who holds it otherwise. Never waits, but for
    /// the store's answers.
    ///
    /// A lock whose holder died can be acquired only when its lease is over, and where the store has no
    /// clock one look cannot tell. A client that tries again and again remembers what it saw.
    pub async fn try_acquire(&self) -> Result<Attempt, Error> {
        self.begin(Patience::Try).await
    }

    /// Waits for the lock, runs `section` with it, and releases. The section is *dropped*, at its
    /// next await, when the lock is lost, and the result is then [`Lost`](ErrorKind::Lost): nothing
    /// that it returns in that moment counts.
    ///
    /// A section that blocks its thread cannot be stopped; it can ask
    /// [`Guard::is_held`] and give [`Guard::token`] to what it writes to.
    pub async fn run<T>(&self, section: impl AsyncFnOnce(&Guard) -> T) -> Result<T, Error> {
        let guard = self.acquire().await?;
        let done = tokio::select! {
            biased;
            lost = guard.lost() => return Err(lost),
            done = section(&guard) => done,
        };
        // The section ended by itself, but perhaps it ran past its deadline without an await.
        if let Some(lost) = guard.over() {
            planted!(SectionUnchecked: return Ok(done));
            return Err(lost);
        }
        guard.release().await?;
        Ok(done)
    }

    /// Waits until the lock is free, without taking it; within
    /// [`with_timeout`](Mutex::with_timeout), if given. A lease that is over counts as free. Whether
    /// it still is free when this returns, nobody can know.
    pub async fn wait_until_free(&self) -> Result<(), Error> {
        let patience = self.patience();
        match self.perform(patience, true).await? {
            Outcome::Held(holder) => Err(self.timed_out(Some(&holder))),
            Outcome::TimeIsUp(why) => Err(self.too_late(why)),
            Outcome::Free | Outcome::Granted(_) => Ok(()),
            Outcome::Answer(never) => match never {},
        }
    }

    async fn begin(&self, mut patience: Patience) -> Result<Attempt, Error> {
        let env = &self.client.0.env;
        let began = env.now().moment;
        loop {
            let outcome = self.perform(patience, false).await?;
            planted!(GrantUnchecked: if let Outcome::Granted(grant) = outcome {
                return Ok(Attempt::Acquired(grant.guard)); });
            match outcome {
                // Checked once more on this side of the wait: between the grant and this moment
                // the host may have slept.
                Outcome::Granted(grant) if grant.guard.is_held() => {
                    return Ok(Attempt::Acquired(grant.guard));
                }
                Outcome::Granted(_) | Outcome::Free => {
                    if let Patience::AtMost(_) = patience {
                        let waited = env.now().moment.longest_since(began);
                        let left = self.timeout.unwrap_or_default().saturating_sub(waited);
                        patience = Patience::AtMost(left);
                    }
                }
                Outcome::Held(holder) => return Ok(Attempt::Held(holder)),
                Outcome::TimeIsUp(why) => return Err(self.too_late(why)),
                Outcome::Answer(never) => match never {},
            }
        }
    }

    async fn perform(
        &self,
        patience: Patience,
        look: bool,
    ) -> Result<Outcome<mutex::Mutex>, Error> {
        let (key, settings) = self.checked()?;
        let order = Order { key, primitive: mutex::Mutex, settings, patience, look, news: None };
        driver::perform(&self.client, order, self.on_wait.as_ref()).await
    }

    pub(crate) fn patience(&self) -> Patience {
        match self.timeout {
            None => Patience::Forever,
            Some(Duration::ZERO) => Patience::Try,
            Some(timeout) => Patience::AtMost(timeout),
        }
    }

    /// Everything that can be wrong with a call, found before anything is sent.
    pub(crate) fn checked(&self) -> Result<(Key, Settings), Error> {
        let invalid = |why: String| Error::new(ErrorKind::Invalid, why);
        let key = Key::new(&*self.name).map_err(|e| invalid(e.to_string()))?;
        let facts = self.client.0.backend.facts();
        let least = deadline::ttl_min(facts.least_write_interval);
        if self.ttl < least || self.ttl > TTL_MAX {
            return Err(invalid(format!(
                "a ttl of {:?} cannot be used for {key:?}: {} takes {least:?} to 24 hours",
                self.ttl,
                self.client.url(),
            )));
        }
        if self.takeover_delay > TAKEOVER_DELAY_MAX {
            return Err(invalid(format!(
                "a takeover delay of {:?} cannot be used for {key:?}: at most a minute is allowed",
                self.takeover_delay
            )));
        }
        let settings = Settings {
            // Whole milliseconds, as in the record, so that both sides count the same.
            ttl: whole_millis(self.ttl),
            takeover_delay: whole_millis(self.takeover_delay),
            label: self.label.clone(),
            facts,
        };
        Ok((key, settings))
    }

    pub(crate) fn too_late(&self, why: Late) -> Error {
        Error::new(ErrorKind::Timeout, format!("{}: {why}", self.timed_out(None)))
    }

    pub(crate) fn timed_out(&self, holder: Option<&HeldBy>) -> Error {
        let (name, url) = (&self.name, self.client.url());
        let within = match self.timeout {
            Some(timeout) if !timeout.is_zero() => format!(" within {}", Span(timeout)),
            _ => String::new(),
        };
        let held = holder.map(|h| format!(": held by {h}")).unwrap_or_default();
        Error::new(ErrorKind::Timeout, format!("did not get {name:?} at {url}{within}{held}"))
    }
}

impl fmt::Debug for Mutex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mutex({:?} at {}, ttl {:?})", self.name, self.client.url(), self.ttl)
    }
}

fn whole_millis(span: Duration) -> Duration {
    Duration::from_millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}
