//! The conformance kit on `memory://`.

use std::sync::Arc;

use leasehold::backend::memory::MemoryBackend;
use leasehold::core::backend::{Backend, BoxFuture};
use leasehold_conformance::{Fixture, Limit, Missing, Need, Store};

struct Memory;

impl Fixture for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn create(&self) -> BoxFuture<'_, Result<Store, Missing>> {
        let backend = Arc::new(MemoryBackend::default());
        Box::pin(async { Ok(Store { backend, shared_url: None, keep: Box::new(()) }) })
    }

    fn open<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Arc<dyn Backend>> {
        panic!("{url} is in the memory of another process")
    }

    fn limits(&self) -> &'static [Limit] {
        &[
            Limit { need: Need::Processes, why: "memory cannot be shared between processes" },
            Limit { need: Need::Clock, why: "memory has no clock of its own" },
        ]
    }
}

leasehold_conformance::backend!(Memory);
