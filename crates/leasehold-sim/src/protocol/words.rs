//! The trace of a world in words: what a person needs to see what went wrong.

use std::time::Duration;

use super::any::{Event, Input, Output};
use leasehold_core::backend::{Expected, Fate};
use leasehold_core::deadline::Deadline;
use leasehold_core::lease::{Loss, Patience, Reply, Request, Seen};
use leasehold_core::once::Settled;
use leasehold_core::record::{Record, WriteId};

use super::world::World;
use crate::violation::Promise;
use crate::weather::Course;

fn ms(span: Duration) -> String {
    format!("{} ms", span.as_millis())
}

fn version(expected: &Expected) -> &str {
    match expected {
        Expected::Absent => "absent",
        Expected::Version(version) => version.as_str(),
    }
}

/// The end of a write's id: enough to tell it from others.
fn id(write: WriteId) -> String {
    format!("w{:04x}", write.0 & 0xFFFF)
}

fn record(record: Option<&Record>) -> String {
    let Some(record) = record else { return "nothing".into() };
    let (token, write) = (record.token, id(record.write));
    let outcome = record
        .outcome
        .as_ref()
        .map(|o| format!(", {} {} by {} after {} failures", o.key, o.state, o.token, o.failures));
    let outcome = outcome.unwrap_or_default();
    match record.holder() {
        None => format!("free, token {token}, by {write}{outcome}"),
        Some(h) => format!(
            "{} holds, token {token}, renewals {}, ttl {} ms{}, by {write}{outcome}",
            h.label,
            h.renewals,
            h.ttl_ms,
            delay(h.takeover_delay_ms),
        ),
    }
}

fn delay(ms: u64) -> String {
    if ms > 0 { format!(" + {ms}") } else { String::new() }
}

fn seen(seen: &Seen) -> String {
    format!("{}: {}", version(&seen.state), record(seen.record.as_ref()))
}

pub(crate) fn aged(age: Option<Duration>, orphaned: bool) -> String {
    let age = age.map(|age| format!("age {}", ms(age)));
    let orphaned = orphaned.then(|| "its writer is dead".to_owned());
    age.into_iter().chain(orphaned).collect::<Vec<_>>().join(", ")
}

fn reply(reply: &Reply) -> (String, String) {
    match reply {
        Reply::Read { seen: s, .. } => ("it reads".into(), seen(s)),
        Reply::Unreadable(bad) => (format!("it cannot be read: {bad}"), String::new()),
        Reply::Applied(state) => (format!("written, as {}", version(state)), String::new()),
        Reply::Conflict => ("refused".into(), String::new()),
        Reply::Failed(fate, trouble) => {
            let fate = match fate {
                Fate::NotSent => "never sent",
                Fate::Throttled { .. } => "asked for patience",
                Fate::Unknown => "no answer",
            };
            (format!("{fate} ({trouble:?})"), String::new())
        }
    }
}

/// `until` says when a deadline is, in true time.
fn words_of(event: &Event, until: impl Fn(&Deadline) -> String) -> String {
    match event {
        Event::Granted { token, deadline: d, .. } => {
            format!("==> holds, with token {token}, until {}", until(d))
        }
        Event::Renewed(d) => format!("==> renewed, until {}", until(d)),
        Event::Suspected(_) => "==> doubts that it holds: the wall clock ran ahead".into(),
        Event::Lost(loss) => {
            let why = match loss {
                Loss::Expired => "its time is over".into(),
                Loss::TakenOver(by) => format!("taken over by {}", by.label),
                Loss::Ended(_) => "the record names nobody".into(),
                Loss::Gone => "the record is gone".into(),
                Loss::Unreadable(bad) => format!("the record cannot be read: {bad}"),
            };
            format!("==> has lost it: {why}")
        }
        Event::Waiting { holder, expires_in, .. } => {
            format!("==> waits for {}, at most {}", holder.label, ms(*expires_in))
        }
        Event::Free => "==> is told that it is free".into(),
        Event::Resting(left) => format!("==> waits {} after a failure", ms(*left)),
        Event::Answer(settled) => format!("==> has nothing to run: {settled:?}"),
        Event::Asked(number) => format!("==> has saved checkpoint {number}"),
        Event::Trouble(trouble) => format!("==> has trouble: {trouble:?}"),
        Event::NotAcquired { .. } => "==> is told that it is held".into(),
        Event::Failed(_) => "==> fails".into(),
        Event::Released(release) => format!("==> has ended: {release:?}"),
    }
}

