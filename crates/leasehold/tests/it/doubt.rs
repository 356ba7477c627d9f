//! A section that ends while it is in doubt whether its lock is held: somebody set the wall clock, or the
//! machine was paused in a way that only the wall clock shows. A doubt is no loss.

use std::sync::Arc;
use std::time::Duration;

use leasehold::backend::memory::MemoryBackend;
use leasehold::env::Env;
use leasehold::{Client, ErrorKind, Ran, State};
use leasehold_conformance::{Fault, Faulty, Virtual};

/// Two clients on two hosts. What the first one writes to renew hangs, and it hears of nothing.
fn setup() -> (Arc<Faulty>, Arc<Virtual>, Client, Client) {
    let records = Arc::new(MemoryBackend::default());
    let store = Arc::new(Faulty::new(records.clone()));
    store.set_deaf(true);
    store.when(|request| {
        let renews = request.record().is_some_and(|r| r.holder().is_some_and(|h| h.renewals > 0));
        renews.then_some(Fault::Hang)
    });
    let host = Arc::new(Virtual::new(1));
    let other = Client::with_env(records, Arc::new(host.another(2))).expect("a client");
    let client = Client::with_env(store.clone(), host.clone()).expect("a client");
    (store, host, client, other)
}

/// NTP puts the clock five seconds ahead, and the store is slow with the renewal that would end the doubt.
/// The section ends well. Its release proves that nobody came in between, so it counts; so does a run of
/// `once`.
#[tokio::test(start_paused = true)]
async fn a_section_that_ends_in_doubt_counts_if_its_release_lands() {
    let (store, host, client, other) = setup();
    let jump = async || {
        host.step_wall(5_000);
        host.sleep(Duration::from_millis(1_500)).await;
    };
    let lock = client.mutex("x");
    let section = lock.run(async |guard| {
        jump().await;
        assert!(!guard.is_held(), "it does not say that it is held");
        7
    });
    assert_eq!(section.await.unwrap(), 7);
    assert_eq!(other.status("x").await.unwrap().state, State::Free);

    let guard = client.mutex("x").acquire().await.unwrap();
    jump().await;
    assert!(!guard.is_held());
    guard.release().await.unwrap();

    let lock = client.once("schema");
    let once = lock.run(async |section| {
        jump().await;
        assert!(!section.is_held());
        Ok::<_, String>(8)
    });
    let ran = once.await.unwrap();
    assert!(matches!(ran, Ran::Now(8)), "{ran:?}");
    assert!(store.counts().writes > store.counts().landed, "no renewal was tried");
}

/// As above, but another has the lock by the time the section ends: the machine had been paused. What the
/// section did counts no more. Nor does it where the store says nothing at all.
#[tokio::test(start_paused = true)]
async fn a_section_that_ends_in_doubt_is_lost_if_another_came() {
    let (store, host, client, other) = setup();
    let lock = client.mutex("x");
    let section = lock.run(async |_| {
        host.step_wall(5_000);
        host.sleep(Duration::from_millis(1_500)).await;
        drop(other.force_release("x", "a pause that no clock counts").await.unwrap());
        other.mutex("x").acquire().await.unwrap()
    });
    let lost = section.await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::Lost, "{lost}");

    let lock = client.mutex("y");
    let section = lock.run(async |_| {
        host.step_wall(5_000);
        host.sleep(Duration::from_millis(1_500)).await;
        store.always(Fault::Hang);
    });
    let lost = section.await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::Lost, "{lost}");
    assert!(lost.to_string().contains("the wall clock jumped"), "{lost}");
}

/// A checkpoint that is saved in doubt is saved by the renewal that ends the doubt.
#[tokio::test(start_paused = true)]
async fn a_checkpoint_saved_in_doubt_is_saved() {
    let (store, host, client, _) = setup();
    let lock = client.once("schema");
    let once = lock.run(async |section| {
        host.step_wall(5_000);
        host.sleep(Duration::from_millis(1_500)).await;
        assert!(!section.is_held());
        store.clear();
        section.save(b"half").await.map_err(|e| e.to_string())
    });
    let ran = once.await.unwrap();
    assert!(matches!(ran, Ran::Now(())), "{ran:?}");
}
