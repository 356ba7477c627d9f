//! Schedules of holding: renewals, the deadline, and every way to lose the lock.

use leasehold_core::record::{BadRecord, Ended};

use super::*;

/// A renewal is sent a third of the ttl after the last confirmed one was *sent*, and costs one
/// request.
#[test]
fn renewals_come_at_a_third_of_the_ttl() {
    let mut w = Bench::one();
    w.hold(A);
    let start = w.time;
    for n in 1..=10_u32 {
        w.pass(start + secs(10) * n - w.time - ms(1));
        assert!(!w.flies(A));
        w.pass(ms(1));
        assert_eq!(w.writes(A).1.holder().unwrap().renewals, u64::from(n));
        w.arrive(A);
        w.pass(secs(3));
        w.answer(A);
        assert_eq!(w.requests(A), 1);
        let Some(Event::Renewed(deadline)) = w.events(A).pop() else { panic!() };
        assert_eq!(deadline.sent.boot, start + secs(10) * n);
    }
}

/// The right to hold counts from when the write was sent. Had it counted from the answer, a slow
/// answer would stretch the belief past the moment at which a waiter may take over.
#[test]
fn validity_counts_from_the_send() {
    let mut w = Bench::one();
    w.acquire(A);
    w.serve(A);
    w.arrive(A);
    w.pass(secs(6));
    w.answer(A);
    w.pass(secs(18) - ms(1));
    assert!(w.held(A));
    w.pass(ms(1));
    assert!(!w.held(A), "24 s after the send, not after the answer");
}

/// A renewal whose answer was lost is found by reading; the lock is kept, without a second write.
#[test]
fn a_lost_answer_to_a_renewal_is_found_by_reading() {
    let mut w = Bench::one();
    let token = w.hold(A);
    w.pass(secs(10));
    let sent = w.now(A).moment;
    w.arrive(A);
    w.time_out(A);
    w.pass(secs(2));
    assert!(w.reads(A));
    w.serve(A);
    let Some(Event::Renewed(deadline)) = w.events(A).pop() else { panic!() };
    assert_eq!(deadline.sent, sent);
    w.run(secs(60));
    assert!(w.held(A));
    assert_eq!(w.record().token, token, "renewing does not raise the token");
}

/// A renewal was lost on its way, and one transient failure never surrenders the lock.
#[test]
fn a_lost_renewal_is_sent_again() {
    let mut w = Bench::one();
    w.hold(A);
    w.pass(secs(10));
    let lost = w.time_out(A);
    w.run(secs(2));
    assert!(matches!(w.events(A).pop(), Some(Event::Renewed(_))));
    assert!(!w.land(&lost), "its first copy is dead, however late it comes");
    w.run(secs(60));
    assert!(w.held(A));
}

/// The first renewal's answer is lost, and the second is refused because the first had landed. The
/// refusal is no loss.
#[test]
fn a_renewal_refused_because_of_our_own_is_no_loss() {
    let mut w = Bench::one();
    w.hold(A);
    w.pass(secs(10));
    let first = w.time_out(A);
    w.pass(secs(2));
    w.serve(A);
    assert!(w.land(&first));
    w.serve(A);
    w.serve(A);
    assert!(w.held(A));
    assert!(matches!(w.events(A).pop(), Some(Event::Renewed(_))));
}

/// A renewal hangs. The holder is told at the deadline, exactly, although no answer ever comes.
#[test]
fn a_hanging_renewal_cannot_delay_the_loss() {
    let mut w = Bench::one();
    w.hold(A);
    let start = w.time;
    w.pass(secs(60));
    assert_eq!(w.timed_events(A), [(start + secs(24), Event::Lost(Loss::Expired))]);
    assert!(!w.held(A));
}

/// Every request leaves time for two more like it before the deadline.
#[test]
fn no_request_takes_all_that_is_left() {
    let mut w = Bench::one();
    w.hold(A);
    w.pass(secs(10));
    let flight = w.time_out(A);
    assert_eq!(flight.timeout, secs(14) / 3);
    w.pass(secs(2));
    assert!(w.clients[A].flight.as_ref().unwrap().timeout <= secs(14) / 3);
}

/// The answer comes after the deadline, and says that the renewal landed. What is lost is lost: the
/// user may have been told already.
#[test]
fn an_answer_after_the_deadline_brings_nothing_back() {
    let mut w = Bench::one();
    w.hold(A);
    w.pass(secs(10));
    w.arrive(A);
    let flight = w.divert(A);
    // The process is frozen: nothing wakes it at the deadline.
    w.freeze(A, secs(15), |_| false);
    w.step(A, Input::Reply(flight.number, flight.answer.unwrap()));
    assert_eq!(w.events(A), [Event::Lost(Loss::Expired)]);
    assert!(!w.held(A));
}

/// The host slept. Only one of its clocks counts it, and a holder believes the one that says more.
#[test]
fn a_suspended_host_holds_no_longer() {
    let mut w = Bench::one();
    w.hold(A);
    w.suspend(A, secs(24));
    assert!(!w.held(A), "even before anything has run");
    w.wake(A);
    assert_eq!(w.lost(A), Some(Loss::Expired));
}

/// While it holds, a refusal is a trouble like any other: rights come back, and the lock is kept.
#[test]
fn whoever_holds_keeps_trying_whatever_the_trouble() {
    for trouble in [Trouble::Denied, Trouble::Invalid, Trouble::Corrupt, Trouble::Unavailable] {
        for fate in [Fate::Unknown, Fate::NotSent, Fate::Throttled { retry_after: None }] {
            let mut w = Bench::one();
            w.hold(A);
            w.pass(secs(10));
            for _ in 0..2 {
                w.fail(A, fate, trouble);
                assert_eq!(w.events(A), [Event::Trouble(trouble)]);
                w.pass(secs(3));
                assert!(w.flies(A), "{fate:?} {trouble:?}");
            }
            w.run(secs(60));
            assert!(w.held(A), "{fate:?} {trouble:?}");
        }
    }
}