/// A kind and a number that tell one output from another.
/// How many `failures` a rest is for, its event does not say.
pub(crate) fn fingerprint(output: &Output, failures: u64) -> (u64, u64) {
    let span = |span: &Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    match output {
        Output::Send { number, request: Request::Read, timeout } => {
            (1, number << 32 ^ span(timeout))
        }
        Output::Send { number, request: Request::Write(_, record), timeout } => {
            let write = u64::try_from(record.write.0 & u128::from(u64::MAX)).unwrap_or_default();
            (2, number << 32 ^ span(timeout) ^ write ^ record.token.0.rotate_left(7))
        }
        Output::Wake(after) => (3, span(after)),
        Output::Event(event) => match event {
            Event::Granted { token, .. } => (4, token.0),
            Event::Renewed(deadline) => (5, span(&deadline.sent.boot)),
            Event::Suspected(_) => (6, 0),
            Event::Lost(loss) => (7, u64::from(*loss == Loss::Expired)),
            Event::Waiting { token, expires_in, .. } => (8, token.0 ^ span(expires_in)),
            Event::Free => (9, 0),
            Event::Trouble(trouble) => (10, *trouble as u64),
            Event::NotAcquired { rival, .. } => {
                (11, rival.as_ref().map_or(0, |(_, token)| token.0))
            }
            Event::Failed(_) => (12, 0),
            Event::Released(release) => (13, *release as u64),
            Event::Resting(left) => (14, failures ^ span(left)),
            Event::Answer(settled) => (15, matches!(settled, Settled::Done { .. }).into()),
            Event::Asked(number) => (16, *number),
        },
    }
}

fn patience(patience: Patience) -> String {
    match patience {
        Patience::Try => "at once or not at all".into(),
        Patience::AtMost(most) => format!("within {}", ms(most)),
        Patience::Forever => "however long it takes".into(),
    }
}

impl World {
    pub(crate) fn tell(&mut self, who: usize, words: impl FnOnce() -> (String, String)) {
        if self.is_told {
            let (what, then) = words();
            self.trace.tell(self.time, &format!("client {who}"), what, then);
        }
    }

    pub(crate) fn tell_event(&mut self, who: usize, event: &Event) {
        if !self.is_told {
            return;
        }
        let (host, time) = (&self.clients[who].host, self.time);
        let until = |deadline: &Deadline| {
            let us = time + host.takes(deadline.left(host.moment(time)));
            format!("{}.{:03} s", us / 1_000_000, us / 1000 % 1000)
        };
        let words = words_of(event, until);
        self.tell(who, || (words, String::new()));
    }

    pub(crate) fn tell_of(&mut self, whom: &str, words: impl FnOnce() -> (String, String)) {
        if self.is_told {
            let (what, mut then) = words();
            if then.is_empty() && whom != "resource" {
                then = self.stored();
            }
            self.trace.tell(self.time, whom, what, then);
        }
    }

    /// What the store does with a request. If nothing else is said, what it then has.
    pub(crate) fn tell_store(&mut self, sent: usize, words: impl FnOnce() -> (String, String)) {
        if self.is_told {
            let (what, then) = words();
            let (who, number) = (self.sent[sent].who, self.sent[sent].number);
            let then =
                if then.is_empty() { self.stored() } else { format!("{}; {then}", self.stored()) };
            self.trace.tell(self.time, "store", format!("#{number} of client {who} {what}"), then);
        }
    }

    pub(crate) fn tell_refusal(&mut self, sent: usize) {
        let expected = match &self.sent[sent].request {
            Request::Write(expected, _) if self.is_told => version(expected).to_owned(),
            _ => return,
        };
        self.tell_store(sent, || (format!("is refused: it expects {expected}"), String::new()));
    }

    fn stored(&self) -> String {
        format!("{}: {}", version(&self.store.expected()), record(self.store.record()))
    }

