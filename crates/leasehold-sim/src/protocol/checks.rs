//! What must hold, in true time, as seen by somebody who knows everything.

use std::time::Duration;

use leasehold_core::deadline::Moment;
use leasehold_core::lease::Release;
use leasehold_core::record::{FencingToken, Holder, Record};

use super::promises::{
    DUE_TAKEOVER, LIVE_RENEWAL, NO_GHOST, ONE_BELIEVER, OWN_RELEASE, RELEASE_STANDS,
    RIGHTFUL_BELIEF, TOKENS_RISE,
};
use super::resource::Grant;
use super::world::World;

// The rules of time once more, so that the protocol is not measured by its own mistakes.

fn belief(holder: &Holder) -> Duration {
    Duration::from_micros(holder.ttl_ms * 800)
}

fn takeover_due(holder: &Holder) -> Duration {
    Duration::from_millis(holder.ttl_ms + holder.takeover_delay_ms)
}

pub(crate) fn longest(from: Moment, to: Moment) -> Duration {
    to.boot.saturating_sub(from.boot).max(to.mono.saturating_sub(from.mono))
}

fn shortest(from: Moment, to: Moment) -> Duration {
    to.boot.saturating_sub(from.boot).min(to.mono.saturating_sub(from.mono))
}

/// A token in words.
pub(crate) fn shown(token: Option<FencingToken>) -> String {
    token.map_or("none".into(), |token| format!("token {token}"))
}

impl World {
    /// After every event: at most one believes that it holds, and rightly.
    pub(crate) fn check_holders(&mut self) {
        let (mut first, mut believers) = (None, 0);
        for who in 0..self.clients.len() {
            let client = &self.clients[who];
            let Some(grant) = client.granted else { continue };
            let now = client.host.moment(self.time);
            if !client.lease.is_held(now) {
                continue;
            }
            believers += 1;
            // What is not promised: a pause that no clock counts is beyond the promise until it is
            // suspected; being forced out is learned of when it is; and clocks have a bound.
            if self.wild || client.is_unaware() || self.ended_by_operator.contains(&grant.token) {
                continue;
            }
            if self.check_belief(who, now) {
                let other = first.replace(who);
                self.promised(other.is_none(), ONE_BELIEVER, || {
                    format!("both client {} and client {who} believe", other.unwrap_or(who))
                });
            }
        }
        self.count.beliefs_beyond_the_promise += u64::from(believers > 1);
    }

    /// Who believes stands in the record, by a write sent within the span of belief. False if this
    /// rests on a clock that missed something unseen.
    fn check_belief(&mut self, who: usize, now: Moment) -> bool {
        let client = &self.clients[who];
        let record = self.store.record();
        let sent = self.store.state.as_ref().and_then(|s| s.sent).map(|sent| &self.sent[sent]);
        let wrong = match (record.and_then(Record::holder), sent) {
            (Some(holder), Some(sent)) if holder.id == client.holder => {
                if sent.unseen != client.unseen {
                    return false;
                }
                let elapsed = longest(sent.at, now);
                if record.map(|r| r.token) != client.granted.map(|g| g.token) {
                    Some("its token is another than the record's".to_owned())
                } else if elapsed >= belief(holder) {
                    Some(format!("by a write that it sent {elapsed:?} ago"))
                } else if sent.hidden != client.host.hidden {
                    Some("and has been told that its clocks missed something".to_owned())
                } else {
                    None
                }
            }
            // It was written over while nothing was suspected.
            _ if client.unseen_in_this_life() => return false,
            (Some(_), _) => Some("and another stands in the record".to_owned()),
            (None, _) => Some("and the record names nobody".to_owned()),
        };
        self.promised(wrong.is_none(), RIGHTFUL_BELIEF, || {
            format!("client {who} believes that it holds, {}", wrong.unwrap_or_default())
        });
        true
    }

    pub(crate) fn check_grant(&mut self, who: usize, token: FencingToken) {
        if self.wild || self.ended_by_operator.contains(&token) {
            return;
        }
        let last = self.last_grant;
        // The deadline may be over by an unseen pause, and then another may have been granted.
        if self.clients[who].unseen_in_this_life() {
            return;
        }
        self.last_grant = Some(token);
        self.promised(last < Some(token), TOKENS_RISE, || {
            format!("client {who} is granted token {token} after {}", shown(last))
        });
    }

