//! The store: a linearizable register of bytes per key, whose versions never come back.

use std::collections::{BTreeMap, BTreeSet};

use leasehold::FencingToken;
use leasehold::core::backend::{Expected, Version};
use leasehold::core::record::{HolderId, Record};

use super::state::Caller;

/// What stands under a key.
pub(super) struct Slot {
    pub(super) bytes: Vec<u8>,
    pub(super) version: Version,
    /// What the bytes mean, if they are a record.
    pub(super) record: Option<Record>,
    /// When it landed, in true time.
    pub(super) landed: u64,
    pub(super) writer: Caller,
}

/// One name, and what somebody who sees everything remembers of it.
#[derive(Default)]
pub(super) struct Register {
    pub(super) slot: Option<Slot>,
    /// How often it was deleted. A write conditioned on "absent" does not land after a deletion that
    /// came after the look it was sent upon: the protocol asks operators to wait that long.
    pub(super) deletions: u64,
    pub(super) last_token: Option<FencingToken>,
    pub(super) last_grant: Option<FencingToken>,
    /// Leases that an operator has ended, of which the holder learns when it looks.
    pub(super) ended_by_operator: BTreeSet<FencingToken>,
    /// Acquisitions whose release was confirmed.
    pub(super) departed: BTreeSet<HolderId>,
    /// Since when nobody stands in the record.
    pub(super) free_since: Option<u64>,
    /// Who waits for it without a limit, and since when.
    pub(super) waiting: BTreeMap<u64, u64>,
    /// The highest token that the guarded resource has accepted, and from whom.
    pub(super) fence: Option<(FencingToken, HolderId)>,
}

impl Register {
    pub(super) fn state(&self) -> Expected {
        let version = self.slot.as_ref().map(|s| s.version.clone());
        version.map_or(Expected::Absent, Expected::Version)
    }

    /// Whether a write conditioned on `expected`, sent on a look after so many deletions, lands.
    pub(super) fn admits(&self, expected: &Expected, deletions: u64) -> bool {
        match (expected, &self.slot) {
            (Expected::Absent, None) => deletions == self.deletions,
            (Expected::Version(version), Some(slot)) => slot.version == *version,
            _ => false,
        }
    }

    pub(super) fn record(&self) -> Option<&Record> {
        self.slot.as_ref()?.record.as_ref()
    }

    pub(super) fn is_held(&self) -> bool {
        self.record().is_some_and(|r| r.holder().is_some())
    }

    /// Whether what stands there is no record.
    pub(super) fn is_damaged(&self) -> bool {
        self.slot.as_ref().is_some_and(|s| s.record.is_none())
    }
}

pub(super) type Store = Vec<Register>;

/// A hash of the content, as S3's `ETag` is.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
    })
}
