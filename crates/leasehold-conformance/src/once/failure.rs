//! Failures: counted over everybody, tried again later, given up by all.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use leasehold::env::{Env, Host};
use leasehold::{ErrorKind, Ran};

use super::{begun, found_done, found_given_up, recorded, run_now};
use crate::Peer;
use crate::setup::{Setup, millis, secs, within};

/// A migration that cannot work fails on one host, then on another, then on the first again. That is
/// three in all, and everybody gives up, with the last error, also those who never tried. More
/// attempts, or a new key, make it run again.
pub(crate) async fn adds_up_over_all(s: &Setup) {
    let (a, b, late) = (s.peer().await, s.peer().await, s.peer().await);
    let once = |peer: &Peer| peer.client.once("schema").keyed("v1").with_backoff(millis(10));
    let mut last = None;
    for (n, peer) in [(1, &a), (2, &b), (3, &a)] {
        let section = begun(&once(peer)).await;
        assert_eq!((section.attempt(), section.resumed()), (n, last));
        last = Some(section.token());
        section.failed(Some(4), &format!("no disk, try {n}\n")).await.expect("recorded");
    }
    for peer in [&a, &b, &late] {
        let writes = peer.store.counts().writes;
        let failed = found_given_up(&once(peer)).await;
        assert_eq!((failed.attempts, failed.code), (3, Some(4)));
        assert_eq!(failed.text, "no disk, try 3");
        assert_eq!(peer.store.counts().writes, writes, "a look wrote");
    }
    let section = begun(&once(&late).with_max_attempts(4)).await;
    assert_eq!((section.attempt(), section.resumed()), (4, last));
    section.done(None).await.expect("recorded");
    found_done(&once(&b)).await;
    let again = begun(&once(&a).keyed("v2")).await;
    assert_eq!((again.attempt(), again.resumed()), (1, None));
}

/// `run` tries again by itself until it works, and its failures are forgotten then. With attempts
/// used up it says so, as does everybody else.
pub(crate) async fn run_competes_again(s: &Setup) {
    let (a, b) = (s.peer().await, s.peer().await);
    let runs = AtomicU64::new(0);
    let flaky = async |_| match runs.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Err("the database starts"),
        _ => Ok("done"),
    };
    let ran = a.client.once("flaky").run(flaky).await;
    assert!(matches!(ran, Ok(Ran::Now("done"))), "{ran:?}");
    assert_eq!(runs.load(Ordering::SeqCst), 3);
    found_done(&b.client.once("flaky").with_max_attempts(1)).await;
    for peer in [&a, &b] {
        let once = peer.client.once("broken").with_max_attempts(2);
        let ran = once.run(async |_| Err::<(), _>("never")).await;
        let Ok(Ran::GaveUp(failed)) = ran else { panic!("{ran:?}") };
        assert_eq!((failed.attempts, failed.text.as_str()), (2, "never"));
    }
}

/// The next run begins after the backoff, which doubles, wherever it begins. Whoever waits is told
/// why, and whoever does not want to wait is told so at once.
pub(crate) async fn backs_off(s: &Setup) {
    let (a, b) = (s.peer().await, s.peer().await);
    let told = Arc::new(Mutex::new(None));
    for (n, least) in [(1, secs(10)), (2, secs(20))] {
        let once = a.client.once("schema").with_backoff(secs(10));
        let real = Host.now().moment;
        begun(&once).await.failed(None, "no disk").await.expect("recorded");
        let before = b.env.elapsed();
        let told_in = Arc::clone(&told);
        let once = b.client.once("schema").with_backoff(secs(10)).on_wait(move |waiting| {
            let failed = waiting.failed.clone();
            *told_in.lock().unwrap_or_else(PoisonError::into_inner) = failed;
        });
        let error = once.clone().with_timeout(Duration::ZERO).begin().await.expect_err("too early");
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        let section = begun(&once).await;
        let took = b.env.since(before);
        // A store with a clock of its own tells how long ago it was, by that clock.
        let told_age = Host.now().moment.longest_since(real) + millis(1);
        assert!(took + told_age >= least, "after failure {n}: {took:?}");
        assert!(took <= least + secs(3), "after failure {n}: {took:?}");
        let told = told.lock().unwrap_or_else(PoisonError::into_inner).take();
        let told = told.expect("it is told why it waits");
        assert_eq!((told.attempts, told.text.as_str()), (n, "no disk"));
        section.interrupted().await.expect("let go");
        if n == 1 {
            // An interrupted run changes nothing about the failures, and its successor need not wait.
            let section = begun(&once).await;
            assert_eq!((section.attempt(), b.env.since(before) < least + secs(4)), (2, true));
            section.interrupted().await.expect("let go");
        }
    }
}

/// A section that runs longer than its deadline is stopped and has failed. One without a deadline may
/// run for hours: the ttl is no limit.
pub(crate) async fn comes_by_deadline(s: &Setup) {
    let Peer { client, env, .. } = s.peer().await;
    let once = client.once("hangs").with_deadline(secs(100)).with_max_attempts(1);
    let before = env.elapsed();
    let ran = once.run(async |_| std::future::pending::<Result<(), String>>().await).await;
    let took = env.since(before);
    let Ok(Ran::GaveUp(failed)) = ran else { panic!("{ran:?}") };
    assert!(took >= secs(100) && took < secs(102), "{took:?}");
    assert!(failed.text.contains("longer than 100s"), "{failed}");
    assert_eq!(recorded(s, "hangs").await.map(|o| o.failures), Some(1));
    let once = client.once("long");
    let long = once.run(async |section| {
        let lost = within(secs(7_200), section.lost()).await;
        lost.map_or(Ok(()), Err)
    });
    assert!(matches!(long.await, Ok(Ran::Now(()))));
    run_now(&client, "hangs", "v2").await;
}
