//! What must hold, in true time, as seen by somebody who knows everything.

use std::time::Duration;

use leasehold_core::deadline::Moment;
use leasehold_core::lease::Release;
use leasehold_core::record::{FencingToken, Holder, HolderId, Record};

use super::register::State;
use super::world::{Act, World};

/// Who sent a write, and when by their own clocks.
#[derive(Clone)]
pub(crate) struct Author {
    pub(crate) who: usize,
    pub(crate) holder: HolderId,
    pub(crate) process: u64,
    pub(crate) sent: Moment,
    /// How much their clocks had missed by then.
    pub(crate) hidden: u64,
    /// Whether the sender had been told to give up.
    pub(crate) gives_up: bool,
}

// The rules of time once more, so that the protocol is not measured by its own mistakes.

fn belief(holder: &Holder) -> Duration {
    Duration::from_micros(holder.ttl_ms * 800)
}

fn takeover_due(holder: &Holder) -> Duration {
    Duration::from_millis(holder.ttl_ms + holder.takeover_delay_ms)
}

fn longest(from: Moment, to: Moment) -> Duration {
    (to.boot - from.boot).max(to.mono - from.mono)
}

fn shortest(from: Moment, to: Moment) -> Duration {
    (to.boot - from.boot).min(to.mono - from.mono)
}

impl World {
    /// After every event: at most one believes that it holds, and rightly.
    pub(crate) fn check_holders(&self) {
        let mut believers = vec![];
        for (who, client) in self.clients.iter().enumerate() {
            let now = client.host.moment(self.time);
            if !client.lease.is_held(now) {
                continue;
            }
            let token = client.granted.expect("it holds before it was told so, or after its loss");
            // A pause that no clock counts is beyond the promise until it is suspected, which the
            // first step afterwards does; and being forced out is learned of when it is.
            if !client.host.is_paused() && !self.ended_by_operator.contains(&token) {
                believers.push(who);
                self.check_belief(who, now);
            }
        }
        assert!(believers.len() <= 1, "at {} both of {believers:?} hold", self.time);
    }

    /// Who believes stands in the record, by a write sent within the span of belief.
    fn check_belief(&self, who: usize, now: Moment) {
        let client = &self.clients[who];
        let time = self.time;
        let record = self.store.record().expect("nothing is stored and somebody holds");
        let holder = record.holder().expect("the record is free and somebody holds");
        assert_eq!(holder.id, client.holder, "at {time} client {who} believes, another stands");
        assert_eq!(Some(record.token), client.granted, "at {time} client {who} has another token");
        let author = &self.authors[&record.write];
        let elapsed = longest(author.sent, now);
        assert!(elapsed < belief(holder), "at {time} client {who} believes for too long");
        assert_eq!(author.hidden, client.host.hidden, "at {time} client {who} trusts its clock");
    }

    pub(crate) fn check_grant(&mut self, who: usize, token: FencingToken) {
        let time = self.time;
        if !self.ended_by_operator.contains(&token) {
            let last = self.last_grant.replace(token);
            assert!(last < Some(token), "at {time} client {who} got {token} after {last:?}");
        }
    }

    /// Who has ended in order leaves nothing behind that others would have to wait for.
    pub(crate) fn check_departure(&mut self, who: usize, release: Release) {
        let holder = self.clients[who].holder;
        if release != Release::Unconfirmed {
            self.departed.insert(holder);
            let left = self.store.record().and_then(|r| r.holder()).is_some_and(|h| h.id == holder);
            assert!(!left, "at {} client {who} has ended and still stands there", self.time);
        }
    }

    /// A write is about to land on the newest state.
    pub(crate) fn check_write(&mut self, new: &Record) {
        let author = self.authors[&new.write].clone();
        let time = self.time;
        assert!(Some(new.token) >= self.last_token, "at {time} the token went back");
        let before = self.store.state.take();
        let was = before.as_ref().and_then(|s| s.record.holder());
        let old_token = before.as_ref().map(|s| s.record.token);
        let is = new.holder();
        let same = was.map(|h| h.id) == is.map(|h| h.id) && old_token == Some(new.token);
        if is.is_some() && !same {
            assert!(Some(new.token) > self.last_token, "at {time} a token was given twice");
        }
        if let (Some(before), Some(was)) = (&before, was)
            && !same
            && was.id != author.holder
        {
            self.check_takeover(before, was, &author);
        }
        if same && let (Some(was), Some(is)) = (was, is) {
            assert_eq!(is.renewals, was.renewals + 1, "at {time} a renewal shows no life");
            assert_eq!(author.holder, is.id, "at {time} renewed by a stranger");
        }
        if let Some(is) = is {
            let ghost = self.departed.contains(&is.id);
            assert!(!ghost, "at {time} a ghost of client {} comes to hold", author.who);
            let before = self.leases.insert(is.id, new.token);
            self.tally.second_leases += u64::from(before.is_some_and(|t| t != new.token));
        }
        self.last_token = self.last_token.max(Some(new.token));
        self.store.state = before;
    }

    /// A lease of another is written over: it must be over for its holder and for the writer.
    fn check_takeover(&mut self, before: &State, was: &Holder, author: &Author) {
        let time = self.time;
        let held_by = self.authors[&before.record.write].clone();
        let victim = &self.clients[held_by.who];
        let due = takeover_due(was);
        let orphaned = self.plan.orphans && victim.process != held_by.process;
        let waiter = self.clients[author.who].host.moment(time);
        let by_sight = shortest(before.moments[author.who], waiter) >= due;
        let age = (time - before.landed) * self.plan.store_rate / 1_000_000;
        let by_age = self.plan.clock && Duration::from_micros(age) >= due;
        if author.gives_up {
            self.tally.takeovers_by_giving_up += 1;
        } else if by_sight {
            self.tally.takeovers_by_sight += 1;
        } else if by_age {
            self.tally.takeovers_by_age += 1;
        } else {
            self.tally.takeovers_of_orphans += 1;
        }
        if orphaned && was.takeover_delay_ms == 0 {
            return;
        }
        assert!(by_sight || by_age, "at {time} client {} takes over too early", author.who);
        let elapsed = longest(held_by.sent, victim.host.moment(time));
        let unaware = victim.host.is_paused() || victim.host.hidden != held_by.hidden;
        let over = elapsed >= belief(was);
        assert!(over || unaware, "at {time} taken over while client {} may hold", held_by.who);
    }

    /// Once the faults have stopped, somebody must get it.
    pub(crate) fn check_liveness(&self, since: u64) {
        let end = self.time;
        assert!(self.last_granted_at > since, "nobody was granted from {since} to {end}");
        for (who, client) in self.clients.iter().enumerate() {
            let at = client.stepped_at;
            let quiet = end.saturating_sub(at);
            let idle = client.act == Act::Idle;
            assert!(idle || quiet < self.plan.ttl_most * 2, "client {who} sleeps since {at}");
        }
    }
}
