//! Part of a machine: one record as its store has it. What was read last, which of our writes may still
//! land, and what a reply proves.
//!
//! **Nothing but a read proves a write dead.** Every write conditioned on the newest known state is kept
//! until a read shows another state: it landed if the record carries its id, and is dead otherwise. One
//! request is outstanding at a time; a new one replaces the one before, whose outcome is then unknown.

use std::time::Duration;

use crate::backend::{Expected, Fate};
use crate::deadline::{Moment, Now};
use crate::record::{FencingToken, Holder, Record, WriteId};

/// One state of the record, as the protocol sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// The state, for the next write's condition.
    pub state: Expected,
    /// The record, `None` where nothing is stored.
    pub record: Option<Record>,
}

impl Seen {
    /// The token of its record.
    pub fn token(&self) -> Option<FencingToken> {
        self.record.as_ref().map(|record| record.token)
    }
}

/// What a read tells beside the state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Told {
    /// How long the state has stood, by the backend's clock.
    pub age: Option<Duration>,
    /// Whether its writer is proven to have ended.
    pub orphaned: bool,
    /// The backend's Unix time.
    pub unix_ms: Option<u64>,
}

/// A write whose outcome is not proven.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// Its id.
    pub id: WriteId,
    /// When it was sent.
    pub sent: Moment,
    /// Whether it was sent after the last suspicion of the clocks, so that its landing settles that.
    pub clean: bool,
    /// The number of the ask that it carries.
    pub asks: Option<u64>,
}

/// A request to the backend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Read the newest state.
    Read,
    /// Write the record if the state is still the expected one.
    Write(Expected, Record),
}

/// The request that waits for its answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outstanding {
    /// Its number.
    pub number: u64,
    /// What it writes, if it is a write; its attempt is then the last of the open ones.
    pub writes: Option<Record>,
}

/// What a read proves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reading {
    /// Nothing: it is older than a state that was seen before, so the store broke its promise.
    Stale,
    /// The newest known state still stands, and open writes may still land.
    Unchanged,
    /// Another state stands. The write that is given made it; all others are dead.
    Changed(Option<Attempt>),
}

/// One record in its store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Register {
    newest: Option<Seen>,
    told: Told,
    open: Vec<Attempt>,
    highest: Option<FencingToken>,
    must_read: bool,
    stale: bool,
    outstanding: Option<Outstanding>,
    requests: u64,
}

impl Register {
    /// Knows a state from before, or none. A known one may be written on without a look: if it is
    /// outdated, the write fails harmlessly. No record with a token below `highest` is believed.
    pub fn new(known: Option<Seen>, highest: Option<FencingToken>) -> Register {
        Register {
            must_read: known.is_none(),
            newest: known,
            told: Told::default(),
            open: vec![],
            highest,
            stale: false,
            outstanding: None,
            requests: 0,
        }
    }

    /// The newest state that is known.
    pub fn newest(&self) -> Option<&Seen> {
        self.newest.as_ref()
    }

    /// Its record.
    pub fn record(&self) -> Option<&Record> {
        self.newest.as_ref()?.record.as_ref()
    }

    /// The holder that its record names.
    pub fn holder(&self) -> Option<&Holder> {
        self.record()?.holder()
    }

    /// Whether nothing is stored. Absence is the one state that can come back, so a record is only
    /// made straight after a look: what that look said of the time dates its first token, which must
    /// be above those of a record that came and was deleted meanwhile.
    pub fn is_absent(&self) -> bool {
        planted!(AbsenceTrusted: return false);
        self.newest.as_ref().is_some_and(|s| s.state == Expected::Absent)
    }

    /// What the backend told of the newest state.
    pub fn told(&self) -> Told {
        self.told
    }

    /// The highest token that any state had.
    pub fn highest(&self) -> Option<FencingToken> {
        self.highest
    }

    /// The writes conditioned on the newest state whose outcome is not proven, oldest first.
    pub fn open(&self) -> &[Attempt] {
        &self.open
    }

    /// Whether the newest state must be read before anything is decided on it.
    pub fn must_read(&self) -> bool {
        self.must_read
    }

    /// Has the newest state read before anything else.
    pub fn read_first(&mut self) {
        self.must_read = true;
    }

    /// Has it read first only where nothing is stored.
    pub fn read_first_if_absent(&mut self) {
        self.must_read = self.is_absent();
    }

    /// Whether the last answer was older than one before it.
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// The request that waits for its answer.
    pub fn outstanding(&self) -> Option<&Outstanding> {
        self.outstanding.as_ref()
    }

    /// Forgets that an answer is awaited. If the request is a write, it stays open.
    pub fn abandon(&mut self) {
        self.outstanding = None;
    }

    /// The request that an answer with this number belongs to, if it is still awaited.
    pub fn answered(&mut self, number: u64) -> Option<Outstanding> {
        self.outstanding.take_if(|o| o.number == number)
    }

    /// Takes back a read that was sent and has not reached the store.
    #[cfg(feature = "inspect")]
    pub(crate) fn unsend_read(&mut self) {
        self.outstanding.take_if(|o| o.writes.is_none());
    }

