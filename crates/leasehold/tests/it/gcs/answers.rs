//! What each answer of HTTP means: the table of docs/backends/gcs.md, row by row, on the backend itself.

use std::net::TcpListener;

use leasehold_core::backend::{
    BackendError, Expected, Fate, Key, MAX_RECORD_BYTES, Trouble, Version, Written,
};
use leasehold_servers::gcs::{Fake, Fault, Odd, Rule, When};

use super::open;

const THROTTLED: Fate = Fate::Throttled { retry_after: None };

fn key() -> Key {
    Key::new("a/b c").expect("a name")
}

fn start() -> Fake {
    let server = Fake::start();
    server.make_bucket("acme");
    server
}

fn once(when: When, fault: Fault) -> Rule {
    Rule { when, times: Some(1), fault }
}

fn status(code: u16, retry_after: Option<u64>, done: bool) -> Fault {
    Fault::Answer { code, retry_after, done }
}

/// Tries a create that goes wrong like this.
async fn create(server: &Fake, fault: Fault) -> BackendError {
    let backend = open(&server.url("acme/locks"));
    server.script(once(When::Write, fault));
    let written = backend.write(&key(), &Expected::Absent, b"{}").await;
    written.expect_err("it goes wrong")
}

/// Every refusal of a write says what became of it, as far as that can be known, and what a person
/// can do. None is taken for a proof that nothing landed: Google repeats it for every one of them.
#[tokio::test]
async fn a_refused_write_is_told_honestly() {
    let server = start();
    let patience = Fate::Throttled { retry_after: Some(std::time::Duration::from_secs(7)) };
    for (fault, fate, trouble) in [
        (status(400, None, false), Fate::Unknown, Trouble::Invalid),
        (status(401, None, false), Fate::Unknown, Trouble::Denied),
        (status(403, None, false), Fate::Unknown, Trouble::Denied),
        (status(404, None, false), Fate::Unknown, Trouble::Invalid),
        (status(408, None, false), Fate::Unknown, Trouble::Unavailable),
        (status(409, None, false), Fate::Unknown, Trouble::Unavailable),
        (status(429, None, false), THROTTLED, Trouble::Unavailable),
        (status(429, Some(7), false), patience, Trouble::Unavailable),
        (status(500, None, false), Fate::Unknown, Trouble::Unavailable),
        (status(503, None, false), Fate::Unknown, Trouble::Unavailable),
        (status(503, Some(7), false), patience, Trouble::Unavailable),
        (status(302, None, false), Fate::Unknown, Trouble::Invalid),
        (Fault::Close, Fate::Unknown, Trouble::Unavailable),
    ] {
        let error = create(&server, fault.clone()).await;
        assert_eq!((error.fate, error.trouble), (fate, trouble), "{fault:?}: {error}");
        let reading = open(&server.url("acme/locks")).read(&key()).await.expect("an answer");
        assert_eq!(reading.record, None, "{fault:?} was not to be done");
    }
    // One request for each: nothing was sent twice.
    let writes = server.seen().iter().filter(|seen| seen.when == When::Create).count();
    assert_eq!(writes, 13);
}

/// A write that was done and whose answer got lost is of unknown fate, never "not sent".
#[tokio::test]
async fn a_lost_answer_is_unknown() {
    for fault in
        [Fault::LoseAnswer, Fault::Truncate, status(503, None, true), status(500, None, true)]
    {
        let server = start();
        let error = create(&server, fault.clone()).await;
        assert_eq!((error.fate, error.trouble), (Fate::Unknown, Trouble::Unavailable), "{fault:?}");
        let reading = open(&server.url("acme/locks")).read(&key()).await.expect("an answer");
        assert_eq!(reading.record.expect("it landed").bytes, b"{}", "{fault:?}");
        assert_eq!(server.seen().iter().filter(|seen| seen.when == When::Create).count(), 1);
    }
}

