//! Schedules of `once`: who may run it when, and what they find of the runs
//! before.

use leasehold_core::once::Settled;
use leasehold_core::record::{Kind, Progress};

use super::once::{done, failed, run_of};
use super::*;

fn valid_for(span: Duration) -> Wish {
    let mut wish = run_of("v1");
    if let Some(once) = &mut wish.once {
        once.valid_for = Some(span);
    }
    wish
}

/// A run fails, and the next begins after the backoff, which doubles; after the third nobody tries any
/// more, and everybody is told how the last one ended.
#[test]
fn failures_are_counted_and_used_up() {
    let mut w = Bench::once();
    let first = w.runs(A, failed("one"));
    let failed_at = w.time;
    w.acquire(B);
    w.run(secs(1) - ms(1));
    let told = w.events(B);
    assert!(matches!(told[0], Event::Resting(_)), "{told:?}");
    w.run(secs(1));
    let run = w.begun(B).expect("the wait is over");
    assert!(w.time >= failed_at + secs(1));
    assert_eq!((run.failures, run.resumes), (1, Some(first)));
    assert_eq!(run.ending.unwrap().text, "one");
    w.complete(B, failed("two"));
    w.serve(B);
    w.again(B);
    w.acquire(B);
    w.run(secs(2) - ms(1));
    assert!(!w.held(B), "the wait doubles");
    w.run(secs(1));
    assert_eq!(w.begun(B).unwrap().failures, 2);
    w.complete(B, failed("three"));
    w.serve(B);
    for who in [A, B] {
        w.again(who);
        let Settled::Failed { failures, ending } = w.asks(who) else { panic!() };
        assert_eq!((failures, &*ending.unwrap().text), (3, "three"));
    }
    w.next_key(A, "v2");
    let fresh = w.begins(A);
    assert_eq!((fresh.failures, fresh.resumes, fresh.ending), (0, None, None));
}

/// A store that tells ages saves the wait: who comes later than the backoff runs at once.
#[test]
fn the_backoff_is_over_by_the_stores_clock() {
    let mut w = Bench::once();
    w.store.clock = true;
    w.runs(A, failed(""));
    w.pass(secs(2));
    w.acquire(B);
    w.serve(B);
    assert!(!w.flies(B), "2 s, and the age may be wrong by as much");
    w.run(secs(1));
    w.release(B);
    w.run(secs(1));
    w.again(A);
    w.runs(A, failed(""));
    w.pass(secs(4));
    w.again(B);
    w.begins(B);
}

/// Who does not wait is not kept by a backoff, and who waits so long only is not either.
#[test]
fn a_backoff_can_be_too_long_for_a_waiter() {
    for (patience, most) in [(Patience::Try, ms(0)), (Patience::AtMost(ms(500)), ms(500))] {
        let mut w = Bench::once();
        w.runs(A, failed(""));
        w.acquire_with(B, patience);
        let start = w.time;
        w.run(secs(3));
        let told = w.timed_events(B);
        let (at, _) =
            told.iter().find(|(_, e)| matches!(e, Event::NotAcquired { rival: None, .. })).unwrap();
        assert!(*at - start <= most, "{patience:?}");
        assert!(w.clients[B].lease.has_ended());
    }
}

/// The runner dies in the middle. Another takes over when the lease is over, and finds by which token it
/// ran and what it had saved. That was no failure.
#[test]
fn a_crash_is_resumed() {
    let mut w = Bench::once();
    let first = w.begins(A).token;
    w.step(A, Input::Ask(1, b"row 100".to_vec()));
    w.serve(A);
    assert_eq!(w.events(A).pop(), Some(Event::Asked(1)));
    w.crash(A);
    w.acquire(B);
    w.run(secs(40));
    let run = w.begun(B).expect("it is taken over");
    assert_eq!((run.resumes, run.failures), (Some(first), 0));
    assert_eq!(run.checkpoint.unwrap().0, b"row 100");
    // Once more, and then it is done: the next key finds nothing of it.
    w.crash(B);
    w.acquire(A);
    w.run(secs(40));
    let run = w.begun(A).expect("it is taken over");
    assert_eq!((run.resumes, run.checkpoint.unwrap().0), (Some(first.next()), b"row 100".into()));
    w.complete(A, done(""));
    w.serve(A);
    assert_eq!((w.outcome().checkpoint, w.outcome().resumes), (None, None));
    w.next_key(A, "v2");
    let run = w.begins(A);
    assert_eq!((run.resumes, run.checkpoint), (None, None));
}

/// The runner is told to stop and lets go with the work half done: the next one resumes at once.
#[test]
fn an_interrupted_run_is_resumed_at_once() {
    let mut w = Bench::once();
    let first = w.begins(A).token;
    w.step(A, Input::Ask(1, vec![7]));
    w.serve(A);
    w.release(A);
    w.serve(A);
    assert_eq!(w.released(A), Some(Release::Freed));
    let run = w.begins(B);
    assert_eq!((run.resumes, run.failures), (Some(first), 0));
    assert_eq!(run.checkpoint.unwrap().0, [7]);
}

