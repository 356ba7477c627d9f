//! The store of a random world: one linearizable register whose versions never come back.

use leasehold_core::backend::{Expected, Version};
use leasehold_core::deadline::Moment;
use leasehold_core::record::Record;

/// One state, and what only an all-knowing observer knows of it.
pub(crate) struct State {
    pub(crate) expected: Expected,
    pub(crate) record: Record,
    /// Which request wrote it; none, if an operator did.
    pub(crate) sent: Option<usize>,
    /// When it landed, in true time and by every host's clocks.
    pub(crate) landed: u64,
    pub(crate) moments: Vec<Moment>,
}

#[derive(Default)]
pub(crate) struct Register {
    pub(crate) state: Option<State>,
    versions: u64,
    /// Whether a version is a hash of the bytes.
    hashes: bool,
    /// Whether a deletion leaves a marker: a state of its own in which nothing is stored. Where it
    /// leaves none, a write conditioned on "absent" does not land after a deletion that came after
    /// the look it was sent upon: the protocol asks operators to wait that long.
    marks: bool,
    /// How often the record was deleted.
    pub(crate) deletions: u64,
    /// When it last was.
    pub(crate) deleted: u64,
}

impl Register {
    pub(crate) fn new(hashes: bool, marks: bool) -> Register {
        Register { hashes, marks, ..Register::default() }
    }

    pub(crate) fn expected(&self) -> Expected {
        match &self.state {
            Some(state) => state.expected.clone(),
            None if self.marks && self.deletions > 0 => {
                Expected::Version(Version::new(format!("gone{}", self.deletions)))
            }
            None => Expected::Absent,
        }
    }

    /// Whether the newest state is this one.
    pub(crate) fn is(&self, expected: &Expected) -> bool {
        match &self.state {
            Some(state) => state.expected == *expected,
            None => self.expected() == *expected,
        }
    }

    /// Whether a write conditioned on `expected`, sent after so many deletions, would land.
    pub(crate) fn admits(&self, expected: &Expected, deletions: u64) -> bool {
        #[cfg(feature = "planted")]
        if leasehold_core::planted::is_anything(expected) {
            return true;
        }
        let in_time = self.state.is_some() || self.marks || deletions == self.deletions;
        in_time && self.is(expected)
    }

    pub(crate) fn put(&mut self, record: Record, sent: Option<usize>, landed: u64) {
        self.versions += 1;
        let version = match self.hashes {
            true => format!("h{:016x}", hash(&record.encode())),
            false => format!("v{}", self.versions),
        };
        let expected = Expected::Version(Version::new(version));
        let moments = self.state.take().map(|state| state.moments).unwrap_or_default();
        self.state = Some(State { expected, record, sent, landed, moments });
    }

    pub(crate) fn delete(&mut self, time: u64) {
        self.state = None;
        self.deletions += 1;
        self.deleted = time;
    }

    pub(crate) fn record(&self) -> Option<&Record> {
        self.state.as_ref().map(|s| &s.record)
    }
}

/// FNV-1a: what stands for the store's own hash.
fn hash(bytes: &[u8]) -> u64 {
    let step = |h: u64, b: &u8| (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01B3);
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, step)
}
