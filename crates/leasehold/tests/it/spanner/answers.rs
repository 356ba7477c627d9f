//! What each answer of gRPC means: the table of docs/backends/spanner.md, row by row, on the backend itself.

use std::net::TcpListener;
use std::time::Duration;

use leasehold_core::backend::{
    BackendError, Expected, Fate, Key, MAX_RECORD_BYTES, Trouble, Version, Written,
};
use leasehold_servers::spanner::{Code, Fake, Fault, Rule, When};

use super::faults::{DATABASE, start};
use super::open;

const THROTTLED: Fate = Fate::Throttled { retry_after: None };

fn key() -> Key {
    Key::new("a/b c").expect("a name")
}

fn once(when: When, fault: Fault) -> Rule {
    Rule { when, times: Some(1), fault }
}

fn status(code: Code, done: bool) -> Fault {
    Fault::Answer { code, retry_after: None, done }
}

/// Tries a create that goes wrong like this.
async fn create(server: &Fake, fault: Fault) -> Result<Written, BackendError> {
    let backend = open(&server.url(DATABASE));
    server.script(once(When::Commit, fault));
    backend.write(&key(), &Expected::Absent, b"{}").await
}

/// Every refusal of a write says what became of it, as far as that can be known, and what a person can
/// do. None is taken for a proof that nothing landed.
#[tokio::test]
async fn a_refused_write_is_told_honestly() {
    let server = start();
    let span = Duration::from_millis(7_250);
    let patience = Fate::Throttled { retry_after: Some(span) };
    let asks = |code| Fault::Answer { code, retry_after: Some(span), done: false };
    for (fault, fate, trouble) in [
        (status(Code::Aborted, false), THROTTLED, Trouble::Unavailable),
        (asks(Code::Aborted), patience, Trouble::Unavailable),
        (status(Code::ResourceExhausted, false), THROTTLED, Trouble::Unavailable),
        (asks(Code::ResourceExhausted), patience, Trouble::Unavailable),
        (status(Code::Unavailable, false), Fate::Unknown, Trouble::Unavailable),
        (asks(Code::Unavailable), patience, Trouble::Unavailable),
        (status(Code::DeadlineExceeded, false), Fate::Unknown, Trouble::Unavailable),
        (status(Code::Unknown, false), Fate::Unknown, Trouble::Unavailable),
        (status(Code::Internal, false), Fate::Unknown, Trouble::Unavailable),
        (status(Code::Cancelled, false), Fate::Unknown, Trouble::Unavailable),
        (status(Code::DataLoss, false), Fate::Unknown, Trouble::Unavailable),
        (status(Code::PermissionDenied, false), Fate::Unknown, Trouble::Denied),
        (status(Code::Unauthenticated, false), Fate::Unknown, Trouble::Denied),
        (status(Code::InvalidArgument, false), Fate::Unknown, Trouble::Invalid),
        (status(Code::FailedPrecondition, false), Fate::Unknown, Trouble::Invalid),
        (status(Code::OutOfRange, false), Fate::Unknown, Trouble::Invalid),
        (status(Code::Unimplemented, false), Fate::Unknown, Trouble::Invalid),
        (Fault::Close, Fate::Unknown, Trouble::Unavailable),
    ] {
        let error = create(&server, fault.clone()).await.expect_err("it goes wrong");
        assert_eq!((error.fate, error.trouble), (fate, trouble), "{fault:?}: {error}");
        let reading = open(&server.url(DATABASE)).read(&key()).await.expect("an answer");
        assert_eq!(reading.record, None, "{fault:?} was not to be done");
    }
    assert_eq!(server.count("Commit"), 18, "one request for each: nothing was sent twice");
}

/// A write that was done and whose answer got lost is of unknown fate, never "not sent".
#[tokio::test]
async fn a_lost_answer_is_unknown() {
    for fault in [
        Fault::LoseAnswer,
        Fault::Truncate,
        status(Code::Unavailable, true),
        status(Code::DeadlineExceeded, true),
        status(Code::Unknown, true),
        status(Code::Internal, true),
        status(Code::Cancelled, true),
    ] {
        let server = start();
        let error = create(&server, fault.clone()).await.expect_err("it goes wrong");
        assert_eq!((error.fate, error.trouble), (Fate::Unknown, Trouble::Unavailable), "{fault:?}");
        let reading = open(&server.url(DATABASE)).read(&key()).await.expect("an answer");
        assert_eq!(reading.record.expect("it landed").bytes, b"{}", "{fault:?}");
        assert_eq!(server.count("Commit"), 1, "{fault:?}");
    }
}

