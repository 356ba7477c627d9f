//! What makes two worlds alike: they differ in names and in what nothing depends on any more, and
//! whatever can happen in one can happen in the other. This is what makes the space finite. A test
//! compares what can happen next in all that are said to be alike.
//!
//! Left out are
//!
//! * **absolute times**: every rule compares a span on one clock. Kept is the time since a moment, up
//!   to the length at which the last rule that looks at it says the same for ever;
//! * **versions**: they are compared for equality only. Kept is whether a state is the newest one, the
//!   one that the client has seen, or neither; what is gone never comes back;
//! * **tokens**: they are compared, and raised by one from the register's. Kept is only whether one
//!   is out of order, and the checks see to it that none is;
//! * **ids of writes**: a client looks for those of its open writes in a record. Kept is whether each
//!   stands in the register, in an answer on its way, or can still land. If none is true, the write
//!   is dead, and of the dead ones only matters whether there are any;
//! * **ids of holders**: kept is whether a record names the client itself, or the lease it watches;
//! * **renewal counts**: compared for equality only, with those of the same lease;
//! * **outdated records**: no write on them can land, and the next look replaces them. Kept is whether
//!   there is none, a free one, one's own or another's;
//! * **labels, dates, `past`**: read by nobody but people, except how one's own lease ended;
//! * **tokens of runs**: kept is how far the thing to be done has come, and whether it was one's own run
//!   that came so far or ended last (`once.rs`);
//! * **which client is which**: all are made alike. Each is described by itself, with what the register
//!   and the writes on their way have to do with it, and the descriptions are sorted;
//! * **who among the dead sent a write**: of dead clients' writes of one kind, all do the same.

use std::time::Duration;

use leasehold_core::deadline::{belief, takeover_due};
use leasehold_core::lease::Sighting;
use leasehold_core::lease::inspect::Stage;
use leasehold_core::lease::{Reply, Seen};
use leasehold_core::record::{Ended, HolderId, Record};
use leasehold_core::register::Attempt;
use xxhash_rust::xxh3::xxh3_64;

use crate::any::View;
use crate::bounds::{Bounds, TICK};
use crate::once;
use crate::world::{Client, Pending, World, is_anything};

/// The number of a world, the same for all that are alike.
pub fn essence(world: &World, bounds: &Bounds) -> u64 {
    let mut clients: Vec<Vec<u8>> =
        (0..world.clients.len()).map(|who| Essence::new(world, who, bounds).client()).collect();
    clients.sort_unstable();
    let mut all = vec![world.even];
    all.extend(register(world, bounds));
    let mut orphans: Vec<u32> =
        world.pool.iter().filter(|p| p.from.is_none()).map(|p| kind(world, p)).collect();
    orphans.sort_unstable();
    orphans.dedup();
    all.push(count(orphans.len()));
    all.extend(orphans.into_iter().flat_map(u32::to_le_bytes));
    for client in clients {
        all.push(count(client.len()));
        all.extend(client);
    }
    xxh3_64(&all)
}

fn count(n: usize) -> u8 {
    u8::try_from(n).unwrap_or(u8::MAX)
}

/// What stands there. Whom it names is part of each client's description.
fn register(world: &World, bounds: &Bounds) -> [u8; 5] {
    let Some(stored) = &world.stored else { return [0; 5] };
    let age = world.time.saturating_sub(stored.landed).min(takeover_due(bounds.ttl, TICK));
    let free = stored.record.holder().is_none();
    let age = if bounds.clock { ticks(age) } else { 0 };
    let (run, before) =
        (once::outcome(stored.record.outcome.as_ref()), once::outcome(stored.before.as_ref()));
    [1 + u8::from(free), u8::from(stored.granted), age, run, before]
}

fn ticks(span: Duration) -> u8 {
    u8::try_from(span.as_nanos() / TICK.as_nanos()).unwrap_or(u8::MAX)
}

