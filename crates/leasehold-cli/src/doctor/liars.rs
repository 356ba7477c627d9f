//! Stores that lie, hang or refuse, and what the doctor says of each. On virtual time.

mod store;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use leasehold::backend::memory::MemoryBackend;
use leasehold::core::backend::{Backend, Facts, Fate, Trouble};
use leasehold_conformance::{Call, Fault, Faulty, Virtual};
use serde_json::Value;
use signal_hook::consts::signal::SIGINT;

use self::store::{Lie, Store};
use super::probe::Left;
use super::report::Verdict;
use super::{Exam, Outcome};
use crate::exit::Exit;
use crate::signals::Caught;

/// What the doctor says of a store.
#[derive(Debug)]
struct Said {
    verdict: Verdict,
    value: Value,
    /// How long it took.
    took: Duration,
}

impl Said {
    /// What it found by a check.
    fn result(&self, check: &str) -> &str {
        let checks = self.value["checks"].as_array().expect("there are checks");
        let line = checks.iter().find(|line| line["check"] == check);
        line.map_or("none", |line| line["result"].as_str().expect("a word"))
    }

    #[track_caller]
    fn is_refused_for(&self, check: &str) {
        assert_eq!(self.verdict.exit, Exit::Unfit, "{self:#?}");
        assert_eq!(self.result(check), "fail", "{self:#?}");
        assert!(self.verdict.text.contains("must NOT be used for locks: "), "{self:#?}");
    }

    #[track_caller]
    fn is_usable_but_for(&self, check: &str, text: &str) {
        assert_eq!(self.verdict.exit, Exit::Done, "{self:#?}");
        assert_eq!(self.result(check), "warn", "{self:#?}");
        assert!(self.value.to_string().contains(text), "{self:#?}");
    }
}

async fn judged(store: Arc<dyn Backend>, env: &Arc<Virtual>) -> Said {
    let before = env.elapsed();
    match Exam::new(store, env.clone(), None).perform(pending()).await {
        Outcome::Judged { verdict, value } => Said { verdict, value, took: env.since(before) },
        other @ Outcome::Interrupted { .. } => panic!("{other:?}"),
    }
}

/// What the doctor says of a store with this flaw, which must be empty afterwards.
async fn said_of(lie: Lie) -> Said {
    let env = Arc::new(Virtual::new(1));
    let store = Arc::new(Store::new(Arc::clone(&env), lie));
    let said = judged(store.clone(), &env).await;
    let left = store.list("").await.expect("memory answers");
    assert_eq!(left.is_empty(), lie != Lie::NoDelete, "{left:?}");
    said
}

/// An object store whose emulator, or whose proxy, drops the header with the condition: everything is
/// accepted, and a demonstration would work.
#[tokio::test(start_paused = true)]
async fn a_store_that_ignores_conditions_is_refused() {
    let said = said_of(Lie::NoConditions).await;
    for check in ["create again", "stale swap", "create race", "swap race"] {
        said.is_refused_for(check);
    }
    assert!(said.verdict.text.contains("two would hold one lock"), "{said:#?}");
}

/// Somebody built compare-and-swap of a get and a put. One at a time all is right; only a race shows it.
#[tokio::test(start_paused = true)]
async fn a_store_that_looks_and_then_writes_is_refused() {
    let said = said_of(Lie::LooksThenWrites).await;
    assert_eq!(said.result("stale swap"), "ok");
    said.is_refused_for("create race");
    said.is_refused_for("swap race");
}

/// Reads are served by a replica that lags: a waiter would count its patience for a state that is gone.
#[tokio::test(start_paused = true)]
async fn a_store_with_outdated_reads_is_refused() {
    said_of(Lie::OldReads).await.is_refused_for("read back");
    // Most of them are right, as with a cache.
    said_of(Lie::CachedReads).await.is_refused_for("swap");
}

/// A row counter that begins at one again after a deletion: a sleeper's version fits the new record.
#[tokio::test(start_paused = true)]
async fn a_store_whose_versions_come_back_is_refused() {
    let said = said_of(Lie::VersionsComeBack).await;
    assert_eq!(said.result("stale swap"), "ok");
    said.is_refused_for("re-creation");
}

/// Ages in milliseconds that are taken for seconds: every living holder would be taken for dead.
#[tokio::test(start_paused = true)]
async fn a_store_with_wrong_ages_is_refused() {
    said_of(Lie::WrongAges).await.is_refused_for("clock");
}

/// The clock is two hours off, and its ages are right. No rule of the protocol compares two clocks.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_far_off_is_told_and_no_reason_to_refuse() {
    let said = said_of(Lie::WrongClock).await;
    said.is_usable_but_for("clock", "behind this host's");
    let ahead = said.value["measured"]["clock"]["ahead_ms"].as_i64().expect("a number");
    assert!((-7_200_001..=-7_199_999).contains(&ahead), "{said:#?}");
}

/// What only tools need may be lacking: a condition on deletion, and the right to delete at all. Then
/// the doctor cannot tidy up, and says where its records are.
#[tokio::test(start_paused = true)]
async fn what_only_tools_need_is_told_and_no_reason_to_refuse() {
    said_of(Lie::BlindDelete).await.is_usable_but_for("stale delete", "ignores the version");
    let said = said_of(Lie::NoDelete).await;
    said.is_usable_but_for("left behind", "nobody may delete");
    said.is_usable_but_for("rights", "delete is lacking, needed to remove locks: roles/admin");
    assert_eq!(said.value["left_behind"].as_array().map(Vec::len), Some(3), "{said:#?}");
}

