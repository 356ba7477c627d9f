//! The parts of the machines alone: what a reply proves of a write, since when a holder is silent, and
//! when the next request may go out. In a machine these questions hide each other.

use std::time::Duration;

use leasehold_core::backend::{Expected, Facts, Fate, Version};
use leasehold_core::change;
use leasehold_core::deadline::{Moment, Now};
use leasehold_core::mutex::Mutex;
use leasehold_core::once::{Completion, Once, Report, Settled};
use leasehold_core::pace::Pace;
use leasehold_core::primitive::{Admission, Exit, How, Primitive, View};
use leasehold_core::record::{FencingToken, Holder, HolderId, Kind, Progress, Record, WriteId};
use leasehold_core::register::{Reading, Register, Request, Seen, Told};
use leasehold_core::silence::Silence;

const FACTS: Facts = Facts {
    least_write_interval: Duration::from_secs(1),
    clock_uncertainty: Duration::from_secs(2),
    least_poll: Duration::from_millis(100),
    notifies: false,
};

const TTL: Duration = Duration::from_secs(30);

fn at(secs: u64) -> Moment {
    let span = Duration::from_secs(secs);
    Moment { boot: span, mono: span }
}

fn holder(id: u128) -> Holder {
    Holder {
        id: HolderId(id),
        label: "a test".into(),
        ttl_ms: 30_000,
        renewals: 0,
        acquired_unix_ms: 1,
        takeover_delay_ms: 0,
        extra: serde_json::Map::new(),
    }
}

/// A record with this token that this write of this holder made.
fn held(token: u64, id: u128, write: u128) -> Record {
    let start = (Kind::Mutex, FencingToken(token));
    change::enter(None, start, holder(id), WriteId(write), 1)
}

fn seen(version: &str, record: Record) -> Seen {
    Seen { state: Expected::Version(Version::new(version)), record: Some(record) }
}

/// A register that knows the state `v1`, and has written on it as the holder 7 by the write 70.
fn written() -> Register {
    let mut register = Register::new(None, None);
    let read = register.read(seen("v1", held(5, 1, 10)), Told::default());
    assert_eq!(read, Reading::Changed(None));
    let (number, request) = register.send_write(held(6, 7, 70), at(3), None).unwrap();
    let Request::Write(on, _) = request else { panic!("{request:?}") };
    assert_eq!(on, Expected::Version(Version::new("v1")));
    assert_eq!(register.outstanding().map(|o| o.number), Some(number));
    register
}

/// A refusal, a lost answer and a state that still stands prove nothing: the write may land yet. Only
/// another state proves something, and by its write id it says which.
#[test]
fn only_another_state_settles_a_write() {
    for fate in [Fate::Unknown, Fate::Throttled { retry_after: None }] {
        let mut register = written();
        let number = register.outstanding().unwrap().number;
        let request = register.answered(number).unwrap();
        register.failed(&request, fate);
        register.refused();
        assert_eq!(register.open().len(), 1, "{fate:?}");
        assert!(register.must_read());
        let same = register.read(seen("v1", held(5, 1, 10)), Told::default());
        assert_eq!((same, register.open().len()), (Reading::Unchanged, 1));
        let Reading::Changed(Some(landed)) =
            register.read(seen("v2", held(6, 7, 70)), Told::default())
        else {
            panic!("it landed");
        };
        assert_eq!((landed.id, landed.sent), (WriteId(70), at(3)));
        assert!(register.open().is_empty());
    }
    let mut register = written();
    let other = register.read(seen("v2", held(6, 8, 80)), Told::default());
    assert_eq!(other, Reading::Changed(None), "another's write came first, and ours is dead");
    assert!(register.open().is_empty());
}

/// A write that never left cannot land, and is forgotten at once.
#[test]
fn a_write_that_was_not_sent_is_no_question() {
    let mut register = written();
    let number = register.outstanding().unwrap().number;
    let request = register.answered(number).unwrap();
    register.failed(&request, Fate::NotSent);
    assert!(register.open().is_empty() && !register.must_read());
    assert!(register.answered(number).is_none(), "an answer comes once");
}

