//! A state that a server's thread and a test share, and whose changes can be awaited.

use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::clock;

/// How long a test waits for what it awaits before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The state, and a count of its changes.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    state: Mutex<S>,
    changes: watch::Sender<u64>,
}

impl<S: Send + 'static> Watched<S> {
    pub(crate) fn new(state: S) -> Watched<S> {
        Watched { state: Mutex::new(state), changes: watch::Sender::new(0) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, S> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those who wait that there is something new to see.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Blocks until `test` says yes; whether it did before patience ended. The waiting is done on the
    /// server's runtime, because the caller's may have no clock, or one that jumps.
    pub(crate) fn block_until<F>(self: &Arc<Self>, server: &Handle, test: F) -> bool
    where
        F: Fn(&S) -> bool + Send + Sync + 'static,
    {
        let (tell, told) = mpsc::channel();
        let waiting = Arc::clone(self).wait(test);
        server.spawn(async move { tell.send(waiting.await) });
        told.recv().unwrap_or(false)
    }

    /// [`block_until`](Watched::block_until) for a caller that must not block its thread.
    pub(crate) async fn until<F>(self: &Arc<Self>, server: &Handle, test: F) -> bool
    where
        F: Fn(&S) -> bool + Send + Sync + 'static,
    {
        server.spawn(Arc::clone(self).wait(test)).await.unwrap_or(false)
    }

    async fn wait<F: Fn(&S) -> bool + Send + Sync + 'static>(self: Arc<Self>, test: F) -> bool {
        let mut changes = self.changes.subscribe();
        let seen = async {
            while !test(&self.lock()) {
                // It cannot fail: the other end is ours.
                let _ = changes.changed().await;
            }
        };
        clock::within(PATIENCE, seen).await.is_some()
    }
}