/// A condition that does not hold is a conflict, for a create as for a swap.
#[tokio::test]
async fn a_failed_condition_is_a_conflict() {
    let server = start();
    let backend = open(&server.url("acme/locks"));
    let written = backend.write(&key(), &Expected::Absent, b"1").await.expect("an answer");
    let Written::Applied(version) = written else { panic!("{written:?}") };
    let conflict = Written::Conflict(None);
    let refused = backend.write(&key(), &Expected::Absent, b"2").await.expect("an answer");
    assert_eq!(refused, conflict);
    for stale in ["1", "18446744073709551615"] {
        let stale = Expected::Version(Version::new(stale));
        assert_eq!(backend.write(&key(), &stale, b"2").await.expect("an answer"), conflict);
    }
    assert!(backend.delete(&key(), &version).await.expect("an answer"));
    assert!(!backend.delete(&key(), &version).await.expect("an answer"));
}

/// Nobody listens: that no byte left is proven, and nothing has to be read back.
#[tokio::test]
async fn a_refused_connection_sent_nothing() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let backend = open(&format!("gs://acme/locks?endpoint=http://{free}"));
    let error = backend.write(&key(), &Expected::Absent, b"{}").await.expect_err("nobody there");
    assert_eq!((error.fate, error.trouble), (Fate::NotSent, Trouble::Unavailable), "{error}");
    assert!(error.message.contains("refused"), "{error}");
    let error = backend.read(&key()).await.expect_err("nobody there");
    assert_eq!(error.trouble, Trouble::Unavailable);
}

/// A bucket that does not exist is a mistake, and is told at once with what mends it: for a read, which
/// must not take it for a free lock, as for a write.
#[tokio::test]
async fn a_missing_bucket_is_a_mistake() {
    let server = start();
    let backend = open(&server.url("amce/locks"));
    for error in [
        backend.read(&key()).await.expect_err("no bucket"),
        backend.write(&key(), &Expected::Absent, b"{}").await.expect_err("no bucket"),
        backend.delete(&key(), &Version::new("1")).await.expect_err("no bucket"),
        backend.list("").await.expect_err("no bucket"),
    ] {
        assert_eq!(error.trouble, Trouble::Invalid, "{error}");
        assert!(error.message.contains("\"amce\"") && error.message.contains("leasehold init"));
    }
}

/// Reads that go wrong are told as what they are. One that broke off in the middle is not half a record.
#[tokio::test]
async fn a_read_that_goes_wrong_is_no_answer() {
    let server = start();
    let backend = open(&server.url("acme/locks"));
    backend.write(&key(), &Expected::Absent, &[b'x'; 5_000]).await.expect("an answer");
    for (fault, trouble) in [
        (Fault::Truncate, Trouble::Unavailable),
        (Fault::Close, Trouble::Unavailable),
        (status(401, None, false), Trouble::Denied),
        (status(403, None, false), Trouble::Denied),
        (status(429, None, false), Trouble::Unavailable),
        (status(503, None, false), Trouble::Unavailable),
        (status(400, None, false), Trouble::Invalid),
    ] {
        server.script(once(When::Read, fault.clone()));
        let error = backend.read(&key()).await.expect_err("it goes wrong");
        assert_eq!(error.trouble, trouble, "{fault:?}: {error}");
    }
    let record = backend.read(&key()).await.expect("an answer").record.expect("a record");
    assert_eq!(record.bytes.len(), 5_000);
}

