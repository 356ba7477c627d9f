//! The store of the bench: one register in memory, whose versions never come back.

use std::time::Duration;

use leasehold_core::backend::{Expected, Version};
use leasehold_core::edit::{self, Force};
use leasehold_core::lease::{Reply, Request, Seen};
use leasehold_core::record::{Record, WriteId};

use super::EPOCH_MS;

struct State {
    version: u64,
    bytes: Vec<u8>,
    written: Duration,
}

/// One register, and what the store can do.
#[derive(Default)]
pub(super) struct Register {
    state: Option<State>,
    versions: u64,
    /// Whether it has a clock.
    pub(super) clock: bool,
    /// Whether a refused write is told the winning state.
    pub(super) tells: bool,
    /// Whether it knows that the writer of the newest state has ended.
    pub(super) orphaned: bool,
}

impl Register {
    pub(super) fn serve(&mut self, request: &Request, time: Duration) -> Reply {
        match request {
            Request::Read => self.read(time),
            Request::Write(expected, _) if *expected != self.expected() => {
                if self.tells {
                    self.read(time)
                } else {
                    Reply::Conflict
                }
            }
            Request::Write(_, record) => {
                self.put(record.encode(), time);
                Reply::Applied(self.expected())
            }
        }
    }

    fn read(&self, time: Duration) -> Reply {
        let record = match self.state.as_ref().map(|s| Record::decode(&s.bytes)).transpose() {
            Ok(record) => record,
            Err(bad) => return Reply::Unreadable(bad),
        };
        let age =
            self.state.as_ref().filter(|_| self.clock).map(|s| time.saturating_sub(s.written));
        let millis = u64::try_from(time.as_millis()).unwrap();
        Reply::Read {
            seen: Seen { state: self.expected(), record },
            age,
            orphaned: self.orphaned,
            unix_ms: self.clock.then_some(EPOCH_MS + millis),
        }
    }

    /// The condition that the newest state meets.
    pub(super) fn expected(&self) -> Expected {
        let version = self.state.as_ref().map(|s| Version::new(format!("v{}", s.version)));
        version.map_or(Expected::Absent, Expected::Version)
    }

    pub(super) fn record(&self) -> Option<Record> {
        Record::decode(&self.state.as_ref()?.bytes).ok()
    }

    /// Somebody stores this without asking.
    pub(super) fn put(&mut self, bytes: impl Into<Vec<u8>>, time: Duration) {
        self.versions += 1;
        let state = State { version: self.versions, bytes: bytes.into(), written: time };
        self.state = Some(state);
        self.orphaned = false;
    }

    /// An operator deletes the record.
    pub(super) fn delete(&mut self) {
        self.state = None;
    }

    /// An operator forces the lock free.
    pub(super) fn force(&mut self, time: Duration) {
        let force = Force { by: "an operator".into(), reason: "stuck".into(), unix_ms: 7 };
        let before = self.record().expect("there is a record");
        let after = edit::force_release(&before, &force, WriteId(u128::from(self.versions) << 100));
        self.put(after.encode(), time);
    }

    /// An operator makes what was done count no more.
    pub(super) fn reset(&mut self, time: Duration) {
        let before = self.record().expect("there is a record");
        let write = WriteId(u128::from(self.versions) << 100);
        self.put(edit::reset(&before, "an operator", "again", 7, write).encode(), time);
    }
}