    /// Who has ended in order leaves nothing behind that others would have to wait for.
    pub(crate) fn check_departure(&mut self, who: usize, release: Release) {
        let client = &self.clients[who];
        let (holder, granted) = (client.holder, client.was_granted);
        if release == Release::Unconfirmed {
            return;
        }
        self.count.confirmed_ends += 1;
        self.departed.insert(holder, granted);
        let left = self.store.record().and_then(Record::holder).is_some_and(|h| h.id == holder);
        let promise = if granted { RELEASE_STANDS } else { NO_GHOST };
        self.promised(!left, promise, || {
            format!("client {who} ended in order, and the record still names it")
        });
    }

    /// A write is about to land on the newest state.
    pub(crate) fn check_write(&mut self, sent: usize, new: &Record) {
        let (author, sender) = (self.sent[sent].holder, self.sent[sent].who);
        let last = self.last_token;
        self.promised(Some(new.token) >= last, TOKENS_RISE, || {
            format!("client {sender} writes token {} after {}", new.token, shown(last))
        });
        let before = self.store.state.take();
        let was = before.as_ref().and_then(|s| s.record.holder());
        let old_token = before.as_ref().map(|s| s.record.token);
        let is = new.holder();
        let same = was.map(|h| h.id) == is.map(|h| h.id) && old_token == Some(new.token);
        if let Some(is) = is.filter(|_| !same) {
            self.promised(Some(new.token) > last, TOKENS_RISE, || {
                format!("client {sender} takes the lock with token {}, given before", new.token)
            });
            self.reigns += 1;
            let grant = Grant { token: new.token, reign: self.reigns };
            let earlier = self.leases.insert(is.id, grant);
            self.count.second_leases += u64::from(earlier.is_some());
            self.measure_wait(sent, before.as_ref());
        }
        if let (Some(before), Some(was)) = (&before, was)
            && !same
            && was.id != author
        {
            self.check_takeover(before, was, sent);
        }
        if same && let (Some(was), Some(is)) = (was, is) {
            let alive = is.renewals == was.renewals + 1 && author == is.id;
            self.promised(alive, LIVE_RENEWAL, || {
                let (from, to) = (was.renewals, is.renewals);
                format!("client {sender} renews from {from} to {to} renewals")
            });
        }
        if let Some(granted) = is.and_then(|is| self.departed.get(&is.id)).copied() {
            let promise = if granted { RELEASE_STANDS } else { NO_GHOST };
            self.promised(false, promise, || {
                format!("client {sender} comes to hold by a late write, after it had ended")
            });
        }
        self.last_token = last.max(Some(new.token));
        self.store.state = before;
    }

    /// A lease of another is written over: it must be over for its holder and for the writer.
    fn check_takeover(&mut self, before: &super::register::State, was: &Holder, sent: usize) {
        let (time, author) = (self.time, &self.sent[sent]);
        let Some(held_by) = before.sent.map(|s| &self.sent[s]) else { return };
        let (taker, holder) = (author.who, held_by.who);
        let victim = &self.clients[holder];
        let due = takeover_due(was);
        let orphaned = self.plan.orphans && victim.process != held_by.process;
        let waiter = self.clients[taker].host.moment(time);
        let seen = before.moments.get(taker).map_or(Duration::ZERO, |m| shortest(*m, waiter));
        let by_sight = seen >= due;
        let age = (time - before.landed) * self.plan.store_rate / 1_000_000;
        let age = Duration::from_micros(age);
        let by_age = self.plan.clock && age >= due;
        let count = &mut self.count;
        let gives_up = author.gives_up;
        match (gives_up, by_sight, by_age) {
            (true, ..) => count.takeovers_by_giving_up += 1,
            (_, true, _) => count.takeovers_by_sight += 1,
            (_, _, true) => count.takeovers_by_age += 1,
            _ => count.takeovers_of_orphans += 1,
        }
        if orphaned && was.takeover_delay_ms == 0 {
            return;
        }
        let elapsed = longest(held_by.at, victim.host.moment(time));
        // Beyond the promise, as above.
        let unaware = victim.is_unaware() || victim.host.hidden != held_by.hidden;
        let over = elapsed >= belief(was) || unaware || self.wild;
        let promise = if gives_up { OWN_RELEASE } else { DUE_TAKEOVER };
        self.promised(by_sight || by_age, promise, || {
            format!(
                "client {taker} writes over the lease of client {holder} too early: after {seen:?} \
                 by its own clock, {age:?} by the store's, and due is {due:?}"
            )
        });
        self.promised(over, promise, || {
            format!(
                "client {taker} writes over the lease of client {holder}, which may still hold: it \
                 sent its last write {elapsed:?} ago by its own clock"
            )
        });
    }
}
