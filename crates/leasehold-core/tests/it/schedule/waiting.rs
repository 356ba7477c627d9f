//! Schedules of waiting: when a lease of another may be taken over, and when not.

use leasehold_core::lease::{Sighting, Watch};

use super::*;

/// B has seen A's record and polls. A's process is gone.
fn orphan() -> (Bench, Duration) {
    let mut w = Bench::two();
    w.hold(A);
    w.crash(A);
    w.pass(secs(7));
    w.acquire(B);
    let seen = w.time;
    w.serve(B);
    (w, seen)
}

/// How long after `start` B is granted, everything being served at once.
fn granted_after(w: &mut Bench, start: Duration) -> Option<Duration> {
    w.run(secs(300));
    let events = w.timed_events(B);
    events.into_iter().find(|(_, e)| matches!(e, Event::Granted { .. })).map(|(at, _)| at - start)
}

/// A dead holder's lock is taken over a whole ttl after the waiter first saw it, not earlier: when
/// the lease began, the waiter cannot know. And not much later either.
#[test]
fn a_dead_holder_is_followed_a_whole_ttl_after_it_was_first_seen() {
    let (mut w, seen) = orphan();
    let token = w.record().token;
    let after = granted_after(&mut w, seen).unwrap();
    assert!(after >= secs(30) && after < secs(30) + ms(500), "{after:?}");
    assert_eq!(w.record().token, token.next());
}

/// The look took five seconds. The ttl counts from when its answer came: what the answer shows may
/// have been written just before.
#[test]
fn patience_counts_from_the_answer() {
    let mut w = Bench::two();
    w.acquire(B);
    w.pass(secs(1));
    w.hold(A);
    w.crash(A);
    w.arrive(B);
    w.pass(secs(5));
    w.answer(B);
    let seen = w.time;
    assert!(granted_after(&mut w, seen).unwrap() >= secs(30));
}

/// The waiter's host slept for an hour. The clock that counts it proves nothing about the holder,
/// whose own clock may not have run: a waiter believes the clock that says less.
#[test]
fn a_waiter_does_not_count_the_sleep_of_its_host() {
    let (mut w, seen) = orphan();
    w.suspend(B, secs(3600));
    w.wake(B);
    assert!(granted_after(&mut w, seen).unwrap() >= secs(30));
}

/// Every renewal that is seen starts the ttl anew. A living holder is never followed.
#[test]
fn a_renewal_starts_the_patience_anew() {
    let mut w = Bench::two();
    w.hold(A);
    w.acquire(B);
    w.run(secs(300));
    assert!(w.held(A));
    let renewals = w.holder().unwrap().renewals;
    assert!(renewals >= 29);
    w.crash(A);
    let start = w.time;
    let after = granted_after(&mut w, start).unwrap();
    assert!(after >= secs(20) && after <= secs(41), "{after:?}");
}

/// The holder's ttl decides, and it stands in the record: a waiter with a short one does not take
/// the lock from a holder with a long one.
#[test]
fn a_waiter_goes_by_the_ttl_in_the_record() {
    for (ttl, rival) in [(secs(30), secs(3)), (secs(3), secs(30))] {
        let mut w = Bench::with([settings(ttl), settings(rival)]);
        w.hold(A);
        w.crash(A);
        w.acquire(B);
        let start = w.time;
        let after = granted_after(&mut w, start).unwrap();
        assert!(after >= ttl && after < ttl + ms(500), "{after:?}");
    }
}

/// A takeover delay keeps others out for longer after an expiry, and not after a release.
#[test]
fn a_takeover_delay_counts_after_an_expiry_only() {
    for clock in [false, true] {
        let patient = Settings { takeover_delay: secs(15), ..settings(secs(30)) };
        let mut w = Bench::with([patient, settings(secs(30))]);
        w.store.clock = clock;
        w.hold(A);
        w.acquire(B);
        w.serve(B);
        w.release(A);
        w.serve(A);
        let start = w.time;
        assert!(granted_after(&mut w, start).unwrap() < secs(1));

        w.release(B);
        w.run(ms(1));
        w.again(B);
        w.crash(A);
        w.hold(A);
        w.crash(A);
        w.acquire(B);
        let start = w.time;
        let after = granted_after(&mut w, start).unwrap();
        assert!(after >= secs(45) && after < secs(46), "{after:?}");
    }
}

