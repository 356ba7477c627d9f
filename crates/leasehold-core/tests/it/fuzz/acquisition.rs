//! The target `acquisition`: one acquisition against a store that answers whatever it likes, told
//! line by line. What it does must be right by what it was shown, however that came about.

use std::time::Duration;

use leasehold_core::backend::{Expected, Facts, Fate, MAX_RECORD_BYTES, Trouble, Version};
use leasehold_core::deadline::{Moment, Now};
use leasehold_core::lease::{Memory, Patience, Reply, Request, Seen, Settings};
use leasehold_core::once::{Completion, Once, Report};
use leasehold_core::primitive::Any;
use leasehold_core::record::{FencingToken, Holder, HolderId, Kind, Record, WriteId};
use leasehold_fuzz::Target;
use serde_json::Map;

use super::run;
use super::words::WORDS;
use crate::any::{Event, Input, Lease, Output};

/// Whatever a store answers, in whatever order: nothing panics; every write is conditioned on the
/// newest state that was shown, is a record, and keeps what it does not know; no token goes back, and
/// each acquisition has a higher one than was ever seen; another's lease is left alone until it is
/// over; and only a write that is known to have landed lets anybody believe, from its sending on.
#[test]
fn acquisition() {
    Target { name: "acquisition", words: WORDS, runs: 40_000, check }.fuzz();
}

fn check(bytes: &[u8]) -> bool {
    let mut story = Story::new();
    for line in String::from_utf8_lossy(bytes).lines().take(200) {
        if let Some(input) = story.input(line) {
            story.step(input);
        }
    }
    story.granted
}

const TTL: Duration = Duration::from_secs(1);
/// The ttl but for a fifth, for clocks that run at different rates.
const BELIEF: Duration = Duration::from_millis(800);
const US: HolderId = HolderId(1);

/// A write that was sent.
struct Sent {
    on: Expected,
    record: Record,
    at: Duration,
}

fn lease(once: Option<Once>) -> Lease {
    Lease::new(settings(), Any::of(once), US, Memory::default())
}

fn settings() -> Settings {
    let facts = Facts {
        least_write_interval: Duration::ZERO,
        clock_uncertainty: Duration::ZERO,
        least_poll: Duration::from_millis(10),
        notifies: false,
    };
    Settings { ttl: TTL, takeover_delay: Duration::ZERO, label: "us".into(), facts }
}

/// A store that says impossible things of itself, and a backoff without an end.
fn extreme(once: bool) -> Lease {
    let facts = Facts {
        least_write_interval: Duration::MAX,
        clock_uncertainty: Duration::MAX,
        least_poll: Duration::MAX,
        notifies: false,
    };
    let (backoff, valid_for) = (Duration::MAX, Some(Duration::MAX));
    let once = once.then(|| Once { key: "k".into(), max_attempts: u64::MAX, backoff, valid_for });
    let settings = Settings { facts, ..settings() };
    Lease::new(settings, Any::of(once), US, Memory::default())
}

struct Story {
    lease: Lease,
    time: Duration,
    ids: u128,
    /// The request that was sent last, with its number.
    asked: Option<(u64, Request)>,
    sent: Vec<Sent>,
    /// The newest state that was shown and was no older than one before.
    shown: Option<Seen>,
    highest: Option<FencingToken>,
    /// Token, holder and renewals that were shown last, and since when.
    sighted: Option<((FencingToken, HolderId, u64), Duration)>,
    /// What comes with the next state that is shown, and what came with the last.
    coming: (Option<Duration>, bool),
    came: (Option<Duration>, bool),
    unix_ms: Option<u64>,
    /// The last of our writes that is known to have landed and names us.
    confirmed: Option<usize>,
    /// How many writes had been sent when the clocks were suspected.
    suspected: usize,
    /// Whether the newest state that was shown is another's, or nobody's.
    gone: bool,
    has_begun: bool,
    only_looks: bool,
    granted: bool,
    lost: bool,
    lets_go: bool,
    over: bool,
    /// Whether it is a run of `once`, and how it ended.
    once: bool,
    said: Option<Input>,
}

impl Story {
    fn new() -> Story {
        Story {
            lease: lease(None),
            time: Duration::ZERO,
            ids: 1000,
            asked: None,
            sent: vec![],
            shown: None,
            highest: None,
            sighted: None,
            coming: (None, false),
            came: (None, false),
            unix_ms: None,
            confirmed: None,
            suspected: 0,
            gone: false,
            has_begun: false,
            only_looks: false,
            granted: false,
            lost: false,
            lets_go: false,
            over: false,
            once: false,
            said: None,
        }
    }

