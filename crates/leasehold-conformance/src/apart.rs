//! A backend on a network, for cases on virtual time.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use leasehold_core::admin::{Admin, Prices, Right, Step};
use leasehold_core::backend::{
    Backend, BackendError, BoxFuture, Expected, Facts, Key, Reading, Trouble, Version, Written,
};
use tokio::runtime::{Builder, Runtime};

/// A [`Backend`] around one whose answers take real time: a virtual clock stands still while a request
/// is under way, and its timers are those of a runtime of its own.
///
/// A clock that jumps whenever nothing is to be done would jump over every answer of a server. It does
/// not while a blocking task runs, so each request is one. A request whose future is dropped goes on;
/// what it does is what [`Fate::Unknown`](leasehold_core::backend::Fate::Unknown) means.
#[derive(Debug)]
pub struct Apart(Arc<dyn Backend>);

impl Apart {
    /// Puts a backend apart.
    pub fn new(backend: Arc<dyn Backend>) -> Apart {
        Apart(backend)
    }
}

/// The runtime of all requests, in real time.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a runtime can be started")
    })
}

#[expect(clippy::disallowed_methods, reason = "the point is that it counts as blocking")]
async fn apart<T: Send + 'static>(
    request: impl Future<Output = Result<T, BackendError>> + Send + 'static,
) -> Result<T, BackendError> {
    let done = tokio::task::spawn_blocking(|| runtime().block_on(request)).await;
    done.unwrap_or_else(|e| Err(BackendError::unknown(Trouble::Unavailable, e.to_string())))
}

impl Backend for Apart {
    fn facts(&self) -> Facts {
        self.0.facts()
    }

    fn url(&self) -> String {
        self.0.url()
    }

    fn locate(&self, key: &Key) -> String {
        self.0.locate(key)
    }

    fn locate_state(&self, key: &Key, version: &Version) -> String {
        self.0.locate_state(key, version)
    }

    fn read<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Reading, BackendError>> {
        let (backend, key) = (Arc::clone(&self.0), key.clone());
        Box::pin(apart(async move { backend.read(&key).await }))
    }

    fn write<'a>(
        &'a self,
        key: &'a Key,
        expected: &'a Expected,
        bytes: &'a [u8],
    ) -> BoxFuture<'a, Result<Written, BackendError>> {
        let (backend, key, expected) = (Arc::clone(&self.0), key.clone(), expected.clone());
        let bytes = bytes.to_vec();
        Box::pin(apart(async move { backend.write(&key, &expected, &bytes).await }))
    }

    fn delete<'a>(
        &'a self,
        key: &'a Key,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        let (backend, key, version) = (Arc::clone(&self.0), key.clone(), version.clone());
        Box::pin(apart(async move { backend.delete(&key, &version).await }))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Key>, BackendError>> {
        let (backend, prefix) = (Arc::clone(&self.0), prefix.to_owned());
        Box::pin(apart(async move { backend.list(&prefix).await }))
    }

    fn changed<'a>(&'a self, key: &'a Key, since: &'a Expected) -> BoxFuture<'a, ()> {
        self.0.changed(key, since)
    }

    fn liveness(&self) -> Option<PathBuf> {
        self.0.liveness()
    }

    fn admin(&self) -> Option<&dyn Admin> {
        self.0.admin().map(|_| self as &dyn Admin)
    }
}

impl Admin for Apart {
    fn prices(&self) -> Option<Prices> {
        self.0.admin()?.prices()
    }

    fn bill(&self) -> Option<&'static str> {
        self.0.admin()?.bill()
    }

    fn rights(&self) -> BoxFuture<'_, Result<Vec<Right>, BackendError>> {
        let backend = Arc::clone(&self.0);
        Box::pin(apart(async move {
            match backend.admin() {
                Some(admin) => admin.rights().await,
                None => Ok(vec![]),
            }
        }))
    }

    fn init(&self, dry_run: bool) -> BoxFuture<'_, Result<Vec<Step>, BackendError>> {
        let backend = Arc::clone(&self.0);
        Box::pin(apart(async move {
            match backend.admin() {
                Some(admin) => admin.init(dry_run).await,
                None => Ok(vec![]),
            }
        }))
    }
}