    /// A state was read.
    pub fn read(&mut self, seen: Seen, told: Told) -> Reading {
        self.told.unix_ms = told.unix_ms.or(self.told.unix_ms);
        if seen.record.is_some() && seen.token() < self.highest {
            self.stale = true;
            self.must_read = true;
            return Reading::Stale;
        }
        self.stale = false;
        let unchanged = self.newest.as_ref().is_some_and(|s| s.state == seen.state);
        let write = seen.record.as_ref().map(|r| r.write);
        self.see(seen);
        self.told = Told { unix_ms: self.told.unix_ms, ..told };
        if unchanged {
            planted!(UnchangedIsProof: self.open.clear());
            return Reading::Unchanged;
        }
        // The state that our open writes were conditioned on is gone for ever: one of them made the
        // new state, or all of them are dead.
        let landed = self.open.iter().find(|a| Some(a.id) == write).copied();
        self.open.clear();
        Reading::Changed(landed)
    }

    /// The write that was outstanding landed: everything else that was conditioned on the same state is
    /// dead. `None` if the request was no write.
    pub fn applied(&mut self, request: Outstanding, state: Expected) -> Option<Attempt> {
        let (Some(record), Some(attempt)) = (request.writes, self.open.pop()) else { return None };
        self.open.clear();
        self.see(Seen { state, record: Some(record) });
        Some(attempt)
    }

    fn see(&mut self, seen: Seen) {
        self.highest = self.highest.max(seen.token());
        self.newest = Some(seen);
        self.told = Told { unix_ms: self.told.unix_ms, ..Told::default() };
        self.must_read = false;
    }

    /// What stands there cannot be read: no write of ours is on it.
    pub fn forget(&mut self) {
        self.open.clear();
        self.newest = None;
    }

    /// A write was refused, and the winner was not told. That proves nothing of the write.
    pub fn refused(&mut self) {
        planted!(ConflictIsFailure: self.open.truncate(self.open.len().saturating_sub(1)));
        self.must_read = true;
    }

    /// A request came to nothing, as far as is known.
    pub fn failed(&mut self, request: &Outstanding, fate: Fate) {
        let was_write = request.writes.is_some();
        planted!(UnknownIsFailure: if (fate, was_write) == (Fate::Unknown, true) {
            self.open.pop(); });
        planted!(ThrottledIsFailure: if let (Fate::Throttled { .. }, true) = (fate, was_write) {
            self.open.pop(); });
        match fate {
            // Proven never to land: it need not be remembered.
            Fate::NotSent if was_write => {
                self.open.pop();
                self.must_read |= self.is_absent();
            }
            Fate::NotSent => {}
            Fate::Throttled { .. } | Fate::Unknown => self.must_read = true,
        }
    }

    /// The clocks are suspected: no write sent before now settles that.
    pub fn suspect(&mut self) {
        for attempt in &mut self.open {
            attempt.clean = false;
        }
    }

    /// A request for the newest state, and its number.
    pub fn send_read(&mut self) -> (u64, Request) {
        self.send(Request::Read)
    }

    /// A write on the newest state, and its number; `None` if no state is known.
    pub fn send_write(
        &mut self,
        record: Record,
        now: Moment,
        asks: Option<u64>,
    ) -> Option<(u64, Request)> {
        let on = self.newest.as_ref()?.state.clone();
        planted!(EarlierWritesForgotten: self.open.clear());
        self.open.push(Attempt { id: record.write, sent: now, clean: true, asks });
        Some(self.send(Request::Write(on, record)))
    }

    /// The state to delete, and the number of that request; `None` if no state is known. Whether it took
    /// place shows in the next read.
    pub fn send_delete(&mut self) -> Option<(u64, Expected)> {
        let on = self.newest.as_ref()?.state.clone();
        self.requests += 1;
        self.outstanding = Some(Outstanding { number: self.requests, writes: None });
        Some((self.requests, on))
    }

    fn send(&mut self, request: Request) -> (u64, Request) {
        self.requests += 1;
        planted!(BlindRelease: let request = crate::planted::blind(request, false));
        planted!(BlindTakeover: let request = crate::planted::blind(request, true));
        let writes = match &request {
            Request::Read => None,
            Request::Write(_, record) => Some(record.clone()),
        };
        self.outstanding = Some(Outstanding { number: self.requests, writes });
        (self.requests, request)
    }

    /// Where a record that does not exist starts: at the time, and above everything seen. A clock
    /// beyond all reason cannot use up all tokens at once.
    pub fn first_token(&self, now: Now) -> FencingToken {
        planted!(TokenReused: return FencingToken(1));
        let time = self.told.unix_ms.unwrap_or(now.unix_ms).clamp(1, FencingToken::MAX.0 / 2);
        FencingToken(time).max(self.highest.map_or(FencingToken(1), FencingToken::next))
    }

    /// What the next acquisition of this process may know: the newest state, where no write on it can
    /// still land, and the highest token.
    pub fn into_memory(self) -> (Option<Seen>, Option<FencingToken>) {
        (self.newest.filter(|_| self.open.is_empty()), self.highest)
    }
}