/// The clocks hint at a pause that none of them counted. From then on the lock counts as not held
/// until a renewal is proven that was sent *afterwards*: one sent before may be of any age.
#[test]
fn a_suspicion_is_settled_only_by_a_later_renewal() {
    let mut w = Bench::one();
    w.hold(A);
    w.pass(secs(10));
    w.arrive(A);
    w.suspect(A);
    w.suspect(A);
    assert!(!w.held(A));
    let [Event::Suspected(until)] = w.events(A)[..] else { panic!("not suspected once") };
    w.answer(A);
    assert!(!w.held(A), "that one was sent before");
    assert!(matches!(w.events(A)[..], [Event::Suspected(later)] if later.sent != until.sent));
    w.serve(A);
    assert!(w.held(A));
    assert!(matches!(w.events(A)[..], [Event::Renewed(_)]));
}

/// A suspicion makes a renewal at once, and its failure leaves the doubt in place until the deadline.
#[test]
fn a_suspicion_does_not_fade() {
    let mut w = Bench::one();
    w.hold(A);
    w.suspect(A);
    assert!(w.flies(A));
    w.time_out(A);
    w.pass(secs(3));
    assert!(!w.held(A));
    w.pass(secs(30));
    assert_eq!(w.lost(A), Some(Loss::Expired));
}

/// The record was deleted under the holder. It is lost at once, and the record is not made again:
/// whoever deleted it may already have let another in.
#[test]
fn a_deleted_record_is_lost_and_not_made_again() {
    let mut w = Bench::one();
    w.store.clock = true;
    let token = w.hold(A);
    w.store.delete();
    w.run(secs(10));
    assert_eq!(w.lost(A), Some(Loss::Gone));
    w.release(A);
    assert!(!w.flies(A));
    assert_eq!(w.released(A), Some(Release::NotHeld));
    assert_eq!(w.store.expected(), Expected::Absent);
    w.crash(A);
    assert!(w.hold(A) > token, "and the next token is above all earlier ones");
}

/// Released into a deletion: the record stays deleted, and nobody is told that it was freed.
#[test]
fn a_release_does_not_make_a_deleted_record_again() {
    let mut w = Bench::one();
    w.hold(A);
    w.store.delete();
    w.release(A);
    w.run(secs(1));
    assert_eq!(w.released(A), Some(Release::NotHeld));
    assert_eq!(w.store.expected(), Expected::Absent);
}

/// A person forced the lock free. The holder is told who and why, as soon as it looks.
#[test]
fn who_is_forced_out_is_told_the_reason() {
    let mut w = Bench::one();
    let token = w.hold(A);
    w.store.force(w.time);
    w.hint(A);
    assert!(w.reads(A), "a hint is followed at once");
    w.serve(A);
    let Some(Loss::Ended(Some(past))) = w.lost(A) else { panic!() };
    assert_eq!((past.ended, past.by.as_deref()), (Ended::Forced, Some("an operator")));
    assert_eq!(past.reason.as_deref(), Some("stuck"));
    assert_eq!(w.record().token, token.next(), "what it still sends is older");
    w.release(A);
    assert_eq!(w.released(A), Some(Release::NotHeld));
    assert_eq!(w.requests(A), 1, "and it touches nothing");
}

/// Released after having been forced out, before having learned of it: not "freed".
#[test]
fn a_release_after_being_forced_out_says_so() {
    let mut w = Bench::one();
    w.hold(A);
    w.store.force(w.time);
    w.release(A);
    w.run(secs(1));
    assert_eq!(w.released(A), Some(Release::NotHeld));
}

/// The holder was frozen for longer than its lease, and another has taken over. It learns of the
/// loss from its clock, and of nothing else.
#[test]
fn whoever_was_frozen_finds_the_lock_lost() {
    let mut w = Bench::two();
    let token = w.hold(A);
    w.acquire(B);
    w.freeze(A, secs(40), |_| true);
    assert_eq!(w.granted(B), Some(token.next()));
    assert!(!w.held(A));
    w.wake(A);
    assert_eq!(w.lost(A), Some(Loss::Expired));
}

/// Another took over, and the holder reads it before its own deadline (its clock lost the bounded
/// difference in rate that the rules allow, or the store's clock told the age wrong).
#[test]
fn whoever_reads_another_holder_has_lost() {
    let mut w = Bench::two();
    w.hold(A);
    w.store.orphaned = true;
    w.hold(B);
    let other = w.holder().unwrap();
    w.hint(A);
    w.serve(A);
    assert_eq!(w.lost(A), Some(Loss::TakenOver(other)));
}

/// Something wrote over the record. That is a loss, never a reason to write over it in turn.
#[test]
fn a_damaged_record_is_lost_and_left_alone() {
    let newer: &[u8] = br#"{"leasehold":2}"#;
    for bytes in [b"".as_slice(), b"hello", newer] {
        let mut w = Bench::one();
        w.hold(A);
        w.store.put(bytes, w.time);
        w.run(secs(10));
        let Some(Loss::Unreadable(bad)) = w.lost(A) else { panic!() };
        assert_eq!(bad == BadRecord::NewerFormat(2), bytes == newer);
        w.release(A);
        w.run(secs(60));
        assert_eq!(w.released(A), Some(Release::NotHeld));
        assert_eq!(w.store.record(), None);
    }
}
