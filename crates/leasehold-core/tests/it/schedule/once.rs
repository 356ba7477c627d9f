//! Schedules of `once`: how the end of a run is recorded, whatever becomes of the
//! answers, and what its runner is told.

use leasehold_core::once::{Report, Settled};
use leasehold_core::record::{Ended, Outcome, Progress};

use super::*;

pub(super) fn run_of(key: &str) -> Wish {
    let once = Once { key: key.into(), max_attempts: 3, backoff: secs(1), valid_for: None };
    Wish { once: Some(once), ..settings(secs(30)).into() }
}

pub(super) fn done(text: &str) -> Completion {
    Completion::Done(Report { code: None, text: text.into() })
}

pub(super) fn failed(text: &str) -> Completion {
    Completion::Failed(Report { code: Some(1), text: text.into() })
}

impl Bench {
    /// Two clients who want the same done.
    pub(super) fn once() -> Bench {
        Bench::with([run_of("v1"), run_of("v1")])
    }

    /// The next thing that this client's process is to do.
    pub(super) fn next_key(&mut self, who: usize, key: &str) {
        if let Some(once) = &mut self.clients[who].wish.once {
            once.key = key.into();
        }
        self.again(who);
    }

    pub(super) fn settled(&mut self, who: usize) -> Option<Settled> {
        self.events(who).into_iter().find_map(|event| match event {
            Event::Answer(settled) => Some(settled),
            _ => None,
        })
    }

    /// Asks, every request served at once, and is told that there is nothing to run.
    pub(super) fn asks(&mut self, who: usize) -> Settled {
        self.acquire(who);
        while self.flies(who) {
            self.serve(who);
        }
        self.settled(who).expect("there is something to run")
    }

    pub(super) fn outcome(&self) -> Outcome {
        self.record().outcome.expect("nothing was begun")
    }

    /// Begins a run, every request served at once, and says what it was told of the runs before.
    pub(super) fn begins(&mut self, who: usize) -> Outcome {
        self.acquire(who);
        while self.flies(who) {
            self.serve(who);
        }
        self.requests(who);
        self.begun(who).expect("there is nothing to run")
    }

    pub(super) fn begun(&mut self, who: usize) -> Option<Outcome> {
        self.events(who).into_iter().find_map(|event| match event {
            Event::Granted { token, record, .. } => {
                let outcome = record.outcome.expect("it is no mutex");
                assert_eq!((outcome.state, outcome.token), (Progress::Started, token));
                Some(outcome)
            }
            _ => None,
        })
    }

    /// Runs and ends, every request served at once.
    pub(super) fn runs(&mut self, who: usize, completion: Completion) -> FencingToken {
        let token = self.begins(who).token;
        self.complete(who, completion);
        while self.flies(who) {
            self.serve(who);
        }
        assert_eq!(self.released(who), Some(Release::Freed));
        token
    }
}

/// One process migrates the schema, and another asks for the same at the same time. It waits, and then
/// finds it done, by whom and with which result; it runs nothing.
#[test]
fn what_is_done_is_inherited() {
    let mut w = Bench::once();
    let token = w.begins(A).token;
    w.acquire(B);
    w.run(secs(60));
    assert!(w.held(A) && !w.held(B));
    w.complete(A, done("42 rows"));
    w.run(secs(30));
    assert_eq!(w.released(A), Some(Release::Freed));
    let Some(Settled::Done { token: by, ending: Some(ending) }) = w.settled(B) else { panic!() };
    assert_eq!((by, ending.token, &*ending.text), (token, token, "42 rows"));
    assert_eq!((&*ending.by, w.holder()), ("a test", None));
    assert!(w.clients[B].lease.has_ended());
    for who in [A, B] {
        w.again(who);
        assert!(matches!(w.asks(who), Settled::Done { .. }));
    }
}

/// The completion landed and its answer was lost. Reading shows it; nothing is written again.
#[test]
fn a_lost_answer_to_the_completion_is_found_by_reading() {
    let mut w = Bench::once();
    w.begins(A);
    w.complete(A, done(""));
    w.arrive(A);
    w.time_out(A);
    w.run(secs(2));
    assert_eq!(w.released(A), Some(Release::Freed));
    assert_eq!((w.requests(A), w.outcome().state), (2, Progress::Done));
}

