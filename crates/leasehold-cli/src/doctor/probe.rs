//! Requests as the doctor makes them: each bounded in time and measured, each outcome settled by reading,
//! and everything that was made is taken away again.

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use leasehold::core::backend::{
    Backend, BackendError, Expected, Fate, Key, Reading, Trouble, Version, Versioned, Written,
};
use leasehold::core::deadline::Moment;
use leasehold::env::Env;

use super::figures::{Figures, Told};

/// How long one request may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How often a request is made when the store asks for patience.
const TRIES_PATIENT: u32 = 8;

/// How often a request is made when it gets no answer.
const TRIES: u32 = 2;

/// Why the exam cannot go on: the store did not do what was asked, and did not lie either.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Stopped {
    pub(super) trouble: Trouble,
    /// What was tried, where, and what came of it.
    pub(super) message: String,
}

/// A write that landed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Landed {
    pub(super) bytes: Vec<u8>,
    pub(super) version: Version,
}

impl Landed {
    /// Whether a read shows exactly this.
    pub(super) fn is(&self, record: Option<&Versioned>) -> bool {
        record.is_some_and(|r| r.bytes == self.bytes && r.version == self.version)
    }
}

/// Something of ours that could not be removed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Left {
    /// Where it is, as a person would look it up.
    pub(super) place: String,
    pub(super) why: String,
}

/// The store under examination, and what has been seen of it.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) env: Arc<dyn Env>,
    pub(super) figures: Figures,
    id: u128,
    names: Vec<Key>,
    contents: u64,
    /// The newest version of each name, as far as we know.
    newest: HashMap<Key, Version>,
    /// When each name was written to last.
    touched: HashMap<Key, Moment>,
    /// When the write was sent that made a version: no state can be older.
    sent: HashMap<Version, Moment>,
}

impl Probe {
    pub(super) fn new(backend: Arc<dyn Backend>, env: Arc<dyn Env>) -> Probe {
        let id = env.unique();
        Probe {
            backend,
            env,
            figures: Figures::default(),
            id,
            names: vec![],
            contents: 0,
            newest: HashMap::new(),
            touched: HashMap::new(),
            sent: HashMap::new(),
        }
    }

    /// A name that nobody uses. What is stored under it is removed by [`Probe::tidy`].
    pub(super) fn name(&mut self) -> Result<Key, Stopped> {
        let name = format!("leasehold-doctor/{:032x}-{}", self.id, self.names.len() + 1);
        let key = Key::new(name)
            .map_err(|e| Stopped { trouble: Trouble::Invalid, message: e.to_string() })?;
        self.names.push(key.clone());
        Ok(key)
    }

    /// What has never been written before, readable for a person who finds it. It says that nobody holds
    /// it, so that nothing is kept in memory of its writer.
    pub(super) fn content(&mut self) -> Vec<u8> {
        self.contents += 1;
        let (id, n) = (self.id, self.contents);
        format!("{{\"leasehold-doctor\":\"{id:032x}\",\"write\":{n},\"holders\":[]}}").into()
    }

    /// Reads the newest state.
    pub(super) async fn read(&mut self, key: &Key) -> Result<Option<Versioned>, Stopped> {
        let mut tries = 0;
        loop {
            let before = self.env.now();
            match attempt(&*self.env, self.backend.read(key)).await {
                Ok(reading) => {
                    let after = self.env.now();
                    self.figures.reads.push(after.moment.longest_since(before.moment));
                    self.look_at_clock(&reading, before.unix_ms, after.unix_ms);
                    return Ok(reading.record);
                }
                Err(error) => self.again(&mut tries, "read", key, &error).await?,
            }
        }
    }

    fn look_at_clock(&mut self, reading: &Reading, before: u64, after: u64) {
        if let Some(store) = reading.unix_ms {
            self.figures.told.push(Told { before, after, store });
        }
        let age = reading.record.as_ref().and_then(|r| Some((r.age?, self.sent.get(&r.version)?)));
        if let Some((age, &sent)) = age {
            self.figures.ages.push((age, self.env.now().moment.longest_since(sent)));
        }
    }

    /// Writes something new on this condition; `None` if that was refused. An outcome that is not
    /// known is settled by reading.
    pub(super) async fn write(
        &mut self,
        key: &Key,
        expected: &Expected,
    ) -> Result<Option<Landed>, Stopped> {
        let bytes = self.content();
        let mut tries = 0;
        let mut is_unsure = false;
        loop {
            self.pace(key).await;
            self.touch(key);
            let sent = self.env.now().moment;
            let written = attempt(&*self.env, self.backend.write(key, expected, &bytes)).await;
            self.touch(key);
            let is_refused = match written {
                Ok(Written::Applied(version)) => {
                    self.figures.writes.push(self.env.now().moment.longest_since(sent));
                    return Ok(Some(self.landed(key, Landed { bytes, version }, sent)));
                }
                Ok(Written::Conflict(_)) if !is_unsure => return Ok(None),
                Ok(Written::Conflict(_)) => true,
                Err(error) => {
                    is_unsure |= error.fate != Fate::NotSent;
                    self.again(&mut tries, "write", key, &error).await?;
                    false
                }
            };
            let stored = self.read(key).await?;
            if let Some(record) = stored.as_ref().filter(|record| record.bytes == bytes) {
                let version = record.version.clone();
                return Ok(Some(self.landed(key, Landed { bytes, version }, sent)));
            }
            // With another state stored than was asked for, no write of ours can land any more.
            if is_refused || state(stored.as_ref()) != *expected {
                return Ok(None);
            }
        }
    }