/// Something on the way answers in place of the bucket, or makes another answer of the bucket's: a portal, a
/// proxy that cuts short. It is no word about the record, neither that it is damaged nor that it is not
/// there, and no reason to give up: what is told names the endpoint, and one line of a page.
#[tokio::test]
async fn an_answer_of_somebody_else_is_no_answer() {
    let server = start();
    let backend = open(&server.url("acme/locks"));
    let written = backend.write(&key(), &Expected::Absent, b"{\"a\":1}").await.expect("an answer");
    let Written::Applied(version) = written else { panic!("{written:?}") };
    for (odd, words) in [
        (Odd::Short, "cut short"),
        (Odd::Changed, "changed on the way"),
        (Odd::Bare, "it is no Google Cloud Storage, or something on the way"),
        (Odd::Page(200), "with a page: Sign in to the guest network: it is no Google"),
        (Odd::Page(404), "with a page: Sign in to the guest network: it is no Google"),
    ] {
        server.script(once(When::Read, Fault::Odd(odd)));
        let error = backend.read(&key()).await.expect_err("it goes wrong");
        assert_eq!(error.trouble, Trouble::Unavailable, "{odd:?}: {error}");
        assert!(error.message.contains(words), "{odd:?}: {error}");
    }
    for odd in [Odd::Page(200), Odd::Page(404), Odd::Page(412), Odd::Garbage] {
        server.script(once(When::Write, Fault::Odd(odd)));
        let stale = Expected::Version(Version::new("1"));
        let error = backend.write(&key(), &stale, b"{}").await;
        if odd == Odd::Garbage {
            // Its status says it all.
            assert_eq!(error.expect("an answer"), Written::Conflict(None));
            continue;
        }
        let error = error.expect_err("it goes wrong");
        assert_eq!((error.fate, error.trouble), (Fate::Unknown, Trouble::Unavailable), "{odd:?}");
        server.script(once(When::Delete, Fault::Odd(odd)));
        let error = backend.delete(&key(), &Version::new("1")).await.expect_err("it goes wrong");
        assert_eq!(error.trouble, Trouble::Unavailable, "{odd:?}: {error}");
    }
    for (when, odd) in [
        (When::List, Odd::Page(200)),
        (When::List, Odd::Garbage),
        (When::Bucket, Odd::Page(200)),
        (When::Bucket, Odd::Garbage),
    ] {
        server.script(once(when, Fault::Odd(odd)));
        let trouble = match when {
            When::List => backend.list("").await.expect_err("it goes wrong").trouble,
            _ => {
                let rights = backend.admin().expect("rights").rights().await;
                rights.expect_err("it goes wrong").trouble
            }
        };
        assert_eq!(trouble, Trouble::Unavailable, "{when:?} {odd:?}");
    }
    let record = backend.read(&key()).await.expect("an answer").record.expect("a record");
    assert_eq!(record.version, version);
}

/// The second look at a state costs no transfer (304), shows the same bytes, and sees every change.
#[tokio::test]
async fn an_unchanged_record_is_not_sent_again() {
    let server = start();
    let (ours, theirs) = (open(&server.url("acme/l")), open(&server.url("acme/l")));
    let mut expected = Expected::Absent;
    for n in 0..3 {
        let bytes = format!("{n}").into_bytes();
        let written = theirs.write(&key(), &expected, &bytes).await.expect("an answer");
        let Written::Applied(version) = written else { panic!("{written:?}") };
        for _ in 0..3 {
            let record = ours.read(&key()).await.expect("an answer").record.expect("a record");
            assert_eq!((&record.bytes, &record.version), (&bytes, &version));
            assert!(record.age.is_some());
        }
        expected = Expected::Version(version);
    }
    let reads: Vec<_> = server.seen().into_iter().filter(|seen| seen.when == When::Read).collect();
    let statuses: Vec<_> = reads.iter().filter_map(|seen| seen.status).collect();
    assert_eq!(statuses, [200, 304, 304, 200, 304, 304, 200, 304, 304]);
}

/// What is too large for a record is not taken in, and not sent.
#[tokio::test]
async fn sizes_are_bounded() {
    let server = start();
    let backend = open(&server.url("acme/locks"));
    let error = backend.write(&key(), &Expected::Absent, &vec![b'x'; MAX_RECORD_BYTES + 1]).await;
    let error = error.expect_err("too long");
    assert_eq!((error.fate, error.trouble), (Fate::NotSent, Trouble::Invalid));
    assert!(server.seen().is_empty());
}

/// Where a person can look: the object as Google's tools name it, in the prefix that was given.
#[tokio::test]
async fn objects_are_where_they_are_said_to_be() {
    let server = start();
    let backend = open(&server.url("acme/locks/eu"));
    backend.write(&key(), &Expected::Absent, b"{}").await.expect("an answer");
    assert_eq!(server.seen()[0].object, "locks/eu/a/b c");
    assert_eq!(backend.locate(&key()), "gs://acme/locks/eu/a/b c");
    assert_eq!(backend.locate_state(&key(), &Version::new("7")), "gs://acme/locks/eu/a/b c#7");
    // Other prefixes, and names that are no locks, are not listed.
    let other = open(&server.url("acme/locks"));
    other
        .write(&Key::new("z").expect("a name"), &Expected::Absent, b"{}")
        .await
        .expect("an answer");
    assert_eq!(backend.list("").await.expect("an answer"), [key()]);
    assert!(server.seen().iter().all(|seen| !seen.authorized), "in clear, without credentials");
}
