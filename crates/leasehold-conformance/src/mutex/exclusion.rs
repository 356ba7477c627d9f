//! One at a time, in real time, on several threads.

use std::sync::Arc;

use leasehold::ErrorKind;
use leasehold::env::{Env, Host};
use tokio::task::JoinSet;

use super::{Protected, acquired, got, held, record, released};
use crate::setup::{Setup, millis, pass, soon};

/// Many tasks of two clients raise a counter that nothing else protects, each reading and writing
/// it with a wait between. One increment less is one moment with two holders.
pub(crate) async fn holds(s: &Setup) {
    const TASKS: u64 = 20;
    const TIMES: u64 = 3;
    let protected = Arc::new(Protected::default());
    let clients = [s.client().await, s.client().await];
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let client = clients[usize::from(task % 2 == 0)].clone();
        let protected = Arc::clone(&protected);
        tasks.spawn(async move {
            for _ in 0..TIMES {
                let guard = acquired(&client, "counter").await;
                protected.raise(tokio::task::yield_now()).await;
                assert!(guard.is_held());
                released(guard).await;
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(protected.count(), TASKS * TIMES);
}

/// A second acquisition by the same client is a rival like any other: nothing is handed out from
/// memory, and what the winner holds is named to the loser.
pub(crate) async fn rivals_of_one_process(s: &Setup) {
    let client = s.client().await;
    let first = acquired(&client, "x").await;
    assert_eq!(held(&client, "x").await.token, first.token());
    let mutex = client.mutex("x");
    let second = tokio::spawn(async move { mutex.acquire().await });
    pass(millis(50)).await;
    assert!(!second.is_finished(), "the first holds");
    assert!(first.is_held());
    let token = first.token();
    released(first).await;
    let second = soon("the second gets it", second).await.expect("no panic").expect("the lock");
    assert!(second.token() > token);
    // Another name is another lock.
    released(got(&client, "y").await).await;
    assert!(second.is_held());
}

/// A guard that was lost and that its owner still has (the work is still stopping) is in nobody's
/// way, also not in that of the others in the same process, who queue behind it.
pub(crate) async fn lost_guard_blocks_nobody(s: &Setup) {
    let client = s.client().await;
    let lost = acquired(&client, "x").await;
    let mutex = client.mutex("x");
    let waiter = tokio::spawn(async move { mutex.acquire().await });
    pass(millis(20)).await;
    drop(s.client().await.force_release("x", "a test").await.expect("forced"));
    let guard = soon("the next in the queue", waiter).await.expect("no panic").expect("the lock");
    assert!(guard.is_held() && !lost.is_held() && guard.token() > lost.token());
    assert_eq!(lost.release().await.expect_err("it was lost").kind(), ErrorKind::Lost);
    assert!(guard.is_held());
    released(guard).await;
}

/// Contention is an outcome, not an error, and says who, since when, and with which token.
pub(crate) async fn try_tells_the_holder(s: &Setup) {
    let (a, b) = (s.client().await, s.client().await);
    let guard = a.mutex("x").with_label("alice").acquire().await.expect("the lock");
    let holder = held(&b, "x").await;
    assert_eq!((holder.label.as_str(), holder.token), ("alice", guard.token()));
    assert_eq!(holder.id, guard.holder());
    assert!(holder.to_string().contains("alice"), "{holder}");
    released(guard).await;
    drop(got(&b, "x").await);
}

/// Whoever waits for a time waits that long and not much longer, and is told who was in the way.
pub(crate) async fn wait_ends_in_time(s: &Setup) {
    let (a, b) = (s.client().await, s.client().await);
    let guard = a.mutex("x").with_label("alice").acquire().await.expect("the lock");
    let before = Host.now().moment;
    let mutex = b.mutex("x").with_timeout(millis(300));
    let error = soon("the wait ends", mutex.acquire()).await.expect_err("alice holds");
    let waited = Host.now().moment.longest_since(before);
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(waited >= millis(300), "gave up after {waited:?}");
    let text = error.to_string();
    assert!(text.contains("alice") && text.contains("\"x\""), "{text}");
    // With no time at all it is one look.
    let error = b.mutex("x").with_timeout(millis(0)).acquire().await.expect_err("alice holds");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    // And whoever gave up is in nobody's way.
    released(guard).await;
    drop(got(&b, "x").await);
}

/// `run` releases when the section is done, gives what it returned, and stops a section whose lock
/// was lost: nothing that it would have done afterwards happens.
pub(crate) async fn run_stops_the_section(s: &Setup) {
    let (a, b) = (s.client().await, s.client().await);
    let done = a.mutex("x").run(async |guard| guard.token()).await.expect("ran");
    let guard = got(&b, "x").await;
    assert!(guard.token() > done);
    released(guard).await;

    let (inside, is_inside) = tokio::sync::oneshot::channel();
    let section = tokio::spawn(async move {
        a.mutex("x")
            .run(async |guard| {
                inside.send(guard.token()).expect("the test waits");
                std::future::pending::<()>().await;
            })
            .await
    });
    let token = soon("the section begins", is_inside).await.expect("the section runs");
    drop(b.force_release("x", "a test").await.expect("forced"));
    let error = soon("the section is stopped", section).await.expect("no panic");
    let error = error.expect_err("it was lost");
    assert_eq!(error.kind(), ErrorKind::Lost);
    assert!(error.to_string().contains("a test"), "{error}");
    assert!(soon("the next", acquired(&b, "x")).await.token() > token);
}

/// A user's thread that is blocked for several ttls (a long computation, a blocking call in async
/// code) does not cost the lock: the driver has a thread of its own.
pub(crate) async fn blocked_user_keeps_it(s: &Setup) {
    let (client, other, ttl) = (s.client().await, s.client().await, s.short_ttl());
    let (tell, told) = tokio::sync::oneshot::channel();
    let user = async move {
        let guard = client.mutex("x").with_ttl(ttl).acquire().await.expect("the lock");
        // Nobody sends: the thread is blocked for this long, and its runtime with it.
        let (_nobody, nothing) = std::sync::mpsc::channel::<()>();
        let blocked = nothing.recv_timeout(ttl * 3);
        assert_eq!(blocked, Err(std::sync::mpsc::RecvTimeoutError::Timeout));
        drop(tell.send((guard.is_held(), guard)));
    };
    Host.run(Box::pin(user)).expect("a thread");
    let (is_held, guard) = soon("the user's thread goes on", told).await.expect("the guard");
    assert!(is_held, "lost while the user's thread was blocked");
    assert!(held(&other, "x").await.renewals > 0);
    released(guard).await;
}

/// A waiter with another handle has the lock soon after the release, by the backend's hint or by
/// its own polls, and the record says so.
pub(crate) async fn hand_over(s: &Setup) {
    let (a, b) = (s.client().await, s.client().await);
    let mut token = None;
    for round in 0..5 {
        let (from, to) = if round % 2 == 0 { (&a, &b) } else { (&b, &a) };
        let guard = acquired(from, "x").await;
        assert!(Some(guard.token()) > token);
        let before = guard.token();
        let mutex = to.mutex("x");
        let waiter = tokio::spawn(async move { mutex.acquire().await });
        pass(millis(30)).await;
        released(guard).await;
        let next = soon("the waiter gets it", waiter).await.expect("no panic").expect("the lock");
        let record = record(&s.backend(), "x").await.expect("a record");
        assert_eq!(record.holder().map(|h| h.id), Some(next.holder()));
        assert_eq!(record.token, next.token());
        assert!(next.token() > before);
        token = Some(next.token());
        released(next).await;
    }
}