/// The completion was lost on its way. It is written again, as the completion that it is, and its first
/// copy lands no more.
#[test]
fn a_lost_completion_is_written_again_as_what_it_is() {
    for end in [done("fine"), failed("broken")] {
        let mut w = Bench::once();
        w.begins(A);
        w.complete(A, end.clone());
        let lost = w.time_out(A);
        w.run(secs(2));
        assert_eq!(w.released(A), Some(Release::Freed));
        let wanted = if end == done("fine") { Progress::Done } else { Progress::Failed };
        assert_eq!(w.outcome().state, wanted);
        assert!(!w.land(&lost));
    }
}

/// A renewal is on its way when the run ends, and lands before the completion: the completion is
/// written on what it finds.
#[test]
fn a_renewal_that_lands_before_the_completion_is_completed_too() {
    let mut w = Bench::once();
    w.begins(A);
    w.pass(secs(10));
    let renewal = w.divert(A);
    w.complete(A, done(""));
    assert!(w.land(&renewal));
    w.run(secs(1));
    assert_eq!(w.released(A), Some(Release::Freed));
    assert_eq!((w.outcome().state, w.holder()), (Progress::Done, None));
}

/// The runner was frozen for longer than its lease, and another runs it meanwhile. Its own completion
/// counts no more: it is told so, and the other's record is left alone.
#[test]
fn a_completion_after_a_takeover_is_superseded() {
    for (tells, ours) in [(false, done("late")), (true, done("late")), (true, failed("late"))] {
        let mut w = Bench::once();
        w.store.tells = tells;
        w.begins(A);
        w.acquire(B);
        w.freeze(A, secs(40), |_| true);
        assert!(w.held(B));
        let before = w.record();
        w.complete(A, ours);
        w.run_only(A, secs(2));
        assert_eq!(w.released(A), Some(Release::NotHeld));
        assert_eq!(w.record(), before);
        w.complete(B, done("in time"));
        w.run(secs(1));
        assert_eq!(w.released(B), Some(Release::Freed));
        assert_eq!(w.outcome().ending.unwrap().text, "in time");
    }
}

/// The same, and the other is done by the time the first one wakes.
#[test]
fn a_completion_after_anothers_is_superseded() {
    let mut w = Bench::once();
    w.begins(A);
    w.acquire(B);
    w.freeze(A, secs(40), |_| true);
    w.complete(B, done("first"));
    w.freeze(A, secs(1), |_| true);
    let before = w.record();
    w.complete(A, done("second"));
    w.run(secs(2));
    assert_eq!(w.released(A), Some(Release::NotHeld));
    assert_eq!(w.record(), before);
}

/// The store was away for so long that the lease ran out, and nobody else came. The work is done: it is
/// recorded, or it would be done again for nothing.
#[test]
fn a_completion_after_the_lease_ran_out_is_recorded() {
    let mut w = Bench::once();
    w.begins(A);
    w.pass(secs(25));
    assert_eq!(w.lost(A), Some(Loss::Expired));
    w.complete(A, done("late"));
    w.serve(A);
    assert_eq!(w.released(A), Some(Release::Freed));
    assert!(matches!(w.asks(B), Settled::Done { .. }));
}

/// The completion landed, its answer was lost, and a later key was begun on top of it. It was recorded,
/// and the record says so still.
#[test]
fn a_completion_under_the_next_key_was_recorded() {
    let mut w = Bench::once();
    w.begins(A);
    w.complete(A, done(""));
    w.arrive(A);
    w.next_key(B, "v2");
    w.runs(B, done(""));
    w.next_key(B, "v3");
    w.begins(B);
    w.time_out(A);
    w.run_only(A, secs(2));
    assert_eq!(w.released(A), Some(Release::Freed));
}

/// A failure landed, its answer was lost, and the next attempt is under way, or another key.
#[test]
fn a_failure_under_the_next_attempt_was_recorded() {
    for key in ["v1", "v2"] {
        let mut w = Bench::once();
        w.begins(A);
        w.complete(A, failed("first"));
        w.arrive(A);
        w.next_key(B, key);
        w.acquire(B);
        w.run_only(B, secs(3));
        assert!(w.held(B));
        w.time_out(A);
        w.run_only(A, secs(2));
        assert_eq!(w.released(A), Some(Release::Freed), "{key}");
    }
}