/// A store that answers with an older state than it showed before proves nothing by it, neither that a
/// write is dead nor that it tells the time.
#[test]
fn an_older_state_proves_nothing() {
    let mut register = written();
    let told = Told { age: Some(TTL), orphaned: true, unix_ms: None };
    let stale = register.read(seen("v0", held(4, 1, 9)), told);
    assert_eq!((stale, register.open().len()), (Reading::Stale, 1));
    assert!(register.is_stale() && register.must_read());
    assert_eq!(register.told(), Told::default());
    assert_eq!(register.highest(), Some(FencingToken(5)));
}

/// The first token of a record is above every one that was seen, whatever the clocks say.
#[test]
fn the_first_token_is_above_all_that_were_seen() {
    let now = Now { moment: at(1), unix_ms: 3 };
    assert_eq!(Register::new(None, None).first_token(now), FencingToken(3));
    assert_eq!(Register::new(None, Some(FencingToken(9))).first_token(now), FencingToken(10));
}

/// Patience counts from the first reply that showed a holder, a renewal is a sign of life, and so is a
/// higher token of the same holder.
#[test]
fn silence_counts_from_the_first_sight() {
    let (mut silence, told) = (Silence::default(), Told::default());
    let mut record = held(5, 1, 10);
    let left = |silence: &Silence, secs| silence.left(&holder(1), &told, &FACTS, at(secs));
    silence.watch(Some(&record), at(100));
    silence.watch(Some(&record), at(110));
    assert_eq!(left(&silence, 129), Duration::from_secs(1));
    assert_eq!(left(&silence, 130), Duration::ZERO);
    record.holders[0].renewals += 1;
    silence.watch(Some(&record), at(120));
    assert_eq!(left(&silence, 130), Duration::from_secs(20));
    record.token = record.token.next();
    silence.watch(Some(&record), at(125));
    assert_eq!(left(&silence, 130), Duration::from_secs(25));
    silence.watch(None, at(126));
    assert_eq!(left(&silence, 1000), Duration::MAX, "nobody is watched");
}

/// The store's clock may say earlier that a lease is over, with an allowance for its error; a proof of
/// death says it at once, except where others are to stay out for a while.
#[test]
fn the_store_can_know_better() {
    let mut silence = Silence::default();
    silence.watch(Some(&held(5, 1, 10)), at(100));
    let left = |holder: &Holder, told: Told| silence.left(holder, &told, &FACTS, at(100));
    let aged = |secs| Told { age: Some(Duration::from_secs(secs)), ..Told::default() };
    assert_eq!(left(&holder(1), aged(31)), Duration::from_secs(1));
    assert_eq!(left(&holder(1), aged(32)), Duration::ZERO);
    let dead = Told { orphaned: true, ..Told::default() };
    assert_eq!(left(&holder(1), dead), Duration::ZERO);
    let careful = Holder { takeover_delay_ms: 5000, ..holder(1) };
    assert_eq!(left(&careful, dead), Duration::from_secs(35));
}

/// Failures double the rest; what the store asks for is granted up to a quarter of the ttl, and a good
/// answer ends the count.
#[test]
fn failures_make_it_rest() {
    let mut pace = Pace::new(FACTS, TTL, None, false);
    let ids = &mut || 0;
    let mut rest = |pace: &mut Pace, asked| {
        pace.failed(asked, true, at(10), ids);
        pace.pause_left(at(10)).unwrap()
    };
    let first = rest(&mut pace, None);
    assert!(rest(&mut pace, None) > first);
    assert!(rest(&mut pace, Some(Some(Duration::MAX))) <= TTL / 2);
    pace.recovered();
    assert_eq!((pace.failures(), rest(&mut pace, None)), (0, first));
    assert!(pace.pause_left(at(40)).is_none());
}