/// What a write would make of the register, and on which condition: dead clients' writes of one kind
/// are alike.
fn kind(world: &World, pending: &Pending) -> u32 {
    let stands = world.record().and_then(|r| Some((r.holder()?.id, r.token)));
    let kind = match pending.record.holder() {
        None => 0,
        Some(h) if Some((h.id, pending.record.token)) == stands => 1,
        Some(_) => 2,
    };
    // Only where bugs are planted can a token be out of order or a condition be missing.
    let odd = world.record().is_some_and(|r| pending.record.token < r.token);
    let run =
        u32::from(once::outcome(pending.record.outcome.as_ref())) | (pending.says as u32) << 8;
    kind | u32::from(odd) << 2 | u32::from(is_anything(&pending.on)) << 3 | run << 8
}

/// Two writes that would do the same are one: whichever lands, the other is dead.
pub(crate) fn drop_doubles(world: &mut World, bounds: &Bounds) {
    if world.pool.len() < 2 {
        return;
    }
    let mut known: Vec<(Option<usize>, [u32; 3])> = vec![];
    let mut kept = Vec::with_capacity(world.pool.len());
    for (place, pending) in world.pool.iter().enumerate() {
        let mut looks = [kind(world, pending), 0, 0];
        if let Some(from) = pending.from {
            let client = &world.clients[from];
            let awaited = client.flight.as_ref().is_some_and(|f| f.number == pending.number);
            let open = client.lease.open().iter().find(|o| o.id == pending.record.write);
            looks[1] = u32::from(awaited);
            looks[2] = open.map_or(u32::MAX, |o| sent(client, o, bounds).into());
        }
        if !known.contains(&(pending.from, looks)) {
            known.push((pending.from, looks));
            kept.push(place);
        }
    }
    if kept.len() < world.pool.len() {
        let mut place = 0..;
        world.pool.retain(|_| place.next().is_some_and(|place| kept.contains(&place)));
    }
}

/// How long ago a write was sent, up to where it no longer lets anybody believe.
fn sent(client: &Client, open: &Attempt, bounds: &Bounds) -> u8 {
    let elapsed = client.moment().longest_since(open.sent);
    spell(elapsed, belief(bounds.ttl)) << 1 | u8::from(open.clean)
}

/// A span in whole ticks, and one more than any below `enough` if it is that or longer.
fn spell(elapsed: Duration, enough: Duration) -> u8 {
    if elapsed >= enough { ticks(enough) + 1 } else { ticks(elapsed) }
}

struct Essence<'a> {
    world: &'a World,
    client: &'a Client,
    who: usize,
    view: View<'a>,
    bounds: &'a Bounds,
    bytes: Vec<u8>,
}

impl<'a> Essence<'a> {
    fn new(world: &'a World, who: usize, bounds: &'a Bounds) -> Self {
        let client = &world.clients[who];
        let view = client.lease.view();
        Essence { world, client, who, view, bounds, bytes: Vec::with_capacity(48) }
    }

