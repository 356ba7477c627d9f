//! What lies between the clients and the store, and how the store serves them.

use std::time::Duration;

use super::any::Input;
use leasehold_core::backend::{Fate, Trouble};
use leasehold_core::deadline::Moment;
use leasehold_core::lease::{Reply, Request, Seen};
use leasehold_core::record::{HolderId, Record};

use super::client::{Act, Client};
use super::deeds::End;
use super::promises::SAME_RECORD;
use super::words;
use super::world::{Happening, World};
use crate::fault::{Fault, Site};
use crate::plan::{EPOCH_MS, UNCERTAINTY};
use crate::weather::{Course, Sky};

/// One request: who sent it and when, what became of it.
pub(crate) struct Sent {
    pub(crate) who: usize,
    pub(crate) life: u64,
    pub(crate) number: u64,
    pub(crate) request: Request,
    /// How many deletions the sender had seen.
    deletions: u64,
    course: Course,
    /// Which copy reached the store first.
    first: Option<usize>,
    pub(crate) landed: bool,
    /// The answers on their way, with how many deletions they have seen.
    answers: [Option<(Reply, u64)>; 2],
    pub(crate) holder: HolderId,
    pub(crate) process: u64,
    /// When, by the sender's clocks.
    pub(crate) at: Moment,
    /// How much these had missed by then, and how often without a suspicion.
    pub(crate) hidden: u64,
    pub(crate) unseen: u64,
    /// Whether the sender had been told to give up.
    pub(crate) gives_up: bool,
    /// `once`: which key, and how the run had ended.
    pub(crate) key: u64,
    pub(crate) end: Option<End>,
}

impl Client {
    pub(crate) fn awaited_write(&self, sent: &[Sent]) -> bool {
        self.awaited.is_some_and(|s| matches!(sent[s].request, Request::Write(..)))
    }
}

impl World {
    /// `deletions` had happened when the client last looked.
    pub(crate) fn send(&mut self, who: usize, what: (u64, Request, Duration), deletions: u64) {
        let (number, request, timeout) = what;
        let (sent, time) = (self.sent.len(), self.time);
        let client = &mut self.clients[who];
        client.awaited = Some(sent);
        client.requests += 1;
        let written = match &request {
            Request::Read => None,
            Request::Write(_, record) => Some(record),
        };
        let releases = written.is_some_and(|record| record.holders.is_empty());
        client.writes += u64::from(written.is_some());
        if let Some(record) = written {
            self.check_id(who, record.write);
        }
        let client = &mut self.clients[who];
        let timeout = client.host.takes(timeout);
        let sky = self.weather.sky(who, time);
        let mut course = self.weather.course(who, client.life, number, time);
        self.tell_request(who, number, &request, timeout, &course);
        let client = &mut self.clients[who];
        if sky == Sky::Away {
            course.copies = [None, None];
        }
        self.sent.push(Sent {
            who,
            life: client.life,
            number,
            deletions,
            first: None,
            landed: false,
            answers: [None, None],
            holder: client.holder,
            process: client.process,
            at: client.host.moment(time),
            hidden: client.host.hidden,
            unseen: client.unseen,
            gives_up: client.act == Act::LetsGo || releases,
            key: client.key,
            end: client.end,
            request,
            course,
        });
        let refused = client.chance.permille(500);
        self.later(timeout, Happening::TimeOut { sent });
        if self.sent[sent].course.not_sent {
            self.sent[sent].answer(0, Reply::Failed(Fate::NotSent, Trouble::Unavailable), 0);
            self.later(1, Happening::Answer { sent, copy: 0 });
        } else if sky == Sky::Away && refused {
            // Half of the requests fail quickly, the others hang.
            self.sent[sent].answer(0, Reply::Failed(Fate::Unknown, Trouble::Unavailable), 0);
            self.later(700, Happening::Answer { sent, copy: 0 });
        }
        for copy in 0..2 {
            if let Some(leg) = &self.sent[sent].course.copies[copy] {
                let delay = leg.delay;
                self.later(delay, Happening::Arrives { sent, copy });
            }
        }
        self.check_work(who);
    }

