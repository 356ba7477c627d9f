//! Faults of the store under a lock: each row of the table that a lock on Spanner must survive.

use std::net::SocketAddr;
use std::time::Duration;

use leasehold::{Client, ErrorKind, Guard};
use leasehold_core::backend::Key;
use leasehold_servers::spanner::{Code, Rule};
pub(super) use leasehold_servers::spanner::{Fake, Fault, When};

/// Long enough for a busy machine, short enough to see several of them.
pub(super) const TTL: Duration = Duration::from_secs(2);

/// What renews a lease, and what a waiter sends first, here a session.
pub(super) const RENEWAL: When = When::Commit;
pub(super) const READ: When = When::Any;

/// The store of the tests, through whatever is at this address.
pub(super) fn url_at(address: SocketAddr) -> String {
    format!("spanner://{DATABASE}?endpoint=http://{address}&poll-interval=20ms")
}

/// The database that the tests have.
pub(super) const DATABASE: &str = "acme/main/locks";

pub(super) fn start() -> Fake {
    let server = Fake::start();
    server.make_database(DATABASE, &[super::TABLE]);
    server
}

pub(super) async fn client(server: &Fake) -> Client {
    leasehold::connect(&server.url(DATABASE)).await.expect("a client")
}

pub(super) async fn acquire(client: &Client) -> Guard {
    let mutex = client.mutex("x").with_ttl(TTL).with_timeout(Duration::from_mins(1));
    mutex.acquire().await.expect("the lock")
}

/// An answer of this kind, whatever would be true.
pub(super) fn answer(code: Code, done: bool) -> Fault {
    Fault::Answer { code, retry_after: None, done }
}

pub(super) fn script(server: &Fake, when: When, times: Option<u32>, fault: Fault) {
    server.script(Rule { when, times, fault });
}

pub(super) fn count(server: &Fake, when: When) -> usize {
    server.seen().iter().filter(|seen| seen.when == when).count()
}

/// Whether somebody else sees it as held.
async fn is_held(server: &Fake) -> bool {
    let status = client(server).await.status("x").await.expect("a status");
    status.state == leasehold::State::Held
}

/// The create landed and its answer is lost. We hold it, once: peers took their own success for
/// somebody else's, and waited for themselves for ever.
#[tokio::test]
async fn a_create_whose_answer_is_lost_is_ours() {
    for fault in [
        Fault::LoseAnswer,
        Fault::Truncate,
        Fault::Hang { done: true },
        answer(Code::Unavailable, true),
        answer(Code::DeadlineExceeded, true),
        answer(Code::Unknown, true),
        answer(Code::Aborted, true),
        answer(Code::AlreadyExists, true),
    ] {
        let server = start();
        script(&server, When::Commit, Some(1), fault.clone());
        let guard = acquire(&client(&server).await).await;
        assert_eq!(count(&server, When::Commit), 1, "{fault:?}");
        assert!(guard.is_held() && is_held(&server).await, "{fault:?}");
        guard.release().await.expect("released");
        assert!(!is_held(&server).await, "{fault:?}");
    }
}

/// A renewal landed and its answer is lost, again and again. The lock stays ours, and no second holder
/// gets in.
#[tokio::test]
async fn renewals_whose_answers_are_lost_keep_the_lock() {
    let server = start();
    let guard = acquire(&client(&server).await).await;
    for fault in [Fault::LoseAnswer, Fault::Truncate, answer(Code::DeadlineExceeded, true)] {
        script(&server, When::Commit, Some(1), fault);
        let before = count(&server, When::Commit);
        server.until_done(When::Commit, before + 2).await;
    }
    assert!(guard.is_held());
    let other = client(&server).await.mutex("x").with_ttl(TTL).try_acquire().await;
    assert!(matches!(other, Ok(leasehold::Attempt::Held(_))), "{other:?}");
    guard.release().await.expect("released");
}

/// The release landed and its answer is lost. It is released, and what is freed is never the lock of the
/// next holder: a peer deleted again until it was told of a success.
#[tokio::test]
async fn a_release_whose_answer_is_lost_is_done_once() {
    for fault in [Fault::LoseAnswer, Fault::Truncate, answer(Code::Unavailable, true)] {
        let server = start();
        let (ours, theirs) = (client(&server).await, client(&server).await);
        let guard = acquire(&ours).await;
        let waiting = tokio::spawn(async move { acquire(&theirs).await });
        script(&server, When::Commit, Some(1), fault.clone());
        guard.release().await.unwrap_or_else(|e| panic!("{fault:?}: {e}"));
        let next = waiting.await.expect("no panic");
        assert!(next.is_held() && is_held(&server).await, "{fault:?}");
        next.release().await.expect("released");
    }
}

/// We gave up, and then the create lands. Nobody holds by it for longer than it takes to undo it, and
/// the next one gets the lock with a higher token.
#[tokio::test]
async fn a_create_that_lands_after_we_gave_up_is_undone() {
    let server = start();
    let ours = client(&server).await;
    script(&server, When::Commit, Some(1), Fault::Late(Duration::from_millis(700)));
    let asked = ours.mutex("x").with_ttl(TTL).with_timeout(Duration::from_millis(300));
    let error = asked.acquire().await.expect_err("it did not answer in time");
    assert!(matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable), "{error}");
    server.until_done(When::Commit, 1).await;
    let theirs = client(&server).await;
    let guard = acquire(&theirs).await;
    assert!(guard.is_held());
    ours.close().await;
    assert!(guard.is_held() && is_held(&server).await, "what was undone was not the next one's");
    guard.release().await.expect("released");
}

