//! What turns out not to be needed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use leasehold::{Begun, Client, Once, Ran};

use super::{begun, found_done, recorded};
use crate::Peer;
use crate::setup::{Setup, millis, pass, soon};

/// Needed the first `times` that it is asked.
fn needed(once: Once, times: u64) -> (Once, Arc<AtomicU64>) {
    let asked = Arc::new(AtomicU64::new(0));
    let asked_in = Arc::clone(&asked);
    let once = once.needed(move || {
        let answer = asked_in.fetch_add(1, Ordering::SeqCst) < times;
        async move { answer }
    });
    (once, asked)
}

async fn not_needed(client: &Client, name: &str, times: u64) {
    let (once, asked) = needed(client.once(name).with_backoff(millis(10)), times);
    let ran = once.run(async |_| -> Result<(), String> { panic!("it is not needed") }).await;
    assert!(matches!(ran, Ok(Ran::NotNeeded)), "{ran:?}");
    assert_eq!(asked.load(Ordering::SeqCst), times + 1);
}

/// Whether it is needed is asked before anything else, and then it costs no request; and again under
/// the lease, and then what stood in the record before stands there again: nothing, a failure, a run
/// that died with what it saved, an earlier key. Who comes next finds all that.
pub(crate) async fn not_needed_leaves_no_trace(s: &Setup) {
    let (Peer { client, store, .. }, other) = (s.peer().await, s.peer().await);
    not_needed(&client, "schema", 0).await;
    assert_eq!((store.counts().reads, store.counts().writes), (0, 0));
    not_needed(&client, "schema", 1).await;
    assert_eq!(recorded(s, "schema").await, None);

    let section = begun(&other.client.once("schema")).await;
    assert_eq!((section.attempt(), section.resumed()), (1, None));
    section.save(b"row 1").await.expect("saved");
    let interrupted = section.token();
    section.interrupted().await.expect("let go");
    not_needed(&client, "schema", 1).await;
    let section = begun(&other.client.once("schema")).await;
    assert_eq!((section.attempt(), section.resumed()), (1, Some(interrupted)));
    assert_eq!(section.checkpoint(), Some(&b"row 1"[..]));
    section.failed(None, "no disk").await.expect("recorded");
    let before = recorded(s, "schema").await;
    not_needed(&client, "schema", 1).await;
    assert_eq!(recorded(s, "schema").await, before);

    let (once, _) = needed(client.once("schema").keyed("v2"), 1);
    assert!(matches!(once.begin().await, Ok(Begun::NotNeeded)));
    assert_eq!(recorded(s, "schema").await, before);
    let again = begun(&other.client.once("schema").with_backoff(millis(10))).await;
    assert_eq!(again.attempt(), 2);
    again.done(None).await.expect("recorded");
}

/// While it runs elsewhere it is needed, and when that is done it is not asked again but told. A run
/// under way that finds that it was not needed withdraws, and the waiters ask for themselves.
pub(crate) async fn waiters_inherit_or_ask(s: &Setup) {
    let (a, b) = (s.peer().await, s.peer().await);
    for withdraws in [false, true] {
        let name = format!("schema-{withdraws}");
        let section = begun(&a.client.once(&*name)).await;
        let (once, asked) = needed(b.client.once(&*name), 1);
        let waiter = tokio::spawn(async move { once.begin().await });
        pass(millis(500)).await;
        assert!(!waiter.is_finished(), "it runs elsewhere");
        if withdraws {
            section.withdraw().await;
        } else {
            section.done(None).await.expect("recorded");
        }
        let begun = soon("the waiter", waiter).await.expect("no panic").expect("an answer");
        assert_eq!(asked.load(Ordering::SeqCst), if withdraws { 2 } else { 1 });
        match begun {
            Begun::NotNeeded if withdraws => assert_eq!(recorded(s, &name).await, None),
            Begun::Before(done) if !withdraws => {
                assert_eq!(found_done(&a.client.once(&*name)).await, done);
            }
            other => panic!("{other:?}"),
        }
    }
}