/// A condition that does not hold is a conflict, for a create as for a swap. A create is told who won: so
/// it learns at once if it was itself, and only the answer is wrong.
#[tokio::test]
async fn a_failed_condition_is_a_conflict() {
    let server = start();
    let backend = open(&server.url(DATABASE));
    let written = backend.write(&key(), &Expected::Absent, b"1").await.expect("an answer");
    let Written::Applied(version) = written else { panic!("{written:?}") };
    let refused = backend.write(&key(), &Expected::Absent, b"2").await.expect("an answer");
    let Written::Conflict(Some(winner)) = refused else { panic!("{refused:?}") };
    assert_eq!((winner.bytes.as_slice(), &winner.version), (&b"1"[..], &version));
    for stale in ["1", "0", "-1", "9223372036854775807", "x", ""] {
        let stale = Expected::Version(Version::new(stale));
        let refused = backend.write(&key(), &stale, b"2").await.expect("an answer");
        assert_eq!(refused, Written::Conflict(None), "{stale:?}");
    }
    assert!(!backend.delete(&key(), &Version::new("0")).await.expect("an answer"));
    assert!(backend.delete(&key(), &version).await.expect("an answer"));
    assert!(!backend.delete(&key(), &version).await.expect("an answer"));
    let other = start();
    let own = create(&other, status(Code::AlreadyExists, true)).await.expect("an answer");
    let Written::Conflict(Some(own)) = own else { panic!("{own:?}") };
    assert_eq!(own.bytes, b"{}");
}

/// A `NOT_FOUND` that does not say what is missing is no conflict: it may be anything.
#[tokio::test]
async fn what_is_missing_must_be_said() {
    let server = start();
    let error = create(&server, status(Code::NotFound, false)).await.expect_err("what?");
    assert_eq!((error.fate, error.trouble), (Fate::Unknown, Trouble::Unavailable), "{error}");
}

/// Spanner forgets a session. A commit on it is proven to have done nothing, and the next request makes a
/// new one: a single one, whoever asks for it at once.
#[tokio::test]
async fn a_session_that_is_gone_is_made_again() {
    let server = start();
    let backend = open(&server.url(DATABASE));
    let written = backend.write(&key(), &Expected::Absent, b"1").await.expect("an answer");
    let Written::Applied(version) = written else { panic!("{written:?}") };
    let expected = Expected::Version(version);
    server.drop_sessions();
    let error = backend.write(&key(), &expected, b"2").await.expect_err("no session");
    assert_eq!((error.fate, error.trouble), (Fate::NotSent, Trouble::Unavailable), "{error}");
    let again = backend.write(&key(), &expected, b"2").await.expect("an answer");
    assert!(matches!(again, Written::Applied(_)), "{again:?}");
    server.drop_sessions();
    backend.read(&key()).await.expect_err("no session");
    let (name, before) = (key(), server.count("CreateSession"));
    let looks = tokio::join!(backend.read(&name), backend.read(&name), backend.list(""));
    assert!(looks.0.is_ok() && looks.1.is_ok() && looks.2.is_ok(), "{looks:?}");
    assert_eq!(server.count("CreateSession"), before + 1);
}

/// Nobody listens: that no byte left is proven, and nothing has to be read back.
#[tokio::test]
async fn a_refused_connection_sent_nothing() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let backend = open(&format!("spanner://{DATABASE}?endpoint=http://{free}"));
    let error = backend.write(&key(), &Expected::Absent, b"{}").await.expect_err("nobody there");
    assert_eq!((error.fate, error.trouble), (Fate::NotSent, Trouble::Unavailable), "{error}");
    assert!(error.message.contains("refused"), "{error}");
    let error = backend.read(&key()).await.expect_err("nobody there");
    assert_eq!(error.trouble, Trouble::Unavailable);
}

/// The server goes away while we have a connection and a session. The commit that finds nobody sent
/// nothing, as the first one would.
#[tokio::test]
async fn a_server_that_went_away_was_sent_nothing() {
    let server = start();
    let backend = open(&server.url(DATABASE));
    let written = backend.write(&key(), &Expected::Absent, b"1").await.expect("an answer");
    let Written::Applied(version) = written else { panic!("{written:?}") };
    drop(server);
    let expected = Expected::Version(version);
    // The first may still find the old connection; it may not claim that nothing was sent then.
    let _ = backend.write(&key(), &expected, b"2").await.expect_err("nobody there");
    let error = backend.write(&key(), &expected, b"2").await.expect_err("nobody there");
    assert_eq!((error.fate, error.trouble), (Fate::NotSent, Trouble::Unavailable), "{error}");
}

/// What does not exist is a mistake, and is told at once with what mends it: for a read, which must not take
/// it for a free lock, as for a write.
#[tokio::test]
async fn what_does_not_exist_is_a_mistake() {
    let server = start();
    server.make_database("acme/main/empty", &[]);
    let name = key();
    for (place, words) in [
        ("acme/main/empty", ["no table leasehold", "leasehold init spanner://acme/main/empty"]),
        ("acme/main/lokcs", ["no database lokcs", "leasehold init spanner://acme/main/lokcs"]),
        ("acme/mian/locks", ["no instance mian", "gcloud spanner instances create mian"]),
    ] {
        let backend = open(&server.url(place));
        for error in [
            backend.read(&name).await.expect_err(place),
            backend.write(&name, &Expected::Absent, b"{}").await.expect_err(place),
            backend.delete(&name, &Version::new("1")).await.expect_err(place),
            backend.list("").await.expect_err(place),
        ] {
            assert_eq!(error.trouble, Trouble::Invalid, "{error}");
            assert!(words.iter().all(|word| error.message.contains(word)), "{error}");
        }
    }
}

