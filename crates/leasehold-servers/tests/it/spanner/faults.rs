//! Each fault once, and the order of rules.

use std::num::NonZeroU64;
use std::thread;
use std::time::Duration;

use leasehold_servers::spanner::{Code, Fake, Fault, Rule, Seen, When};

use super::client::{Client, Connection, NO_ANSWER, insert, key};
use super::fake;

const DATABASE: &str = "projects/p/instances/i/databases/d";

fn once(when: When, fault: Fault) -> Rule {
    Rule { when, times: Some(1), fault }
}

fn last(fake: &Fake) -> Seen {
    fake.seen().pop().expect("a request was seen")
}

/// Whether a row is there, on a connection of its own.
fn stored(fake: &Fake) -> bool {
    let mut client = Client::of(fake.address(), DATABASE);
    let rows = client.read("t", &["name"], key("x", 1)).expect("it can be read").0;
    !rows.is_empty()
}

/// The commit is done and nobody is told, or it is not done: to the client it is the same. The connection
/// ends, and the next one is served.
#[test]
fn an_answer_is_lost() {
    for (fault, is_done) in [(Fault::LoseAnswer, true), (Fault::Close, false)] {
        let (fake, mut client) = fake();
        fake.script(once(When::Commit, fault));
        client.try_commit(vec![insert("x", 1)]).expect_err("nobody is told");
        assert_eq!((last(&fake).outcome, last(&fake).status), (is_done.then_some(Code::Ok), None));
        client.try_commit(vec![]).expect_err("the connection is closed");
        assert_eq!(stored(&fake), is_done);
    }
}

/// Asks for a commit that is not answered, does this meanwhile, and has everybody give up.
fn unanswered(fake: &Fake, meanwhile: impl FnOnce()) {
    let mut client = Client::of(fake.address(), DATABASE);
    thread::scope(|scope| {
        scope.spawn(move || {
            let broken = client.try_commit(vec![insert("x", 1)]).expect_err("it is not answered");
            assert_ne!(broken, NO_ANSWER, "the connection is closed before");
        });
        meanwhile();
        fake.close_connections();
    });
}

/// A server that takes the request and falls silent, having done it or not.
#[test]
fn hang() {
    for done in [false, true] {
        let (fake, _client) = fake();
        fake.script(once(When::Commit, Fault::Hang { done }));
        unanswered(&fake, || {
            fake.await_seen(When::Commit, 1);
            assert_eq!(last(&fake).status, None);
            assert_eq!(stored(&fake), done);
        });
    }
}

/// A commit that everybody gave up, its client first, lands late, and only where it still can.
#[test]
fn late() {
    let (fake, _client) = fake();
    for n in 1..=2 {
        fake.script(once(When::Commit, Fault::Late(Duration::from_millis(50))));
        unanswered(&fake, || fake.await_seen(When::Commit, n));
        fake.await_done(When::Commit, n);
        assert!(stored(&fake));
    }
    let commits = fake.seen().into_iter().filter(|seen| seen.when == When::Commit);
    let outcomes: Vec<_> = commits.map(|seen| (seen.outcome, seen.status)).collect();
    assert_eq!(outcomes, [(Some(Code::Ok), None), (Some(Code::AlreadyExists), None)]);
}

/// The answer takes its time, the commit does not.
#[test]
fn slow() {
    let (fake, mut client) = fake();
    fake.script(once(When::Commit, Fault::Slow(Duration::from_millis(1))));
    client.commit(vec![insert("y", 1)]).expect("it is answered in the end");
    fake.script(once(When::Commit, Fault::Slow(Duration::from_hours(1))));
    unanswered(&fake, || {
        fake.await_done(When::Commit, 2);
        assert!(stored(&fake));
    });
}

