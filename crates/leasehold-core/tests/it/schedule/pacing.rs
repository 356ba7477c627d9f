//! Schedules on a store that takes one write a second for each record, and says so when it is asked for
//! more.

use super::*;

const SECOND: Duration = secs(1);

/// Clients of such a store, with a ttl of 30 seconds.
fn paced<const N: usize>() -> Bench {
    let mut settings = settings(secs(30));
    settings.facts.least_write_interval = SECOND;
    Bench::with([(); N].map(|()| settings.clone()))
}

impl Bench {
    /// A client that knows nothing of the limit takes the lock.
    fn hold_whatever_the_limit(&mut self, who: usize) {
        let holder = HolderId(self.clients[who].grants);
        self.clients[who].lease = Wish::from(settings(secs(30))).lease(holder, Memory::default());
        self.hold(who);
    }
}

/// The user lets go at once. The release waits until the lock's own write is a second old, and is then
/// sent without another look.
#[test]
fn a_release_waits_for_the_limit() {
    let mut w = paced::<1>();
    w.hold(A);
    w.requests(A);
    w.pass(ms(200));
    w.release(A);
    w.pass(ms(790));
    assert!(!w.flies(A), "too early for the store");
    w.pass(ms(20));
    assert_eq!(w.writes(A).1.holders.len(), 0);
    w.serve(A);
    assert_eq!((w.released(A), w.requests(A)), (Some(Release::Freed), 1));
}

/// The same process wants it again at once. It knew of the release before all others, and would always
/// be the first: so it waits twice the limit and some more, and looks before it writes. Another who waits
/// gets a turn.
#[test]
fn who_has_just_released_lets_others_go_first() {
    for another in [false, true] {
        let mut w = paced::<2>();
        w.hold(A);
        if another {
            w.acquire(B);
            w.serve(B);
        }
        w.pass(secs(2));
        w.release(A);
        w.serve(A);
        w.again(A);
        w.acquire(A);
        if another {
            w.run(secs(4));
            assert!(w.held(B) && !w.held(A));
        } else {
            w.pass(ms(1_990));
            assert!(!w.flies(A), "others may have seen it later");
            w.pass(ms(1_020));
            assert!(w.reads(A));
            w.run(ms(10));
            assert!(w.held(A));
        }
    }
}

/// After a while it is taken as before, with one write.
#[test]
fn what_was_released_long_ago_is_taken_with_one_write() {
    let mut w = paced::<1>();
    w.hold(A);
    w.pass(secs(2));
    w.release(A);
    w.serve(A);
    w.pass(secs(3));
    w.again(A);
    w.acquire(A);
    w.requests(A);
    w.serve(A);
    assert!(w.held(A));
    assert_eq!(w.requests(A), 0);
}

/// A waiter sees that it has just become free. It does not write into the limit, and looks again before it
/// writes: by then another may have it, and then nothing is written.
#[test]
fn a_waiter_looks_again_after_the_limit() {
    for another in [false, true] {
        let mut w = paced::<2>();
        w.hold(A);
        w.acquire(B);
        w.serve(B);
        w.pass(secs(2));
        w.release(A);
        w.serve(A);
        w.run_only(B, ms(900));
        assert!(!w.flies(B) && !w.held(B), "it has seen it, and waits");
        if another {
            w.crash(A);
            w.hold_whatever_the_limit(A);
        }
        w.pass(ms(600));
        assert!(w.reads(B), "it looks before it writes");
        w.serve(B);
        assert_eq!(w.flies(B), !another, "it writes if it is still free");
        w.run_only(B, ms(50));
        assert_eq!((w.held(B), w.held(A)), (!another, another));
    }
}

/// What the store's clock says counts too, less what it may be wrong by: a record that nobody touched for
/// long is taken without a pause.
#[test]
fn an_old_record_needs_no_pause() {
    let mut w = paced::<2>();
    w.store.clock = true;
    w.hold(A);
    w.pass(secs(2));
    w.release(A);
    w.serve(A);
    w.pass(secs(60));
    w.acquire(B);
    w.serve(B);
    assert!(w.flies(B), "it writes at once");
    w.serve(B);
    assert!(w.held(B));
}

/// The store asks for patience, without a word on how long. Nobody asks again within its limit, and
/// whoever holds nothing doubles its patience every time, so that a holder's renewals get through.
#[test]
fn whoever_holds_nothing_is_more_patient() {
    let mut w = paced::<2>();
    let throttled = Fate::Throttled { retry_after: None };
    let pauses = |w: &mut Bench, who: usize| {
        let mut pauses = vec![];
        for _ in 0..3 {
            w.fail(who, throttled, Trouble::Unavailable);
            let before = w.time;
            while !w.flies(who) {
                w.pass(ms(10));
            }
            pauses.push((w.time - before).as_secs());
        }
        pauses
    };
    w.acquire(B);
    let waiter = pauses(&mut w, B);
    assert!(waiter[0] >= 1 && waiter[1] >= 2 && waiter[2] >= 4, "{waiter:?}");
    w.crash(B);
    w.hold(A);
    w.pass(secs(10));
    assert!(w.flies(A), "the renewal is due");
    let holder = pauses(&mut w, A);
    assert!(holder.iter().all(|pause| *pause == 1), "{holder:?}");
    w.run(secs(1));
    assert!(w.held(A));
}

/// A loop of short-lived processes: each finds the lock just released, by the one before, at its first
/// look. It gives way as that one would, and who has waited meanwhile gets the turn. Alone it waits twice
/// the limit at most and some more; if the lock lay there for long, not at all.
#[test]
fn a_newcomer_gives_way_to_those_who_wait() {
    for another in [false, true] {
        let mut w = paced::<3>();
        w.store.clock = true;
        w.hold(A);
        if another {
            w.acquire(B);
            w.serve(B);
        }
        w.pass(secs(2));
        w.release(A);
        w.serve(A);
        w.acquire(C);
        w.serve(C);
        if another {
            w.run(secs(4));
            assert!(w.held(B) && !w.held(C));
        } else {
            w.pass(ms(1_900));
            assert!(!w.flies(C), "others may have seen it later");
            w.run(ms(1_200));
            assert!(w.held(C));
        }
    }
}

/// It does not wait who does not wait for others: one try costs no more than the limit.
#[test]
fn a_trial_gives_nobody_the_way() {
    let mut w = paced::<2>();
    w.hold(A);
    w.pass(secs(2));
    w.release(A);
    w.serve(A);
    w.acquire_with(B, Patience::Try);
    w.serve(B);
    w.run(ms(1_100));
    assert!(w.held(B));
}