    fn push(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    fn flags<const N: usize>(&mut self, flags: [bool; N]) {
        self.push(flags.iter().fold(0, |all, flag| all << 1 | u8::from(*flag)));
    }

    fn client(mut self) -> Vec<u8> {
        self.stage();
        self.memory();
        self.seen();
        self.answer();
        self.open();
        self.watched();
        self.bytes
    }

    fn stage(&mut self) {
        let belief = belief(self.bounds.ttl);
        let now = self.client.moment();
        let stage = match self.view.stage {
            Stage::New => 0,
            Stage::Acquiring { look } => 1 + u8::from(look),
            Stage::Lost => 3,
            Stage::Releasing { held } => 4 + held as u8,
            Stage::Ended => 7,
            Stage::Held(deadline) => 8 + spell(now.longest_since(deadline.sent), belief),
        };
        self.push(stage);
    }

    /// What the client knows and what is known of it, yes or no.
    fn memory(&mut self) {
        let (client, view) = (self.client, &self.view);
        let stored = self.world.record();
        let token = stored.map(|r| r.token);
        let names_us = stored.and_then(|r| r.holder()).is_some_and(|h| h.id == client.holder);
        let granted = client.granted.is_some();
        let by_now = granted && client.granted == token;
        let ended = client.forced.is_some();
        let ended_now = ended && client.forced == client.granted;
        let forced_out = stored.is_some_and(|r| forced(r, client.holder));
        // Politeness is asked of those who still want it, and only after a lost race.
        let acquires = matches!(view.stage, Stage::Acquiring { .. });
        let raced = acquires && view.conflicts > 0;
        let polite = raced && view.polite;
        let ahead = token.is_some() && view.highest > token;
        let flags = [names_us, granted, by_now, ended, ended_now, forced_out, ahead];
        let more = [view.must_read, view.suspect, view.stale, raced, polite, client.paused];
        self.flags(flags);
        self.flags(more);
        self.bytes.extend(once::client(self.world, self.who, &self.view));
    }

    fn seen(&mut self) {
        let look = self.view.seen.map_or(0, |seen| self.shown(seen));
        self.push(look);
        if self.bounds.clock {
            let age = self.view.age.filter(|_| look != 0);
            let due = takeover_due(self.bounds.ttl, Duration::ZERO);
            self.push(age.map_or(0, |age| 1 + spell(age, due)));
        }
    }

    /// What a state shows: the newest one is known already, and of another only this matters.
    fn shown(&self, seen: &Seen) -> u8 {
        if seen.state == *self.world.state() {
            return 1;
        }
        let Some(record) = &seen.record else { return 2 };
        match record.holder() {
            None => 3,
            Some(h) if h.id == self.client.holder => 4,
            Some(_) => 5,
        }
    }

    /// The outcome of `once` that the answer shows, if it is not the newest state. Of an outdated state
    /// that is known already nothing more is made.
    fn run_shown(&mut self, seen: &Seen) {
        let old = Some(seen).filter(|seen| seen.state != *self.world.state());
        if let Some(record) = old.and_then(|seen| seen.record.as_ref()) {
            let relation = once::relation(record, self.client, &self.view);
            self.bytes.extend([once::outcome(record.outcome.as_ref()), relation]);
        }
    }

    fn answer(&mut self) {
        let Some(flight) = &self.client.flight else { return self.push(0) };
        let doomed = flight.on.as_ref().is_some_and(|on| on != self.world.state());
        let blind = flight.on.as_ref().is_some_and(is_anything);
        let reads = flight.on.is_none();
        self.flags([true, reads, doomed, blind]);
        let newest = self.world.state();
        match &flight.answer {
            None => self.push(0),
            Some(Reply::Applied(state)) => {
                let writes = self.view.outstanding.and_then(|(_, record)| record);
                let ended = writes.is_some_and(|r| Some(r.token) == self.client.forced);
                self.flags([true, false, state == newest, ended]);
            }
            Some(Reply::Read { seen, age, .. }) => {
                self.push(16 + self.shown(seen));
                self.run_shown(seen);
                let known = self.view.seen.is_some_and(|s| s.state == seen.state);
                let token = seen.record.as_ref().map(|r| r.token);
                let old = token.is_some() && token < self.view.highest;
                let ended = token.is_some() && token == self.client.forced;
                let out = seen.record.as_ref().is_some_and(|r| forced(r, self.client.holder));
                self.flags([known, old, ended, out]);
                if self.bounds.clock {
                    let due = takeover_due(self.bounds.ttl, Duration::ZERO);
                    self.push(age.map_or(0, |age| 1 + spell(age, due)));
                }
            }
            Some(_) => self.push(64),
        }
        if let Some(asked) = self.view.asked {
            let elapsed = self.client.moment().longest_since(asked);
            self.push(128 + spell(elapsed, self.bounds.ttl));
        }
    }

    /// The open writes: those that can still turn out to have landed, and whether there are any. If the
    /// last may be proven never to have been sent, it matters whether there are others.
    fn open(&mut self) {
        let awaits_write = self.client.writes_on().is_some();
        let count_open = self.client.lease.open().len();
        let last = count_open.wrapping_sub(1);
        let mut looks: Vec<[u32; 2]> = vec![];
        for (place, open) in self.client.lease.open().iter().enumerate() {
            let traces = self.traces(open);
            if traces != 0 {
                let awaited = awaits_write && place == last;
                let sent = sent(self.client, open, self.bounds).into();
                looks.push([traces | u32::from(awaited) << 31, sent]);
            } else if awaits_write && place == last {
                looks.push([1 << 31, sent(self.client, open, self.bounds).into()]);
            }
        }
        looks.sort_unstable();
        looks.dedup();
        let others = count_open > usize::from(awaits_write);
        self.flags([count_open == 0, others && self.bounds.never_sent]);
        self.push(count(looks.len()));
        self.bytes.extend(looks.into_iter().flatten().flat_map(u32::to_le_bytes));
        self.unremembered();
    }

    /// Where an open write can be met: in the register, in an answer, on its way.
    fn traces(&self, open: &Attempt) -> u32 {
        let stands = self.world.record().is_some_and(|r| r.write == open.id);
        let told = shown_by(self.client).is_some_and(|r| r.write == open.id);
        let mut coming = self.world.pool.iter().filter(|p| p.from == Some(self.who));
        let coming = coming.find(|p| p.record.write == open.id);
        let coming = coming.map_or(0, |p| 1 + kind(self.world, p));
        u32::from(stands) | u32::from(told) << 1 | coming << 2
    }

    /// Writes of ours on their way that we do not remember. A right core has none.
    fn unremembered(&mut self) {
        let ours = self.world.pool.iter().filter(|p| p.from == Some(self.who));
        let known = |p: &Pending| self.client.lease.open().iter().any(|o| o.id == p.record.write);
        let lost = ours.filter(|p| !known(p));
        let mut kinds: Vec<u32> = lost.map(|p| 1 << 31 | kind(self.world, p)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        self.bytes.extend(kinds.into_iter().flat_map(u32::to_le_bytes));
    }

    /// Since when the watched holder was seen: it matters while that lease can be seen again, or is
    /// about to be judged.
    fn watched(&mut self) {
        let Some(watched) = self.view.watched else { return self.push(0) };
        let stands = self.world.record().is_some_and(|r| is_lease(watched, r));
        let told = shown_by(self.client).is_some_and(|r| is_lease(watched, r));
        let seen = self.view.seen.map(|seen| self.shown(seen));
        let acquires = matches!(self.view.stage, Stage::Acquiring { .. });
        let judged = acquires && !self.view.must_read && seen == Some(5);
        if !stands && !told && !judged {
            return self.push(0);
        }
        let elapsed = self.client.moment().shortest_since(watched.since);
        let due = takeover_due(self.bounds.ttl, Duration::ZERO);
        self.flags([true, stands, told, judged]);
        self.push(spell(elapsed, due));
    }
}

/// The record in the answer to a read, or to a refused write.
fn shown_by(client: &Client) -> Option<&Record> {
    match client.answer()? {
        Reply::Read { seen, .. } => seen.record.as_ref(),
        _ => None,
    }
}

fn is_lease(watched: &Sighting, record: &Record) -> bool {
    record.holder().is_some_and(|h| {
        (record.token, h.id, h.renewals) == (watched.token, watched.holder, watched.renewals)
    })
}

fn forced(record: &Record, holder: HolderId) -> bool {
    let past = record.past.as_ref();
    past.is_some_and(|p| p.id == Some(holder) && p.ended == Ended::Forced)
}
