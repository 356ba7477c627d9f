//! What must hold, as seen by somebody who knows true time and every user's guard.

use std::sync::Arc;
use std::time::Duration;

use leasehold::core::backend::Version;
use leasehold::core::deadline::{Deadline, Moment};
use leasehold::core::record::{Ended, Record};
use leasehold::{FencingToken, Guard, HolderId};

use super::promises::{
    ALL_END, BOUNDED_WORK, DRIVER_LIVES, FENCE, GRANT_IS_HELD, HANDED_ON, LOST_IN_TIME,
    LOST_IS_FINAL, NO_GHOST, ONE_GUARD, RECORD_RISES, RELEASED_IS_FREE, TOKENS_RISE,
};
use super::state::{Caller, State, World};
use super::store::{Register, Slot, hash};
use crate::fault::Fault;

/// How late a timer of this world may be, with room for one more step.
const LATE: u64 = 10_000;

/// How often a holder looks at its clocks at least, whatever its ttl, by the slowest clock of this
/// world and with room.
const LOOK: u64 = 1_200_000;

/// A guard that somebody relies on.
pub(super) struct Belief {
    pub(super) by: Caller,
    pub(super) user: u64,
    key: usize,
    pub(super) guard: Arc<Guard>,
    /// The loss was told.
    pub(super) told: bool,
    held: bool,
    /// The last one that the guard named.
    deadline: Option<Deadline>,
    /// Its host's clocks jumped, and nothing has settled that yet.
    doubted: bool,
    /// For how long its process had run when the deadline was found to be past, or in doubt.
    over: Option<u64>,
}

impl Belief {
    pub(super) fn new(by: Caller, user: u64, key: usize, guard: Arc<Guard>) -> Belief {
        Belief {
            by,
            user,
            key,
            guard,
            told: false,
            held: false,
            deadline: None,
            doubted: false,
            over: None,
        }
    }

    fn ask(&mut self) {
        self.held = self.guard.is_held();
        let deadline = self.guard.deadline();
        self.doubted = deadline.span.is_zero();
        if !self.doubted {
            self.deadline = Some(deadline);
        }
    }
}

impl World {
    /// The user of this guard was told that it is lost.
    pub(super) fn told(&self, guard: &Arc<Guard>) {
        let mut guards = self.guards();
        if let Some(belief) = guards.iter_mut().find(|b| Arc::ptr_eq(&b.guard, guard)) {
            belief.told = true;
        }
    }

    /// Whoever else holds while this guard says that it is held.
    pub(super) fn rival(
        &self,
        who: usize,
        key: usize,
        guard: &Guard,
        sent: Moment,
    ) -> Option<String> {
        let mut guards = self.guards();
        guards.iter_mut().for_each(Belief::ask);
        let state = self.lock();
        let token = guard.token();
        if state.may_be_unaware(who, key, token, Some(sent)) {
            return None;
        }
        let other = |b: &&Belief| b.key == key && b.held && b.guard.token() != token;
        let other = guards.iter().filter(other).find(|b| !state.is_excused(b))?;
        Some(format!("{} and a section with token {token} are both held", other.told_of()))
    }

    /// After every event: one guard at most is held, and whoever lost one was told.
    pub(super) fn check_guards(&self) {
        let mut guards = self.guards();
        if guards.is_empty() {
            return;
        }
        // A guard asks the clock itself, so it is asked before the state is locked.
        guards.iter_mut().for_each(Belief::ask);
        let mut state = self.lock();
        for belief in guards.iter_mut() {
            state.check_told(belief);
        }
        for key in 0..state.store.len() {
            let holds = |b: &&Belief| b.key == key && b.held && !state.is_excused(b);
            let believers: Vec<&Belief> = guards.iter().filter(holds).collect();
            if let [first, second, ..] = believers.as_slice() {
                let (a, b) = (first.told_of(), second.told_of());
                state.must(false, ONE_GUARD, || format!("{a} and {b} are both held"));
            }
            for belief in &believers {
                state.check_stands(belief);
            }
            state.tally.believed_alone += u64::from(believers.len() == 1);
            state.tally.idle_checks += u64::from(believers.is_empty());
        }
    }
}

