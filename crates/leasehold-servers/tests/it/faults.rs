//! Each fault once, and the order of rules.

use std::io::ErrorKind;
use std::num::NonZeroU64;
use std::time::Duration;

use leasehold_servers::gcs::{Fake, Fault, Rule, Seen, When};

use crate::client::{Call, Connection};
use crate::store::fake;

/// Long enough to notice an answer that should not come, on a machine of which this is the only work.
const SILENCE: Duration = Duration::from_millis(300);

fn once(when: When, fault: Fault) -> Rule {
    Rule { when, times: Some(1), fault }
}

fn last(fake: &Fake) -> Seen {
    fake.seen().pop().expect("a request was seen")
}

fn stored(fake: &Fake) -> Option<Vec<u8>> {
    let read = Call::read("x", "").on(fake.address());
    (read.code == 200).then_some(read.body)
}

/// The write lands and nobody is told. The connection ends without a byte; the next one is served.
#[test]
fn lose_answer() {
    let fake = fake();
    fake.script(once(When::Create, Fault::LoseAnswer));
    let lost = Call::create("x", b"1").attempt(fake.address()).unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::UnexpectedEof);
    assert_eq!((last(&fake).outcome, last(&fake).status), (Some(200), None));
    assert_eq!(stored(&fake), Some(b"1".to_vec()));
}

/// The same to the client, but nothing was written.
#[test]
fn close() {
    let fake = fake();
    fake.script(once(When::Write, Fault::Close));
    let lost = Call::create("x", b"1").attempt(fake.address()).unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::UnexpectedEof);
    assert_eq!((last(&fake).outcome, last(&fake).status), (None, None));
    assert_eq!(stored(&fake), None);
}