/// A run finds under the lock that there is nothing to do. What stood in the record before stands there
/// again, whatever it was; so it does after an acquisition that was cancelled with its write on its way.
#[test]
fn a_run_that_did_not_begin_leaves_what_was_before() {
    for what in ["nothing", "started", "failed", "another key", "too old"] {
        for ends in ["withdrawn", "cancelled, not landed", "cancelled, landed"] {
            let mut w = Bench::with([run_of("v1"), valid_for(secs(100))]);
            match what {
                "nothing" => {}
                "started" => {
                    w.begins(A);
                    w.release(A);
                    w.serve(A);
                }
                "failed" => drop(w.runs(A, failed(""))),
                "another key" => {
                    w.next_key(A, "v0");
                    w.runs(A, done(""));
                }
                _ => drop(w.runs(A, done(""))),
            }
            w.pass(secs(200));
            let before = w.store.record().and_then(|r| r.outcome);
            w.acquire(B);
            while w.flies(B) && !matches!(w.request(B), Request::Write(..)) {
                w.serve(B);
                w.pass(secs(2));
            }
            match ends {
                "withdrawn" => {
                    w.serve(B);
                    w.begun(B).unwrap();
                    w.undo(B);
                }
                "cancelled, landed" => {
                    w.arrive(B);
                    w.release(B);
                }
                _ => w.release(B),
            }
            w.run_only(B, secs(2));
            let wanted = if ends == "withdrawn" { Release::Freed } else { Release::NotHeld };
            assert_eq!(w.released(B), Some(wanted), "{what}, {ends}");
            assert_eq!(w.holder(), None);
            assert_eq!(w.record().kind, Kind::Once);
            assert_eq!(w.record().outcome, before, "{what}, {ends}");
        }
    }
}

/// Version 2 was deployed after version 1. A straggler that still wants version 1 done never does it
/// again, nor for the first time.
#[test]
fn a_key_that_was_replaced_never_runs() {
    let mut w = Bench::once();
    let first = w.runs(A, done("one"));
    w.next_key(A, "v2");
    w.begins(A);
    w.release(A);
    w.serve(A);
    w.next_key(A, "v3");
    w.begins(A);
    assert_eq!(w.asks(B), Settled::Done { token: first, ending: None });
    w.next_key(B, "v2");
    assert_eq!(w.asks(B), Settled::Outdated { newest: "v3".into() });
    w.next_key(B, "v3");
    w.acquire(B);
    w.run(secs(20));
    assert!(!w.held(B), "that one is under way");
    w.next_key(B, "v4");
    w.acquire(B);
    w.run(secs(20));
    assert!(!w.held(B), "and the next begins when it is over");
}

/// The record remembers the 64 keys before the newest, and no more.
#[test]
fn the_record_remembers_so_many_keys() {
    let mut w = Bench::once();
    for n in 0..=65 {
        w.next_key(A, &format!("v{n}"));
        w.runs(A, done(""));
    }
    assert_eq!(w.outcome().earlier.len(), 64);
    w.next_key(B, "v1");
    assert!(matches!(w.asks(B), Settled::Done { ending: None, .. }));
    w.next_key(B, "v0");
    assert_eq!(w.begins(B).resumes, None, "that one is forgotten");
}

/// A completion that counts for a day only: by the store's clock where it has one, else by the wall
/// clocks of the hosts, which tests tell apart by setting them apart.
#[test]
fn a_completion_can_grow_too_old() {
    for clock in [false, true] {
        let mut w = Bench::with([run_of("v1"), valid_for(secs(600))]);
        w.store.clock = clock;
        w.runs(A, done("one"));
        w.pass(secs(599));
        assert!(matches!(w.asks(B), Settled::Done { .. }), "{clock}");
        w.pass(secs(1));
        w.again(B);
        let run = w.begins(B);
        assert_eq!((run.failures, run.resumes, run.checkpoint), (0, None, None));
        w.complete(B, done("two"));
        w.serve(B);
        w.again(A);
        let Settled::Done { ending: Some(ending), .. } = w.asks(A) else { panic!() };
        assert_eq!(ending.text, "two", "{clock}");
    }
}

/// A completion is too old, somebody begins to do it again, and withdraws. The record has just been
/// written, and the completion is as old as before.
#[test]
fn withdrawing_makes_no_completion_young() {
    let mut w = Bench::with([valid_for(secs(600)), valid_for(secs(600))]);
    w.store.clock = true;
    w.runs(A, done("one"));
    w.pass(secs(700));
    w.again(A);
    w.begins(A);
    w.undo(A);
    w.serve(A);
    assert_eq!(w.outcome().ending.unwrap().text, "one");
    w.begins(B);
}

