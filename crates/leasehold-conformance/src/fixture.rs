//! What the kit has to be told about a backend: how to make a store of it, and what it cannot do.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use leasehold_core::backend::{Backend, BoxFuture};

/// One backend, for [`backend!`](crate::backend).
pub trait Fixture: Sync {
    /// The backend's one word: its file, feature, page and test module have it too.
    fn name(&self) -> &'static str;

    /// Makes a new, empty store. [`Missing`] says that this machine cannot run the backend at all
    /// (no server, no account); its cases are then reported as skipped, which fails in CI.
    fn create(&self) -> BoxFuture<'_, Result<Store, Missing>>;

    /// Opens a store by its [`shared_url`](Store::shared_url) once more, as another client would,
    /// also in another process. Not called for a store that has none.
    fn open<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Arc<dyn Backend>>;

    /// What the backend cannot do by its nature. Cases that need it are reported as not applicable,
    /// with the reason.
    fn limits(&self) -> &'static [Limit] {
        &[]
    }
}

/// An empty store, made for one case.
pub struct Store {
    /// A first handle.
    pub backend: Arc<dyn Backend>,
    /// How others open it. `None` where other handles are clones of the first.
    pub shared_url: Option<String>,
    /// Dropped at the end of the case: a temporary directory, a server.
    pub keep: Box<dyn Any + Send + Sync>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.backend.url())
    }
}

/// What this machine lacks to run the backend, in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Missing(pub String);

/// What a case may need that a backend may lack.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Need {
    /// A store that several processes can open.
    Processes,
    /// Answers that come without time passing, so that the case can run on a virtual clock. A
    /// backend on a network cannot: the clock would run ahead of its answers.
    VirtualTime,
    /// A clock of the backend's own, which tells a record's age.
    Clock,
    /// [`Facts::notifies`](leasehold_core::backend::Facts::notifies).
    Notification,
    /// A delete that looks at the version. The protocol never deletes, so a store without it serves.
    ConditionalDelete,
    /// Versions that differ even where the bytes are the same. The protocol does not need it,
    /// because no two of its writes have the same bytes.
    VersionsBeyondContent,
}

/// Something that a backend cannot do by its nature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// What.
    pub need: Need,
    /// Why, as the end of "not applicable: ".
    pub why: &'static str,
}
