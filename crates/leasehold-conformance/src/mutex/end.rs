//! Every way in which a guard can end, in real time: the lock must come free by all of them.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use leasehold::env::{Env, Host};
use leasehold::{Client, ErrorKind, Guard};
use tokio::sync::oneshot;

use super::{acquired, got, held, record, released, stored};
use crate::setup::{Setup, pass, secs, soon};
use crate::{Call, Fault, Gate};

/// Drops a guard on a thread that has no runtime: the release must be sent all the same. A
/// `tokio::spawn` in a `Drop` panics there.
pub(crate) async fn dropped_outside_a_runtime(s: &Setup) {
    let (a, b) = (s.client().await, s.client().await);
    let guard = acquired(&a, "x").await;
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::Builder::new()
        .spawn(move || {
            assert!(tokio::runtime::Handle::try_current().is_err(), "not in a runtime");
            drop(guard);
            done.send(()).expect("the test waits");
        })
        .expect("a thread");
    is_done.recv_timeout(secs(30)).expect("dropped without a panic");
    drop(soon("the lock is released", acquired(&b, "x")).await);
}

/// A panic in the critical section unwinds through the guard, which releases.
pub(crate) async fn dropped_in_a_panic(s: &Setup) {
    let (a, b) = (s.client().await, s.client().await);
    let guard = acquired(&a, "x").await;
    let panicked = std::panic::catch_unwind(AssertUnwindSafe(move || {
        let _guard = guard;
        // Not a `panic!`, so that no message frightens whoever reads the output of the tests.
        std::panic::resume_unwind(Box::new("on purpose"));
    }));
    assert!(panicked.is_err());
    drop(soon("the lock is released", acquired(&b, "x")).await);
}

/// A runtime is shut down while a task has a guard and another waits for the lock: tokio drops both
/// tasks, and what a `Drop` spawns then never runs. The lock must come free, and stay free.
pub(crate) async fn dropped_in_a_shutdown(s: &Setup) {
    let (a, b) = (s.client().await, s.client().await);
    let (tell, told) = oneshot::channel();
    let (client, waiting) = (a.clone(), a.clone());
    let doomed = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let doomed = doomed.expect("a runtime");
    doomed.spawn(async move {
        let guard = acquired(&client, "x").await;
        tell.send(guard.token()).expect("the test waits");
        std::future::pending::<()>().await;
        drop(guard);
    });
    let token = soon("the doomed task holds", told).await.expect("the task runs");
    doomed.spawn(async move { waiting.mutex("x").acquire().await });
    assert_eq!(held(&b, "x").await.token, token);
    doomed.shutdown_background();
    let guard = soon("the lock is released", acquired(&b, "x")).await;
    assert!(guard.token() > token);
    released(guard).await;
    soon("all is settled", a.close()).await;
    drop(got(&b, "x").await);
}

/// `close` waits for the releases of dropped guards, so that a short program can end.
pub(crate) async fn close_waits_for_releases(s: &Setup) {
    let (client, store) = s.faulty_client().await;
    let (guard, other) = (acquired(&client, "x").await, acquired(&client, "y").await);
    let gate = Gate::new();
    store.nth(Call::Write, 1, Fault::Delay(gate.clone()));
    drop(guard);
    let writes = store.counts().writes;
    let closing = tokio::spawn(client.close());
    soon("the release is on its way", store.until(|c| c.writes > writes.min(2))).await;
    assert!(!closing.is_finished(), "the release has not arrived");
    gate.open();
    soon("closed", closing).await.expect("no panic");
    assert_eq!(record(&s.backend(), "x").await.expect("a record").holder(), None);
    // A guard that is still alive is not waited for, and works on.
    assert!(other.is_held());
    released(other).await;
}

/// A release must never hit another's lock: not after the lock was forced away and acquired by
/// somebody else, not by a drop, not twice.
pub(crate) async fn release_hits_nobody_else(s: &Setup) {
    let (a, b) = (s.client().await, s.client().await);
    for by_drop in [false, true] {
        let guard = acquired(&a, "x").await;
        let also = guard.renewals();
        drop(b.force_release("x", "a test").await.expect("forced"));
        let next = soon("the next", acquired(&b, "x")).await;
        let before = stored(&s.backend(), "x").await.expect("a record");
        if by_drop {
            drop(guard);
        } else {
            let error = guard.release().await.expect_err("it was lost");
            assert_eq!(error.kind(), ErrorKind::Lost);
        }
        drop(also);
        settle(&a).await;
        let after = stored(&s.backend(), "x").await.expect("a record");
        assert_eq!(before.version, after.version, "the next holder's record was touched");
        assert!(next.is_held());
        released(next).await;
    }
}

/// Waits until a client has nothing to say to its store any more.
async fn settle(client: &Client) {
    soon("all is settled", client.clone().close()).await;
}

/// The reply to a release is lost: it is read back, said to have succeeded, and done once.
pub(crate) async fn release_is_done_once(s: &Setup) {
    let (client, store) = s.faulty_client().await;
    for fault in [
        Fault::LoseReply(leasehold_core::backend::Fate::Unknown),
        Fault::Repeat,
        Fault::LoseReply(leasehold_core::backend::Fate::Throttled { retry_after: None }),
    ] {
        let guard = acquired(&client, "x").await;
        let landed = store.counts().landed;
        store.clear();
        store.nth(Call::Write, 1, fault.clone());
        released(guard).await;
        assert_eq!(store.counts().landed, landed + 1, "{fault:?}");
    }
}

/// Listeners come and go: a dropped `lost` and dropped renewals change nothing. (A peer's lock
/// thread panicked when its listener went, while its heartbeats went on.)
pub(crate) async fn listeners_may_go(s: &Setup) {
    let (client, ttl) = (s.client().await, s.short_ttl());
    let guard = client.mutex("x").with_ttl(ttl).acquire().await.expect("the lock");
    let mut renewals = guard.renewals();
    for _ in 0..3 {
        let lost = guard.lost();
        let lost = crate::setup::within(secs(0), lost).await;
        assert!(lost.is_none(), "{lost:?}");
        let deadline = soon("a renewal", renewals.next()).await.expect("held");
        assert!(!deadline.is_past(Host.now().moment));
        renewals = guard.renewals();
    }
    drop(renewals);
    let before = guard.deadline();
    pass(ttl / 2).await;
    assert!(guard.is_held() && guard.deadline() != before);
    let lost = Arc::new(guard);
    let waits = Arc::clone(&lost);
    let waiting = tokio::spawn(async move { waits.lost().await });
    drop(s.client().await.force_release("x", "a test").await.expect("forced"));
    let error = soon("the listener hears", waiting).await.expect("no panic");
    assert_eq!(error.kind(), ErrorKind::Lost);
    let guard: Guard = Arc::into_inner(lost).expect("the last one");
    assert!(!guard.is_held());
    assert_eq!(guard.release().await.expect_err("it was lost").kind(), ErrorKind::Lost);
}