/// A server that takes the request and falls silent, having written or not.
#[test]
fn hang() {
    for done in [false, true] {
        let fake = fake();
        fake.script(once(When::Create, Fault::Hang { done }));
        let mut connection = Connection::to(fake.address());
        connection.set_patience(SILENCE);
        let silent = connection.call(&Call::create("x", b"1")).unwrap_err();
        assert!(matches!(silent.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silent}");
        assert_eq!(stored(&fake).is_some(), done);
    }
}

/// A write that everybody gave up, its client first, lands late, by its condition: done on what it was meant
/// for, refused on what came in between.
#[test]
fn late() {
    let fake = fake();
    let give_up = |after: Duration, bytes: &[u8]| {
        fake.script(once(When::Create, Fault::Late(after)));
        let seen = fake.seen().iter().filter(|seen| seen.when == When::Create).count();
        let mut gone = Connection::to(fake.address());
        gone.send(&Call::create("x", bytes)).unwrap();
        fake.await_seen(When::Create, seen + 1);
    };
    give_up(Duration::from_hours(1), b"never");
    assert_eq!((last(&fake).outcome, stored(&fake)), (None, None));

    give_up(Duration::from_millis(50), b"late");
    fake.await_done(When::Create, 1);
    assert_eq!(stored(&fake), Some(b"late".to_vec()));

    give_up(Duration::from_millis(50), b"too late");
    fake.await_done(When::Create, 2);
    assert_eq!(stored(&fake), Some(b"late".to_vec()));
    let creates: Vec<_> = fake.seen().into_iter().filter(|s| s.when == When::Create).collect();
    let outcomes: Vec<_> = creates.iter().map(|seen| (seen.outcome, seen.status)).collect();
    assert_eq!(outcomes, [(None, None), (Some(200), None), (Some(412), None)]);
}

/// Google answers an error, in its JSON, with a time to wait or without, having written or not.
#[test]
fn answer() {
    let codes = [401, 403, 404, 408, 409, 412, 429, 500, 502, 503];
    for (number, code) in codes.into_iter().enumerate() {
        let fake = fake();
        let (done, retry_after) = (number % 2 == 0, (code == 429).then_some(7));
        fake.script(once(When::Create, Fault::Answer { code, retry_after, done }));
        let reply = Call::create("x", b"1").on(fake.address());
        assert_eq!((reply.code, &reply.json()["error"]["code"]), (code, &code.into()));
        assert!(reply.json()["error"]["errors"][0]["reason"].is_string(), "{}", reply.text());
        assert_eq!(reply.header("retry-after"), (code == 429).then_some("7"));
        assert_eq!(last(&fake).status, Some(code));
        assert_eq!(stored(&fake).is_some(), done);
    }
}

/// The connection breaks in the middle of a record: the head promises more than comes. Where an answer has no
/// body, nothing of it comes.
#[test]
fn truncate() {
    let fake = fake();
    let generation = Call::create("x", b"0123456789").on(fake.address()).generation();
    fake.script(once(When::Read, Fault::Truncate));
    let mut connection = Connection::to(fake.address());
    connection.send(&Call::read("x", "")).unwrap();
    let cut = String::from_utf8(connection.rest().unwrap()).unwrap();
    assert!(cut.contains("content-length: 10\r\n") && cut.ends_with("\r\n\r\n01234"), "{cut}");

    fake.script(once(When::Delete, Fault::Truncate));
    let cut = Call::delete("x", generation).attempt(fake.address()).unwrap_err();
    assert_eq!(cut.kind(), ErrorKind::UnexpectedEof);
    assert_eq!(stored(&fake), None);
}

/// A replica that is behind: reads show what was before the newest, also that there was nothing. A write does
/// not use the rule up.
#[test]
fn stale() {
    let fake = fake();
    let mut generation = Call::create("x", b"1").on(fake.address()).generation();
    fake.script(Rule { when: When::Any, times: Some(2), fault: Fault::Stale });
    assert_eq!(stored(&fake), None);
    generation = Call::overwrite("x", generation, b"2").on(fake.address()).generation();
    assert_eq!(stored(&fake), Some(b"1".to_vec()));
    assert_eq!(stored(&fake), Some(b"2".to_vec()));
    Call::delete("x", generation).on(fake.address());
    fake.script(once(When::Read, Fault::Stale));
    assert_eq!(stored(&fake), Some(b"2".to_vec()));
}

/// A store that lies about conditions: a second create overwrites, a deletion of the wrong generation
/// deletes.
#[test]
fn ignore_precondition() {
    let fake = fake();
    Call::create("x", b"1").on(fake.address()).generation();
    fake.script(Rule { when: When::Any, times: Some(2), fault: Fault::IgnorePrecondition });
    assert_eq!(Call::create("x", b"2").on(fake.address()).code, 200);
    assert_eq!(stored(&fake), Some(b"2".to_vec()));
    assert_eq!(Call::delete("x", 1).on(fake.address()).code, 204);
    assert_eq!(Call::delete("x", 1).on(fake.address()).code, 404);
}

/// Rules act in the order they were given, each as often as it says; one without a number until all are
/// forgotten.
#[test]
fn rules_have_an_order() {
    let fake = fake();
    let answer = |code| Fault::Answer { code, retry_after: None, done: false };
    fake.script(Rule { when: When::Read, times: Some(2), fault: answer(500) });
    fake.script(Rule { when: When::Any, times: None, fault: answer(503) });
    fake.script(Rule { when: When::Read, times: None, fault: answer(403) });
    let code = |call: &Call| call.on(fake.address()).code;
    let read = Call::read("x", "");
    assert_eq!(code(&Call::create("x", b"1")), 503);
    assert_eq!([code(&read), code(&read), code(&read), code(&read)], [500, 500, 503, 503]);
    fake.heal();
    assert_eq!(code(&read), 404);
    let whens: Vec<_> = fake.seen().iter().map(|seen| seen.when).collect();
    assert_eq!(whens[..2], [When::Create, When::Read]);
}

/// A test lets every fourth request or so fail for minutes. Which ones, and how, is the same again with the
/// same seed, and another with another; and when it is over, none does.
#[test]
fn some_at_random() {
    let some_fail = |seed| {
        let fake = fake();
        fake.fail_at_random(NonZeroU64::new(4).expect("four"), seed);
        for _ in 0..60 {
            let mut connection = Connection::to(fake.address());
            connection.set_patience(SILENCE);
            // Whether it was answered is seen below.
            let _ = connection.call(&Call::read("x", ""));
        }
        let statuses: Vec<_> = fake.seen().iter().map(|seen| seen.status).collect();
        fake.heal();
        for _ in 0..20 {
            assert_eq!(Call::read("x", "").on(fake.address()).code, 404);
        }
        statuses
    };
    let once = some_fail(1);
    let failed = once.iter().filter(|status| **status != Some(404)).count();
    assert!((5..30).contains(&failed), "{once:?}");
    assert!(once.contains(&None) && once.iter().flatten().any(|code| *code > 404), "{once:?}");
    assert_eq!(once, some_fail(1));
    assert_ne!(once, some_fail(2));
}