impl Belief {
    fn told_of(&self) -> String {
        format!("the guard of client {} with token {}", self.by.who, self.guard.token())
    }
}

impl State {
    /// What no guard can know: that an operator has ended its lease, or that its host stood still and
    /// no steady clock counted it, until the wall clock has given it away.
    fn is_excused(&self, belief: &Belief) -> bool {
        let sent = belief.deadline.map(|d| d.sent);
        self.may_be_unaware(belief.by.who, belief.key, belief.guard.token(), sent)
    }

    fn may_be_unaware(
        &self,
        who: usize,
        key: usize,
        token: FencingToken,
        sent: Option<Moment>,
    ) -> bool {
        let place = &self.places[who];
        if self.store[key].ended_by_operator.contains(&token) || place.host.is_paused() {
            return true;
        }
        let Some(doubt) = &place.doubt else { return false };
        let before = sent.is_none_or(|sent| sent.boot <= doubt.at.boot);
        // A pause that stands out against the limit of suspicion and what a fast clock counts too
        // much between two looks.
        let limit = (self.ttl(who) / 20).max(100_000) + self.look(who) / 8 + LATE;
        let sure = doubt.span > limit && !self.plan.base.on.has(Fault::WallJump);
        before && (!sure || place.ran(self.time) - doubt.ran < self.look(who))
    }

    fn ttl(&self, who: usize) -> u64 {
        let ttl = self.plan.base.clients.get(who).map_or(Duration::ZERO, |c| c.ttl);
        u64::try_from(ttl.as_micros()).unwrap_or(u64::MAX)
    }

    /// How long a holder lets pass at most without a look at its clocks: until its renewal is due, by
    /// the slowest clock of this world, and no more than a second.
    fn look(&self, who: usize) -> u64 {
        LOOK.min(self.ttl(who) * 10 / 27 + 2 * LATE)
    }

    /// Whoever says that it holds stands in the record, so that nobody else can have been let in.
    fn check_stands(&mut self, belief: &Belief) {
        let stands = self.stands(belief.key, &belief.guard);
        let standing = if stands { String::new() } else { self.standing(belief.key) };
        self.must(stands, ONE_GUARD, || format!("{} is held, but {standing}", belief.told_of()));
    }

    /// Whether the record names the acquisition of this guard.
    pub(super) fn stands(&self, key: usize, guard: &Guard) -> bool {
        let named = |r: &Record| r.holder().is_some_and(|h| h.id == guard.holder());
        self.store[key].record().is_some_and(|r| r.token == guard.token() && named(r))
    }

    fn check_told(&mut self, belief: &mut Belief) {
        let (time, who) = (self.time, belief.by.who);
        if belief.told {
            let token = belief.guard.token();
            return self
                .must(!belief.held, LOST_IS_FINAL, || format!("token {token} is held again"));
        }
        let place = &self.places[who];
        let blocked = self.blocked.contains_key(&(belief.by, belief.user));
        let (Some(deadline), None, false) = (belief.deadline, place.host.stopped, blocked) else {
            belief.over = None;
            return;
        };
        if !belief.doubted && !deadline.is_past(place.host.moment(time)) {
            belief.over = None;
            return;
        }
        let ran = place.ran(time);
        let over = *belief.over.get_or_insert(ran);
        let slept = place.slept.is_some_and(|slept| slept.boot >= deadline.sent.boot);
        // While it is in doubt, it does not say that it is held; a renewal of the last minute may
        // still have moved the deadline that ends the doubt.
        let slack = if belief.doubted { self.plan.ttl_most } else { 0 };
        let fine = ran - over <= slack + if slept { self.look(who) } else { LATE };
        self.tally.suspected += u64::from(belief.doubted && ran == over);
        self.tally.lost_late += u64::from(slept && !belief.doubted && ran > over);
        let ran = ran.max(over);
        self.must(fine, LOST_IN_TIME, || {
            let state = if belief.doubted { "in doubt" } else { "past its deadline" };
            format!("client {who} was not told, {} us {state}", ran - over)
        });
    }