/// A checkpoint is told to be saved when it is, and a lost answer is found by reading.
#[test]
fn a_lost_answer_to_a_checkpoint_is_found_by_reading() {
    for lands in [true, false] {
        let mut w = Bench::once();
        w.begins(A);
        w.pass(secs(1));
        w.step(A, Input::Ask(1, vec![1]));
        if lands {
            w.arrive(A);
        }
        w.time_out(A);
        assert!(!w.events(A).contains(&Event::Asked(1)));
        w.run(secs(2));
        assert_eq!(w.events(A).pop(), Some(Event::Asked(1)));
        assert_eq!(w.outcome().checkpoint.unwrap().0, [1]);
        assert_eq!(w.record().holder().unwrap().renewals, 1);
        w.run(secs(60));
        assert!(w.held(A));
        assert_eq!(w.outcome().checkpoint.unwrap().0, [1], "renewals keep it");
    }
}

/// A save comes while a renewal is on its way, and another one before its answer: the newest is saved,
/// by one more write, and nothing is told before it is true.
#[test]
fn a_checkpoint_waits_for_the_request_before_it() {
    let mut w = Bench::once();
    w.begins(A);
    w.pass(secs(10));
    w.arrive(A);
    w.step(A, Input::Ask(1, vec![1]));
    w.step(A, Input::Ask(2, vec![2]));
    assert_eq!(w.requests(A), 1);
    w.answer(A);
    assert!(!w.events(A).iter().any(|e| matches!(e, Event::Asked(_))), "it carried neither");
    w.step(A, Input::Ask(3, vec![3]));
    w.serve(A);
    assert_eq!(w.events(A).pop(), Some(Event::Asked(2)));
    w.serve(A);
    assert_eq!(w.events(A).pop(), Some(Event::Asked(3)));
    assert_eq!(w.outcome().checkpoint.unwrap().0, [3]);
    assert_eq!(w.requests(A), 2);
}

/// A save that is refused without a reason is no loss: it reads, and saves.
#[test]
fn a_checkpoint_is_saved_after_a_conflict() {
    let mut w = Bench::once();
    w.begins(A);
    w.step(A, Input::Ask(1, vec![1]));
    w.reply(A, Reply::Conflict);
    w.run(secs(1));
    assert_eq!(w.events(A).pop(), Some(Event::Asked(1)));
    assert!(w.held(A));
}

/// Saves keep to a store's limit on writes, and the lease is kept meanwhile.
#[test]
fn saves_keep_to_the_limit_on_writes() {
    let mut wish = run_of("v1");
    wish.settings.facts.least_write_interval = secs(1);
    let mut w = Bench::with([wish]);
    w.acquire(A);
    w.run(secs(1));
    assert!(w.held(A));
    w.requests(A);
    let start = w.time;
    for n in 1..=50_u8 {
        w.step(A, Input::Ask(u64::from(n), vec![n]));
        w.run(ms(100));
    }
    w.run(secs(1));
    assert!(w.requests(A) <= 7, "a write a second");
    assert!(w.time - start <= secs(6) && w.held(A));
    assert_eq!(w.events(A).pop(), Some(Event::Asked(50)));
    assert_eq!(w.outcome().checkpoint.unwrap().0, [50]);
}

/// A save whose run is lost is never told to be saved, and neither is one of no run.
#[test]
fn nothing_is_saved_without_the_lease() {
    let mut w = Bench::once();
    w.step(A, Input::Ask(1, vec![1]));
    w.begins(A);
    assert!(!w.flies(A));
    w.acquire(B);
    w.freeze(A, secs(40), |_| true);
    w.step(A, Input::Ask(2, vec![2]));
    w.run(secs(10));
    assert!(!w.events(A).iter().any(|e| matches!(e, Event::Asked(_))));
    assert_eq!(w.outcome().checkpoint, None);
}

/// A name is one thing. A mutex is never begun as a run of `once`, nor the other way round;
/// but whether somebody is at work can be asked of both.
#[test]
fn a_name_is_of_one_kind() {
    let mut w = Bench::with([run_of("v1"), settings(secs(30)).into()]);
    w.hold(B);
    w.acquire(A);
    w.serve(A);
    assert_eq!(w.failed(A), Some(Failure::WrongKind(Kind::Mutex)));

    let mut w = Bench::with([run_of("v1"), settings(secs(30)).into()]);
    w.begins(A);
    w.acquire(B);
    w.serve(B);
    assert_eq!(w.failed(B), Some(Failure::WrongKind(Kind::Once)));
    w.again(B);
    w.clients[B].awaits = true;
    w.step(B, Input::Look(Patience::Forever));
    w.run(secs(20));
    assert!(matches!(w.events(B)[0], Event::Waiting { .. }));
    w.complete(A, done(""));
    w.run(secs(20));
    assert!(w.events(B).contains(&Event::Free));
    assert_eq!(w.outcome().state, Progress::Done);
}

/// An operator makes what was done count no more: it runs again, with a higher token, and earlier keys
/// may too.
#[test]
fn after_a_reset_everything_may_run_again() {
    let mut w = Bench::once();
    w.next_key(A, "v0");
    w.runs(A, done(""));
    w.next_key(A, "v1");
    let before = w.runs(A, done(""));
    w.store.reset(w.time);
    assert_eq!(w.record().outcome, None);
    let after = w.runs(B, done(""));
    assert!(after > before.next());
    w.store.reset(w.time);
    w.next_key(B, "v0");
    w.begins(B);
}
