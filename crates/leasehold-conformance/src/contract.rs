//! Cases on the contract of a backend: is it a register that a lock can stand on?

use std::sync::Arc;

use leasehold_core::backend::{Backend, Expected, Key, Version, Versioned, Written};

pub(crate) mod change;
pub(crate) mod content;
pub(crate) mod history;
pub(crate) mod names;
pub(crate) mod race;
pub(crate) mod version;

/// The newest state.
async fn read(backend: &Arc<dyn Backend>, key: &Key) -> Option<Versioned> {
    let reading = backend.read(key).await;
    reading.unwrap_or_else(|e| panic!("read {key}: {e}")).record
}

/// A conditional write that may lose.
async fn swap(
    backend: &Arc<dyn Backend>,
    key: &Key,
    expected: &Expected,
    bytes: &[u8],
) -> Option<Version> {
    match backend.write(key, expected, bytes).await {
        Ok(Written::Applied(version)) => Some(version),
        Ok(Written::Conflict(_)) => None,
        Err(e) => panic!("write {key}: {e}"),
    }
}

/// A write that nobody contests.
async fn put(backend: &Arc<dyn Backend>, key: &Key, expected: &Expected, bytes: &[u8]) -> Version {
    let written = swap(backend, key, expected, bytes).await;
    written.unwrap_or_else(|| panic!("{key}: a write on the newest state was refused"))
}

/// A create that nobody contests.
async fn create(backend: &Arc<dyn Backend>, key: &Key, bytes: &[u8]) -> Version {
    put(backend, key, &Expected::Absent, bytes).await
}

async fn delete(backend: &Arc<dyn Backend>, key: &Key, version: &Version) -> bool {
    let deleted = backend.delete(key, version).await;
    deleted.unwrap_or_else(|e| panic!("delete {key}: {e}"))
}

async fn list(backend: &Arc<dyn Backend>, prefix: &str) -> Vec<String> {
    let keys = backend.list(prefix).await.unwrap_or_else(|e| panic!("list {prefix:?}: {e}"));
    keys.iter().map(|key| key.as_str().to_owned()).collect()
}

fn at(version: &Version) -> Expected {
    Expected::Version(version.clone())
}