    /// A user was given a guard.
    pub(super) fn granted(
        &mut self,
        by: Caller,
        key: usize,
        token: FencingToken,
        deadline: Deadline,
        held: bool,
    ) {
        let who = by.who;
        self.tally.grants += 1;
        self.note(Some(who), "holds", token.0, |s| {
            (format!("{} with token {token}", s.plan.keys[key]), String::new())
        });
        self.must(held, GRANT_IS_HELD, || format!("client {who} got token {token} too late"));
        if self.may_be_unaware(who, key, token, Some(deadline.sent)) {
            return;
        }
        let last = self.store[key].last_grant.replace(token);
        self.must(last < Some(token), TOKENS_RISE, || {
            format!("client {who} got {token} after {last:?}")
        });
    }

    /// A release was confirmed to its user.
    pub(super) fn released(&mut self, by: Caller, key: usize, holder: HolderId) {
        self.tally.releases += 1;
        let register = &mut self.store[key];
        register.departed.insert(holder);
        let stands = register.record().and_then(Record::holder).is_some_and(|h| h.id == holder);
        let who = by.who;
        self.must(!stands, RELEASED_IS_FREE, || format!("client {who} still stands there"));
    }

    /// A guarded write reaches the resource.
    pub(super) fn acts(&mut self, key: usize, token: FencingToken, holder: HolderId) {
        let before = self.store[key].fence;
        if before.is_some_and(|(highest, _)| token < highest) {
            self.tally.stale_refused += 1;
            self.tally.stale_unfenced += 1;
            return;
        }
        let same = before.is_none_or(|(highest, by)| token > highest || by == holder);
        self.store[key].fence = Some((token, holder));
        self.must(same, FENCE, || format!("two holders wrote with token {token}"));
    }

    /// A write lands on the newest state.
    pub(super) fn lands(&mut self, key: usize, bytes: Vec<u8>, writer: Caller) {
        let record = Record::decode(&bytes).ok();
        let who = writer.who;
        self.must(record.is_some(), RECORD_RISES, || {
            format!("client {who} wrote what nobody reads")
        });
        if let Some(record) = &record {
            self.check_landing(key, record, who);
        }
        self.put(key, bytes, record, writer);
    }

    fn check_landing(&mut self, key: usize, new: &Record, who: usize) {
        let register = &mut self.store[key];
        let (last, old) = (register.last_token, register.record());
        let was = old.and_then(|r| Some((r.holder()?.id, r.token)));
        let is = new.holder().map(|h| (h.id, new.token));
        let forced = new.past.as_ref().is_some_and(|p| p.ended == Ended::Forced);
        let first = register.slot.is_none();
        let taken = is.is_some() && is != was;
        if let Some((_, token)) = was.filter(|_| is.is_none() && forced && Some(new.token) > last) {
            register.ended_by_operator.insert(token);
        }
        let ghost = is.is_some_and(|(id, _)| register.departed.contains(&id));
        register.last_token = last.max(Some(new.token));
        let repaired = register.is_damaged();
        self.tally.tokens_first += u64::from(first);
        self.tally.takeovers += u64::from(taken && was.is_some());
        let rises = Some(new.token) > last || (Some(new.token) == last && !taken && !repaired);
        self.must(rises, RECORD_RISES, || {
            format!("client {who} wrote token {} after {last:?}", new.token)
        });
        self.must(!ghost, NO_GHOST, || format!("client {who} comes to hold after its release"));
        if taken {
            self.check_handed_on(key);
        }
    }