/// A store with a clock says how long the record has stood, and a newcomer need not wait a ttl of
/// its own. The error of that clock is waited for in addition.
#[test]
fn an_old_record_is_followed_by_its_age() {
    let mut w = Bench::two();
    w.store.clock = true;
    w.hold(A);
    w.crash(A);
    let start = w.time;
    w.pass(secs(32) - ms(200));
    w.acquire(B);
    w.serve(B);
    assert!(w.granted(B).is_none() && !w.flies(B), "30 s of ttl and 2 s of uncertainty");
    let after = granted_after(&mut w, start).unwrap();
    assert!(after >= secs(32) && after < secs(32) + ms(500), "{after:?}");
}

/// What a read said about the age is not carried over to the next state.
#[test]
fn an_age_belongs_to_the_state_it_was_told_of() {
    let mut w = Bench::two();
    w.store.clock = true;
    w.hold(A);
    w.freeze(A, secs(31), |_| false);
    w.acquire(B);
    w.serve(B);
    w.crash(A);
    // Another is faster and takes the lock at the age of 32 seconds.
    w.pass(secs(1));
    w.serve(B);
    w.hold(A);
    w.serve(B);
    w.run_only(B, secs(10));
    assert!(w.granted(B).is_none());
    assert!(w.held(A));
}

/// Where the store can prove that the writer has ended, nobody waits for anything.
#[test]
fn an_orphan_is_followed_at_once() {
    let mut w = Bench::two();
    w.hold(A);
    w.crash(A);
    w.store.orphaned = true;
    w.hold(B);
    assert!(w.held(B));
}

/// ... unless its holder asked for a takeover delay: what it started may still be running elsewhere.
#[test]
fn an_orphan_with_a_takeover_delay_is_waited_for() {
    let patient = Settings { takeover_delay: secs(15), ..settings(secs(30)) };
    let mut w = Bench::with([patient, settings(secs(30))]);
    w.hold(A);
    w.crash(A);
    w.store.orphaned = true;
    w.acquire(B);
    let start = w.time;
    assert!(granted_after(&mut w, start).unwrap() >= secs(45));
}

/// One-shot trials of one process add up: what the first has seen counts for the next.
#[test]
fn trials_of_one_process_share_what_was_seen() {
    let mut w = Bench::two();
    w.hold(A);
    w.crash(A);
    for _ in 0..3 {
        w.acquire_with(B, Patience::Try);
        w.serve(B);
        assert!(w.clients[B].lease.has_ended());
        w.again(B);
        w.pass(secs(10));
    }
    w.acquire_with(B, Patience::Try);
    w.run(ms(1));
    assert!(w.granted(B).is_some());
}

/// A job of cron tries once a minute, each time as a new process: what one of them saw helps the next. It
/// is the span of the clock that says less, and whatever does not fit is not believed.
#[test]
fn trials_of_several_processes_share_what_was_seen() {
    let watched = |w: &mut Bench| {
        w.acquire_with(B, Patience::Try);
        w.serve(B);
        assert!(w.clients[B].lease.has_ended() && w.granted(B).is_none());
        let watch = w.clients[B].lease.watch();
        w.crash(B);
        watch
    };
    let tries = |w: &mut Bench, watch: &Watch| {
        let now = w.now(B).moment;
        w.knows(B, Memory::default().and(watch.clone(), now));
        w.acquire_with(B, Patience::Try);
        w.run(ms(1));
        w.granted(B).is_some()
    };
    let dead = || {
        let mut w = Bench::two();
        w.hold(A);
        w.crash(A);
        let watch = watched(&mut w);
        (w, watch)
    };
    let (mut w, watch) = dead();
    w.pass(secs(29));
    assert!(!tries(&mut w, &watch));
    w.pass(secs(1));
    assert!(tries(&mut w, &watch));

    let (mut w, watch) = dead();
    w.suspend(B, secs(3600));
    w.pass(secs(29));
    assert!(!tries(&mut w, &watch), "a sleep is not counted");

    let (mut w, mut watch) = dead();
    w.pass(secs(60));
    watch.sighting.as_mut().expect("a holder was seen").since.mono += secs(3600);
    assert!(!tries(&mut w, &watch), "from the future");

    let changes: [fn(&mut Sighting); 3] = [
        |s| s.token = s.token.next(),
        |s| s.holder = HolderId(s.holder.0 + 1),
        |s| s.renewals += 1,
    ];
    for change in changes {
        let (mut w, mut watch) = dead();
        w.pass(secs(60));
        change(watch.sighting.as_mut().expect("a holder was seen"));
        assert!(!tries(&mut w, &watch), "of another lease");
    }

    let mut w = Bench::two();
    w.hold(A);
    let watch = watched(&mut w);
    w.run_only(A, secs(300));
    assert!(!tries(&mut w, &watch) && w.held(A), "it was renewed");
}

