//! What lies between the clients and the store: delays, losses, second copies, refusals.

use std::time::Duration;

use leasehold_core::backend::{Fate, Trouble};
use leasehold_core::lease::{Reply, Request, Seen};
use leasehold_core::record::Record;

use super::checks::Author;
use super::world::{Act, Happening, World};
use crate::chance::UNCERTAINTY;

/// The store's Unix time at the beginning.
const EPOCH_MS: u64 = 1_700_000_000_000;

impl World {
    /// `deletions` had happened when the client last looked, if it sends straight after a look.
    pub(crate) fn send(&mut self, who: usize, send: (u64, Request, Duration), deletions: u64) {
        let (number, request, timeout) = send;
        let client = &mut self.clients[who];
        client.awaited = Some(number);
        let from = (who, client.life);
        if let Request::Write(_, record) = &request {
            let author = Author {
                who,
                holder: client.holder,
                process: client.process,
                sent: client.host.moment(self.time),
                hidden: client.host.hidden,
                gives_up: client.act == Act::LetsGo || record.holders.is_empty(),
            };
            client.writes += 1;
            self.authors.insert(record.write, author);
        }
        let timeout = self.clients[who].host.takes(timeout);
        self.later(timeout, Happening::TimeOut { to: from, number });
        if self.fault(self.plan.not_sent) {
            self.tally.never_sent += 1;
            let reply = Reply::Failed(Fate::NotSent, Trouble::Unavailable);
            return self.later(1, Happening::Answer { to: from, number, reply });
        }
        let copies = 1 + u64::from(self.fault(self.plan.doubled));
        for copy in 0..copies {
            if self.fault(self.plan.lost) {
                self.tally.lost_requests += 1;
                continue;
            }
            let delay = self.delay(copy);
            let request = request.clone();
            self.later(delay, Happening::Arrives { from, number, request, deletions, copy });
        }
    }

    fn delay(&mut self, copy: u64) -> u64 {
        let most = self.plan.ttl_most;
        match copy {
            0 if self.fault(self.plan.slow) => self.chance.from(1000, most * 3 / 2),
            0 => self.chance.from(500, 20_000),
            _ if self.chance.permille(500) => self.chance.from(500, 40_000),
            _ => self.chance.from(500, most * 3),
        }
    }

    pub(crate) fn arrives(
        &mut self,
        from: (usize, u64),
        number: u64,
        request: &Request,
        old: u64,
        copy: u64,
    ) {
        let first = *self.first_copies.entry((from.0, from.1, number)).or_insert(copy);
        let throttled = self.fault(self.plan.throttled);
        let mut reply = None;
        if !throttled || self.chance.permille(300) {
            let late = self.clients[from.0].awaited != Some(number);
            let deletions = self.store.deletions;
            self.looks.entry((from.0, from.1, number)).or_insert(deletions);
            let done = self.serve(request, old);
            let applied = matches!(done, Reply::Applied(_));
            if matches!(request, Request::Write(..)) {
                self.tally.late_writes_landed += u64::from(late && applied);
                self.tally.late_writes_refused += u64::from(late && !applied);
                let second = copy != first && !applied && !late;
                self.tally.second_copies_refused_first += u64::from(second);
            }
            self.tally.throttled_but_landed += u64::from(throttled && applied);
            reply = Some(done);
        }
        if throttled {
            let retry_after = self.chance.permille(300).then(|| Duration::from_millis(50));
            let fate = Fate::Throttled { retry_after };
            reply = Some(Reply::Failed(fate, Trouble::Unavailable));
        }
        if self.fault(self.plan.lost) {
            self.tally.lost_replies += 1;
        } else if let Some(reply) = reply {
            let delay = self.delay(0);
            self.later(delay, Happening::Answer { to: from, number, reply });
        }
    }

    // The store.

    fn serve(&mut self, request: &Request, deletions: u64) -> Reply {
        let Request::Write(expected, record) = request else { return self.read() };
        if !self.store.admits(expected, deletions) {
            return if self.plan.tells { self.read() } else { Reply::Conflict };
        }
        if self.chance.permille(10) {
            assert_eq!(Record::decode(&record.encode()).as_ref(), Ok(record));
        }
        self.check_write(record);
        self.put(record.clone());
        Reply::Applied(self.store.expected())
    }

    pub(crate) fn put(&mut self, record: Record) {
        let moments = self.clients.iter().map(|c| c.host.moment(self.time)).collect();
        self.store.put(record, self.time, moments);
        self.hint();
    }

    pub(crate) fn hint(&mut self) {
        for to in 0..self.clients.len() {
            if self.plan.notifies && self.chance.permille(800) {
                let delay = self.chance.from(500, 20_000);
                self.later(delay, Happening::Hint { to });
            }
        }
    }

    fn read(&mut self) -> Reply {
        let clock = self.plan.clock;
        let error = self.chance.from(0, 2 * UNCERTAINTY);
        let state = self.store.state.as_ref();
        let age = state.filter(|_| clock).map(|s| {
            let age = (self.time - s.landed) * self.plan.store_rate / 1_000_000;
            Duration::from_micros((age + error).saturating_sub(UNCERTAINTY))
        });
        let author = state.and_then(|s| self.authors.get(&s.record.write));
        let dead = author.is_some_and(|a| self.clients[a.who].process != a.process);
        Reply::Read {
            seen: Seen { state: self.store.expected(), record: state.map(|s| s.record.clone()) },
            age,
            orphaned: self.plan.orphans && dead,
            unix_ms: clock.then(|| EPOCH_MS + self.time / 1000),
        }
    }
}
