//! An acquisition that nobody waits for any more leaves no ghost that holds the lock.

use std::future::Future;
use std::task::Poll;

use leasehold::Attempt;

use super::{acquired, got, held, record};
use crate::setup::{Setup, pass, secs, soon, within};
use crate::{Call, Fault, Gate, Peer};

/// Polls `future` this many times, lets everybody else go on after each, and drops it. True if it
/// was done before.
async fn drop_after<T>(polls: usize, future: impl Future<Output = T>) -> bool {
    let mut future = Box::pin(future);
    for _ in 0..polls {
        let poll = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready()));
        if poll.await {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

/// The future is dropped at every point where it can be: before anything was sent, with the read on
/// its way, with the write on its way, between the grant and its arrival. Each time the lock is to
/// be had at once when the cancelled client is done.
pub(crate) async fn at_every_point(s: &Setup) {
    let (a, b) = (s.peer().await, s.peer().await);
    let mut was_done = false;
    for polls in 0..60 {
        let name = format!("x-{polls}");
        was_done = drop_after(polls, a.client.mutex(&*name).acquire()).await;
        a.client.clone().close().await;
        drop(got(&b.client, &name).await);
    }
    // Only then every point was met. (Where files are slow, polls are many between two of them.)
    assert!(was_done || a.store.counts().writes == 0 || a.store.counts().landed > 0);
}

/// The same with each request held up on its way, and with each answer held up: the drop comes
/// while exactly this one is outstanding.
pub(crate) async fn at_every_request(s: &Setup) {
    let (a, b) = (s.peer().await, s.peer().await);
    let kinds: [fn(Gate) -> Fault; 3] = [Fault::Delay, Fault::DelayReply, |_| Fault::Hang];
    for (n, kind) in kinds.iter().enumerate() {
        for call in [Call::Read, Call::Write] {
            let name = format!("x-{n}-{call:?}");
            a.store.clear();
            let (gate, before) = (Gate::new(), a.store.counts());
            a.store.nth(call, 1, kind(gate.clone()));
            let mutex = a.client.mutex(&*name);
            tokio::select! {
                biased;
                _ = mutex.acquire() => panic!("{name}: acquired"),
                _ = a.store.until(|c| c.reads > before.reads
                    && (call == Call::Read || c.writes > before.writes)) => {}
            }
            // The future is gone; only then the request goes on.
            gate.open();
            soon("settled", a.client.clone().close()).await;
            drop(got(&b.client, &name).await);
            b.client.clone().close().await;
            pass(secs(100)).await;
            assert_eq!(record(&s.backend(), &name).await.expect("a record").holder(), None);
        }
    }
}

/// The write of a cancelled acquisition is on its way for long, and arrives when another holds: it
/// must find its state gone. This is why a cancelled acquisition writes once more.
pub(crate) async fn late_write_finds_nothing(s: &Setup) {
    let (a, b) = (s.peer().await, s.peer().await);
    for used_before in [false, true] {
        let name = format!("x-{used_before}");
        if used_before {
            acquired(&b.client, &name).await.release().await.expect("released");
        }
        a.store.clear();
        a.store.nth(Call::Write, 1, Fault::Late);
        let mutex = a.client.mutex(&*name);
        tokio::select! {
            biased;
            _ = mutex.acquire() => panic!("{name}: acquired"),
            _ = a.store.until(|c| c.late == 1) => {}
        }
        soon("settled", a.client.clone().close()).await;
        assert_eq!(a.store.land_late().await, 0, "{name}: a ghost");
        let guard = got(&b.client, &name).await;
        a.store.land_late().await;
        assert!(guard.is_held() && held(&b.client, &name).await.id == guard.holder());
    }
}

/// The same, and the cancelled client's network is gone too, so it can say nothing. Its late write
/// lands and is a ghost, but one that lasts a single ttl.
pub(crate) async fn ghost_lasts_one_ttl(s: &Setup) {
    let (a, b) = (s.peer().await, s.peer().await);
    a.store.when(|r| Some(if r.call == Call::Write { Fault::Late } else { Fault::Hang }));
    a.store.clear();
    a.store.when(|r| (r.call == Call::Write).then_some(Fault::Late));
    let mutex = a.client.mutex("x");
    tokio::select! {
        biased;
        _ = mutex.acquire() => panic!("acquired"),
        _ = a.store.until(|c| c.late == 1) => {}
    }
    a.store.cut();
    within(secs(100), a.client.clone().close()).await.expect("it gives up");
    assert_eq!(a.store.land_late().await, 1, "nobody contested it");
    let before = b.env.elapsed();
    held(&b.client, "x").await;
    let guard = acquired(&b.client, "x").await;
    let took = b.env.since(before);
    assert!(took >= secs(30) && took <= secs(31), "{took:?}");
    assert!(guard.is_held());
}

/// A waiter behind another of its own process, and a waiter on another client's lock, go away while
/// they wait: nobody is woken for nothing, and those behind them get their turn.
pub(crate) async fn in_the_queue(s: &Setup) {
    let Peer { client, store, .. } = s.peer().await;
    let other = s.peer().await;
    let guard = acquired(&other.client, "x").await;
    let waiters: Vec<_> = (0..10)
        .map(|_| {
            let mutex = client.mutex("x");
            tokio::spawn(async move { mutex.acquire().await })
        })
        .collect();
    pass(secs(5)).await;
    for (n, waiter) in waiters.iter().enumerate() {
        if n != 7 {
            waiter.abort();
        }
    }
    pass(secs(5)).await;
    assert_eq!(store.counts().writes, 0);
    drop(other.client.force_release("x", "a test").await.expect("forced"));
    drop(guard);
    let mut won = vec![];
    for (n, waiter) in waiters.into_iter().enumerate() {
        if n == 7 {
            won.push(soon("the one that stayed", waiter).await.expect("no panic").expect("it"));
        }
    }
    assert!(won[0].is_held());
    let attempt = other.client.mutex("x").try_acquire().await.expect("an answer");
    assert!(matches!(attempt, Attempt::Held(h) if h.id == won[0].holder()));
}

/// In real time, on several threads: acquisitions are dropped at random moments, and afterwards the
/// lock is free.
pub(crate) async fn in_real_time(s: &Setup) {
    let (a, b) = (s.client().await, s.client().await);
    for n in 0..30_u64 {
        let span = std::time::Duration::from_micros(n * 150);
        let acquired = within(span, a.mutex("x").acquire()).await;
        drop(acquired);
    }
    soon("settled", a.close()).await;
    drop(got(&b, "x").await);
}