/// Spanner answers an error, with a time to wait or without, having done it or not.
#[test]
fn answer() {
    let codes = [
        Code::Aborted,
        Code::Unknown,
        Code::DeadlineExceeded,
        Code::Unavailable,
        Code::ResourceExhausted,
        Code::PermissionDenied,
        Code::NotFound,
    ];
    for (number, code) in codes.into_iter().enumerate() {
        let (fake, mut client) = fake();
        let (done, wait) = (number % 2 == 0, Duration::from_millis(70));
        let retry_after = (number < 3).then_some(wait);
        fake.script(once(When::Commit, Fault::Answer { code, retry_after, done }));
        let refusal = client.commit(vec![insert("x", 1)]).expect_err("it is refused");
        assert_eq!((refusal.code, refusal.retry_after), (code, retry_after));
        let details: Vec<_> = refusal.details.iter().map(|any| any.type_url.as_str()).collect();
        let retry_info = ["type.googleapis.com/google.rpc.RetryInfo"];
        assert_eq!(details, if number < 3 { &retry_info[..] } else { &[] });
        assert_eq!(
            (last(&fake).status, last(&fake).outcome),
            (Some(code), done.then_some(Code::Ok))
        );
        assert_eq!(stored(&fake), done);
    }
}

/// An answer breaks off in the middle, and the connection does not.
#[test]
fn truncate() {
    let (fake, mut client) = fake();
    fake.script(once(When::Commit, Fault::Truncate));
    client.try_commit(vec![insert("x", 1)]).expect_err("it breaks off");
    assert_eq!((last(&fake).outcome, last(&fake).status), (Some(Code::Ok), None));
    assert_eq!(client.all(), ["x 1"]);
}

/// Rules act in the order they were given, each as often as it says; one without a number until all are
/// forgotten.
#[test]
fn rules_have_an_order() {
    let (fake, mut client) = fake();
    let answer = |code| Fault::Answer { code, retry_after: None, done: false };
    fake.script(Rule { when: When::Read, times: Some(2), fault: answer(Code::Aborted) });
    fake.script(Rule { when: When::Any, times: None, fault: answer(Code::Unavailable) });
    fake.script(Rule { when: When::Read, times: None, fault: answer(Code::Internal) });
    let commit = client.commit(vec![insert("x", 1)]).expect_err("it is refused");
    assert_eq!(commit.code, Code::Unavailable);
    let codes: [Code; 3] = std::array::from_fn(|_| {
        client.read("t", &["name"], key("x", 1)).expect_err("it is refused").code
    });
    assert_eq!(codes, [Code::Aborted, Code::Aborted, Code::Unavailable]);
    fake.heal();
    client.commit(vec![insert("x", 1)]).expect("nothing is refused any more");
}

/// A test lets every fourth request or so fail for minutes. Which ones, and how, is the same again with the
/// same seed, and another with another; and when it is over, none does.
#[test]
fn some_at_random() {
    let some_fail = |seed| {
        let (fake, client) = fake();
        fake.fail_at_random(NonZeroU64::new(4).expect("four"), seed);
        for n in 1..=60 {
            let connection = Connection::to(fake.address());
            let mut client = Client { connection, session: client.session.clone() };
            thread::scope(|scope| {
                // Whether it was answered is seen below.
                scope.spawn(move || drop(client.try_commit(vec![insert("x", 1)])));
                fake.await_seen(When::Commit, n);
                fake.close_connections();
            });
        }
        let statuses: Vec<_> = fake.seen().iter().skip(1).map(|seen| seen.status).collect();
        fake.heal();
        for _ in 0..20 {
            stored(&fake);
        }
        statuses
    };
    let is_fine = |status| [Some(Code::Ok), Some(Code::AlreadyExists)].contains(&status);
    let first = some_fail(1);
    let failed = first.iter().filter(|status| !is_fine(**status)).count();
    assert!((5..30).contains(&failed), "{first:?}");
    assert!(first.contains(&None) && first.iter().flatten().any(|code| !is_fine(Some(*code))));
    assert_eq!(first, some_fail(1));
    assert_ne!(first, some_fail(2));
}
