//! Schedules of letting go: what is freed, what is left alone, and what is said about it.

use leasehold_core::record::Ended;

use super::*;

/// The release landed and its answer was lost. Reading shows it, and nothing is written again.
#[test]
fn a_lost_answer_to_the_release_is_found_by_reading() {
    let mut w = Bench::one();
    w.hold(A);
    w.release(A);
    w.arrive(A);
    w.time_out(A);
    w.pass(secs(1));
    assert!(w.reads(A));
    w.serve(A);
    assert_eq!(w.released(A), Some(Release::Freed));
    assert_eq!(w.requests(A), 2);
}

/// The release landed, its answer was lost, and another holds by the time we look. Ours it was, free
/// it became; the other is not touched.
#[test]
fn a_release_that_another_overtook_leaves_the_other_alone() {
    let mut w = Bench::two();
    w.hold(A);
    w.release(A);
    w.arrive(A);
    w.hold(B);
    let held = w.record();
    w.time_out(A);
    w.run_only(A, secs(2));
    assert_eq!(w.released(A), Some(Release::Freed));
    assert_eq!(w.record(), held);
    assert!(w.held(B));
}

/// A renewal is on its way when the user lets go, and lands before the release. The release is
/// refused, which is no proof that the lock is free: it reads, and frees the state it finds.
#[test]
fn a_renewal_that_lands_before_the_release_is_freed_too() {
    let mut w = Bench::one();
    w.hold(A);
    w.pass(secs(10));
    let renewal = w.divert(A);
    w.release(A);
    assert!(w.land(&renewal));
    w.run(secs(1));
    assert_eq!(w.released(A), Some(Release::Freed));
    assert_eq!(w.holder(), None, "no ghost renewal keeps the lock");
}

/// The other order: once the release has landed, the renewal cannot.
#[test]
fn a_renewal_cannot_land_after_the_release() {
    let mut w = Bench::one();
    w.hold(A);
    w.pass(secs(10));
    let renewal = w.divert(A);
    w.release(A);
    w.serve(A);
    assert_eq!(w.released(A), Some(Release::Freed));
    assert!(!w.land(&renewal));
    w.pass(secs(100));
    assert_eq!(w.holder(), None);
}

/// Letting go may be said at any time and any number of times; it makes one difference.
#[test]
fn releasing_is_idempotent() {
    let mut w = Bench::one();
    w.hold(A);
    w.release(A);
    w.step(A, Input::Release);
    w.step(A, Input::Release);
    assert_eq!(w.requests(A), 1);
    w.serve(A);
    w.clients[A].awaits = false;
    w.step(A, Input::Release);
    assert_eq!(w.events(A), [Event::Released(Release::Freed)]);
    assert_eq!(w.requests(A), 0);

    let mut w = Bench::one();
    w.release(A);
    assert_eq!(w.events(A), [Event::Released(Release::NotHeld)]);
}

/// The lease ran out while the store was away. When the user has stopped the work and lets go, our
/// own record is freed, so that others need not wait for the rest of the ttl.
#[test]
fn a_release_after_the_loss_frees_our_own_record() {
    let mut w = Bench::one();
    w.hold(A);
    w.pass(secs(25));
    assert_eq!(w.lost(A), Some(Loss::Expired));
    w.release(A);
    w.serve(A);
    assert_eq!(w.released(A), Some(Release::NotHeld), "it was not held until the end");
    assert_eq!(w.holder(), None);
    assert_eq!(w.record().past.unwrap().ended, Ended::Released);
}

/// The same, but another has taken over in the meantime: it is left alone.
#[test]
fn a_release_after_the_loss_never_touches_another() {
    for tells in [false, true] {
        let mut w = Bench::two();
        w.store.tells = tells;
        w.hold(A);
        w.acquire(B);
        w.freeze(A, secs(40), |_| true);
        assert!(w.held(B));
        w.wake(A);
        let held = w.record();
        w.release(A);
        w.run_only(A, secs(1));
        assert_eq!(w.released(A), Some(Release::NotHeld));
        assert_eq!(w.record(), held);
    }
}

/// The store is away. The release is tried until the lease is over by itself, and no longer.
#[test]
fn a_release_that_cannot_be_said_ends_with_the_ttl() {
    let mut w = Bench::one();
    w.hold(A);
    w.release(A);
    let start = w.time;
    while w.time < start + secs(40) {
        if w.flies(A) {
            w.time_out(A);
        }
        w.pass(ms(500));
    }
    let (at, event) = w.timed_events(A).pop().unwrap();
    assert_eq!(event, Event::Released(Release::Unconfirmed));
    assert!(at - start <= secs(30), "{:?}", at - start);
    assert!(w.clients[A].lease.has_ended());
}

/// Nothing was ever written, so there is nothing to undo: giving up a mere wait costs no request.
#[test]
fn giving_up_a_wait_costs_nothing() {
    let mut w = Bench::two();
    w.hold(A);
    w.acquire(B);
    w.serve(B);
    w.requests(B);
    w.release(B);
    assert_eq!(w.released(B), Some(Release::NotHeld));
    assert_eq!(w.requests(B), 0);
    assert!(w.held(A));
}

/// The write is proven never to have left. Giving up then has nothing to fence.
#[test]
fn a_write_that_never_left_needs_no_undoing() {
    let mut w = Bench::one();
    w.acquire(A);
    w.serve(A);
    w.fail(A, Fate::NotSent, Trouble::Unavailable);
    w.requests(A);
    w.release(A);
    assert_eq!(w.released(A), Some(Release::NotHeld));
    assert_eq!(w.requests(A), 0);
}

/// A trial that judged a lease to be over by the store's clock, wrote, and then finds the age untold
/// gives up. Its write may still land, so what fences it must be sent at once, not after a ttl.
#[test]
fn a_trial_that_gives_up_fences_its_write_at_once() {
    let mut w = Bench::two();
    w.store.clock = true;
    w.hold(A);
    w.crash(A);
    w.pass(secs(40));
    w.acquire_with(B, Patience::Try);
    w.serve(B);
    let late = w.time_out(B);
    w.store.clock = false;
    w.run_only(B, secs(4));
    assert!(!w.land(&late), "nobody waits for it any more");
    assert!(matches!(w.released(B), Some(Release::NotHeld)));
}

/// The wall clock was set, the holder doubts that it holds, and lets go. The release lands on the very
/// record that it left: nobody came in between, so it was held to the end, whatever the clock said.
#[test]
fn a_release_in_doubt_proves_that_it_was_held() {
    let mut w = Bench::one();
    w.hold(A);
    w.suspect(A);
    assert!(!w.held(A));
    w.release(A);
    w.arrive(A);
    w.time_out(A);
    w.run(secs(2));
    assert_eq!(w.released(A), Some(Release::Freed), "its answer was lost, and it is read back");
}

/// The holder's machine was paused in a way that no clock of it counted, and another has taken over.
/// Only the wall clock shows it. What was done until then was not done under the lock, and a release
/// that meets the other's record says so.
#[test]
fn a_release_in_doubt_that_meets_another_is_a_loss() {
    let mut w = Bench::two();
    w.hold(A);
    w.store.orphaned = true;
    w.hold(B);
    w.suspect(A);
    w.release(A);
    w.run(secs(2));
    assert_eq!(w.released(A), Some(Release::NotHeld));
    assert!(w.held(B));
}
