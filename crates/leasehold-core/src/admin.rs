//! What the tools ask of a store beside its records: what it costs, what one may do there, and how
//! it is made ready. None of it is part of the protocol; `leasehold doctor` and `leasehold init` use it.

use crate::backend::{BackendError, BoxFuture};

/// What a store can say and do about itself. A backend that needs none of it has none.
pub trait Admin: Send + Sync {
    /// What requests cost, where they cost anything.
    fn prices(&self) -> Option<Prices> {
        None
    }

    /// What is billed, in a sentence, where it is not requests.
    fn bill(&self) -> Option<&'static str> {
        None
    }

    /// The rights that are needed, and which of them we have.
    fn rights(&self) -> BoxFuture<'_, Result<Vec<Right>, BackendError>> {
        Box::pin(async { Ok(vec![]) })
    }

    /// Makes the store ready, or, with `dry_run`, only says what there is to do. What is there already
    /// is looked at and left as it is; nothing is ever removed. Stops at the first step that fails.
    fn init(&self, dry_run: bool) -> BoxFuture<'_, Result<Vec<Step>, BackendError>> {
        let _ = dry_run;
        Box::pin(async { Ok(vec![]) })
    }
}

/// Published prices of requests, in US cents for a million of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Prices {
    /// A million reads.
    pub million_reads: u64,
    /// A million writes.
    pub million_writes: u64,
    /// Whose prices these are, and of when.
    pub source: &'static str,
}

/// Something that one must be allowed to do.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Right {
    /// What the store calls it.
    pub name: &'static str,
    /// What it is needed for, such as "to take and release locks".
    pub needed: &'static str,
    /// Whether a lock can be held without it.
    pub is_optional: bool,
    /// Whether we have it; `None` if the store does not say.
    pub is_held: Option<bool>,
    /// The role that gives it, as one would type it.
    pub role: &'static str,
}

/// One step of making a store ready.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Step {
    /// What, such as "the bucket acme-locks in EU, with uniform access".
    pub what: String,
    /// What became of it.
    pub state: StepState,
}

/// What became of a [`Step`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum StepState {
    /// It was there already, as it should be.
    Found,
    /// It would be made without `--dry-run`.
    Planned,
    /// It was made.
    Made,
    /// It is there, and not as it should be: this is what is wrong and how a person mends it.
    Wrong(String),
}
