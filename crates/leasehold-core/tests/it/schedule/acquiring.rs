//! Schedules of acquiring: what it costs, and every way in which its one write can go astray.

use leasehold_core::lease::Loss;
use leasehold_core::record::Ended;

use super::*;

fn nobody(token: u64) -> Record {
    let text = format!(
        r#"{{"leasehold":1,"kind":"mutex","token":{token},"write":"{token:032x}","holders":[]}}"#
    );
    Record::decode(text.as_bytes()).unwrap()
}

/// The price list: a cold acquire costs a read and a write, a release one write, and who remembers
/// the free record acquires with one write. More would be felt on every store that is far away.
#[test]
fn a_free_lock_costs_two_requests_cold_and_one_warm() {
    let mut w = Bench::one();
    w.acquire(A);
    assert!(w.reads(A));
    w.serve(A);
    assert_eq!(*w.writes(A).0, Expected::Absent);
    w.serve(A);
    let first = w.granted(A).unwrap();
    assert!(w.held(A));
    assert_eq!(w.requests(A), 2);

    w.release(A);
    assert!(!w.held(A), "who lets go holds no longer, whatever becomes of the release");
    w.serve(A);
    assert_eq!(w.released(A), Some(Release::Freed));
    assert_eq!(w.requests(A), 1);
    assert_eq!(w.record().token, first, "a free record keeps the token");
    assert_eq!(w.record().past.unwrap().ended, Ended::Released);

    w.again(A);
    w.acquire(A);
    w.serve(A);
    assert_eq!(w.granted(A), Some(first.next()));
    assert_eq!(w.requests(A), 1);
}

/// The name was absent when we looked. Before our write can be repeated, a record comes, counts up
/// and is deleted: absent again. What the first look said of the time is too old for a token now.
#[test]
fn an_absence_that_came_back_is_dated_anew() {
    for fate in [Fate::Unknown, Fate::NotSent, Fate::Throttled { retry_after: None }] {
        let mut w = Bench::two();
        w.store.clock = true;
        w.acquire(A);
        w.serve(A);
        w.pass(ms(10));
        let token = w.hold(B);
        w.store.delete();
        w.fail(A, fate, Trouble::Unavailable);
        w.run_only(A, secs(1));
        assert!(w.granted(A).unwrap() > token, "{fate:?}");
    }
    let mut w = Bench::two();
    w.store.clock = true;
    w.acquire(A);
    w.serve(A);
    w.pass(ms(10));
    let token = w.hold(B);
    w.store.delete();
    w.pass(ms(1));
    w.release(A);
    w.run_only(A, secs(1));
    assert!(w.record().token > token, "giving up makes a record too");
}

/// What is remembered is outdated: the write fails without harm, and the acquisition looks.
#[test]
fn an_outdated_memory_costs_one_write_that_fails() {
    for tells in [false, true] {
        let mut w = Bench::two();
        w.store.tells = tells;
        let first = w.hold(A);
        w.release(A);
        w.serve(A);
        w.hold(B);
        w.again(A);
        w.acquire(A);
        w.run(secs(1));
        assert!(!w.held(A));
        w.release(B);
        w.run(secs(10));
        assert_eq!(w.granted(A), Some(first.next().next()));
    }
}

/// Two see the same free record. The store lets one write through; the other waits, and is told by
/// whom it was beaten.
#[test]
fn of_two_that_race_one_wins() {
    let mut w = Bench::two();
    for who in [A, B] {
        w.acquire(who);
        w.serve(who);
    }
    w.serve(B);
    w.serve(A);
    assert!(w.granted(B).is_some());
    w.run_only(A, secs(1));
    assert!(!w.held(A));
    let rival = w.holder().unwrap().id;
    let told = w.events(A).into_iter().any(|e| match e {
        Event::Waiting { holder, .. } => holder.id == rival,
        _ => false,
    });
    assert!(told);
}

/// A record that was never written starts at the store's own time, because a name that was deleted
/// must not go back in its tokens. Only a store without a clock is helped out by the host.
#[test]
fn the_first_token_is_the_time() {
    let mut w = Bench::one();
    w.store.clock = true;
    assert_eq!(w.hold(A).0, EPOCH_MS + 1_000_000);
    let mut w = Bench::one();
    assert_eq!(w.hold(A).0, HOST_MS + 1_000_000);
}

