//! Schedules with a store that refuses, throttles, is away, or holds what is no record.

use leasehold_core::record::{BadRecord, Kind};

use super::*;

/// What cannot be read is never written over, and the one who wanted the lock is told what stands
/// there.
#[test]
fn what_is_no_record_is_reported_and_left_alone() {
    let newer: &[u8] = br#"{"leasehold":2,"kind":"something else"}"#;
    for bytes in [b"".as_slice(), b"{", b"not a lock", br#"{"lock":"of another program"}"#, newer] {
        for tells in [false, true] {
            let mut w = Bench::one();
            w.store.tells = tells;
            w.acquire(A);
            if tells {
                // It appears only after the first look, and is told with a refused write.
                w.serve(A);
            }
            w.store.put(bytes, w.time);
            w.serve(A);
            let Some(Failure::Unreadable(bad)) = w.failed(A) else { panic!() };
            assert_eq!(bad == BadRecord::NewerFormat(2), bytes == newer);
            assert!(w.clients[A].lease.has_ended());
            assert!(!w.flies(A));
        }
    }
}

/// One name is one kind. Who wants a mutex where an election is held is told so.
#[test]
fn a_name_of_another_kind_is_refused() {
    let mut w = Bench::one();
    w.hold(A);
    let mut record = w.record();
    record.kind = Kind::Election;
    w.store.put(record.encode(), w.time);
    w.crash(A);
    w.acquire(A);
    w.serve(A);
    assert_eq!(w.failed(A), Some(Failure::WrongKind(Kind::Election)));
    assert!(w.clients[A].lease.has_ended() && !w.flies(A));
}

/// A record has the last token that there is, from a stranger or from a clock far in the future. Who
/// wants the lock is told so: the next token would make a record that nobody can read. A deletion
/// later, it is still known that no token is left. Found by fuzzing.
#[test]
fn the_last_token_is_given_to_nobody() {
    let mut w = Bench::one();
    w.hold(A);
    let mut record = w.record();
    record.token = FencingToken(FencingToken::MAX.0 - 1);
    record.holders.clear();
    w.crash(A);
    w.store.put(record.encode(), w.time);
    w.acquire(A);
    w.serve(A);
    assert_eq!(w.failed(A), Some(Failure::Unreadable(BadRecord::Spent)));
    assert!(w.clients[A].lease.has_ended() && !w.flies(A));
}

/// A store's clock is beyond all reason. The record that is made can be read, and taken over later.
/// Found by fuzzing.
#[test]
fn a_mad_clock_does_not_use_up_all_tokens() {
    let mut w = Bench::one();
    w.acquire(A);
    let seen = leasehold_core::lease::Seen { state: Expected::Absent, record: None };
    let unix_ms = Some(u64::MAX);
    w.reply(A, Reply::Read { seen, age: None, orphaned: false, unix_ms });
    let (_, record) = w.writes(A);
    assert_eq!(Record::decode(&record.encode()).as_ref(), Ok(record));
    assert!(!record.token.next().is_last());
}

/// Without the right to do it, waiting helps nobody: it fails at once.
#[test]
fn a_denied_acquire_fails_at_once() {
    for trouble in [Trouble::Denied, Trouble::Invalid, Trouble::Corrupt] {
        let mut w = Bench::one();
        w.acquire(A);
        w.fail(A, Fate::Unknown, trouble);
        assert_eq!(w.failed(A), Some(Failure::Backend(trouble)));
        assert!(w.clients[A].lease.has_ended());
    }
}

/// The read was allowed and the write is not. No write of ours may land later, so it is fenced; that is
/// denied too, and then the end is said to be unconfirmed rather than left open for ever.
#[test]
fn a_denied_write_ends() {
    let mut w = Bench::one();
    w.acquire(A);
    w.serve(A);
    w.fail(A, Fate::Unknown, Trouble::Denied);
    assert_eq!(w.failed(A), Some(Failure::Backend(Trouble::Denied)));
    w.fail(A, Fate::Unknown, Trouble::Denied);
    assert_eq!(w.released(A), Some(Release::Unconfirmed));
}

/// A store that is away is waited for, for a ttl; by a trial for a sixth of one.
#[test]
fn a_store_that_is_away_is_waited_for_but_not_for_ever() {
    for (patience, least, most) in
        [(Patience::Forever, secs(30), secs(32)), (Patience::Try, secs(5), secs(7))]
    {
        let mut w = Bench::one();
        w.acquire_with(A, patience);
        let start = w.time;
        while !w.clients[A].lease.has_ended() {
            if w.flies(A) {
                w.fail(A, Fate::NotSent, Trouble::Unavailable);
            }
            w.pass(ms(100));
        }
        let took = w.time - start;
        assert!(took >= least && took <= most, "{took:?}");
        assert_eq!(w.failed(A), Some(Failure::Backend(Trouble::Unavailable)));
        assert!(!w.flies(A));
    }
}

