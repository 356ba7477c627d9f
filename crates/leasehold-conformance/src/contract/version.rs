//! A version names one state for ever.

use std::collections::HashSet;

use leasehold_core::backend::Expected;

use super::{at, create, delete, put, read, swap};
use crate::Need;
use crate::setup::{Setup, key};

/// A name that was never used is absent, and looking at it does not create it: otherwise `status`
/// would fill the store and a create would find a record.
pub(crate) async fn unused_is_absent(s: &Setup) {
    let (backend, name) = (s.backend(), key("never-used"));
    assert_eq!(read(&backend, &name).await, None);
    assert_eq!(read(&backend, &name).await, None);
    create(&backend, &name, b"now it is").await;
}

/// A write answers with the version that a read then shows, at any handle; otherwise each next
/// write of a holder would fail.
pub(crate) async fn write_tells_what_read_shows(s: &Setup) {
    let (ours, theirs, name) = (s.backend(), s.another().await, key("x"));
    let mut version = create(&ours, &name, b"0").await;
    for n in 1..=50 {
        let (writer, reader) = if n % 2 == 0 { (&ours, &theirs) } else { (&theirs, &ours) };
        let bytes = format!("{n}").into_bytes();
        version = put(writer, &name, &at(&version), &bytes).await;
        for handle in [reader, writer] {
            let seen = read(handle, &name).await.expect("a record");
            assert_eq!((seen.bytes, &seen.version), (bytes.clone(), &version));
        }
    }
}

/// A write on a state that is gone must lose and change nothing, one step later and two.
pub(crate) async fn stale_loses(s: &Setup) {
    let (backend, name) = (s.backend(), key("x"));
    let one = create(&backend, &name, b"one").await;
    let two = put(&backend, &name, &at(&one), b"two").await;
    assert_eq!(swap(&backend, &name, &at(&one), b"late").await, None);
    let three = put(&backend, &name, &at(&two), b"three").await;
    for stale in [&one, &two] {
        assert_eq!(swap(&backend, &name, &at(stale), b"late").await, None);
    }
    let stored = read(&backend, &name).await.expect("a record");
    assert_eq!((stored.bytes.as_slice(), &stored.version), (&b"three"[..], &three));
}

/// A holder that slept through a hundred renewals of others wakes up and writes: a version that is
/// a small counter, a time in seconds or a short hash would have come round.
pub(crate) async fn stale_loses_after_many_changes(s: &Setup) {
    let (backend, name) = (s.backend(), key("x"));
    let first = create(&backend, &name, b"first").await;
    let mut all = HashSet::from([first.clone()]);
    let mut version = first.clone();
    for n in 0..120 {
        // As different as renewals are: by a number.
        version = put(&backend, &name, &at(&version), format!("{n}").as_bytes()).await;
        assert!(all.insert(version.clone()), "{version:?} came back at change {n}");
    }
    for stale in all.iter().filter(|v| **v != version).take(50).chain([&first]) {
        assert_eq!(swap(&backend, &name, &at(stale), b"late").await, None);
    }
    assert_eq!(read(&backend, &name).await.expect("a record").version, version);
}

/// An operator deletes the record and somebody creates it anew: what was conditioned on the old one
/// must lose, or it would hijack a fresh lock (metageneration 1 comes back on some stores).
pub(crate) async fn stale_loses_after_recreation(s: &Setup) {
    let (backend, name) = (s.backend(), key("x"));
    let one = create(&backend, &name, b"one").await;
    let two = put(&backend, &name, &at(&one), b"two").await;
    assert!(delete(&backend, &name, &two).await);
    assert_eq!(read(&backend, &name).await, None);
    for stale in [&one, &two] {
        assert_eq!(swap(&backend, &name, &at(stale), b"late").await, None, "on an absent record");
    }
    let three = create(&backend, &name, b"three").await;
    let four = put(&backend, &name, &at(&three), b"four").await;
    for stale in [&one, &two, &three] {
        assert_eq!(swap(&backend, &name, &at(stale), b"late").await, None, "on a new record");
        if s.has(Need::ConditionalDelete) {
            assert!(!delete(&backend, &name, stale).await, "a stale delete");
        }
    }
    let stored = read(&backend, &name).await.expect("a record");
    assert_eq!((stored.bytes.as_slice(), &stored.version), (&b"four"[..], &four));
}

/// The same bytes twice are two states: whoever sees the version again may conclude that nothing
/// happened. Backends whose version is a hash of the content declare that they cannot.
pub(crate) async fn same_bytes_are_two_states(s: &Setup) {
    let (backend, name) = (s.backend(), key("x"));
    let one = create(&backend, &name, b"same").await;
    let two = put(&backend, &name, &at(&one), b"same").await;
    assert_ne!(one, two);
    assert_eq!(swap(&backend, &name, &at(&one), b"late").await, None);
    assert!(delete(&backend, &name, &two).await);
    let three = create(&backend, &name, b"same").await;
    assert!(three != one && three != two, "{one:?} {two:?} {three:?}");
    assert_eq!(swap(&backend, &name, &at(&two), b"late").await, None);
}

/// A create must find nothing: neither a record, nor one that came after the one that was deleted.
pub(crate) async fn create_needs_absence(s: &Setup) {
    let (backend, name) = (s.backend(), key("x"));
    let one = create(&backend, &name, b"one").await;
    assert_eq!(swap(&backend, &name, &Expected::Absent, b"late").await, None);
    assert!(delete(&backend, &name, &one).await);
    let two = create(&backend, &name, b"two").await;
    assert_ne!(one, two);
    assert_eq!(swap(&backend, &name, &Expected::Absent, b"late").await, None);
    assert_eq!(read(&backend, &name).await.expect("a record").bytes, b"two");
}

/// A delete of a state that is gone must do nothing: cleaning up must never take away a lock that
/// somebody acquired meanwhile.
pub(crate) async fn stale_delete_does_nothing(s: &Setup) {
    let (backend, name) = (s.backend(), key("x"));
    let one = create(&backend, &name, b"one").await;
    let two = put(&backend, &name, &at(&one), b"two").await;
    assert!(!delete(&backend, &name, &one).await);
    assert_eq!(read(&backend, &name).await.expect("a record").version, two);
    assert!(delete(&backend, &name, &two).await);
    assert!(!delete(&backend, &name, &two).await, "a second time");
    assert_eq!(read(&backend, &name).await, None);
}