/// A library between us and the store repeats what it does not see answered, so that one's own success
/// is told as somebody else's.
#[tokio::test(start_paused = true)]
async fn a_store_that_repeats_requests_is_refused() {
    said_of(Lie::Repeats).await.is_refused_for("swap");
}

/// A bucket takes a write a second under one name. Outside of the races the limit is kept; in them the
/// answer "too many" is no failure.
#[tokio::test(start_paused = true)]
async fn a_limit_of_writes_is_kept() {
    let said = said_of(Lie::Limited).await;
    assert_eq!(said.verdict.exit, Exit::Done, "{said:#?}");
    assert_eq!(said.value["measured"]["throttled"], 31 + 7, "{said:#?}");
    assert!(said.verdict.text.contains("a ttl of 10s or more"), "{said:#?}");
    assert_eq!(said.value["plan"]["usd_a_day_held"], 0.0432, "{said:#?}");
    assert!(said.took < Duration::from_secs(30), "{said:#?}");
}

/// Every answer to a write may get lost, and every fifth does: reading tells what became of it.
#[tokio::test(start_paused = true)]
async fn lost_answers_are_settled_by_reading() {
    for fate in [Fate::Unknown, Fate::Throttled { retry_after: None }] {
        let (store, env) = faulty();
        store.when(move |request| {
            let is_lost = request.call == Call::Write && request.number % 5 == 0;
            is_lost.then_some(Fault::LoseReply(fate))
        });
        let said = judged(store.clone(), &env).await;
        assert_eq!(said.verdict.exit, Exit::Done, "{said:#?}");
        assert!(store.list("").await.expect("memory answers").is_empty());
    }
}

/// A firewall swallows everything, from the beginning or from the tenth request on. It is told in
/// time, and what could not be removed is named.
#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_is_told_in_time() {
    let (store, env) = faulty();
    store.always(Fault::Hang);
    let said = judged(store.clone(), &env).await;
    assert_eq!(said.verdict.exit, Exit::Unreachable, "{said:#?}");
    let checks = said.value["checks"].to_string();
    assert!(checks.contains("no answer within 10 seconds"), "{said:#?}");
    assert!(said.took < Duration::from_secs(25), "{said:#?}");
    let (store, env) = faulty();
    store.when(|request| (request.number >= 10).then_some(Fault::Hang));
    let said = judged(store.clone(), &env).await;
    assert_eq!(said.verdict.exit, Exit::Unreachable, "{said:#?}");
    assert_eq!(said.value["left_behind"].as_array().map(Vec::len), Some(1), "{said:#?}");
    assert!(said.took < Duration::from_mins(1), "{said:#?}");
}

/// Each answer takes nine seconds, so that no single request is late, and the whole would take for ever.
#[tokio::test(start_paused = true)]
async fn the_whole_is_bounded() {
    let env = Arc::new(Virtual::new(1));
    let store = Arc::new(Store::new(Arc::clone(&env), Lie::Slow));
    let said = judged(store.clone(), &env).await;
    assert_eq!(said.verdict.exit, Exit::Unreachable, "{said:#?}");
    assert!(said.took < Duration::from_mins(3), "{said:#?}");
    assert!(store.list("").await.expect("memory answers").is_empty());
}

/// A service account that may only read: that is a matter of rights, not of the store.
#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_is_told_apart() {
    let refusal = Fault::Refuse(Fate::NotSent, Trouble::Denied);
    for call in [Call::Read, Call::Write] {
        let (store, env) = faulty();
        let refusal = refusal.clone();
        store.when(move |request| (request.call == call).then(|| refusal.clone()));
        let said = judged(store.clone(), &env).await;
        assert_eq!(said.verdict.exit, Exit::Denied, "{said:#?}");
        assert!(said.verdict.text.contains("Get the rights"), "{said:#?}");
    }
}

/// Ctrl-C in the middle of a write that hangs: what was made is removed all the same.
#[tokio::test(start_paused = true)]
async fn an_interrupted_exam_removes_what_it_made() {
    let (store, env) = faulty();
    store.nth(Call::Write, 5, Fault::Hang);
    let watched = Arc::clone(&store);
    let caught = async move {
        watched.until(|counts| counts.writes >= 5).await;
        Caught { number: SIGINT, by_kernel: true }
    };
    let outcome = Exam::new(store.clone(), env, None).perform(caught).await;
    let Outcome::Interrupted { signal, left } = outcome else { panic!("{outcome:?}") };
    assert_eq!((signal.exit(), left), (Exit::Interrupted, Vec::<Left>::new()));
    assert!(store.counts().landed > 0, "it had made something");
    assert!(store.list("").await.expect("memory answers").is_empty());
}

/// A right store that fails as it is told, with a limit of nothing.
fn faulty() -> (Arc<Faulty>, Arc<Virtual>) {
    let inner = MemoryBackend::default();
    let facts = Facts { notifies: false, ..inner.facts() };
    (Arc::new(Faulty::new(Arc::new(inner)).with_facts(facts)), Arc::new(Virtual::new(1)))
}
