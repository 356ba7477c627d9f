//! The backend of a client: requests that travel through the weather to the one store and back.

use std::sync::Arc;
use std::time::Duration;

use leasehold::core::backend::{
    Backend, BackendError, BoxFuture, Expected, Facts, Fate, Key, Reading, Trouble, Version,
    Versioned, Written,
};
use tokio::sync::oneshot;

use super::env::heard;
use super::state::{Caller, Happening, State, World};
use crate::fault::Fault;
use crate::plan::{EPOCH_MS, UNCERTAINTY};
use crate::weather::{Course, Leg, Sky};

pub(super) enum Request {
    Read,
    /// How many deletions the look that it is sent upon had seen.
    Write {
        expected: Expected,
        bytes: Vec<u8>,
        deletions: u64,
    },
    List,
}

/// What the store answers.
pub(super) enum Answer {
    /// With the number of deletions so far.
    Reading(Reading, u64),
    Written(Written),
    Listed(Vec<Key>),
}

/// One copy of a request on its way.
pub(super) struct Arrival {
    pub(super) from: Caller,
    call: u64,
    key: usize,
    request: Arc<Request>,
    leg: Leg,
}

/// Somebody who wants to hear of the next state.
pub(super) struct Watcher {
    to: Caller,
    key: usize,
    since: Expected,
    tell: oneshot::Sender<()>,
}

/// What one process reaches the store through.
#[derive(Debug)]
pub(super) struct SimBackend {
    pub(super) world: Arc<World>,
    pub(super) caller: Caller,
    pub(super) facts: Facts,
}

impl SimBackend {
    async fn call(&self, key: usize, request: Request) -> Result<Answer, BackendError> {
        let answer = self.world.lock().send(self.caller, key, request);
        heard(answer).await
    }
}

impl Backend for SimBackend {
    fn facts(&self) -> Facts {
        self.facts
    }

    fn url(&self) -> String {
        "sim://".into()
    }

    fn locate(&self, key: &Key) -> String {
        format!("sim://{key}")
    }

    fn read<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Reading, BackendError>> {
        Box::pin(async move {
            let key = self.world.lock().key(key);
            let answer = self.call(key, Request::Read).await?;
            let Answer::Reading(reading, deletions) = answer else { return Err(senseless()) };
            let mut state = self.world.lock();
            state.places[self.caller.who].looks[key] = deletions;
            Ok(reading)
        })
    }

    fn write<'a>(
        &'a self,
        key: &'a Key,
        expected: &'a Expected,
        bytes: &'a [u8],
    ) -> BoxFuture<'a, Result<Written, BackendError>> {
        Box::pin(async move {
            let (key, deletions) = {
                let state = self.world.lock();
                let key = state.key(key);
                (key, state.places[self.caller.who].looks[key])
            };
            let (expected, bytes) = (expected.clone(), bytes.to_vec());
            let request = Request::Write { expected, bytes, deletions };
            match self.call(key, request).await? {
                Answer::Written(written) => Ok(written),
                Answer::Reading(..) | Answer::Listed(_) => Err(senseless()),
            }
        })
    }

    fn delete<'a>(
        &'a self,
        _: &'a Key,
        _: &'a Version,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        // Operators delete with the store's own tools.
        Box::pin(async { Err(BackendError::not_sent(Trouble::Invalid, "nobody deletes this way")) })
    }

    fn list<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<Key>, BackendError>> {
        Box::pin(async move {
            match self.call(0, Request::List).await? {
                Answer::Listed(keys) => Ok(keys),
                Answer::Reading(..) | Answer::Written(_) => Err(senseless()),
            }
        })
    }

    fn changed<'a>(&'a self, key: &'a Key, since: &'a Expected) -> BoxFuture<'a, ()> {
        let mut state = self.world.lock();
        let key = state.key(key);
        let (tell, told) = oneshot::channel();
        state.watchers.push(Watcher { to: self.caller, key, since: since.clone(), tell });
        state.hint(key);
        drop(state);
        Box::pin(heard(told))
    }
}

fn senseless() -> BackendError {
    BackendError::unknown(Trouble::Invalid, "an answer to another question")
}

impl State {
    /// Sends a request once. What becomes of it is the weather's.
    fn send(
        &mut self,
        from: Caller,
        key: usize,
        request: Request,
    ) -> oneshot::Receiver<Result<Answer, BackendError>> {
        let (tell, told) = oneshot::channel();
        self.numbered += 1;
        let call = self.numbered;
        self.calls.insert(call, tell);
        let place = &mut self.places[from.who];
        place.requests += 1;
        let number = place.requests;
        let course = self.weather.course(from.who, from.process, number, self.time);
        let fate = fate(&course);
        let asks = words(&request);
        self.note(Some(from.who), "sends", number, |s| {
            let key = &s.plan.keys[key];
            (format!("#{call}: {asks} {key}{fate}"), String::new())
        });
        if course.not_sent {
            let answer = Err(BackendError::not_sent(Trouble::Unavailable, "no route"));
            self.later(1, Happening::Answer { to: from, call, answer });
        }
        let request = Arc::new(request);
        for leg in course.copies.into_iter().flatten() {
            let request = Arc::clone(&request);
            let delay = leg.delay;
            let arrival = Arrival { from, call, key, request, leg };
            self.later(delay, Happening::Arrives(Box::new(arrival)));
        }
        told
    }