    pub(crate) fn arrives(&mut self, sent: usize, copy: usize) {
        let from = &mut self.sent[sent];
        let who = from.who;
        let Some(leg) = from.course.copies[copy].take() else { return };
        match self.weather.sky(who, self.time) {
            Sky::Clear => {}
            Sky::Away => {
                return self.tell_store(sent, || ("is away".into(), String::new()));
            }
            Sky::Denied => {
                self.tell_store(sent, || ("refuses its service".into(), String::new()));
                self.sent[sent].answer(copy, Reply::Failed(Fate::Unknown, Trouble::Denied), 0);
                return self.later(2000, Happening::Answer { sent, copy });
            }
        }
        let first = *from.first.get_or_insert(copy);
        let deletions = self.store.deletions;
        let mut reply = None;
        if leg.throttled.as_ref().is_none_or(|t| t.served) {
            let done = self.serve(sent);
            self.count_write(sent, copy != first, leg.throttled.is_some(), &done);
            reply = Some(done);
        }
        if let Some(throttled) = leg.throttled {
            let fate = Fate::Throttled { retry_after: throttled.retry_after };
            reply = Some(Reply::Failed(fate, Trouble::Unavailable));
            self.tell_store(sent, || ("asks for patience".into(), String::new()));
        }
        match (leg.reply, reply) {
            (Some(delay), Some(reply)) => {
                self.sent[sent].answer(copy, reply, deletions);
                self.later(delay, Happening::Answer { sent, copy });
            }
            _ => {
                self.tell_store(sent, || ("answers, and the answer is lost".into(), String::new()));
            }
        }
    }

    fn count_write(&mut self, sent: usize, second: bool, throttled: bool, done: &Reply) {
        let late = self.clients[self.sent[sent].who].awaited != Some(sent);
        let applied = matches!(done, Reply::Applied(_));
        if matches!(self.sent[sent].request, Request::Write(..)) {
            let count = &mut self.count;
            count.late_writes_landed += u64::from(late && applied);
            count.late_writes_refused += u64::from(late && !applied);
            count.second_copies_refused_first += u64::from(second && !applied && !late);
            count.throttled_but_landed += u64::from(throttled && applied);
        }
    }

    pub(crate) fn answers(&mut self, sent: usize, copy: usize) {
        let from = &mut self.sent[sent];
        let (to, number) = ((from.who, from.life), from.number);
        let Some((reply, deletions)) = from.answers[copy].take() else { return };
        let client = &mut self.clients[to.0];
        self.count.answers_out_of_time += u64::from(client.awaited != Some(sent));
        if client.host.stopped.is_some() {
            client.inbox.push((Input::Reply(number, reply), Some(deletions)));
        } else {
            self.step(to.0, Input::Reply(number, reply), Some(deletions));
        }
    }

    // The store.

    fn serve(&mut self, sent: usize) -> Reply {
        let from = &self.sent[sent];
        let Request::Write(expected, record) = &from.request else { return self.read(sent) };
        if !self.store.admits(expected, from.deletions) {
            let marked = self.store.state.is_none() && !self.store.is(expected);
            self.count.creations_refused_by_a_marker += u64::from(marked);
            self.tell_refusal(sent);
            return if self.plan.tells { self.read(sent) } else { Reply::Conflict };
        }
        let record = record.clone();
        if self.chance.permille(10) {
            let back = Record::decode(&record.encode());
            self.promised(back.as_ref() == Ok(&record), SAME_RECORD, || format!("{back:?}"));
        }
        self.check_write(sent, &record);
        self.check_deed(sent, &record);
        self.put(record, Some(sent));
        self.sent[sent].landed = true;
        self.tell_store(sent, || ("is written".into(), String::new()));
        Reply::Applied(self.store.expected())
    }

    pub(crate) fn put(&mut self, record: Record, sent: Option<usize>) {
        self.store.put(record, sent, self.time);
        if let Some(state) = &mut self.store.state {
            state.moments.clear();
            state.moments.extend(self.clients.iter().map(|c| c.host.moment(self.time)));
        }
        self.hint();
    }

    pub(crate) fn hint(&mut self) {
        if !self.plan.notifies {
            return;
        }
        self.hints += 1;
        for to in 0..self.clients.len() {
            let delay = self.chance.from(500, 20_000);
            let site = Site::new(to, 0, self.hints, 1);
            if !self.weather.draw(Fault::LostHint, site, self.time) {
                self.later(delay, Happening::Hint { to });
            }
        }
    }

    fn read(&mut self, sent: usize) -> Reply {
        let clock = self.plan.clock;
        let error = self.chance.from(0, 2 * UNCERTAINTY);
        let state = self.store.state.as_ref();
        let age = state.filter(|_| clock).map(|s| {
            let age = (self.time - s.landed) * self.plan.store_rate / 1_000_000;
            Duration::from_micros((age + error).saturating_sub(UNCERTAINTY))
        });
        let author = state.and_then(|s| s.sent).map(|sent| &self.sent[sent]);
        let dead = author.is_some_and(|a| self.clients[a.who].process != a.process);
        let orphaned = self.plan.orphans && dead;
        let reply = Reply::Read {
            seen: Seen { state: self.store.expected(), record: state.map(|s| s.record.clone()) },
            age,
            orphaned,
            unix_ms: clock.then(|| EPOCH_MS + self.time / 1000),
        };
        self.tell_store(sent, || ("is read".into(), words::aged(age, orphaned)));
        reply
    }
}

impl Sent {
    fn answer(&mut self, copy: usize, reply: Reply, deletions: u64) {
        self.answers[copy] = Some((reply, deletions));
    }
}
