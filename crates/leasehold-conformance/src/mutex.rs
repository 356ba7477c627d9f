//! Cases on the mutex, through the library's public door, on each backend.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use leasehold::{Attempt, Client, Guard, HeldBy};
use leasehold_core::backend::{Backend, Expected, Version, Versioned, Written};
use leasehold_core::record::Record;

use crate::setup::{key, secs, within};

pub(crate) mod cancel;
pub(crate) mod clock;
pub(crate) mod crowd;
pub(crate) mod damage;
pub(crate) mod end;
pub(crate) mod exclusion;
pub(crate) mod expiry;
pub(crate) mod network;
pub(crate) mod token;
pub(crate) mod weather;

/// The newest state of the record, and its version.
pub(crate) async fn stored(backend: &Arc<dyn Backend>, name: &str) -> Option<Versioned> {
    backend.read(&key(name)).await.unwrap_or_else(|e| panic!("read {name}: {e}")).record
}

/// The record as the protocol reads it.
pub(crate) async fn record(backend: &Arc<dyn Backend>, name: &str) -> Option<Record> {
    let stored = stored(backend, name).await?;
    Some(Record::decode(&stored.bytes).unwrap_or_else(|e| panic!("{name}: {e}")))
}

/// Puts these bytes in the record's place, whatever stands there.
pub(crate) async fn plant(backend: &Arc<dyn Backend>, name: &str, bytes: &[u8]) -> Version {
    let before = stored(backend, name).await;
    let expected = before.map_or(Expected::Absent, |state| Expected::Version(state.version));
    match backend.write(&key(name), &expected, bytes).await {
        Ok(Written::Applied(version)) => version,
        other => panic!("plant {name}: {other:?}"),
    }
}

/// Deletes the record, as an operator would.
async fn uproot(backend: &Arc<dyn Backend>, name: &str) {
    let state = stored(backend, name).await.expect("a record");
    let deleted = backend.delete(&key(name), &state.version).await;
    assert!(deleted.expect("an answer"), "{name} changed meanwhile");
}

async fn acquired(client: &Client, name: &str) -> Guard {
    client.mutex(name).acquire().await.unwrap_or_else(|e| panic!("acquire {name}: {e}"))
}

/// One look must get it.
async fn got(client: &Client, name: &str) -> Guard {
    match client.mutex(name).try_acquire().await {
        Ok(Attempt::Acquired(guard)) => guard,
        other => panic!("{name} is free, but: {other:?}"),
    }
}

/// One look must not get it.
async fn held(client: &Client, name: &str) -> HeldBy {
    match client.mutex(name).try_acquire().await {
        Ok(Attempt::Held(holder)) => holder,
        other => panic!("{name} is held, but: {other:?}"),
    }
}

/// It must be held still.
async fn kept(guard: &Guard, why: &str) {
    let is_held = guard.is_held();
    let lost = if is_held { None } else { within(secs(60), guard.lost()).await };
    assert!(is_held, "{why}: {lost:?}");
}

async fn released(guard: Guard) {
    guard.release().await.unwrap_or_else(|e| panic!("release: {e}"));
}

/// Something that one lock protects, and that notices if it does not.
#[derive(Debug, Default)]
struct Protected {
    inside: AtomicU64,
    counter: AtomicU64,
}

impl Protected {
    /// Reads, waits and writes, as a program does that trusts its lock.
    async fn raise(&self, wait: impl Future<Output = ()>) {
        assert_eq!(self.inside.fetch_add(1, Ordering::SeqCst), 0, "two are inside");
        let n = self.counter.load(Ordering::SeqCst);
        wait.await;
        self.counter.store(n + 1, Ordering::SeqCst);
        assert_eq!(self.inside.fetch_sub(1, Ordering::SeqCst), 1, "another was inside");
    }

    fn count(&self) -> u64 {
        self.counter.load(Ordering::SeqCst)
    }
}