/// A failure landed, its answer was lost, and others have run and failed since, or done it. The record
/// does not know about ours any more, and it is not said to be unrecorded: it was counted.
#[test]
fn a_failure_under_later_ends_is_not_said_to_be_unrecorded() {
    for end in [failed("second"), done("second")] {
        let mut w = Bench::once();
        w.begins(A);
        w.complete(A, failed("first"));
        w.arrive(A);
        w.acquire(B);
        w.run_only(B, secs(3));
        w.complete(B, end);
        w.run_only(B, secs(1));
        w.next_key(B, "v2");
        w.begins(B);
        w.time_out(A);
        w.run_only(A, secs(2));
        assert_eq!(w.released(A), Some(Release::Unconfirmed));
    }
}

/// The store goes away at the moment of completing, for longer than the lease. Nobody else could come
/// either, and the completion is recorded when it is back.
#[test]
fn a_store_that_comes_back_records_the_completion() {
    let mut w = Bench::once();
    w.begins(A);
    w.complete(A, done(""));
    let start = w.time;
    while w.time < start + secs(110) {
        if w.flies(A) {
            w.time_out(A);
        }
        w.pass(ms(500));
    }
    w.run(secs(5));
    assert_eq!(w.released(A), Some(Release::Freed));
    assert_eq!(w.outcome().state, Progress::Done);
}

/// It stays away, or refuses: after four ttls the runner is told that nothing is known, and not that
/// it failed.
#[test]
fn a_completion_that_cannot_be_said_is_unconfirmed() {
    for trouble in [Trouble::Unavailable, Trouble::Denied] {
        let mut w = Bench::once();
        w.begins(A);
        w.complete(A, done(""));
        let start = w.time;
        while w.time < start + secs(130) {
            if w.flies(A) {
                w.fail(A, Fate::Unknown, trouble);
            }
            w.pass(ms(500));
        }
        let (at, event) = w.timed_events(A).pop().unwrap();
        assert_eq!(event, Event::Released(Release::Unconfirmed));
        assert_eq!(at - start, secs(120));
        assert_eq!(w.outcome().state, Progress::Started);
    }
}

/// A person breaks the lock of a run, resets it, or deletes the record. The run's end is not recorded,
/// and whatever stands there is left alone.
#[test]
fn who_was_forced_out_records_nothing() {
    for how in ["break", "reset", "delete"] {
        for end in [Some(done("")), Some(failed("")), None] {
            let mut w = Bench::once();
            let token = w.begins(A).token;
            match how {
                "break" => w.store.force(w.time),
                "reset" => w.store.reset(w.time),
                _ => w.store.delete(),
            }
            let before = w.store.record();
            match end.clone() {
                Some(end) => w.complete(A, end),
                None => w.release(A),
            }
            w.run(secs(2));
            assert_eq!(w.released(A), Some(Release::NotHeld), "{how} {end:?}");
            assert_eq!(w.store.record(), before);
            if let Some(record) = before {
                assert_eq!(record.token, token.next());
                let past = record.past.unwrap();
                let ended = if how == "break" { Ended::Forced } else { Ended::Reset };
                assert_eq!((past.ended, &*past.label), (ended, "a test"));
                assert_eq!(past.id, Some(HolderId(1 << 64)), "{how}");
            }
            // A break leaves the run interrupted, to be resumed; after a reset nothing was begun.
            let resumed = w.begins(B).resumes;
            assert_eq!(resumed, (how == "break").then_some(token), "{how}");
        }
    }
}

/// Something wrote over the record while the completion was on its way. It is not written over.
#[test]
fn a_damaged_record_gets_no_completion() {
    let mut w = Bench::once();
    w.begins(A);
    w.store.put(&b"hello"[..], w.time);
    w.complete(A, done(""));
    w.run(secs(60));
    assert_eq!(w.released(A), Some(Release::NotHeld));
    assert_eq!(w.store.record(), None);
}

/// The end is said to who does not run: to a waiter it is a cancellation, and to who has let go nothing.
#[test]
fn only_a_run_can_be_completed() {
    let mut w = Bench::once();
    w.begins(A);
    w.acquire(B);
    w.serve(B);
    w.complete(B, done(""));
    assert_eq!(w.released(B), Some(Release::NotHeld));
    w.release(A);
    w.step(A, Input::End(done("")));
    w.run(secs(1));
    assert_eq!(w.released(A), Some(Release::Freed));
    assert_eq!(w.outcome().state, Progress::Started);

    let mut w = Bench::one();
    w.hold(A);
    w.complete(A, done(""));
    w.serve(A);
    assert_eq!(w.released(A), Some(Release::Freed));
    assert_eq!(w.record().outcome, None, "a mutex has none");
}
