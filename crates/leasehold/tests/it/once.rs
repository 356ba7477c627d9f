//! `once`, through the library's door.
//!
//! Twenty instances start at the same moment, and one of them migrates: that is what it is for. What must
//! never happen is that two of them do it, that it is done again after it was recorded, or that one of
//! them is told the opposite of what happened.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use leasehold::backend::memory::MemoryBackend;
use leasehold::{Client, ErrorKind, Ran};
use leasehold_conformance::{Fault, Faulty, Virtual};

fn client(store: &Arc<MemoryBackend>) -> Client {
    Client::new(Arc::clone(store) as _).expect("a client")
}

#[tokio::test]
async fn one_of_many_runs_and_the_others_inherit() {
    let store = Arc::new(MemoryBackend::default());
    let runs = Arc::new(AtomicU64::new(0));
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (client, runs) = (client(&store), Arc::clone(&runs));
        all.spawn(async move {
            let once = client.once("schema").keyed("v1");
            once.run(async |section| {
                runs.fetch_add(1, SeqCst);
                section.set_result("12 tables");
                Ok::<_, String>(())
            })
            .await
        });
    }
    let (mut now, mut before) = (0, 0);
    while let Some(ran) = all.join_next().await {
        match ran.expect("no panic").expect("it runs") {
            Ran::Now(()) => now += 1,
            Ran::Before(done) => {
                assert_eq!(done.text, "12 tables");
                before += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((now, before, runs.load(SeqCst)), (1, 7, 1));
}

#[tokio::test]
async fn a_new_key_runs_again_and_an_old_one_never_does() {
    let client = client(&Arc::new(MemoryBackend::default()));
    let run = async |key: &str| {
        let once = client.once("schema").keyed(key);
        once.run(async |_| Ok::<_, String>(())).await.expect("it runs")
    };
    assert!(matches!(run("v1").await, Ran::Now(())));
    assert!(matches!(run("v2").await, Ran::Now(())));
    assert!(matches!(run("v1").await, Ran::Before(_)));
    assert!(matches!(run("v2").await, Ran::Before(_)));
}

#[tokio::test]
async fn failures_are_counted_and_then_everybody_gives_up() {
    let client = client(&Arc::new(MemoryBackend::default()));
    let once = client.once("schema").with_max_attempts(3).with_backoff(Duration::from_millis(5));
    let runs = AtomicU64::new(0);
    let ran = once
        .run(async |section| {
            assert_eq!(section.attempt(), runs.fetch_add(1, SeqCst) + 1);
            Err::<(), _>(format!("no disk, try {}", section.attempt()))
        })
        .await;
    let Ran::GaveUp(failed) = ran.expect("an outcome") else { panic!("it gives up") };
    assert_eq!((failed.attempts, &*failed.text, runs.load(SeqCst)), (3, "no disk, try 3", 3));
}

#[tokio::test]
async fn who_resumes_finds_the_checkpoint() {
    let client = client(&Arc::new(MemoryBackend::default()));
    let once = client.once("copy");
    let leasehold::Begun::Section(first) = once.begin().await.expect("ours") else { panic!() };
    assert_eq!((first.resumed(), first.checkpoint()), (None, None));
    first.save(b"row 1").await.expect("saved");
    first.save(b"row 2").await.expect("saved");
    let token = first.token();
    first.interrupted().await.expect("let go");
    let ran = once
        .run(async |second| {
            assert_eq!(second.resumed(), Some(token));
            assert_eq!(second.checkpoint(), Some(&b"row 2"[..]));
            assert!(second.token() > token);
            Ok::<_, String>(())
        })
        .await;
    assert!(matches!(ran, Ok(Ran::Now(()))));
    let too_long = client.once("other").run(async |s| s.save(&[0; 5000]).await).await;
    let Ok(Ran::GaveUp(failed)) = too_long else { panic!("{too_long:?}") };
    assert!(failed.text.contains("at most 4096"), "{failed:?}");
}

#[tokio::test]
async fn what_is_not_needed_leaves_no_trace() {
    let client = client(&Arc::new(MemoryBackend::default()));
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    // Needed when it is asked before waiting, and not any more under the lease.
    let once = client.once("schema").needed(move || {
        let first = count.fetch_add(1, SeqCst) == 0;
        async move { first }
    });
    let ran = once.run(async |_| -> Result<(), String> { panic!("it is not needed") }).await;
    assert!(matches!(ran, Ok(Ran::NotNeeded)));
    assert_eq!(asked.load(SeqCst), 2);
    let status = client.status("schema").await.expect("a look");
    assert_eq!(status.outcome, None);
}

#[tokio::test]
async fn a_completion_that_meets_anothers_record_is_superseded() {
    let client = client(&Arc::new(MemoryBackend::default()));
    let once = client.once("schema");
    let leasehold::Begun::Section(late) = once.begin().await.expect("ours") else { panic!() };
    drop(client.force_release("schema", "a test").await.expect("forced"));
    let leasehold::Begun::Section(next) = once.begin().await.expect("ours") else { panic!() };
    assert_eq!(next.resumed(), Some(late.token()));
    let error = late.done(None).await.expect_err("it is not ours");
    assert_eq!(error.kind(), ErrorKind::Superseded, "{error}");
    next.done(None).await.expect("recorded");
    let ran = once.run(async |_| -> Result<(), String> { panic!("it is done") }).await;
    assert!(matches!(ran, Ok(Ran::Before(_))));
}

/// The time limit of something that never failed is over: the store is slow, or a task of the same process
/// is ahead of it. It is told so, and not that it has failed.
#[tokio::test(start_paused = true)]
async fn who_runs_out_of_time_is_told_why() {
    let store = Arc::new(Faulty::new(Arc::new(MemoryBackend::default())));
    let client = Client::with_env(store.clone(), Arc::new(Virtual::new(1))).expect("a client");
    store.always(Fault::Hang);
    let once = client.once("schema").with_timeout(Duration::from_secs(1));
    let late = async || {
        let ran = once.run(async |_| Ok::<_, String>(())).await;
        let late = ran.expect_err("nothing answers");
        assert_eq!(late.kind(), ErrorKind::Timeout);
        late.to_string()
    };
    let said = late().await;
    assert!(said.ends_with("the store did not answer in that time"), "{said}");
    let mutex = client.mutex("schema").with_timeout(Duration::from_secs(3));
    let (ahead, queued) = tokio::join!(mutex.acquire(), late());
    assert_eq!(ahead.expect_err("nothing answers").kind(), ErrorKind::Timeout);
    assert!(queued.ends_with("another task of this process was still ahead of it"), "{queued}");

    store.clear();
    let once = client.once("schema").with_timeout(Duration::from_secs(1));
    let once = once.with_backoff(Duration::from_mins(1));
    let failed = once.run(async |_| Err::<(), _>("no")).await.expect_err("it fails");
    assert!(
        failed.to_string().ends_with("it has failed, and it is too early for the next attempt")
    );
}
