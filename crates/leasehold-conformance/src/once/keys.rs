//! What is to be done again, and what never.

use leasehold::Begun;

use super::{begun, found_done, recorded, run_now};
use crate::Peer;
use crate::setup::{Setup, millis, pass, secs};

/// A new key is a new thing, and runs; an old one never does again: not from the client that ran it,
/// not from another that was started late with yesterday's version, and not after many more. One that
/// was never done is not taken for done. None of this costs a write.
pub(crate) async fn new_key_runs_and_old_never_does(s: &Setup) {
    let (a, b) = (s.peer().await, s.peer().await);
    run_now(&a.client, "schema", "v1").await;
    run_now(&b.client, "schema", "v2").await;
    // v3 begins, and nobody brings it to an end before v4 comes.
    drop(begun(&a.client.once("schema").keyed("v3")).await);
    a.client.clone().close().await;
    run_now(&b.client, "schema", "v4").await;
    let late = s.peer().await;
    for Peer { client, store, .. } in [&b, &late] {
        let writes = store.counts().writes;
        for key in ["v1", "v2", "v4"] {
            let done = found_done(&client.once("schema").keyed(key)).await;
            assert_eq!(done.by.is_empty(), key != "v4", "{key}: {done:?}");
        }
        match client.once("schema").keyed("v3").begin().await {
            Ok(Begun::Outdated(outdated)) => assert_eq!(outdated.newest, "v4"),
            other => panic!("v3: {other:?}"),
        }
        assert_eq!(store.counts().writes, writes, "a look wrote");
    }
    // The empty key is one like others, and other names are other things.
    run_now(&late.client, "schema", "").await;
    found_done(&late.client.once("schema").keyed("v4")).await;
    run_now(&late.client, "schema-of-another", "v1").await;
}

/// 64 keys later the first one is still known; the record stays within its bounds also when each
/// result and each key is as long as it may be.
pub(crate) async fn old_keys_are_remembered(s: &Setup) {
    let Peer { client, .. } = s.peer().await;
    let key = |n: usize| format!("{n:0>128}");
    for n in 0..=64 {
        let section = begun(&client.once("schema").keyed(key(n))).await;
        section.set_result("x".repeat(2_000));
        section.done(Some(0)).await.expect("recorded");
    }
    for n in 0..=64 {
        let done = found_done(&client.once("schema").keyed(key(n))).await;
        assert_eq!(done.text.len(), if n == 64 { 1024 } else { 0 }, "{n}");
    }
}

/// A completion that is older than wanted counts no more: it is done again, as a first attempt that
/// resumes nothing. For whoever is content with an older one it is still done.
pub(crate) async fn old_completion_counts_no_more(s: &Setup) {
    let (a, b) = (s.client().await, s.client().await);
    run_now(&a, "report", "").await;
    let first = found_done(&b.once("report").with_valid_for(secs(3600))).await;
    // Longer than a store's clock is coarse.
    pass(millis(2_500)).await;
    let before = recorded(s, "report").await;
    assert_eq!(found_done(&b.once("report").with_valid_for(secs(3600))).await, first);
    assert_eq!(recorded(s, "report").await, before);
    let again = begun(&b.once("report").with_valid_for(secs(1))).await;
    assert_eq!((again.attempt(), again.resumed(), again.checkpoint()), (1, None, None));
    assert!(again.token() > first.token);
    again.done(None).await.expect("recorded");
    assert!(found_done(&a.once("report")).await.token > first.token);
}
