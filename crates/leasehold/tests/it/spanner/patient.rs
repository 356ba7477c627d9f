//! A backend on Google's emulator, which aborts every commit while it serves another.

use std::sync::Arc;
use std::time::Duration;

use leasehold::env::{Env, Host};
use leasehold_core::admin::Admin;
use leasehold_core::backend::{
    Backend, BackendError, BoxFuture, Expected, Facts, Fate, Key, Reading, Version, Written,
};

/// Asks again where a commit was aborted: the emulator says so before it does anything.
///
/// Only for cases that count on an answer where any store but this one gives one. The cases of the mutex pass
/// without it, because the protocol has patience of its own.
#[derive(Debug)]
pub(super) struct Patient(Arc<dyn Backend>);

impl Patient {
    pub(super) fn new(backend: impl Backend) -> Patient {
        Patient(Arc::new(backend))
    }
}

/// The answer, or what else went wrong.
async fn patiently<'a, T>(
    ask: impl Fn() -> BoxFuture<'a, Result<T, BackendError>>,
) -> Result<T, BackendError> {
    loop {
        match ask().await {
            Err(BackendError { fate: Fate::Throttled { .. }, .. }) => {
                Host.sleep(Duration::from_millis(1)).await;
            }
            answer => return answer,
        }
    }
}

impl Backend for Patient {
    fn facts(&self) -> Facts {
        self.0.facts()
    }

    fn url(&self) -> String {
        self.0.url()
    }

    fn locate(&self, key: &Key) -> String {
        self.0.locate(key)
    }

    fn read<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Reading, BackendError>> {
        self.0.read(key)
    }

    fn write<'a>(
        &'a self,
        key: &'a Key,
        expected: &'a Expected,
        bytes: &'a [u8],
    ) -> BoxFuture<'a, Result<Written, BackendError>> {
        Box::pin(patiently(move || self.0.write(key, expected, bytes)))
    }

    fn delete<'a>(
        &'a self,
        key: &'a Key,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(patiently(move || self.0.delete(key, version)))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Key>, BackendError>> {
        self.0.list(prefix)
    }

    fn admin(&self) -> Option<&dyn Admin> {
        self.0.admin()
    }
}