    /// How long a free lock may lie before one of those who wait for it takes it, without faults.
    pub(super) fn handover_most(&self) -> u64 {
        let facts = self.plan.base.clients.first().map(|c| c.facts);
        let interval = facts.map_or(Duration::ZERO, |f| f.least_write_interval);
        let poll = facts.map_or(Duration::ZERO, |f| f.least_poll);
        // The longest sleep between two looks is half a ttl, by a slow clock; then one look, one
        // write, and the room that is given to others after lost races.
        let room = u64::try_from((interval * 12 + poll * 8).as_micros()).unwrap_or(u64::MAX);
        self.plan.ttl_most * 5 / 9 + room + 100_000
    }

    /// The only user of a process holds nothing and has waited for its releases.
    pub(super) fn check_closed(&mut self, caller: Caller) {
        // What it left behind while there were faults may be out of its hands.
        let settled = self.weather.calm + self.plan.ttl_most * 2;
        let fresh = |s: &Slot| s.writer == caller && s.landed > settled;
        let stands = |r: &Register| r.is_held() && r.slot.as_ref().is_some_and(fresh);
        let ghost = (0..self.store.len()).find(|key| stands(&self.store[*key]));
        let standing = ghost.map(|key| self.standing(key)).unwrap_or_default();
        self.must(ghost.is_none(), NO_GHOST, || format!("closed, and yet {standing}"));
    }

    /// All users must have come to their end. `first`: those of the world itself.
    pub(super) fn check_done(&mut self, all: bool, first: bool) {
        let waiting: Vec<String> = (0..self.store.len()).map(|key| self.standing(key)).collect();
        self.must(all, ALL_END, || format!("not everybody has come to an end: {waiting:?}"));
        let settled = self.weather.calm + self.plan.ttl_most * 3;
        for key in 0..self.store.len() {
            let register = &self.store[key];
            let fresh = register.slot.as_ref().is_some_and(|s| s.landed > settled);
            let ghost = register.is_held() && (fresh || !first);
            let standing = self.standing(key);
            self.must(!ghost, NO_GHOST, || standing);
        }
        for who in 0..self.places.len() {
            let (requests, most) = (self.places[who].requests, self.work_most(who));
            self.must(requests <= most, BOUNDED_WORK, || {
                format!("client {who} sent {requests} requests, of {most}")
            });
        }
    }

    /// How many requests a client may send: for each of its users, some two dozen in each ttl.
    fn work_most(&self, who: usize) -> u64 {
        let users = self.plan.users.get(who).copied().unwrap_or(1);
        users * (self.time / self.plan.ttl_most + 2) * 24
    }

    /// A driver ends with its last user, unless a call that has no time limit hangs.
    pub(super) fn check_driver(&mut self, caller: Caller, alive: usize) {
        let hangs = self.calls.values().any(|call| !call.is_closed());
        self.tally.drivers_ended += u64::from(alive == 0);
        let who = caller.who;
        self.must(alive == 0 || hangs, DRIVER_LIVES, || {
            format!("client {who}: {alive} tasks left")
        });
    }

    fn check_handed_on(&mut self, key: usize) {
        let register = &self.store[key];
        let first = register.waiting.values().min();
        let (Some(free), Some(waits)) = (register.free_since, first) else { return };
        let settled = self.weather.calm + self.plan.ttl_most * 2;
        let since = free.max(*waits).max(settled);
        let Some(lay) = self.time.checked_sub(since) else { return };
        self.tally.handed_on += 1;
        let most = self.handover_most();
        self.must(lay <= most, HANDED_ON, || format!("it lay free for {lay} us, not {most}"));
    }

    pub(super) fn put(
        &mut self,
        key: usize,
        bytes: Vec<u8>,
        record: Option<Record>,
        writer: Caller,
    ) {
        self.writes += 1;
        let tag = if self.plan.base.hashes { hash(&bytes) } else { self.writes };
        let version = Version::new(format!("v{tag:x}"));
        let landed = self.time;
        let register = &mut self.store[key];
        let held = record.as_ref().is_none_or(|r| r.holder().is_some());
        register.free_since = if held { None } else { register.free_since.or(Some(landed)) };
        register.slot = Some(Slot { bytes, version, record, landed, writer });
        self.hint(key);
    }
}