/// The acquire landed and its answer was lost. We hold by it: from the moment it was sent, not from
/// the moment we learned of it.
#[test]
fn a_lost_answer_to_the_acquire_is_found_by_reading() {
    let mut w = Bench::one();
    w.acquire(A);
    w.serve(A);
    let sent = w.now(A).moment;
    w.arrive(A);
    w.pass(secs(6));
    w.time_out(A);
    w.pass(secs(2));
    assert!(w.reads(A));
    w.serve(A);
    let Some(Event::Granted { token, deadline, .. }) = w.events(A).pop() else { panic!() };
    assert_eq!((token, deadline.sent, deadline.span), (w.record().token, sent, secs(24)));
    assert_eq!(w.requests(A), 3);
    w.release(A);
    w.serve(A);
    assert_eq!(w.released(A), Some(Release::Freed));
    assert_eq!(w.holder(), None);
}

/// A library sends the write twice. The first copy lands, the second is refused, and only the
/// refusal comes back. It proves nothing: the lock is ours. (Five public lock projects got it wrong.)
#[test]
fn a_conflict_may_answer_the_second_copy_of_a_write_that_landed() {
    for tells in [false, true] {
        let mut w = Bench::one();
        w.store.tells = tells;
        w.acquire(A);
        w.serve(A);
        let first_copy = w.divert(A);
        assert!(w.land(&first_copy));
        w.serve(A);
        if !tells {
            assert!(w.reads(A));
            w.serve(A);
        }
        assert!(w.held(A), "tells: {tells}");
        assert!(w.granted(A).is_some());
    }
}

/// The store says "too many requests" and did the write all the same.
#[test]
fn a_throttled_write_may_have_landed() {
    let mut w = Bench::one();
    w.acquire(A);
    w.serve(A);
    w.arrive(A);
    w.fail(A, Fate::Throttled { retry_after: None }, Trouble::Unavailable);
    w.run(secs(1));
    assert!(w.held(A));
    assert_eq!(w.granted(A), Some(w.record().token));
    assert_eq!(w.requests(A), 3, "a read settles it");
}

/// Two writes of unknown outcome are on the same state, and the first of them lands late. An older
/// id must not be forgotten for a newer one, or we wait a whole ttl for ourselves.
#[test]
fn the_first_of_two_unknown_writes_lands() {
    let mut w = Bench::one();
    w.store.put(nobody(5).encode(), secs(0));
    w.acquire(A);
    w.serve(A);
    let sent = w.now(A).moment;
    let first = w.time_out(A);
    w.pass(secs(2));
    w.serve(A);
    let second = w.divert(A);
    assert_ne!(first.request, second.request);
    assert!(w.land(&first));
    w.serve(A);
    w.serve(A);
    let Some(Event::Granted { deadline, .. }) = w.events(A).pop() else { panic!() };
    assert_eq!(deadline.sent, sent, "it counts from the write that landed");
    assert!(!w.land(&second), "the other is dead");
}

/// The answer that the acquire landed comes when its lease is as good as over. It grants nothing;
/// the lease is renewed first, and the lock is ours by the renewal.
#[test]
fn an_answer_too_late_to_count_grants_nothing() {
    let mut w = Bench::one();
    w.acquire(A);
    w.serve(A);
    w.arrive(A);
    w.pass(secs(24));
    let token = w.record().token;
    w.answer(A);
    assert!(!w.held(A));
    assert_eq!(w.events(A), []);
    let sent = w.now(A).moment;
    assert_eq!(w.writes(A).1.holder().unwrap().renewals, 1);
    w.pass(secs(1));
    w.serve(A);
    let Some(Event::Granted { token: got, deadline, .. }) = w.events(A).pop() else { panic!() };
    assert_eq!((got, deadline.sent), (token, sent));
}

/// The clocks say that the host was paused, uncounted, while the acquire was on its way. How old the
/// write is cannot be known, so its landing grants nothing: a renewal sent afterwards does.
#[test]
fn a_pause_during_the_acquire_spoils_its_answer() {
    let mut w = Bench::one();
    w.acquire(A);
    w.serve(A);
    w.arrive(A);
    w.suspect(A);
    w.answer(A);
    assert!(!w.held(A), "the write may be older than the clocks say");
    w.serve(A);
    assert!(w.held(A));
    assert_eq!(w.granted(A), Some(w.record().token));
}

/// We gave up while the write was on its way. The write that frees the lock is conditioned on the
/// same state, so only one of the two can land: here it is ours that frees.
#[test]
fn giving_up_fences_the_write_on_its_way() {
    for stored in [None, Some(nobody(5))] {
        let mut w = Bench::one();
        if let Some(record) = &stored {
            w.store.put(record.encode(), secs(0));
        }
        w.acquire(A);
        w.serve(A);
        let late = w.divert(A);
        w.release(A);
        if stored.is_none() {
            // A record is only made straight after a look, which dates its token.
            w.serve(A);
        }
        assert_eq!(w.writes(A).1.holders, []);
        w.serve(A);
        assert_eq!(w.released(A), Some(Release::NotHeld));
        assert!(!w.land(&late), "nobody waits for it, so it must not land");
        assert_eq!(w.holder(), None);
    }
}

