//! Many who want the same done, in real time, on several threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use leasehold::{ErrorKind, Ran};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::begun;
use crate::setup::{Setup, millis, pass, soon};

/// Twenty tasks of three clients start at the same moment and want one migration. One runs it, once;
/// all others wait for its end and are told who did it, under which token, and with what result.
pub(crate) async fn one_of_many_runs(s: &Setup) {
    const TASKS: usize = 20;
    let clients = [s.client().await, s.client().await, s.client().await];
    let (runs, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let once = clients[task % clients.len()].once("schema").keyed("v1");
        let once = once.with_label(format!("task {task}"));
        let (runs, ended) = (Arc::clone(&runs), Arc::clone(&ended));
        tasks.spawn(async move {
            let ran = once
                .run(async |section| {
                    runs.fetch_add(1, Ordering::SeqCst);
                    assert_eq!((section.attempt(), section.resumed()), (1, None));
                    pass(millis(50)).await;
                    section.set_result("12 tables");
                    ended.fetch_add(1, Ordering::SeqCst);
                    Ok::<_, String>((section.token(), format!("task {task}")))
                })
                .await;
            assert_eq!(ended.load(Ordering::SeqCst), 1, "back before it was done");
            ran.unwrap_or_else(|e| panic!("task {task}: {e}"))
        });
    }
    let (mut winners, mut losers) = (vec![], vec![]);
    for ran in soon("all are back", tasks.join_all()).await {
        match ran {
            Ran::Now(winner) => winners.push(winner),
            Ran::Before(done) => losers.push(done),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((winners.len(), losers.len(), runs.load(Ordering::SeqCst)), (1, TASKS - 1, 1));
    for done in losers {
        assert_eq!((done.token, done.by), winners[0]);
        assert_eq!((done.text.as_str(), done.code), ("12 tables", None));
    }
}

/// A runner's future is dropped half-way (a timeout of its program, a deployment that is stopped).
/// The next one does it, and knows that something may be there half done. It is no failure.
pub(crate) async fn cancelled_run_is_left_to_the_next(s: &Setup) {
    let (a, b) = (s.client().await, s.client().await);
    let began = Arc::new(Notify::new());
    let began_in = Arc::clone(&began);
    let once = a.once("schema");
    let running = tokio::spawn(async move {
        let section = async |section: Arc<leasehold::Section>| {
            section.save(b"table 7").await.expect("saved");
            began_in.notify_one();
            std::future::pending::<Result<(), String>>().await
        };
        once.run(section).await.map(|_| ())
    });
    soon("it runs", began.notified()).await;
    let waiting = b.once("schema");
    let waiter = tokio::spawn(async move {
        waiting
            .run(async |section| {
                let checkpoint = section.checkpoint().map(<[u8]>::to_vec);
                Ok::<_, String>((section.attempt(), section.resumed(), checkpoint))
            })
            .await
    });
    pass(millis(20)).await;
    assert!(!waiter.is_finished(), "it runs elsewhere");
    running.abort();
    let ran = soon("the next one", waiter).await.expect("no panic");
    let Ok(Ran::Now((attempt, resumed, checkpoint))) = ran else { panic!("{ran:?}") };
    assert_eq!((attempt, checkpoint.as_deref()), (1, Some(&b"table 7"[..])));
    assert!(resumed.is_some(), "it is not told that another began");
}

/// The lease of a run is lost: the section is stopped where it awaits, `run` says so, and whoever
/// comes next resumes it.
pub(crate) async fn lost_run_is_stopped(s: &Setup) {
    let (a, b) = (s.client().await, s.client().await);
    let (began, went_on) = (Arc::new(Notify::new()), Arc::new(AtomicU64::new(0)));
    let (began_in, went_on_in) = (Arc::clone(&began), Arc::clone(&went_on));
    let once = a.once("schema");
    let running = tokio::spawn(async move {
        let section = async |section: Arc<leasehold::Section>| {
            began_in.notify_one();
            section.lost().await;
            pass(millis(1)).await;
            went_on_in.fetch_add(1, Ordering::SeqCst);
            Ok::<_, String>(())
        };
        once.run(section).await
    });
    soon("it runs", began.notified()).await;
    drop(b.force_release("schema", "a test").await.expect("forced"));
    let error = soon("it is stopped", running).await.expect("no panic").expect_err("it was lost");
    assert_eq!(error.kind(), ErrorKind::Lost, "{error}");
    let next = begun(&b.once("schema")).await;
    assert!(next.resumed().is_some_and(|token| token < next.token()));
    assert_eq!(next.attempt(), 1);
    next.done(None).await.expect("recorded");
    assert_eq!(went_on.load(Ordering::SeqCst), 0, "it went on after the loss");
}