/// A full disk: every look at a new name is answered, and no record of it can be made. That a look between
/// two failing writes went well is no reason to go on for ever, or to ask a hundred times a second.
#[test]
fn a_store_that_answers_and_takes_no_write_is_as_good_as_away() {
    for (patience, least, most) in
        [(Patience::Forever, secs(30), secs(32)), (Patience::Try, secs(5), secs(7))]
    {
        let mut w = Bench::one();
        w.acquire_with(A, patience);
        let (start, mut writes) = (w.time, 0);
        while !w.clients[A].lease.has_ended() {
            if w.reads(A) {
                w.serve(A);
            } else if w.flies(A) {
                writes += 1;
                w.fail(A, Fate::NotSent, Trouble::Unavailable);
            } else {
                w.pass(ms(20));
            }
        }
        let took = w.time - start;
        assert!(took >= least && took <= most, "{took:?}");
        assert_eq!(w.failed(A), Some(Failure::Backend(Trouble::Unavailable)));
        assert!(writes < 60, "{writes} writes");
    }
}

/// There is room again after some time, before the waiter has given up.
#[test]
fn a_store_that_takes_writes_again_is_used() {
    let mut w = Bench::one();
    w.acquire(A);
    let start = w.time;
    while w.time - start < secs(25) {
        if w.reads(A) {
            w.serve(A);
        } else if w.flies(A) {
            w.fail(A, Fate::NotSent, Trouble::Unavailable);
        } else {
            w.pass(ms(20));
        }
    }
    w.run(secs(2));
    assert!(w.held(A));
}

/// The store comes back in time: nothing is lost but the time.
#[test]
fn a_store_that_comes_back_is_used() {
    let mut w = Bench::one();
    w.acquire(A);
    for _ in 0..20 {
        while !w.flies(A) {
            w.pass(ms(100));
        }
        w.time_out(A);
    }
    w.run(secs(2));
    assert!(w.held(A));
}

/// The store says when to come back. Coming earlier makes it worse for everybody.
#[test]
fn nobody_comes_back_before_the_store_said() {
    for _ in 0..20 {
        let mut w = Bench::one();
        w.acquire(A);
        let start = w.time;
        w.fail(A, Fate::Throttled { retry_after: Some(secs(4)) }, Trouble::Unavailable);
        while !w.flies(A) {
            w.pass(ms(50));
        }
        let after = w.time - start;
        assert!(after >= secs(4) && after <= secs(7), "{after:?}");
    }
}

/// The store asks a holder to come back in an hour. It comes in time for its deadline instead.
#[test]
fn a_holder_comes_back_in_time_whatever_the_store_says() {
    let mut w = Bench::one();
    w.hold(A);
    w.pass(secs(10));
    w.fail(A, Fate::Throttled { retry_after: Some(secs(3600)) }, Trouble::Unavailable);
    w.run(secs(14) - ms(1));
    assert!(w.held(A));
    assert!(matches!(w.events(A).pop(), Some(Event::Renewed(_))));
}

/// "Try again at once" is taken at its word, and is no way to fall asleep.
#[test]
fn a_wait_of_no_length_is_no_sleep() {
    let mut w = Bench::one();
    w.hold(A);
    w.pass(secs(10));
    w.fail(A, Fate::Throttled { retry_after: Some(Duration::ZERO) }, Trouble::Unavailable);
    w.run(secs(1));
    assert!(matches!(w.events(A).pop(), Some(Event::Renewed(_))));
}

/// A write that is proven never to have left is simply written again, without a look in between.
#[test]
fn a_write_that_never_left_is_sent_again() {
    let mut w = Bench::one();
    w.hold(A);
    w.release(A);
    w.serve(A);
    w.again(A);
    w.acquire(A);
    w.fail(A, Fate::NotSent, Trouble::Unavailable);
    w.pass(secs(1));
    assert!(w.flies(A) && !w.reads(A));
    w.serve(A);
    assert!(w.held(A));
}

/// Replies to requests that were given up say nothing any more, whatever they say.
#[test]
fn an_answer_to_an_earlier_request_is_ignored() {
    let mut w = Bench::one();
    w.hold(A);
    w.pass(secs(10));
    w.arrive(A);
    let flight = w.divert(A);
    w.time_out(A);
    w.pass(secs(2));
    w.events(A);
    w.step(A, Input::Reply(flight.number, flight.answer.unwrap()));
    assert_eq!(w.events(A), []);
    assert!(w.reads(A));
    w.step(A, Input::Reply(999, Reply::Conflict));
    assert!(w.reads(A));
    w.serve(A);
    assert!(matches!(w.events(A)[..], [Event::Renewed(_)]));
}

/// Every write is refused and no read shows why: a store that is broken. A holder keeps asking until
/// its deadline, but not as fast as the network lets it.
#[test]
fn refusals_without_a_reason_do_not_become_a_storm() {
    let mut w = Bench::one();
    w.hold(A);
    let start = w.time;
    while w.time < start + secs(24) {
        match w.flies(A) {
            true if w.reads(A) => w.serve(A),
            true => drop(w.reply(A, Reply::Conflict)),
            false => w.pass(ms(5)),
        }
        w.pass(ms(5));
    }
    let requests = w.requests(A);
    assert!(requests < 500, "{requests} requests in 14 seconds");
}
