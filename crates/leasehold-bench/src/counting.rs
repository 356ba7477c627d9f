//! A backend around a backend that counts what reaches it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use leasehold::core::backend::{
    Backend, BackendError, BoxFuture, Expected, Facts, Key, Reading, Version, Written,
};

/// Counts reads and writes.
#[derive(Debug)]
pub(crate) struct Counting {
    inner: Arc<dyn Backend>,
    reads: AtomicU32,
    writes: AtomicU32,
}

impl Counting {
    pub(crate) fn new(inner: Arc<dyn Backend>) -> Counting {
        Counting { inner, reads: AtomicU32::new(0), writes: AtomicU32::new(0) }
    }

    /// Reads and writes so far.
    pub(crate) fn counts(&self) -> (u32, u32) {
        (self.reads.load(Ordering::Relaxed), self.writes.load(Ordering::Relaxed))
    }
}

impl Backend for Counting {
    fn facts(&self) -> Facts {
        self.inner.facts()
    }

    fn url(&self) -> String {
        self.inner.url()
    }

    fn locate(&self, key: &Key) -> String {
        self.inner.locate(key)
    }

    fn read<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Reading, BackendError>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.read(key)
    }

    fn write<'a>(
        &'a self,
        key: &'a Key,
        expected: &'a Expected,
        bytes: &'a [u8],
    ) -> BoxFuture<'a, Result<Written, BackendError>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.inner.write(key, expected, bytes)
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
        self.inner.changed(key, since)
    }
}