/// Reads that go wrong are told as what they are. One that broke off in the middle is not half a record.
#[tokio::test]
async fn a_read_that_goes_wrong_is_no_answer() {
    let server = start();
    let backend = open(&server.url(DATABASE));
    backend.write(&key(), &Expected::Absent, &[b'x'; 5_000]).await.expect("an answer");
    for (fault, trouble) in [
        (Fault::Truncate, Trouble::Unavailable),
        (Fault::Close, Trouble::Unavailable),
        (status(Code::Aborted, false), Trouble::Unavailable),
        (status(Code::Unauthenticated, false), Trouble::Denied),
        (status(Code::PermissionDenied, false), Trouble::Denied),
        (status(Code::ResourceExhausted, false), Trouble::Unavailable),
        (status(Code::Unavailable, false), Trouble::Unavailable),
        (status(Code::InvalidArgument, false), Trouble::Invalid),
    ] {
        server.script(once(When::Read, fault.clone()));
        let error = backend.read(&key()).await.expect_err("it goes wrong");
        assert_eq!(error.trouble, trouble, "{fault:?}: {error}");
    }
    let record = backend.read(&key()).await.expect("an answer").record.expect("a record");
    assert_eq!(record.bytes.len(), 5_000);
}

/// What is too large for a record is not sent.
#[tokio::test]
async fn sizes_are_bounded() {
    let server = start();
    let backend = open(&server.url(DATABASE));
    let error = backend.write(&key(), &Expected::Absent, &vec![b'x'; MAX_RECORD_BYTES + 1]).await;
    let error = error.expect_err("too long");
    assert_eq!((error.fate, error.trouble), (Fate::NotSent, Trouble::Invalid));
    assert!(server.seen().is_empty());
}

/// An age is what the server's clock says of both ends of it, and so is the time.
#[tokio::test]
async fn ages_are_the_servers() {
    let server = start();
    let backend = open(&server.url(DATABASE));
    backend.write(&key(), &Expected::Absent, b"{}").await.expect("an answer");
    let before = backend.read(&key()).await.expect("an answer");
    server.advance_clock(Duration::from_hours(1));
    let after = backend.read(&key()).await.expect("an answer");
    let age = after.record.expect("a record").age.expect("an age");
    assert!(age >= Duration::from_hours(1) && age < Duration::from_mins(70), "{age:?}");
    let passed = after.unix_ms.expect("a time") - before.unix_ms.expect("a time");
    assert!(passed >= 3_600_000, "{passed}");
}

/// Requests say whose they are, and in clear no credentials are sent. Where a person can look is told, and
/// the names of deleted records are not listed.
#[tokio::test]
async fn requests_and_rows_are_where_they_are_said_to_be() {
    let server = start();
    let backend = open(&server.url(DATABASE));
    let written = backend.write(&key(), &Expected::Absent, b"{}").await.expect("an answer");
    let Written::Applied(version) = written else { panic!("{written:?}") };
    let place = "projects/acme/instances/main/databases/locks";
    assert!(server.seen().iter().all(|seen| seen.prefix == place && !seen.authorized));
    let row = format!("{place}, table leasehold, name \"a/b c\"");
    assert_eq!(backend.locate(&key()), row);
    let state = backend.locate_state(&key(), &version);
    assert_eq!(state, format!("{row}, version {}", version.as_str()));
    let list = async |prefix: &str| backend.list(prefix).await.expect("an answer");
    assert_eq!(
        (list("").await, list("a/").await, list("b").await),
        (vec![key()], vec![key()], vec![])
    );
    assert!(backend.delete(&key(), &version).await.expect("an answer"));
    assert_eq!(list("").await, []);
}

/// A service has a database role and nothing else: its session says so, and with it every request. Where the
/// role may not touch the table, what it takes is told.
#[tokio::test]
async fn a_database_role_is_named_by_the_session() {
    let server = start();
    let url = format!("{}&role=locker", server.url(DATABASE));
    let backend = open(&url);
    assert!(backend.url().contains("role=locker"), "a child finds it: {}", backend.url());
    let written = backend.write(&key(), &Expected::Absent, b"{}").await.expect("an answer");
    let Written::Applied(version) = written else { panic!("{written:?}") };
    backend.read(&key()).await.expect("an answer");
    let seen = server.seen();
    assert!(seen.len() >= 4 && seen.iter().all(|seen| seen.role == "locker"), "{seen:?}");
    server.script(once(When::Commit, status(Code::PermissionDenied, false)));
    let expected = Expected::Version(version);
    let error = backend.write(&key(), &expected, b"{}").await.expect_err("denied");
    assert_eq!(error.trouble, Trouble::Denied);
    let grant = "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE leasehold TO ROLE locker";
    assert!(error.message.contains(grant), "{error}");
    open(&server.url(DATABASE)).read(&key()).await.expect("an answer");
    assert!(server.seen().iter().rev().take(2).all(|seen| seen.role.is_empty()));
}
