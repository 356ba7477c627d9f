//! What is promised to those who wait, in numbers, and how much work waiting may be.
//!
//! Once the faults are over, with T the longest ttl, D the longest takeover delay, P the least poll
//! interval and W the least write interval of the world, and one ttl for the last failures to pass:
//!
//! * A lock that is *free* goes to somebody who waits for it within `T * 3/5 + 8 P + 12 W + 0.2 s`.
//! * A lock whose holder is *dead* goes to somebody who waits for it within `(T + D) * 10/9` more,
//!   counted from the holder's last sign of life.
//!
//! Who gets it among several is left to chance, so a single waiter is promised no bound; one that
//! waits alone is somebody. The parts: a poll comes at most half of a ttl after the last, by a clock
//! that is at most a tenth slow; who lost races stays polite for `8 P`, and as long as the store asks
//! for after a write; each look and each write take a round trip.

use super::client::Act;
use super::promises::{BOUNDED_WORK, FAIR_WAIT, NO_SLEEPER};
use super::register::State;
use super::world::World;

/// Requests in a second of true time that no client exceeds: what polls at the shortest interval
/// come to (half of 20 ms by jitter, and the shortest round trip), and a third more for races.
const REQUESTS_MOST: u64 = 120;

impl World {
    /// Since when somebody asks for the lock who would wait for it, and could.
    fn asked_since(&self) -> Option<u64> {
        self.clients.iter().filter_map(|c| c.keen_since).min()
    }

    /// How long the lock may go to nobody, from the last change or sign of life in the record.
    fn wait_most(&self, dead: bool) -> u64 {
        let facts = &self.plan.clients[0].facts;
        let poll = u64::try_from(facts.least_poll.as_micros()).unwrap_or_default();
        let write = u64::try_from(facts.least_write_interval.as_micros()).unwrap_or_default();
        let delay = self.plan.clients.iter().map(|s| s.takeover_delay.as_micros()).max();
        let delay = u64::try_from(delay.unwrap_or_default()).unwrap_or_default();
        // Where runs fail, the next one is not asked for before the wait is over.
        let backoff = self.plan.once.map_or(0, |o| o.backoff << o.max_attempts);
        let free = self.plan.ttl_most * 3 / 5 + 8 * poll + 12 * write + backoff + 200_000;
        let most = if dead { free + (self.plan.ttl_most + delay) * 10 / 9 } else { free };
        // Clocks beyond the bound stretch it by as much.
        if self.wild { most * 3 / 2 } else { most }
    }

    /// How long somebody has asked for a lock that was free, with the faults over, and how long
    /// that may be.
    fn waited(&self, before: Option<&State>) -> Option<(u64, u64, bool)> {
        let changed = before.map_or(self.store.deleted, |state| state.landed);
        let dead = before.is_some_and(|state| state.record.holder().is_some());
        let settled = self.weather.calm + self.plan.ttl_most;
        let since = changed.max(settled).max(self.asked_since()?);
        Some((self.time.checked_sub(since)?, self.wait_most(dead), dead))
    }

    /// The lock is about to change hands, from the state `before`.
    pub(crate) fn measure_wait(&mut self, sent: usize, before: Option<&State>) {
        let Some((waited, most, dead)) = self.waited(before) else { return };
        let who = self.sent[sent].who;
        self.count.waits_for_the_dead += u64::from(dead);
        self.count.waits_for_the_free += u64::from(!dead);
        self.promised(waited <= most, FAIR_WAIT, || {
            format!("it took {waited} us until client {who} got it, and {most} us are promised")
        });
    }

    /// Everything is over: nobody may be left waiting.
    pub(crate) fn check_end(&mut self) {
        let believed = self.clients.iter().any(|c| c.act == Act::Holds || c.act == Act::LetsGo);
        let state = self.store.state.take();
        let waited = self.waited(state.as_ref()).filter(|_| !believed);
        self.store.state = state;
        if let Some((waited, most, _)) = waited {
            self.promised(waited <= most, FAIR_WAIT, || {
                format!("nobody got it for {waited} us, and {most} us are promised")
            });
        }
        let since = self.weather.calm + self.plan.ttl_most * 4;
        let granted = self.last_granted_at > since;
        self.promised(granted, FAIR_WAIT, || {
            "nobody was granted the lock in the last four ttl, with the faults over".to_owned()
        });
        for who in 0..self.clients.len() {
            let client = &self.clients[who];
            let (at, idle) = (client.stepped_at, client.act == Act::Idle);
            let quiet = self.time.saturating_sub(at);
            self.promised(idle || quiet < self.plan.ttl_most * 2, NO_SLEEPER, || {
                format!("client {who} has done nothing for {quiet} us")
            });
        }
    }

    /// After every request.
    pub(crate) fn check_work(&mut self, who: usize) {
        let time = self.time;
        let (since, count) = &mut self.clients[who].busy;
        if time - *since >= 1_000_000 {
            (*since, *count) = (time, 0);
        }
        *count += 1;
        let count = *count;
        self.promised(count <= REQUESTS_MOST, BOUNDED_WORK, || {
            format!("client {who} sends {count} requests within a second")
        });
    }
}