    /// A copy of a request reaches the store.
    pub(super) fn arrives(&mut self, arrival: Arrival) {
        let Arrival { from, call, key, request, leg } = arrival;
        let unavailable = |fate| {
            Err(BackendError { fate, trouble: Trouble::Unavailable, message: "slow down".into() })
        };
        let answer = match (self.weather.sky(from.who, self.time), &leg.throttled) {
            (Sky::Away, _) => {
                return self
                    .note(None, "is away", call, |_| (format!("for #{call}"), String::new()));
            }
            (Sky::Denied, _) => Err(BackendError::unknown(Trouble::Denied, "not allowed")),
            (Sky::Clear, None) => Ok(self.serve(from, call, key, &request)),
            (Sky::Clear, Some(throttled)) => {
                if throttled.served {
                    let done = self.serve(from, call, key, &request);
                    let applied = matches!(done, Answer::Written(Written::Applied(_)));
                    self.tally.throttled_but_landed += u64::from(applied);
                }
                unavailable(Fate::Throttled { retry_after: throttled.retry_after })
            }
        };
        if let Some(delay) = leg.reply {
            self.later(delay, Happening::Answer { to: from, call, answer });
        }
    }

    fn serve(&mut self, from: Caller, call: u64, key: usize, request: &Request) -> Answer {
        let Request::Write { expected, bytes, deletions } = request else {
            return match request {
                Request::List => Answer::Listed(self.listed()),
                _ => Answer::Reading(self.reading(key), self.store[key].deletions),
            };
        };
        let late = self.calls.get(&call).is_none_or(oneshot::Sender::is_closed);
        if !self.store[key].admits(expected, *deletions) {
            self.tally.late_writes_refused += u64::from(late);
            self.note(None, "refuses", call, |s| (format!("#{call}"), s.standing(key)));
            let winner = self.base().tells.then(|| self.reading(key).record).flatten();
            return Answer::Written(Written::Conflict(winner));
        }
        self.tally.late_writes_landed += u64::from(late);
        self.lands(key, bytes.clone(), from);
        self.note(None, "takes", call, |s| (format!("#{call}"), s.standing(key)));
        let version = self.store[key].slot.as_ref().map(|s| s.version.clone());
        Answer::Written(Written::Applied(version.expect("it has landed")))
    }

    fn base(&self) -> &crate::plan::Plan {
        &self.plan.base
    }

    fn listed(&self) -> Vec<Key> {
        let stored = self.plan.keys.iter().zip(&self.store).filter(|(_, r)| r.slot.is_some());
        let mut keys: Vec<Key> = stored.map(|(key, _)| key.clone()).collect();
        keys.sort();
        keys
    }

    fn reading(&mut self, key: usize) -> Reading {
        let (time, clock) = (self.time, self.base().clock);
        // The error of an age is the store's own, and drawn from what nobody else draws from.
        self.numbered += 1;
        let error = crate::chance::Chance::of(self.seed, self.numbered).from(0, 2 * UNCERTAINTY);
        let record = self.store[key].slot.as_ref().map(|slot| {
            let age = (time - slot.landed) * self.base().store_rate / 1_000_000;
            let age = Duration::from_micros((age + error).saturating_sub(UNCERTAINTY));
            let dead = self.places[slot.writer.who].process != slot.writer.process;
            Versioned {
                bytes: slot.bytes.clone(),
                version: slot.version.clone(),
                age: clock.then_some(age),
                orphaned: self.base().orphans && dead,
            }
        });
        Reading { record, unix_ms: clock.then_some(EPOCH_MS + time / 1000) }
    }

    /// Tells those who want to hear of this key that it has changed, where it has.
    pub(super) fn hint(&mut self, key: usize) {
        let news = self.store[key].state();
        let watchers = std::mem::take(&mut self.watchers);
        for watcher in watchers {
            let Caller { who, process } = watcher.to;
            if watcher.tell.is_closed() || self.places[who].process != process {
                continue;
            }
            self.numbered += 1;
            let number = self.numbered;
            let changed = watcher.key == key && watcher.since != news;
            let lost = changed && self.strikes(Fault::LostHint, watcher.to, number);
            let falsely = !changed && self.strikes(Fault::FalseHint, watcher.to, number);
            if changed && !lost || falsely {
                let delay = 500 + number % 19_500;
                let Watcher { to, tell, .. } = watcher;
                self.later(delay, Happening::Hint { to, tell });
            } else if !lost {
                self.watchers.push(watcher);
            }
        }
    }

    /// What stands under a key, for people.
    pub(super) fn standing(&self, key: usize) -> String {
        let name = &self.plan.keys[key];
        let Some(slot) = &self.store[key].slot else { return format!("{name}: nothing") };
        let Some(record) = &slot.record else { return format!("{name}: damaged") };
        let token = record.token;
        match record.holder() {
            None => format!("{name}: free, token {token}"),
            Some(h) => format!("{name}: {} holds, token {token}, renewal {}", h.label, h.renewals),
        }
    }
}

/// What the weather makes of a request, for people; it does not know yet.
fn fate(course: &Course) -> String {
    let on_its_way = |leg: &Leg| {
        let late = leg.delay > 20_000;
        let late = if late { format!("{} ms late", leg.delay / 1000) } else { String::new() };
        let throttled = leg.throttled.as_ref().map_or("", |t| match t.served {
            true => "throttled but served",
            false => "throttled",
        });
        let answer = if leg.reply.is_none() { "answer lost" } else { "" };
        [late.as_str(), throttled, answer].map(str::to_owned)
    };
    let mut words: Vec<String> = course.copies.iter().flatten().flat_map(on_its_way).collect();
    words.retain(|word| !word.is_empty());
    match (course.not_sent, course.copies.iter().flatten().count()) {
        (true, _) => words.push("not sent".into()),
        (false, 0) => words.push("lost".into()),
        (false, 1) => {}
        (false, _) => words.insert(0, "twice".into()),
    }
    if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
}

fn words(request: &Request) -> &'static str {
    match request {
        Request::Read => "read",
        Request::Write { .. } => "write",
        Request::List => "list",
    }
}
