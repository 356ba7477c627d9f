//! Hints of changes, and the backend's own clock.

use std::sync::Arc;

use leasehold::env::{Env, Host};
use leasehold_core::backend::{Backend, Expected, Key};

use super::{at, create, delete, put, read};
use crate::Need;
use crate::setup::{Setup, key, millis, pass, secs, soon, within};

/// What the backend says about itself must be what the fixture declared, because the kit leaves out
/// cases by the latter and the driver plans by the former.
pub(crate) async fn facts_are_as_declared(s: &Setup) {
    let (backend, name) = (s.backend(), key("x"));
    assert_eq!(backend.facts(), s.another().await.facts());
    assert_eq!(backend.facts().notifies, s.has(Need::Notification), "notification");
    assert_eq!(s.store.shared_url.is_some(), s.has(Need::Processes), "a URL for other processes");
    create(&backend, &name, b"x").await;
    let seen = read(&backend, &name).await.expect("a record");
    assert_eq!(seen.age.is_some(), s.has(Need::Clock), "an age");
    assert!(!backend.facts().least_poll.is_zero(), "polls without a pause");
    if let Some(url) = &s.store.shared_url {
        assert_eq!(backend.url(), *url);
    }
    assert!(backend.locate(&name).contains('x'), "{}", backend.locate(&name));
    assert_ne!(backend.locate(&name), backend.locate(&key("y")));
}

/// Waits for a hint in a task, so that it listens while the test goes on.
fn listen(backend: &Arc<dyn Backend>, name: &Key, since: &Expected) -> tokio::task::JoinHandle<()> {
    let (backend, name, since) = (Arc::clone(backend), name.clone(), since.clone());
    tokio::spawn(async move { backend.changed(&name, &since).await })
}

/// A waiter that listens must hear of every change by another handle: of a create, a write and a
/// delete. Otherwise a lock that was released stays free until the next poll.
pub(crate) async fn changes_are_heard(s: &Setup) {
    let (ours, theirs, name) = (s.backend(), s.another().await, key("x"));
    for round in 0..5 {
        let heard = listen(&ours, &name, &Expected::Absent);
        // A little later, so that it mostly listens already; that it may not is a case of its own.
        pass(millis(20)).await;
        let mut version = create(&theirs, &name, format!("{round}").as_bytes()).await;
        soon("a create is heard", heard).await.expect("no panic");
        for n in 0..3 {
            let heard = listen(&ours, &name, &at(&version));
            pass(millis(20)).await;
            let bytes = format!("{round} {n}").into_bytes();
            version = put(&theirs, &name, &at(&version), &bytes).await;
            soon("a write is heard", heard).await.expect("no panic");
        }
        let heard = listen(&ours, &name, &at(&version));
        pass(millis(20)).await;
        assert!(delete(&theirs, &name, &version).await);
        soon("a delete is heard", heard).await.expect("no panic");
    }
}

/// The change came between the look and the listening: a hint that waits for the *next* change
/// would be a lost wake-up.
pub(crate) async fn changes_before_listening_are_heard(s: &Setup) {
    let (ours, theirs, name) = (s.backend(), s.another().await, key("x"));
    let one = create(&theirs, &name, b"one").await;
    soon("a create before", ours.changed(&name, &Expected::Absent)).await;
    let two = put(&theirs, &name, &at(&one), b"two").await;
    soon("a write before", ours.changed(&name, &at(&one))).await;
    soon("a write before, and absence never was", ours.changed(&name, &Expected::Absent)).await;
    assert!(delete(&theirs, &name, &two).await);
    soon("a delete before", ours.changed(&name, &at(&two))).await;
    // And while it begins to listen.
    for n in 0..20 {
        let version = create(&theirs, &name, format!("{n}").as_bytes()).await;
        let heard = listen(&ours, &name, &at(&version));
        assert!(delete(&theirs, &name, &version).await);
        soon("a delete meanwhile", heard).await.expect("no panic");
    }
}

/// A driver asks for a hint at every step and drops it again: hundreds of times must leave nothing
/// behind that fills up (a watch, a connection, a descriptor). And many listen to many names.
pub(crate) async fn listening_leaves_nothing(s: &Setup) {
    let (ours, theirs, name) = (s.backend(), s.another().await, key("x"));
    let version = create(&theirs, &name, b"one").await;
    for _ in 0..300 {
        // It may cry wolf; it must not break.
        let _ = within(millis(0), ours.changed(&name, &at(&version))).await;
    }
    let mut listening = vec![];
    for n in 0..100 {
        let name = key(&format!("name-{}", n % 10));
        listening.push(listen(&ours, &name, &Expected::Absent));
    }
    pass(millis(50)).await;
    for n in 0..10 {
        create(&theirs, &key(&format!("name-{n}")), b"one").await;
    }
    for heard in listening {
        soon("all of them hear", heard).await.expect("no panic");
    }
    let heard = listen(&ours, &name, &at(&version));
    put(&theirs, &name, &at(&version), b"two").await;
    soon("after all that", heard).await.expect("no panic");
}

/// An age is how long a state has stood: it grows, a write begins it anew, and it is never longer
/// than the time that really passed. Too long an age is a lock taken from a living holder.
pub(crate) async fn ages_are_true(s: &Setup) {
    let (ours, theirs, name) = (s.backend(), s.another().await, key("x"));
    let uncertainty = ours.facts().clock_uncertainty;
    let mut expected = Expected::Absent;
    for round in 0..3 {
        let before = Host.now().moment;
        let bytes = format!("{round}").into_bytes();
        expected = at(&put(&ours, &name, &expected, &bytes).await);
        let mut last = None;
        for _ in 0..3 {
            for handle in [&ours, &theirs] {
                let age = read(handle, &name).await.expect("a record").age.expect("an age");
                let passed = Host.now().moment.longest_since(before);
                assert!(age <= passed + uncertainty, "{age:?} old after {passed:?}");
                assert!(last <= Some(age + uncertainty), "{age:?} after {last:?}");
                last = Some(age);
            }
            pass(uncertainty + millis(30)).await;
        }
        let age = read(&theirs, &name).await.expect("a record").age.expect("an age");
        assert!(age + uncertainty >= millis(90), "only {age:?} old after 90 ms");
    }
}

/// A backend that tells the time tells one that goes on: it dates the first token of a record, and
/// a token must not go back when a record was deleted.
pub(crate) async fn time_goes_on(s: &Setup) {
    let (ours, theirs, name) = (s.backend(), s.another().await, key("x"));
    let mut last = 0;
    for _ in 0..5 {
        for handle in [&ours, &theirs] {
            let reading = handle.read(&name).await.expect("an answer");
            let Some(unix_ms) = reading.unix_ms else { return };
            assert!(unix_ms >= last, "{unix_ms} after {last}");
            let day = u64::try_from(secs(24 * 3600).as_millis()).expect("it fits");
            assert!(unix_ms.abs_diff(Host.now().unix_ms) < day, "{unix_ms} is not about now");
            last = unix_ms;
        }
        pass(millis(5)).await;
    }
}

/// A writer that lives is never told to have ended: its lock would be taken from it at once. Here
/// it lives and is quiet, and its handle may be closed while another of the process is open.
pub(crate) async fn the_living_are_not_orphaned(s: &Setup) {
    let (ours, theirs, name) = (s.backend(), s.another().await, key("x"));
    let version = create(&ours, &name, b"one").await;
    drop(ours);
    for _ in 0..20 {
        let seen = read(&theirs, &name).await.expect("a record");
        assert!(!seen.orphaned && seen.version == version, "{seen:?}");
        pass(millis(5)).await;
    }
}
