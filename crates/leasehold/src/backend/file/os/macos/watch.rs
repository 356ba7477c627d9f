//! Nothing can be watched here: no watcher ever exists, and waiters poll.

use crate::backend::file::targets::Targets;

/// The way to what would wake a waiter.
#[derive(Debug)]
pub(in crate::backend::file) enum Watcher {}

/// A waiter's place.
pub(in crate::backend::file) enum Subscription {}

impl Watcher {
    pub(in crate::backend::file) fn start() -> Option<Watcher> {
        None
    }

    pub(in crate::backend::file) fn has_ended(&self) -> bool {
        match *self {}
    }

    #[expect(clippy::unused_async, reason = "as where there is something to wait for")]
    pub(in crate::backend::file) async fn subscribe(&self, _: Targets) -> Option<Subscription> {
        match *self {}
    }
}

impl Subscription {
    #[expect(clippy::unused_async, reason = "as where there is something to wait for")]
    pub(in crate::backend::file) async fn directory(&self) {
        match *self {}
    }

    #[expect(clippy::unused_async, reason = "as where there is something to wait for")]
    pub(in crate::backend::file) async fn writer(&self) {
        match *self {}
    }
}