/// The store asks the holder for patience at every renewal, until shortly before the lease is over. One
/// that goes through then is enough.
#[tokio::test]
async fn a_throttled_holder_holds_on() {
    let server = start();
    let guard = acquire(&client(&server).await).await;
    // From the first renewal, due at a third of the ttl, to about two thirds.
    script(&server, When::Commit, None, answer(Code::Aborted, false));
    server.until_seen(When::Commit, 3).await;
    server.heal();
    let before = count(&server, When::Commit);
    server.until_done(When::Commit, before + 2).await;
    assert!(guard.is_held());
    guard.release().await.expect("released");
}

/// Whatever a store may say when it is in trouble: none of it means "held", and none of it is for ever.
#[tokio::test]
async fn a_store_in_trouble_is_waited_for() {
    for code in [
        Code::Aborted,
        Code::Unavailable,
        Code::DeadlineExceeded,
        Code::Unknown,
        Code::Internal,
        Code::Cancelled,
        Code::ResourceExhausted,
        Code::NotFound,
    ] {
        let server = start();
        for when in [When::Session, When::Read, When::Commit] {
            script(&server, when, Some(2), answer(code, false));
        }
        let guard = acquire(&client(&server).await).await;
        guard.release().await.unwrap_or_else(|e| panic!("{code:?}: {e}"));
    }
}

/// Spanner aborts commits when others are in the way: a crowd that wants one lock gets it, one after the
/// other, and an aborted commit is never taken for a lost race.
#[tokio::test]
async fn a_storm_of_aborted_commits_is_weathered() {
    let server = start();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..6 {
        script(&server, When::Commit, Some(2), answer(Code::Aborted, n % 2 == 0));
        let ours = client(&server).await;
        tasks.spawn(async move {
            let guard = acquire(&ours).await;
            let token = guard.token();
            guard.release().await.expect("released");
            token
        });
    }
    let mut tokens = tasks.join_all().await;
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), 6, "each had it once");
}

/// Spanner forgets its sessions while we hold. The next renewal learns it, and the one after it has a new
/// session.
#[tokio::test]
async fn a_session_that_is_gone_costs_a_round_trip() {
    let server = start();
    let guard = acquire(&client(&server).await).await;
    server.drop_sessions();
    let done = server.count("Commit") + 3;
    server.until_seen(When::Commit, done).await;
    assert!(guard.is_held());
    assert_eq!(server.count("CreateSession"), 2);
    guard.release().await.expect("released");
}

/// The credentials expire while we hold. The holder goes on until its lease is over, so that credentials
/// that come back in time save it; and is told why, if they do not.
#[tokio::test]
async fn credentials_that_expire_while_holding() {
    let server = start();
    let expired = || answer(Code::Unauthenticated, false);
    let ours = client(&server).await;
    let guard = acquire(&ours).await;
    script(&server, When::Commit, Some(1), expired());
    server.until_done(When::Commit, 2).await;
    assert!(guard.is_held(), "they came back");
    script(&server, When::Any, None, expired());
    let lost = guard.lost().await;
    assert_eq!(lost.kind(), ErrorKind::Lost);
    assert!(
        lost.to_string().contains("UNAUTHENTICATED") && lost.to_string().contains("gcloud auth"),
        "{lost}"
    );
    // Whoever begins now is told at once: waiting would not help.
    let refused = ours.mutex("y").acquire().await.expect_err("without credentials");
    assert_eq!(refused.kind(), ErrorKind::Denied);
}

/// No permission, and no database: an error at once, with the remedy, and never an endless wait. A peer
/// retried both for ever.
#[tokio::test]
async fn what_waiting_does_not_mend_is_told_at_once() {
    let server = start();
    script(&server, When::Any, None, answer(Code::PermissionDenied, false));
    let ours = client(&server).await;
    let error = ours.mutex("x").acquire().await.expect_err("denied");
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().contains("roles/spanner.databaseUser"), "{error}");
    server.heal();
    let nowhere = leasehold::connect(&server.url("acme/main/lokcs")).await.expect("a client");
    let error = nowhere.mutex("x").acquire().await.expect_err("no database");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("leasehold init spanner://acme/main/lokcs"), "{error}");
    let error = nowhere.status("x").await.expect_err("no database");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

/// Somebody deletes the record under a holder. It is told at its next renewal, and never makes it again;
/// the next one's token is higher all the same.
#[tokio::test]
async fn a_deleted_record_is_lost_and_the_token_rises() {
    let server = start();
    let guard = acquire(&client(&server).await).await;
    let backend = super::open(&server.url(DATABASE));
    let key = Key::new("x").expect("a name");
    // A renewal may come in between.
    while let Some(record) = backend.read(&key).await.expect("an answer").record {
        let _ = backend.delete(&key, &record.version).await.expect("an answer");
    }
    let lost = guard.lost().await;
    assert!(lost.to_string().contains("deleted"), "{lost}");
    let next = acquire(&client(&server).await).await;
    assert!(next.token() > guard.token());
    next.release().await.expect("released");
}