/// The same, but the acquire lands first. It is found by reading, and freed.
#[test]
fn giving_up_frees_the_write_that_landed_first() {
    let mut w = Bench::one();
    w.acquire(A);
    w.serve(A);
    let late = w.divert(A);
    w.release(A);
    assert!(w.land(&late));
    w.run(ms(1));
    assert_eq!(w.released(A), Some(Release::NotHeld));
    assert_eq!(w.holder(), None, "no ghost holds the lock");
    assert_eq!(w.granted(A), None);
}

/// Giving up while another's lease, already over, is being taken over: the lock is freed, because
/// nothing less keeps the late write out. A lease that is not over is never touched.
#[test]
fn giving_up_a_takeover_leaves_the_lock_free() {
    let mut w = Bench::two();
    let token = w.hold(A);
    w.crash(A);
    w.acquire(B);
    w.serve(B);
    w.pass(secs(31));
    while !w.flies(B) || w.reads(B) {
        w.serve(B);
        w.pass(ms(100));
    }
    let late = w.divert(B);
    w.release(B);
    w.serve(B);
    assert!(!w.land(&late));
    assert_eq!((w.holder(), w.record().token), (None, token));
    assert_eq!(w.record().past.unwrap().ended, Ended::TakenOver);
}

/// A trial asks once and waits for nobody: who holds is the answer, for one read.
#[test]
fn a_trial_asks_once() {
    let mut w = Bench::two();
    w.acquire_with(A, Patience::Try);
    w.run(ms(1));
    let token = w.granted(A).unwrap();
    w.acquire_with(B, Patience::Try);
    w.serve(B);
    let holder = w.holder().unwrap();
    let told = [
        Event::NotAcquired { rival: Some((holder, token)), rests: false },
        Event::Released(Release::NotHeld),
    ];
    assert_eq!(w.events(B), told);
    assert_eq!(w.requests(B), 1);
}

/// Who only wants to know when the lock is free reads until it is, and never writes.
#[test]
fn looking_takes_nothing() {
    let mut w = Bench::two();
    let token = w.hold(A);
    w.clients[B].awaits = true;
    w.step(B, Input::Look(Patience::Forever));
    w.run(secs(20));
    assert!(w.clients[B].awaits && w.held(A));
    w.release(A);
    w.run(secs(20));
    let told = w.events(B);
    assert_eq!(told[told.len() - 2..], [Event::Free, Event::Released(Release::NotHeld)]);
    assert_eq!((w.record().token, w.holder()), (token, None));

    // What is remembered may be outdated, so it answers nothing.
    w.again(B);
    w.step(B, Input::Look(Patience::Try));
    assert!(w.reads(B));
}

/// A limited patience ends on time, also when the store hangs.
#[test]
fn a_limited_patience_ends_on_time() {
    for served in [false, true] {
        let mut w = Bench::two();
        let token = w.hold(A);
        w.acquire_with(B, Patience::AtMost(secs(9)));
        let start = w.time;
        w.pass_while(secs(20), |i| i == A || served);
        let (at, event) = w.timed_events(B).into_iter().rfind(|(_, e)| !is_end(e)).unwrap();
        let rival = served.then(|| (w.holder().unwrap().id, token));
        let Event::NotAcquired { rival: told, .. } = event else { panic!("{event:?}") };
        assert_eq!((at - start, told.map(|(h, t)| (h.id, t))), (secs(9), rival));
        assert!(w.clients[B].lease.has_ended());
    }
}

fn is_end(event: &Event) -> bool {
    matches!(event, Event::Released(_))
}

/// A race was lost, and the wait that politeness asks for happens to be of no length. The next look
/// must follow all the same, not at the end of the patience.
#[test]
fn a_polite_wait_of_no_length_still_ends() {
    let mut w = Bench::two();
    w.unlucky = true;
    w.acquire_with(A, Patience::AtMost(secs(600)));
    w.serve(A);
    w.hold(B);
    w.release(B);
    w.serve(B);
    w.serve(A);
    w.run(secs(2));
    assert!(w.held(A));
}

/// A free record with a past tells the next holder how it came to be free.
#[test]
fn the_granted_learn_who_was_before() {
    let mut w = Bench::two();
    w.hold(A);
    w.store.force(w.time);
    w.hint(A);
    w.serve(A);
    assert!(matches!(w.lost(A), Some(Loss::Ended(Some(past))) if past.ended == Ended::Forced));
    w.acquire(B);
    w.serve(B);
    w.serve(B);
    let Some(Event::Granted { record, .. }) = w.events(B).pop() else { panic!() };
    let past = record.past.unwrap();
    assert_eq!(past.reason.as_deref(), Some("stuck"));
}
