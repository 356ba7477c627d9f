//! The three parts together: what a machine knows of one record, and how it speaks with the store.

use std::time::Duration;

use crate::backend::{Expected, Facts, Fate};
use crate::deadline::{self, Moment};
use crate::lease::{Memory, Watch};
use crate::pace::{Ids, Pace};
use crate::record::{Holder, Record};
use crate::register::{Attempt, Outstanding, Reading, Register, Request, Seen, Told};
use crate::silence::Silence;

/// A request that goes out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Its number, for the reply.
    pub number: u64,
    /// What is asked.
    pub request: Request,
    /// How long to wait for an answer.
    pub timeout: Duration,
}

/// One record, as one machine knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    facts: Facts,
    ttl: Duration,
    /// What was read, and what may still land.
    pub register: Register,
    /// Since when its holder shows no sign of life.
    pub silence: Silence,
    /// When the next request may go out.
    pub pace: Pace,
}

impl Link {
    /// A link to a store with these facts, for somebody whose waits are measured by `ttl`. The state in the
    /// memory is used only if it `is_usable`.
    pub fn new(
        facts: Facts,
        ttl: Duration,
        memory: Memory,
        is_usable: impl FnOnce(&Seen) -> bool,
    ) -> Link {
        let Memory { seen, highest, watch: Watch { sighting, stood } } = memory;
        let known = seen.filter(is_usable);
        Link {
            facts,
            ttl,
            pace: Pace::new(facts, ttl, stood, known.is_some()),
            register: Register::new(known, highest),
            silence: Silence::recalled(sighting),
        }
    }

    /// What the next one of this process may know.
    pub fn into_memory(self) -> Memory {
        let watch = self.watch();
        let (seen, highest) = self.register.into_memory();
        Memory { seen, highest, watch }
    }

    /// What the next process of this host may know.
    pub fn watch(&self) -> Watch {
        Watch { sighting: self.silence.sighting().copied(), stood: self.pace.stood().cloned() }
    }

    /// What is left of the lease of a holder in the record: zero when it may be taken over.
    pub fn left(&self, holder: &Holder, told: &Told, now: Moment) -> Duration {
        planted!(OwnTtl: let holder = &Holder {
            ttl_ms: u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX), ..holder.clone() });
        self.silence.left(holder, told, &self.facts, now)
    }

    /// The state whose change we would like to hear of, while we have nothing else to do.
    pub fn wants_hint(&self) -> Option<&Expected> {
        self.register.newest().filter(|_| self.is_idle()).map(|s| &s.state)
    }

    /// Whether no answer is awaited and the last ones were good.
    pub fn is_idle(&self) -> bool {
        self.register.outstanding().is_none() && self.pace.failures() == 0
    }

    /// A state was read.
    pub fn read(&mut self, seen: Seen, told: Told, now: Moment) -> Reading {
        let first = self.register.newest().is_none();
        let reading = self.register.read(seen, told);
        if reading != Reading::Stale {
            self.see(first, now);
            planted!(PatienceFromRequest: let now = self.pace.pause().map_or(now, |(at, _)| at));
            self.silence.watch(self.register.record(), now);
            self.pace.hear_age(self.register.told().age, now);
        }
        reading
    }

    /// Our last write landed. `None` if the request was no write.
    pub fn applied(
        &mut self,
        request: Outstanding,
        state: Expected,
        now: Moment,
    ) -> Option<Attempt> {
        let first = self.register.newest().is_none();
        let attempt = self.register.applied(request, state)?;
        self.pace.recovered();
        self.see(first, now);
        Some(attempt)
    }

    fn see(&mut self, first: bool, now: Moment) {
        if let Some(seen) = self.register.newest() {
            self.pace.see(seen, first, now);
        }
    }

    /// A race was lost.
    pub fn back_off(&mut self, is_waiter: bool, now: Moment, ids: &mut Ids<'_>) {
        if self.pace.lost_race(is_waiter, now, ids) {
            self.register.read_first();
        }
    }

    /// A request came to nothing, or its answer to less. Gives how long the store has failed by now.
    pub fn failed(
        &mut self,
        fate: Fate,
        is_waiter: bool,
        now: Moment,
        ids: &mut Ids<'_>,
    ) -> Duration {
        let asked = match fate {
            Fate::Throttled { retry_after } => Some(retry_after),
            Fate::NotSent | Fate::Unknown => None,
        };
        self.pace.failed(asked, is_waiter, now, ids)
    }

    /// Something else is wanted from now on. An outstanding request is abandoned: if it is a write, it
    /// stays open, and the next write on the same state settles which of the two lands.
    pub fn turn(&mut self) {
        self.register.abandon();
        self.pace.turn();
        self.register.read_first_if_absent();
    }

    /// Stops for now.
    pub fn stop(&mut self) {
        self.register.abandon();
        self.pace.go();
    }

    /// Whether a request may go out now. Ends a pause that is over.
    pub fn is_ready(&mut self, now: Moment) -> bool {
        let ready = self.register.outstanding().is_none() && self.pace.pause_left(now).is_none();
        if ready {
            self.pace.go();
        }
        ready
    }

    /// Rests until a waiter's next look: see [`Pace::poll`].
    pub fn poll(
        &mut self,
        left: Duration,
        ttl: Duration,
        began: Moment,
        now: Moment,
        ids: &mut Ids<'_>,
    ) {
        self.pace.poll(left, ttl, began, now, ids);
        self.register.read_first();
    }

    /// Rests, and reads again before anything else.
    pub fn look_again(&mut self, span: Duration, now: Moment) {
        self.pace.rest(now, span);
        self.register.read_first();
    }

    /// How long the newest state has to stand before the store's limit and `courtesy` allow a write on it.
    pub fn too_early(&self, courtesy: Duration, now: Moment) -> Duration {
        if self.register.newest().is_none() || self.register.is_absent() {
            return Duration::ZERO;
        }
        self.pace.too_early(courtesy, now)
    }

    /// Asks for the newest state, with `left` to go.
    pub fn send_read(&mut self, left: Duration) -> Sent {
        let (number, request) = self.register.send_read();
        Sent { number, request, timeout: deadline::request_timeout(left) }
    }

    /// Writes on the newest state, with `left` to go; `None` if none is known.
    pub fn send_write(
        &mut self,
        record: Record,
        asks: Option<u64>,
        left: Duration,
        now: Moment,
    ) -> Option<Sent> {
        let (number, request) = self.register.send_write(record, now, asks)?;
        Some(Sent { number, request, timeout: deadline::request_timeout(left) })
    }

    /// When to be woken at the latest, if not before for another reason.
    pub fn wake(&self, now: Moment) -> Option<Duration> {
        if self.register.outstanding().is_some() {
            // An answer is owed within the request's timeout; this is the net below it.
            return Some(self.ttl);
        }
        // A pause of no length is no reason to sleep until something else comes up.
        let by_pause =
            self.pace.pause().map(|(at, span)| span.saturating_sub(now.longest_since(at)));
        planted!(WakeupLost: let by_pause = by_pause.filter(|left| !left.is_zero()));
        by_pause
    }
}
