//! Clocks that jump and hosts that sleep.

use leasehold::ErrorKind;
use leasehold::env::Env;

use super::{acquired, got, held, released};
use crate::setup::{Setup, millis, pass, secs, soon};
use crate::{Call, Fault, Gate, Peer};

/// The host was suspended for longer than the lease. The first question after waking up is answered
/// with no, although no timer knows of it: `std`'s clock and all timers slept too.
pub(crate) async fn suspension_is_counted(s: &Setup) {
    let (a, b) = (s.peer().await, s.peer().await);
    let guard = acquired(&a.client, "x").await;
    a.env.suspend(secs(10));
    assert!(guard.is_held(), "10 s of 24 are gone");
    a.env.suspend(secs(15));
    assert!(!guard.is_held() && guard.time_left().is_zero());
    let before = b.env.elapsed();
    let error = guard.lost().await;
    assert_eq!(error.kind(), ErrorKind::Lost);
    assert!(b.env.since(before) <= secs(1), "told late");
    let token = guard.token();
    assert_eq!(guard.release().await.expect_err("it was lost").kind(), ErrorKind::Lost);
    // The record still named it, and it is freed.
    soon("settled", a.client.clone().close()).await;
    assert!(got(&b.client, "x").await.token() > token);
}

/// A holder that wakes up from a short suspension renews at once: its lease ran on meanwhile.
pub(crate) async fn short_suspension_is_made_up_for(s: &Setup) {
    let Peer { client, store, env } = s.peer().await;
    let guard = acquired(&client, "x").await;
    let landed = store.counts().landed;
    env.suspend(secs(15));
    let before = env.elapsed();
    store.until(|c| c.landed > landed).await;
    assert!(env.since(before) <= secs(1), "renewed late");
    pass(millis(10)).await;
    assert!(guard.time_left() > secs(20), "{guard:?}");
}

/// A waiter that was suspended saw nothing in that time: it cannot know that the holder gave no sign
/// of life, and waits a whole ttl of its own waking time.
pub(crate) async fn suspended_waiter_has_seen_nothing(s: &Setup) {
    let (a, b) = (s.peer().await, s.peer().await);
    let guard = acquired(&a.client, "x").await;
    let mutex = b.client.mutex("x");
    let before = b.env.elapsed();
    let waiter = tokio::spawn(async move { mutex.acquire().await });
    pass(secs(3)).await;
    b.env.suspend(secs(1000));
    pass(secs(20)).await;
    assert!(!waiter.is_finished() && guard.is_held());
    a.store.cut();
    let second = waiter.await.expect("no panic").expect("the lock");
    assert!(b.env.since(before) >= secs(50) && !guard.is_held() && second.is_held());
}

/// The wall clock runs ahead of the steady ones, as after a pause of a virtual machine that no steady
/// clock counted: the holder suspects itself within a second, and believes again only when a new
/// renewal has landed.
pub(crate) async fn wall_clock_jump_is_suspicious(s: &Setup) {
    let Peer { client, store, env } = s.peer().await;
    let guard = acquired(&client, "x").await;
    let gate = Gate::new();
    store.nth(Call::Write, 1, Fault::Delay(gate.clone()));
    env.step_wall(600_000);
    pass(millis(1_100)).await;
    assert!(!guard.is_held(), "it has to doubt");
    assert_eq!(guard.deadline().left(env.now().moment), secs(0));
    gate.open();
    pass(millis(100)).await;
    assert!(guard.is_held(), "a renewal has landed since");
    // A write that was sent before the jump settles nothing.
    let gate = Gate::new();
    store.nth(Call::Write, 1, Fault::DelayReply(gate.clone()));
    let writes = store.counts().writes;
    store.until(|c| c.writes > writes).await;
    env.step_wall(600_000);
    pass(millis(1_100)).await;
    let also = Gate::new();
    store.nth(Call::Write, 1, Fault::Delay(also.clone()));
    gate.open();
    pass(millis(100)).await;
    assert!(!guard.is_held(), "that renewal was sent before the jump");
    also.open();
    pass(secs(5)).await;
    assert!(guard.is_held());
    released(guard).await;
}

/// Nothing else depends on the wall clock: set back, set forward, years off on one host, the lock is
/// held by its holder and taken over after one ttl.
pub(crate) async fn wall_clock_decides_nothing(s: &Setup) {
    let year_ms = 365 * 24 * 3_600_000;
    let (a, b) = (s.peer().await, s.peer().await);
    b.env.step_wall(year_ms);
    let guard = acquired(&a.client, "x").await;
    held(&b.client, "x").await;
    a.env.step_wall(-2 * year_ms);
    for _ in 0..4 {
        pass(secs(30)).await;
        assert!(guard.is_held(), "a step back is not suspicious");
        b.env.step_wall(year_ms);
        assert_eq!(held(&b.client, "x").await.id, guard.holder());
    }
    a.store.cut();
    let before = b.env.elapsed();
    let second = soon_after_ttl(&b).await;
    let took = b.env.since(before);
    // It had seen the last renewal up to ten seconds before.
    assert!(took >= secs(20) && took <= secs(31), "{took:?}");
    assert!(!guard.is_held() && second.token() > guard.token());
    // On a host in the past the token rises too.
    a.store.clear();
    a.store.set_deaf(false);
    let token = second.token();
    released(second).await;
    drop(guard);
    soon("settled", a.client.clone().close()).await;
    assert!(got(&a.client, "x").await.token() > token);
}

async fn soon_after_ttl(peer: &Peer) -> leasehold::Guard {
    let got = crate::setup::within(secs(40), acquired(&peer.client, "x")).await;
    got.expect("taken over after a ttl")
}

/// A waiter that sees a dead holder count a whole ttl on a clock that is set back in between.
pub(crate) async fn guard_checks_the_clock(s: &Setup) {
    let Peer { client, store, env } = s.peer().await;
    let guard = acquired(&client, "x").await;
    store.cut();
    let deadline = guard.deadline();
    assert_eq!(deadline.span, secs(24));
    // Suspended to one millisecond before the deadline, and over it.
    let left = deadline.left(env.now().moment);
    env.suspend(left.saturating_sub(millis(1)));
    assert!(guard.is_held());
    env.suspend(millis(1));
    assert!(!guard.is_held());
}
