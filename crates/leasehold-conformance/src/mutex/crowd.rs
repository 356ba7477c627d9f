//! Many who want the same.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

use super::{acquired, released};
use crate::setup::{Setup, millis, pass, secs};
use crate::{Counts, Peer};

/// A waiter reads, and never writes to learn whether the lock is free; its reads are a few a second
/// at most, and a second waiter of the same process costs none.
pub(crate) async fn waiters_are_cheap(s: &Setup) {
    let a = s.peer().await;
    let guard = acquired(&a.client, "x").await;
    let mut reads = vec![];
    for waiters in [1, 50] {
        let Peer { client, store, .. } = s.peer().await;
        let mut waiting = JoinSet::new();
        for _ in 0..waiters {
            let mutex = client.mutex("x");
            waiting.spawn(async move { mutex.acquire().await });
        }
        pass(secs(600)).await;
        let Counts { reads: counted, writes, .. } = store.counts();
        assert_eq!(writes, 0, "a waiter wrote");
        reads.push(counted);
    }
    // A look a second, and one for every renewal that is hinted at.
    assert!(reads[0] <= 800, "{} reads in ten minutes", reads[0]);
    assert!(reads[1] <= reads[0] * 11 / 10 + 10, "{reads:?} reads by 1 and by 50 waiters");
    assert!(guard.is_held());
}

/// 2,000 tasks of one process want one lock. One release wakes one of them and costs a handful of
/// requests, everybody gets a turn, and in the order in which they came. (Where each turn takes time
/// the last go away before theirs.)
pub(crate) async fn two_thousand_in_one_process(s: &Setup) {
    const TASKS: u64 = 2_000;
    let Peer { client, store, .. } = s.peer().await;
    let guard = acquired(&client, "x").await;
    let order = Arc::new(Mutex::new(vec![]));
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (client, order) = (client.clone(), Arc::clone(&order));
        tasks.spawn(async move {
            let guard = acquired(&client, "x").await;
            order.lock().unwrap_or_else(PoisonError::into_inner).push(task);
            assert!(guard.is_held());
            released(guard).await;
        });
        // Each asks before the next one does.
        tokio::task::yield_now().await;
    }
    pass(secs(60)).await;
    let before = store.counts();
    assert!(order.lock().unwrap_or_else(PoisonError::into_inner).is_empty());
    assert!(before.reads <= 5 && before.writes <= 10, "{before:?} while they waited");
    released(guard).await;
    let turns = if s.is_instant() { TASKS } else { 200 };
    for _ in 0..turns {
        tasks.join_next().await.expect("a task").expect("no panic");
    }
    tasks.shutdown().await;
    client.close().await;
    let after = store.counts();
    // A release and an acquisition each, from memory.
    let (reads, writes) = (after.reads - before.reads, after.writes - before.writes);
    assert!(writes <= 2 * TASKS + 10 && reads <= 10, "{reads} reads, {writes} writes");
    let order = order.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(order.is_sorted(), "not first come first served");
    assert!(order.len() as u64 >= turns);
}

/// 30 processes wait for one lock: a release is not answered by 30 writes, and everybody gets a turn
/// in a time that is theirs and not the retries'.
pub(crate) async fn many_clients_take_turns(s: &Setup) {
    const CLIENTS: u64 = 30;
    let a = s.peer().await;
    let guard = acquired(&a.client, "x").await;
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let peer = s.peer().await;
        clients.spawn(async move {
            let guard = acquired(&peer.client, "x").await;
            pass(millis(100)).await;
            released(guard).await;
            peer.store.counts()
        });
    }
    pass(secs(5)).await;
    let before = a.env.elapsed();
    released(guard).await;
    let counts = clients.join_all().await;
    let took = a.env.since(before);
    let writes: u64 = counts.iter().map(|c| c.writes).sum();
    let landed: u64 = counts.iter().map(|c| c.landed).sum();
    assert_eq!(landed, 2 * CLIENTS);
    // Where answers take no time, whoever is polite never meets another. On a clock that jumps ahead
    // of real answers it is often in vain.
    let most = if s.is_instant() { 4 } else { 20 };
    assert!(writes <= most * CLIENTS, "{writes} writes for {landed} that landed");
    assert!(took < secs(30), "{CLIENTS} turns of 100 ms took {took:?}");
}
