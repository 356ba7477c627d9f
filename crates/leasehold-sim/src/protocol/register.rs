//! The store of a random world: one linearizable register whose versions never come back.

use leasehold_core::backend::{Expected, Version};
use leasehold_core::deadline::Moment;
use leasehold_core::record::Record;

/// One state, and what only an all-knowing observer knows of it.
pub(crate) struct State {
    pub(crate) version: u64,
    pub(crate) record: Record,
    /// When it landed, in true time and by every host's clocks.
    pub(crate) landed: u64,
    pub(crate) moments: Vec<Moment>,
}

#[derive(Default)]
pub(crate) struct Register {
    pub(crate) state: Option<State>,
    versions: u64,
    /// How often the record was deleted. A write conditioned on "absent" does not land after a
    /// deletion that came after the look it was sent upon: the protocol asks operators to wait that
    /// long.
    pub(crate) deletions: u64,
}

impl Register {
    pub(crate) fn expected(&self) -> Expected {
        let version = self.state.as_ref().map(|s| Version::new(format!("v{}", s.version)));
        version.map_or(Expected::Absent, Expected::Version)
    }

    /// Whether a write conditioned on `expected`, sent after so many deletions, would land.
    pub(crate) fn admits(&self, expected: &Expected, deletions: u64) -> bool {
        match (expected, &self.state) {
            (Expected::Absent, None) => deletions == self.deletions,
            (Expected::Version(_), Some(_)) => *expected == self.expected(),
            _ => false,
        }
    }

    pub(crate) fn put(&mut self, record: Record, landed: u64, moments: Vec<Moment>) {
        self.versions += 1;
        self.state = Some(State { version: self.versions, record, landed, moments });
    }

    pub(crate) fn record(&self) -> Option<&Record> {
        self.state.as_ref().map(|s| &s.record)
    }
}
