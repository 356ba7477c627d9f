//! Many writers at once: of those conditioned on one state, exactly one wins.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use leasehold_core::backend::{Backend, Expected, Key, Version, Versioned, Written};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::{create, read, swap};
use crate::setup::{Setup, key};

/// A free lock that 32 clients see at once must come to one of them, and the store must hold what
/// that one wrote and not what a loser wrote a moment later.
pub(crate) async fn creators(s: &Setup) {
    let name = key("race");
    one_winner(s, &name, Expected::Absent).await;
}

/// A lease that is over, seen by 32 clients at once, must come to one of them.
pub(crate) async fn swappers(s: &Setup) {
    let name = key("race");
    let version = create(&s.backend(), &name, b"before").await;
    one_winner(s, &name, Expected::Version(version)).await;
}

async fn one_winner(s: &Setup, name: &Key, expected: Expected) {
    const RIVALS: usize = 32;
    let start = Arc::new(Barrier::new(RIVALS));
    let mut rivals = JoinSet::new();
    for rival in 0..RIVALS {
        let (backend, name, expected) = (s.another().await, name.clone(), expected.clone());
        let start = Arc::clone(&start);
        rivals.spawn(async move {
            let bytes = format!("rival {rival}").into_bytes();
            start.wait().await;
            (bytes.clone(), backend.write(&name, &expected, &bytes).await.expect("an answer"))
        });
    }
    let mut winners: Vec<(Vec<u8>, Version)> = vec![];
    let mut told: Vec<Versioned> = vec![];
    for (bytes, written) in rivals.join_all().await {
        match written {
            Written::Applied(version) => winners.push((bytes, version)),
            Written::Conflict(winner) => told.extend(winner),
        }
    }
    let [(bytes, version)] = &winners[..] else { panic!("{} winners", winners.len()) };
    let stored = read(&s.backend(), name).await.expect("a record");
    assert_eq!((&stored.bytes, &stored.version), (bytes, version), "stored is what the winner won");
    for state in told {
        assert_eq!((&state.bytes, &state.version), (bytes, version), "a loser is told who won");
    }
}

/// A counter that is raised by read and compare-and-swap must count exactly: 16 tasks, 25 times
/// each. One lost update is one moment with two holders.
pub(crate) async fn increments(s: &Setup) {
    const TASKS: u64 = 16;
    const TIMES: u64 = 25;
    let name = key("counter");
    create(&s.backend(), &name, b"0 by nobody").await;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (backend, name) = (s.another().await, name.clone());
        tasks.spawn(async move {
            for _ in 0..TIMES {
                while !increment(&backend, &name, task).await {}
            }
        });
    }
    tasks.join_all().await;
    let stored = read(&s.backend(), &name).await.expect("a record");
    assert_eq!(number(&stored.bytes), TASKS * TIMES);
}

async fn increment(backend: &Arc<dyn Backend>, name: &Key, task: u64) -> bool {
    let seen = read(backend, name).await.expect("a record");
    let bytes = format!("{} by {task}", number(&seen.bytes) + 1);
    swap(backend, name, &Expected::Version(seen.version), bytes.as_bytes()).await.is_some()
}

/// The number in front.
fn number(bytes: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(bytes);
    text.split(' ').next().and_then(|n| n.parse().ok()).expect("a number in front")
}

/// Once a write was answered, no read that begins later may show an older state, by whatever
/// handle: a waiter would count its patience for a holder who has renewed since.
pub(crate) async fn reads_never_go_back(s: &Setup) {
    let name = key("history");
    create(&s.backend(), &name, b"0 by nobody").await;
    let answered = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for task in 0..4 {
        let (backend, name, answered) = (s.another().await, name.clone(), Arc::clone(&answered));
        tasks.spawn(async move {
            for _ in 0..40 {
                let known = answered.load(Ordering::SeqCst);
                let seen = read(&backend, &name).await.expect("a record");
                let n = number(&seen.bytes);
                assert!(n >= known, "read {n} after {known} was answered");
                if task < 2 {
                    let bytes = format!("{} by {task}", n + 1);
                    let expected = Expected::Version(seen.version);
                    if swap(&backend, &name, &expected, bytes.as_bytes()).await.is_some() {
                        answered.fetch_max(n + 1, Ordering::SeqCst);
                    }
                }
            }
        });
    }
    tasks.join_all().await;
    assert!(answered.load(Ordering::SeqCst) >= 40, "too few writes for a proof");
}

/// Writers of different names must not disturb each other: an adapter that takes a busy store for a
/// lost race makes locks fail at random.
pub(crate) async fn names_are_independent(s: &Setup) {
    let mut tasks = JoinSet::new();
    for task in 0..16 {
        let (backend, name) = (s.another().await, key(&format!("name-{task}")));
        tasks.spawn(async move {
            let mut expected = Expected::Absent;
            for n in 0..5 {
                let bytes = format!("{n} by {task}");
                let version = swap(&backend, &name, &expected, bytes.as_bytes()).await;
                expected = Expected::Version(version.expect("nobody contests it"));
            }
            assert_eq!(number(&read(&backend, &name).await.expect("a record").bytes), 4);
        });
    }
    tasks.join_all().await;
}