    /// What a line means, if anything.
    fn input(&mut self, line: &str) -> Option<Input> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let number = || match rest {
            "max" => Some(Duration::MAX),
            ms => ms.parse::<u64>().ok().map(|ms| Duration::from_millis(ms % 100_000_000)),
        };
        Some(match word {
            "take" => self.begin(Input::Acquire(Patience::Forever)),
            "try" => self.begin(Input::Acquire(Patience::Try)),
            "most" => self.begin(Input::Acquire(Patience::AtMost(number()?))),
            "look" => self.begin(Input::Look(Patience::Forever)),
            "after" => {
                self.time += number().filter(|span| *span < Duration::MAX)?;
                Input::Wake
            }
            // The store's clock says this with the next state, whatever it may be.
            "at" => {
                self.unix_ms = Some(rest.parse().unwrap_or(u64::MAX));
                return None;
            }
            "extreme" if !self.has_begun && !self.lets_go => {
                self.lease = extreme(self.once);
                return None;
            }
            "changed" => Input::Changed,
            "suspect" => {
                self.suspected = self.sent.len();
                Input::Suspect
            }
            "let" => {
                if !self.lets_go {
                    self.asked = None;
                }
                self.lets_go = true;
                Input::Release
            }
            "once" if !self.has_begun && !self.lets_go => {
                let backoff = Duration::from_millis(100);
                let once = Once { key: "k".into(), max_attempts: 2, backoff, valid_for: None };
                self.lease = lease(Some(once));
                self.once = true;
                return None;
            }
            "save" => Input::Ask(1, b"so far".to_vec()),
            "done" => self.ends(Input::End(Completion::Done(Report::default()))),
            "failed" => self.ends(Input::End(Completion::Failed(Report::default()))),
            "withdrawn" => self.ends(Input::Undo),
            "orphaned" => {
                self.coming.1 = true;
                return None;
            }
            "age" => {
                self.coming.0 = Some(number()?);
                return None;
            }
            _ => {
                let (number, request) = self.asked.clone()?;
                let reply = self.reply(line, word, rest, &request)?;
                self.asked = None;
                self.learn(&reply, &request);
                Input::Reply(number, reply)
            }
        })
    }

    /// Only the first end counts, and only of a run.
    fn ends(&mut self, end: Input) -> Input {
        if !self.lets_go {
            self.asked = None;
            self.said = Some(end.clone()).filter(|_| self.once && self.granted);
        }
        self.lets_go = true;
        end
    }

    /// Only the first of these counts.
    fn begin(&mut self, input: Input) -> Input {
        self.only_looks |= !self.has_begun && matches!(input, Input::Look(_));
        self.has_begun = true;
        input
    }

    fn reply(&mut self, line: &str, word: &str, rest: &str, request: &Request) -> Option<Reply> {
        let fate = match word {
            "unknown" => Some((Fate::Unknown, Trouble::Unavailable)),
            "denied" => Some((Fate::Unknown, Trouble::Denied)),
            "not" => Some((Fate::NotSent, Trouble::Unavailable)),
            "throttled" => {
                let max = (rest == "max").then_some(Duration::MAX);
                let retry_after = rest.parse().ok().map(Duration::from_millis).or(max);
                Some((Fate::Throttled { retry_after }, Trouble::Unavailable))
            }
            _ => None,
        };
        if let Some((fate, trouble)) = fate {
            return Some(Reply::Failed(fate, trouble));
        }
        let record = match (word, request) {
            ("applied", Request::Write(_, record)) => {
                return Some(Reply::Applied(state(Some(record))));
            }
            ("conflict", Request::Write(..)) => return Some(Reply::Conflict),
            ("absent", _) => None,
            ("landed", _) => Some(self.sent.get(rest.parse::<usize>().ok()?)?.record.clone()),
            ("again", _) => self.shown.as_ref()?.record.clone(),
            ("shown", _) => Some(self.made_up(rest)?),
            _ => match Record::decode(line.as_bytes()) {
                Ok(record) => Some(record),
                Err(bad) => return line.starts_with('{').then_some(Reply::Unreadable(bad)),
            },
        };
        // Nobody guesses 128 random bits: who writes our id, or that of a write of ours, was told it.
        if let Some(record) = &record {
            let copied = self.sent.iter().find(|sent| sent.record.write == record.write);
            let was_told = self.sent.iter().any(|sent| is_ours(&sent.record));
            let is_forged = copied.is_some_and(|sent| sent.record != *record);
            if is_forged || is_ours(record) && !was_told {
                return None;
            }
        }
        let (age, orphaned) = std::mem::take(&mut self.coming);
        let seen = Seen { state: state(record.as_ref()), record };
        Some(Reply::Read { seen, age, orphaned, unix_ms: self.unix_ms.take() })
    }

    /// `TOKEN WHO RENEWALS`, and the outcome of `once`.
    fn made_up(&self, words: &str) -> Option<Record> {
        let mut words = words.split(' ');
        let token = FencingToken(words.next()?.parse().ok()?);
        let id = match words.next()? {
            "us" => Some(US),
            "other" => Some(HolderId(2)),
            "another" => Some(HolderId(3)),
            _ => None,
        };
        let renewals = words.next()?.parse().ok()?;
        let holder = |id| Holder {
            id,
            label: "other".into(),
            ttl_ms: 1500,
            renewals,
            acquired_unix_ms: 1,
            takeover_delay_ms: if renewals == 3 { 700 } else { 0 },
            extra: Map::new(),
        };
        let record = Record {
            format: 1,
            kind: if self.once { Kind::Once } else { Kind::Mutex },
            token,
            write: WriteId(1 << 64 | u128::from(renewals)),
            holders: id.map(holder).into_iter().collect(),
            past: None,
            outcome: words.next().filter(|_| self.once).map(|state| run::outcome(token, state)),
            extra: Map::new(),
        };
        Record::decode(&record.encode()).ok()
    }

    /// What the acquisition knows from a reply.
    fn learn(&mut self, reply: &Reply, request: &Request) {
        let landed = match (reply, request) {
            (Reply::Applied(state), Request::Write(_, record)) => {
                self.shown = Some(Seen { state: state.clone(), record: Some(record.clone()) });
                self.came = (None, false);
                self.highest = self.highest.max(Some(record.token));
                self.gone = !is_ours(record);
                Some(record.write)
            }
            (Reply::Read { seen, age, orphaned, .. }, _) => {
                let token = seen.record.as_ref().map(|r| r.token);
                if token.is_some() && token < self.highest {
                    return;
                }
                self.highest = self.highest.max(token);
                self.came = (*age, *orphaned);
                let sign = seen.record.as_ref().and_then(sign);
                self.sighted = sign.map(|new| match self.sighted {
                    Some((old, since)) if old == new => (old, since),
                    _ => (new, self.time),
                });
                self.shown = Some(seen.clone());
                self.gone = !seen.record.as_ref().is_some_and(is_ours);
                seen.record.as_ref().map(|r| r.write)
            }
            _ => None,
        };
        let names_us = |sent: &&Sent| Some(sent.record.write) == landed && is_ours(&sent.record);
        self.confirmed = self.confirmed.max(self.sent.iter().position(|sent| names_us(&sent)));
    }

    fn step(&mut self, input: Input) {
        let moment = Moment { boot: self.time, mono: self.time };
        let time = u64::try_from(self.time.as_millis()).expect("short");
        let now = Now { moment, unix_ms: 1_000_000 + time };
        let (first_id, mut out) = (self.ids, vec![]);
        let mut ids = || {
            self.ids += 1;
            self.ids
        };
        let was_over = self.over;
        self.lease.step(now, input, &mut ids, &mut out);
        assert!(!was_over || out.is_empty(), "{out:?} after the end");
        let count = |is: fn(&Output) -> bool| out.iter().filter(|output| is(output)).count();
        let wakes = count(|output| matches!(output, Output::Wake(_)));
        let stands = self.lease.has_ended() || self.lost && !self.lets_go;
        let is_lost = out.iter().any(|output| matches!(output, Output::Event(Event::Lost(_))));
        assert!(
            !self.has_begun || stands || is_lost || wakes == 1,
            "it waits, and no wake-up is armed"
        );
        assert!(wakes <= 1 && count(|output| matches!(output, Output::Send { .. })) <= 1);
        for output in out {
            match output {
                Output::Send { number, request, .. } => {
                    if let Request::Write(on, record) = &request {
                        assert!(record.write.0 > first_id, "an old id");
                        self.check_write(on, record);
                        let (on, record) = (on.clone(), record.clone());
                        self.sent.push(Sent { on, record, at: self.time });
                    }
                    self.asked = Some((number, request));
                }
                Output::Event(event) => self.check_event(&event, moment),
                Output::Wake(_) => {}
            }
        }
        if self.lease.is_held(moment) {
            assert!(self.granted && !self.lost && !self.over, "held by nobody's grant");
            assert!(!self.gone, "held, and the record names another or nobody");
            assert!(self.confirmed >= Some(self.suspected), "held by a write before the suspicion");
            self.check_belief();
        }
        let ends = self.confirmed.map(|at| self.sent[at].at + BELIEF);
        let later = ends.map_or(self.time, |ends| ends.max(self.time));
        assert!(!self.lease.is_held(Moment { boot: later, mono: later }), "held for ever");
    }

    fn check_belief(&self) {
        let at = self.confirmed.expect("no write of ours is known to have landed");
        let sent = self.sent[at].at;
        assert!(self.time - sent < BELIEF, "held by a write of {sent:?}");
    }

    fn check_event(&mut self, event: &Event, now: Moment) {
        match event {
            // The request before it is abandoned.
            Event::Lost(_) => {
                self.asked = None;
                self.lost = true;
            }
            Event::NotAcquired { .. } | Event::Failed(_) | Event::Free | Event::Answer(_) => {
                self.asked = None;
                self.lets_go = true;
            }
            Event::Granted { token, deadline, .. } => {
                assert!(!self.granted && !deadline.is_past(now));
                let ours = self.shown.as_ref().and_then(|s| s.record.as_ref());
                assert!(ours.is_some_and(|r| is_ours(r) && r.token == *token), "{ours:?}");
                self.granted = true;
                self.check_belief();
            }
            Event::Released(_) => self.over = true,
            _ => {}
        }
    }

    fn check_write(&self, on: &Expected, after: &Record) {
        assert!(!self.only_looks, "who only looks writes");
        let shown = self.shown.as_ref().expect("a write before anything was shown");
        assert_eq!(on, &shown.state, "conditioned on a state that is not the newest");
        let written = after.encode();
        let fits = written.len() <= MAX_RECORD_BYTES;
        assert!(!fits || Record::decode(&written).as_ref() == Ok(after), "no record: {after:?}");
        assert!(Some(after.token) >= self.highest, "the token goes back");
        let before = shown.record.as_ref();
        self.check_run(before, after);
        if let Some(before) = before {
            assert_eq!((&after.extra, after.kind), (&before.extra, before.kind));
        }
        match (before.is_some_and(is_ours), is_ours(after)) {
            (true, true) => {
                let count = |r: &Record| r.holders[0].renewals;
                let before = before.expect("it names us");
                assert_eq!(after.token, before.token, "a renewal changes the token");
                assert_eq!(count(after), (count(before) + 1) & FencingToken::MAX.0);
            }
            (false, true) => {
                assert!(Some(after.token) > self.highest, "an acquisition without a new token");
                self.check_takeover(before);
            }
            (_, false) => {
                assert!(after.holders.is_empty(), "it gives the lock to somebody else");
                let fences = self.sent.iter().any(|sent| sent.on == *on && is_ours(&sent.record));
                assert!(fences || before.is_some_and(is_ours), "it frees what is not ours");
            }
        }
    }

    fn check_run(&self, before: Option<&Record>, after: &Record) {
        let was_ours = before.is_some_and(is_ours);
        if self.once {
            run::check((before, was_ours), (after, is_ours(after)), self.said.as_ref());
        } else {
            assert_eq!(after.outcome, None, "a mutex with an outcome");
        }
    }

    /// Another's lease is over, or there is none.
    fn check_takeover(&self, before: Option<&Record>) {
        let Some(before) = before else { return };
        assert_eq!(before.kind, if self.once { Kind::Once } else { Kind::Mutex });
        let Some(other) = before.holder() else { return };
        let lease = other.ttl() + other.takeover_delay();
        let seen_for = self.sighted.filter(|(s, _)| Some(*s) == sign(before));
        let by_sight = seen_for.is_some_and(|(_, since)| self.time - since >= lease);
        let by_age = self.came.0.is_some_and(|age| age >= lease);
        let by_end = self.came.1 && other.takeover_delay_ms == 0;
        assert!(by_sight || by_age || by_end, "another's lease is not over");
    }
}

fn is_ours(record: &Record) -> bool {
    record.holder().is_some_and(|holder| holder.id == US)
}

fn sign(record: &Record) -> Option<(FencingToken, HolderId, u64)> {
    record.holder().map(|holder| (record.token, holder.id, holder.renewals))
}

/// As a store whose versions are its bytes.
fn state(record: Option<&Record>) -> Expected {
    record.map_or(Expected::Absent, |record| {
        Expected::Version(Version::new(String::from_utf8_lossy(&record.encode())))
    })
}