/// The takeover is conditioned on the state that was judged. A renewal that lands in between wins.
#[test]
fn a_renewal_in_the_last_moment_beats_the_takeover() {
    let mut w = Bench::two();
    w.hold(A);
    w.pass(secs(10));
    let renewal = w.divert(A);
    w.acquire(B);
    w.freeze(A, secs(29), |i| i == B);
    while w.reads(B) || !w.flies(B) {
        if w.flies(B) {
            w.serve(B);
        }
        w.freeze(A, ms(10), |_| false);
    }
    assert!(w.land(&renewal));
    w.serve(B);
    w.run_only(B, secs(20));
    assert!(w.granted(B).is_none());
}

/// One acquisition can come to hold twice: its first write landed unseen, ran out, was taken over and
/// given back, and then it writes again, under the same holder id and at the renewal count 0. Who
/// saw the first lease must not take the second for it, or two hold at once.
#[test]
fn a_second_lease_of_one_acquisition_is_not_taken_for_the_first() {
    let mut w = Bench::with([settings(secs(30)), settings(secs(30)), settings(secs(30))]);
    let (waiter, passer) = (B, 2);
    w.acquire(A);
    w.serve(A);
    w.arrive(A);
    let first = w.record();
    // A's process is frozen. Two others see its lease, and one of them, a little earlier, takes it
    // over and is through with it while the other sleeps.
    w.acquire(passer);
    w.serve(passer);
    w.pass(ms(500));
    w.acquire(waiter);
    w.serve(waiter);
    w.freeze(A, secs(29), |i| i != A);
    w.freeze(A, ms(600), |i| i == passer);
    assert!(w.granted(passer).is_some());
    w.release(passer);
    w.serve(passer);
    // A goes on: its write came to nothing, as far as it can tell, and it writes again.
    w.time_out(A);
    w.freeze(waiter, ms(200), |i| i == A);
    assert!(w.held(A));
    let second = w.record();
    assert_eq!(first.holder().unwrap().id, second.holder().unwrap().id);
    assert!(first.token < second.token);
    w.run_only(waiter, secs(9));
    assert!(w.held(A) && !w.held(waiter), "two hold");
}

/// A store that answers with an older state than before has broken its promise. That state restarts
/// no timer, and when there is nothing else for a whole ttl, the waiter says so.
#[test]
fn an_older_state_restarts_no_timer() {
    let mut w = Bench::two();
    w.hold(A);
    w.release(A);
    w.arrive(A);
    let (_, before) = w.writes(A);
    let old = Reply::Read {
        seen: leasehold_core::lease::Seen {
            state: Expected::Version(leasehold_core::backend::Version::new("v0")),
            record: Some(before.clone()),
        },
        age: None,
        orphaned: false,
        unix_ms: None,
    };
    w.answer(A);
    w.again(A);
    w.hold(A);
    w.crash(A);
    w.acquire(B);
    w.serve(B);
    let seen = w.time;
    w.events(B);
    for _ in 0..10 {
        while !w.flies(B) {
            w.pass(ms(100));
        }
        w.reply(B, old.clone());
        assert!(w.granted(B).is_none(), "an older state that is free is nothing to take");
    }
    let after = granted_after(&mut w, seen).unwrap();
    assert!(after >= secs(30) && after < secs(31), "{after:?}");
    w.again(B);
    w.acquire(B);
    while !w.clients[B].lease.has_ended() {
        match w.reads(B) {
            true => drop(w.reply(B, old.clone())),
            false if w.flies(B) => w.serve(B),
            false => w.pass(ms(100)),
        }
    }
    assert_eq!(w.failed(B), Some(Failure::Stale));
}

/// A waiter that was deleted from under: the name is free, and its token goes on above the last one
/// that was seen, even where the store has no clock and the host's stands in the past.
#[test]
fn a_deleted_name_goes_on_above_every_token_seen() {
    let mut w = Bench::two();
    let far = FencingToken(HOST_MS * 2);
    let mut record = {
        w.hold(A);
        w.record()
    };
    record.token = far;
    w.store.put(record.encode(), w.time);
    w.acquire(B);
    w.serve(B);
    w.store.delete();
    w.run_only(B, secs(10));
    assert_eq!(w.granted(B), Some(far.next()));
}

/// A hint makes a waiter look at once instead of at its next poll.
#[test]
fn a_hint_wakes_a_waiter() {
    let mut w = Bench::two();
    w.hold(A);
    w.acquire(B);
    w.run(secs(8));
    w.release(A);
    w.serve(A);
    assert!(!w.flies(B));
    w.hint(B);
    assert!(w.reads(B));
    w.serve(B);
    w.serve(B);
    assert!(w.held(B));
}