/// Below the store's limit on writes nothing is written on a state, and what was just released is left to
/// others for as long again.
#[test]
fn a_write_waits_for_the_limit() {
    let mut pace = Pace::new(FACTS, TTL, None, true);
    assert_eq!(pace.courtesy(false), FACTS.least_write_interval, "we released it");
    pace.see(&seen("v1", held(5, 1, 10)), false, at(10));
    assert_eq!(pace.too_early(Duration::ZERO, at(10)), FACTS.least_write_interval);
    assert_eq!(pace.too_early(Duration::ZERO, at(11)), Duration::ZERO);
    assert_eq!(pace.courtesy(true), Duration::ZERO, "it is not what we released");
    pace.hear_age(Some(Duration::from_secs(9)), at(10));
    assert_eq!(pace.has_stood(at(10)), Duration::from_secs(7), "less its error");
}

fn view<'a>(record: &'a Record, left: &[(&'a Holder, u64)]) -> View<'a> {
    let others = left.iter().map(|(holder, secs)| (*holder, Duration::from_secs(*secs)));
    let (stood, others) = (Duration::ZERO, others.collect());
    View { record, others, stood, age: None, unix_ms: 1 }
}

/// The mutex's rule is that nobody else lives.
#[test]
fn the_mutex_admits_one() {
    let (record, other) = (held(5, 1, 10), holder(1));
    assert_eq!(Mutex.admit(&view(&record, &[])), Admission::Enter);
    assert_eq!(Mutex.admit(&view(&record, &[(&other, 0)])), Admission::Enter);
    let left = Admission::Wait(Duration::from_secs(4));
    assert_eq!(Mutex.admit(&view(&record, &[(&other, 4)])), left);
}

/// A name that runs once admits one, rests after a failure, gives up after the last, and answers when it is
/// done. What entering replaced comes back when the run never began.
#[test]
fn once_admits_until_it_is_done() {
    let backoff = Duration::from_secs(8);
    let once = Once { key: "v1".into(), max_attempts: 2, backoff, valid_for: None };
    let enter = |before: Option<&Record>| {
        let start = (once.kind(), FencingToken(5));
        let mut record = change::enter(before, start, holder(1), WriteId(10), 1);
        let replaced = once.enter(&mut record, before);
        (record, replaced)
    };
    let leave = |before: &Record, how: How<'_, Once>| {
        let start = (once.kind(), FencingToken(5));
        let mut record = change::leave(Some(before), start, HolderId(1), WriteId(11), 1);
        once.leave(&mut record, &Exit { how, label: "a test", unix_ms: 1 });
        record
    };
    let (failed, done) = (
        Completion::Failed(Report { code: Some(1), text: "no".into() }),
        Completion::Done(Report::default()),
    );
    let (first, replaced) = enter(None);
    assert_eq!(replaced, None);
    let other = holder(1);
    assert_eq!(once.admit(&view(&first, &[(&other, 4)])), Admission::Wait(TTL * 4 / 30));
    let once_failed = leave(&first, How::Ended(&failed));
    assert_eq!(once.admit(&view(&once_failed, &[])), Admission::Rest(backoff));
    assert_eq!(once.recorded(&once_failed, Some(first.token), &failed), Some(true));
    let (second, replaced) = enter(Some(&once_failed));
    assert_eq!(leave(&second, How::Undone(Some(&replaced))).outcome, once_failed.outcome);
    let twice_failed = leave(&second, How::Ended(&failed));
    let gave_up = once.admit(&view(&twice_failed, &[]));
    assert!(matches!(gave_up, Admission::Answer(Settled::Failed { failures: 2, .. })));
    assert_eq!(once.recorded(&twice_failed, Some(first.token), &failed), None, "who knows");
    let ended = leave(&second, How::Ended(&done));
    assert_eq!(ended.outcome.as_ref().map(|o| o.state), Some(Progress::Done));
    assert!(matches!(once.admit(&view(&ended, &[])), Admission::Answer(Settled::Done { .. })));
    assert_eq!(once.recorded(&ended, Some(first.token), &done), Some(false), "another's run");
}