    pub(crate) fn tell_input(&mut self, who: usize, input: &Input) {
        self.tell(who, || match input {
            Input::Wake => ("wakes".into(), String::new()),
            Input::Changed => ("is notified of a change".into(), String::new()),
            Input::Reply(number, answer) => {
                let (what, then) = reply(answer);
                (format!("is answered #{number}: {what}"), then)
            }
            Input::Acquire(p) => (format!("wants the lock, {}", patience(*p)), String::new()),
            Input::Look(p) => (format!("asks whether it is free, {}", patience(*p)), String::new()),
            Input::Release => ("lets go".into(), String::new()),
            Input::Suspect => ("suspects its clocks".into(), String::new()),
            Input::Ask(number, _) => (format!("saves checkpoint {number}"), String::new()),
            Input::End(how) => (format!("has ended: {how:?}"), String::new()),
            Input::Undo => ("takes back that it held".into(), String::new()),
        });
    }

    pub(crate) fn tell_request(
        &mut self,
        who: usize,
        number: u64,
        request: &Request,
        timeout: u64,
        course: &Course,
    ) {
        self.tell(who, || {
            let what = match request {
                Request::Read => format!("sends #{number}: read"),
                Request::Write(expected, r) => {
                    let (on, write) = (version(expected), id(r.write));
                    let verb = match r.holder() {
                        None => "release",
                        Some(h) if h.renewals == 0 => "acquire",
                        Some(_) => "renew",
                    };
                    format!("sends #{number}: {verb} on {on}, token {}, {write}", r.token)
                }
            };
            let fate = match (course.not_sent, &course.copies) {
                (true, _) => "never sent".to_owned(),
                (false, copies) => {
                    let there = |leg: &crate::weather::Leg| format!("{} ms", leg.delay / 1000);
                    let legs: Vec<String> = copies.iter().flatten().map(there).collect();
                    if legs.is_empty() {
                        "lost".into()
                    } else {
                        format!("there in {}", legs.join(" and "))
                    }
                }
            };
            (what, format!("{fate}; waits {} ms", timeout / 1000))
        });
    }

    /// The first lines: what kind of world this is.
    pub(crate) fn tell_plan(&mut self) {
        if !self.is_told {
            return;
        }
        let plan = &self.plan;
        let can = |can: bool, what: &str| can.then(|| what.to_owned());
        let store: Vec<String> = [
            can(plan.clock, "tells the time and ages"),
            can(plan.tells, "says who won with a refusal"),
            can(plan.orphans, "knows which writers are dead"),
            can(plan.notifies, "notifies"),
            can(plan.hashes, "has versions that are hashes of the bytes"),
            can(plan.marks, "marks what was deleted"),
        ]
        .into_iter()
        .flatten()
        .collect();
        let store = if store.is_empty() { "is a plain one".into() } else { store.join(", ") };
        self.trace.tell(0, "store", store, String::new());
        for who in self.plan.players() {
            let (ttl, rate) = (self.plan.clients[who].ttl, self.clients[who].host.rate());
            self.tell(who, || {
                (format!("ttl {}; its clocks run at {rate}", ms(ttl)), String::new())
            });
        }
        let calm = self.weather.calm / 1000;
        self.trace.tell(0, "", format!("the faults stop at {} s", calm / 1000), String::new());
    }

    /// The last lines: which promise broke, why, and how the clients stand.
    pub(crate) fn tell_broken(&mut self, promise: Promise, why: &str) {
        for who in self.plan.players() {
            let client = &self.clients[who];
            let now = client.host.moment(self.time);
            let held = client.lease.is_held(now);
            let token = client.granted.map(|g| g.token);
            let state = match (token, held) {
                (Some(token), true) => format!("believes that it holds, with token {token}"),
                (Some(token), false) => format!("was granted token {token}, and believes no more"),
                (None, _) => format!("{:?}", client.act).to_lowercase(),
            };
            let clocks = format!("boot {:?}, mono {:?}", now.boot, now.mono);
            self.tell(who, || (format!("at the end: {state}"), clocks));
        }
        self.tell_of("store", || ("at the end".into(), String::new()));
        let time = self.time;
        if self.is_told {
            self.trace.tell(
                time,
                "BROKEN",
                format!("{}: {}", promise.name, promise.says),
                String::new(),
            );
            self.trace.tell(time, "BROKEN", why.to_owned(), String::new());
        }
    }
}
