//! A holder that is gone: taken over after one ttl, not before, by one.

use std::sync::Arc;

use leasehold::ErrorKind;
use leasehold::env::{Env, Host};
use tokio::task::JoinSet;

use super::{Protected, acquired, got, held, released};
use crate::setup::{Setup, millis, pass, secs, soon, within};

/// In real time: a holder whose network went silent stops believing before a waiter takes over, and
/// the waiter takes over one ttl after the holder's last write at the earliest.
pub(crate) async fn takeover_in_real_time(s: &Setup) {
    let (a, store) = s.faulty_client().await;
    let (b, ttl) = (s.client().await, s.short_ttl());
    let before = Host.now().moment;
    let first = a.mutex("x").with_ttl(ttl).acquire().await.expect("the lock");
    store.cut();
    let mutex = b.mutex("x").with_ttl(ttl);
    let second = soon("the waiter takes over", mutex.acquire()).await.expect("the lock");
    assert!(!first.is_held(), "two hold");
    let took = Host.now().moment.shortest_since(before);
    assert!(took >= ttl, "taken over {took:?} after it was acquired, with a ttl of {ttl:?}");
    assert!(second.token() > first.token());
    let error = soon("the first knows", first.lost()).await;
    assert_eq!(error.kind(), ErrorKind::Lost);
    assert!(second.is_held());
}

/// To the millisecond: with a holder that died at once, a waiter that was there from the beginning
/// gets the lock when a ttl is over, and neither before nor much later.
pub(crate) async fn takeover_after_one_ttl(s: &Setup) {
    let (a, b) = (s.peer().await, s.peer().await);
    let first = acquired(&a.client, "x").await;
    a.store.cut();
    let before = b.env.elapsed();
    let second = acquired(&b.client, "x").await;
    let took = b.env.since(before);
    assert!(took >= secs(30) && took <= secs(31), "{took:?}");
    assert!(!first.is_held() && second.token() > first.token());
}

/// The ttl is the holder's, as the record tells it, not the waiter's own: a waiter with a short ttl
/// would take a lock from a living holder with a long one.
pub(crate) async fn holders_ttl_counts(s: &Setup) {
    for (theirs, ours) in [(60, 5), (5, 60)] {
        let name = format!("x-{theirs}");
        let (a, b) = (s.peer().await, s.peer().await);
        let mutex = a.client.mutex(&*name).with_ttl(secs(theirs));
        let first = mutex.acquire().await.expect("the lock");
        a.store.cut();
        let before = b.env.elapsed();
        let mutex = b.client.mutex(&*name).with_ttl(secs(ours));
        let second = mutex.acquire().await.expect("the lock");
        let took = b.env.since(before);
        assert!(took >= secs(theirs) && took <= secs(theirs + 2), "{took:?}");
        assert!(!first.is_held() && second.is_held());
    }
}

/// A takeover delay keeps others out for a while after an expiry, and not after a release.
pub(crate) async fn takeover_delay(s: &Setup) {
    let (a, b) = (s.peer().await, s.peer().await);
    let mutex = a.client.mutex("x").with_takeover_delay(secs(20));
    released(mutex.acquire().await.expect("the lock")).await;
    released(got(&b.client, "x").await).await;
    let first = mutex.acquire().await.expect("the lock");
    a.store.cut();
    let before = b.env.elapsed();
    drop(acquired(&b.client, "x").await);
    let took = b.env.since(before);
    assert!(took >= secs(50) && took <= secs(51), "{took:?}");
    assert!(!first.is_held());
}

/// A program that never waits but tries every second remembers what it saw: it gets a dead holder's
/// lock after one ttl. (A peer's could not.)
pub(crate) async fn tries_add_up(s: &Setup) {
    let (a, b) = (s.peer().await, s.peer().await);
    let first = acquired(&a.client, "x").await;
    a.store.cut();
    let before = b.env.elapsed();
    let second = loop {
        match b.client.mutex("x").try_acquire().await.expect("an answer") {
            leasehold::Attempt::Acquired(guard) => break guard,
            leasehold::Attempt::Held(_) => pass(secs(1)).await,
        }
    };
    let took = b.env.since(before);
    assert!(took >= secs(30) && took <= secs(32), "{took:?}");
    assert!(second.token() > first.token());
}

/// Many clients see one lease run out at the same moment: one of them gets it, then the next. In a
/// peer two candidates could both be told that they had acquired.
pub(crate) async fn one_heir(s: &Setup) {
    let a = s.peer().await;
    let first = acquired(&a.client, "x").await;
    a.store.cut();
    let protected = Arc::new(Protected::default());
    let mut heirs = JoinSet::new();
    for _ in 0..8 {
        let (heir, protected) = (s.peer().await, Arc::clone(&protected));
        heirs.spawn(async move {
            let guard = acquired(&heir.client, "x").await;
            protected.raise(pass(secs(3))).await;
            assert!(guard.is_held());
            released(guard).await;
            heir.store.counts().writes
        });
    }
    let writes: u64 = heirs.join_all().await.into_iter().sum();
    assert_eq!(protected.count(), 8);
    assert!(writes < 8 * 8, "{writes} writes for 8 times acquire and release");
    assert!(!first.is_held());
}

/// While the holder lives and renews, nobody takes over, for hours, whoever waits and however.
pub(crate) async fn living_holder_stays(s: &Setup) {
    let (a, b) = (s.peer().await, s.peer().await);
    let guard = acquired(&a.client, "x").await;
    let mutex = b.client.mutex("x");
    let waiter = tokio::spawn(async move { mutex.acquire().await });
    for _ in 0..6 {
        pass(secs(600)).await;
        assert!(guard.is_held() && !waiter.is_finished());
        assert!(held(&b.client, "x").await.renewals >= 50);
    }
    let token = guard.token();
    released(guard).await;
    let second = soon("the waiter", waiter).await.expect("no panic").expect("the lock");
    assert!(second.token() > token);
}

/// `wait_until_free` returns when the lock is free or its lease is over, and writes nothing.
pub(crate) async fn wait_until_free(s: &Setup) {
    let (a, b) = (s.peer().await, s.peer().await);
    let mutex = b.client.mutex("x");
    mutex.wait_until_free().await.expect("never used");
    let guard = acquired(&a.client, "x").await;
    assert!(within(secs(100), mutex.wait_until_free()).await.is_none(), "it is held");
    let error = mutex.clone().with_timeout(secs(1)).wait_until_free().await;
    assert_eq!(error.expect_err("it is held").kind(), ErrorKind::Timeout);
    let waiting = mutex.clone();
    let waiter = tokio::spawn(async move { waiting.wait_until_free().await });
    pass(millis(100)).await;
    released(guard).await;
    soon("it is free", waiter).await.expect("no panic").expect("free");
    let guard = acquired(&a.client, "x").await;
    a.store.cut();
    let before = b.env.elapsed();
    mutex.wait_until_free().await.expect("its lease is over");
    assert!(b.env.since(before) >= secs(30) && !guard.is_held());
    assert_eq!(b.store.counts().writes, 0);
}
