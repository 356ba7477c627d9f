//! `memory://`: records in this process's memory. The reference: the shortest backend, read it
//! first. For tests and examples, and for a program that wants the same code with and without a
//! store.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use leasehold_core::backend::{
    Backend, BackendError, BoxFuture, Expected, Facts, Key, MAX_RECORD_BYTES, Reading, Trouble,
    Version, Versioned, Written,
};
use tokio::sync::watch;

/// Records in memory. Share it between clients by cloning the `Arc` it is in.
#[derive(Debug)]
pub struct MemoryBackend {
    records: Mutex<BTreeMap<Key, Versioned>>,
    /// Counts the writes, and wakes the tasks that wait for one. As a version it never comes back, across
    /// deletion too.
    writes: watch::Sender<u64>,
}

impl Default for MemoryBackend {
    fn default() -> MemoryBackend {
        MemoryBackend { records: Mutex::default(), writes: watch::Sender::new(0) }
    }
}

impl MemoryBackend {
    fn records(&self) -> MutexGuard<'_, BTreeMap<Key, Versioned>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self, key: &Key) -> Expected {
        let records = self.records();
        records.get(key).map_or(Expected::Absent, |r| Expected::Version(r.version.clone()))
    }

    /// The next version. Counted while the records are locked, so that a woken task sees them.
    fn count(&self) -> u64 {
        self.writes.send_modify(|n| *n += 1);
        *self.writes.borrow()
    }
}

impl Backend for MemoryBackend {
    fn facts(&self) -> Facts {
        Facts {
            least_write_interval: Duration::ZERO,
            clock_uncertainty: Duration::ZERO,
            least_poll: Duration::from_millis(10),
            notifies: true,
        }
    }

    fn url(&self) -> String {
        "memory://".into()
    }

    fn locate(&self, key: &Key) -> String {
        format!("memory://{key}")
    }

    fn read<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Reading, BackendError>> {
        Box::pin(
            async move { Ok(Reading { record: self.records().get(key).cloned(), unix_ms: None }) },
        )
    }

    fn write<'a>(
        &'a self,
        key: &'a Key,
        expected: &'a Expected,
        bytes: &'a [u8],
    ) -> BoxFuture<'a, Result<Written, BackendError>> {
        Box::pin(async move {
            if bytes.len() > MAX_RECORD_BYTES {
                let message = format!("a record of {} bytes is too long", bytes.len());
                return Err(BackendError::not_sent(Trouble::Invalid, message));
            }
            let mut records = self.records();
            let winner = records.get(key);
            let state = winner.map_or(Expected::Absent, |r| Expected::Version(r.version.clone()));
            if state != *expected {
                return Ok(Written::Conflict(winner.cloned()));
            }
            let version = Version::new(self.count().to_string());
            let record = Versioned {
                bytes: bytes.to_vec(),
                version: version.clone(),
                age: None,
                orphaned: false,
            };
            records.insert(key.clone(), record);
            Ok(Written::Applied(version))
        })
    }

    fn delete<'a>(
        &'a self,
        key: &'a Key,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            let mut records = self.records();
            if records.get(key).is_none_or(|r| r.version != *version) {
                return Ok(false);
            }
            records.remove(key);
            self.count();
            Ok(true)
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Key>, BackendError>> {
        Box::pin(async move {
            let records = self.records();
            Ok(records.keys().filter(|k| k.as_str().starts_with(prefix)).cloned().collect())
        })
    }

    fn changed<'a>(&'a self, key: &'a Key, since: &'a Expected) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut writes = self.writes.subscribe();
            while self.state(key) == *since {
                if writes.changed().await.is_err() {
                    return;
                }
            }
        })
    }
}