    /// Removes the record if it is still at this version; whether it was.
    pub(super) async fn delete(&mut self, key: &Key, version: &Version) -> Result<bool, Stopped> {
        let mut tries = 0;
        let mut is_unsure = false;
        loop {
            self.pace(key).await;
            let deleted = attempt(&*self.env, self.backend.delete(key, version)).await;
            self.touch(key);
            match deleted {
                Ok(false) if is_unsure => return Ok(self.read(key).await?.is_none()),
                Ok(deleted) => return Ok(deleted),
                Err(error) => {
                    is_unsure |= error.fate != Fate::NotSent;
                    self.again(&mut tries, "delete", key, &error).await?;
                }
            }
        }
    }

    /// Remembers what landed and when it was sent.
    pub(super) fn landed(&mut self, key: &Key, landed: Landed, sent: Moment) -> Landed {
        self.newest.insert(key.clone(), landed.version.clone());
        self.sent.insert(landed.version.clone(), sent);
        landed
    }

    /// Waits until the store takes another write to this name.
    pub(super) async fn pace(&self, key: &Key) {
        let interval = self.backend.facts().least_write_interval;
        if let Some(&touched) = self.touched.get(key).filter(|_| !interval.is_zero()) {
            // A tenth more, because the store counts from when a write arrives.
            let due = interval + interval / 10;
            let gone = self.env.now().moment.shortest_since(touched);
            self.env.sleep(due.saturating_sub(gone)).await;
        }
    }

    /// Remembers that a name was written to now.
    pub(super) fn touch(&mut self, key: &Key) {
        self.touched.insert(key.clone(), self.env.now().moment);
    }

    /// Waits before the next try of a request that failed, if there is one to be made.
    async fn again(
        &mut self,
        tries: &mut u32,
        doing: &str,
        key: &Key,
        error: &BackendError,
    ) -> Result<(), Stopped> {
        *tries += 1;
        let pause = match (error.trouble, error.fate) {
            (Trouble::Denied | Trouble::Invalid | Trouble::Corrupt, _) => None,
            (_, Fate::Throttled { retry_after }) => {
                self.figures.throttled += 1;
                let asked = retry_after.unwrap_or(Duration::from_secs(1)).min(PATIENCE);
                (*tries < TRIES_PATIENT).then_some(asked)
            }
            _ => (*tries < TRIES).then_some(Duration::from_millis(500)),
        };
        match pause {
            Some(pause) => self.env.sleep(pause).await,
            None => return Err(self.stopped(doing, key, error)),
        }
        Ok(())
    }

    /// The end of an exam by an error.
    pub(super) fn stopped(&self, doing: &str, key: &Key, error: &BackendError) -> Stopped {
        let place = self.backend.locate(key);
        Stopped { trouble: error.trouble, message: format!("cannot {doing} {place}: {error}") }
    }

    /// Removes everything that was made, as far as it can be, and says what is left.
    pub(super) async fn tidy(&mut self) -> Vec<Left> {
        let mut left = vec![];
        let mut silence: Option<String> = None;
        for key in std::mem::take(&mut self.names) {
            if !self.touched.contains_key(&key) {
                continue;
            }
            let removed = match &silence {
                // A store that does not answer is not asked about every name.
                Some(why) => Err(why.clone()),
                None => self.remove(&key).await.map_err(|stopped| {
                    if stopped.trouble == Trouble::Unavailable {
                        silence = Some(stopped.message.clone());
                    }
                    stopped.message
                }),
            };
            if let Err(why) = removed.and_then(|()| self.remove_place(&key)) {
                left.push(Left { place: self.backend.locate(&key), why });
            }
        }
        left
    }

    async fn remove(&mut self, key: &Key) -> Result<(), Stopped> {
        if let Some(version) = self.newest.remove(key) {
            self.delete(key, &version).await?;
        }
        // It may have been removed already, and a write of unknown fate may have come after it.
        for _ in 0..3 {
            match self.read(key).await? {
                Some(record) => self.delete(key, &record.version).await?,
                None => return Ok(()),
            };
        }
        let message = "it is still there after it was deleted".into();
        Err(Stopped { trouble: Trouble::Corrupt, message })
    }

    /// Files keep an emptied directory for a name, so that the name may come again. Ours never does.
    fn remove_place(&self, key: &Key) -> Result<(), String> {
        let place = PathBuf::from(self.backend.locate(key));
        let is_ours = self.backend.url().starts_with("file://")
            && place.to_string_lossy().contains(&format!("{:032x}", self.id));
        if !is_ours {
            return Ok(());
        }
        match std::fs::remove_dir_all(&place) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
            _ => Ok(()),
        }
    }
}

/// The state that a read shows.
pub(super) fn state(record: Option<&Versioned>) -> Expected {
    record.map_or(Expected::Absent, |record| Expected::Version(record.version.clone()))
}

/// One attempt, which ends in time: a store that swallows requests is told like one that fails.
pub(super) async fn attempt<T>(
    env: &dyn Env,
    request: impl Future<Output = Result<T, BackendError>>,
) -> Result<T, BackendError> {
    tokio::select! {
        biased;
        answer = request => answer,
        () = env.sleep(PATIENCE) => {
            let message = format!("no answer within {} seconds", PATIENCE.as_secs());
            Err(BackendError::unknown(Trouble::Unavailable, message))
        }
    }
}
