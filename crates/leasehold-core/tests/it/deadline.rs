//! The rules of time, as properties; and which names a lock may have.

use std::time::Duration;

use leasehold_core::backend::{Key, is_invisible};
use leasehold_core::deadline::{Deadline, Moment, POLL_STEPS, Poll, TTL_MAX, TTL_MIN};
use leasehold_core::deadline::{backoff, belief, jitter, margin, renewal_due, request_timeout};
use leasehold_core::deadline::{suspicious_jump, takeover_age, takeover_due, ttl_min};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const TTLS_MS: [u64; 9] = [100, 101, 999, 1000, 12_345, 30_000, 600_000, 3_600_001, 86_400_000];

/// What a clock of this rate (in millionths) counts in so many microseconds of true time.
fn counted(true_micros: u64, rate: u64) -> Moment {
    let local = Duration::from_micros(true_micros * rate / 1_000_000);
    Moment { boot: local, mono: local }
}

/// The margin covers clocks that are off by a ninth, 11.1 %, in opposite directions. It is the very
/// formula of the proof: `m >= ttl * 2 rho / (1 + rho)`, and with `rho = 1/9` that is a fifth.
#[test]
fn the_margin_covers_a_ninth() {
    for ttl in TTLS_MS {
        let (ttl_us, margin_us) = (u128::from(ttl) * 1000, margin(ms(ttl)).as_micros());
        assert!(margin_us * (9 + 1) >= ttl_us * 2, "ttl {ttl} ms");
        assert_eq!(belief(ms(ttl)) + margin(ms(ttl)), ms(ttl));
    }
}

/// For every pair of rates within a ninth of true time: at the moment a waiter may start, if it saw
/// the write in the instant it was sent, the holder has stopped. Some pairs a little further off do
/// overlap, so the test could fail.
#[test]
fn within_the_tolerated_rates_nobody_overlaps() {
    let overlaps = |ttl: u64, holder: u64, waiter: u64| {
        let starts = (takeover_due(ms(ttl), Duration::ZERO).as_micros() * 1_000_000)
            .div_ceil(u128::from(waiter));
        let now = counted(u64::try_from(starts).unwrap(), holder);
        !Deadline::of_write(Moment::default(), ms(ttl)).is_past(now)
    };
    let (slow, fast) = (888_889, 1_111_111);
    for ttl in [100, 30_000, 3_600_001] {
        for holder in (slow..=fast).step_by(1_111) {
            for waiter in (slow..=fast).step_by(1_111) {
                assert!(!overlaps(ttl, holder, waiter), "{ttl} ms, {holder} and {waiter}");
            }
        }
        assert!(!overlaps(ttl, slow, fast));
        assert!(overlaps(ttl, 880_000, 1_120_000), "12 % is too much");
    }
}

/// A host that sleeps counts it on one clock only. Its holder goes by the clock that says more, its
/// waiter by the one that says less, and a clock that seems to run backwards counts nothing.
#[test]
fn a_holder_counts_the_most_and_a_waiter_the_least() {
    let sent = Moment { boot: ms(100_000), mono: ms(50_000) };
    let awake = Moment { boot: ms(110_000), mono: ms(60_000) };
    let slept = Moment { boot: ms(190_000), mono: ms(60_000) };
    for (now, longest, shortest) in
        [(sent, 0, 0), (awake, 10_000, 10_000), (slept, 90_000, 10_000), (Moment::default(), 0, 0)]
    {
        assert_eq!(now.longest_since(sent), ms(longest));
        assert_eq!(now.shortest_since(sent), ms(shortest));
    }
    let backwards = Moment { boot: ms(100_001), mono: ms(1) };
    assert_eq!(backwards.longest_since(sent), ms(1));
    assert_eq!(backwards.shortest_since(sent), ms(0));

    let deadline = Deadline::of_write(sent, ms(30_000));
    assert_eq!(deadline.left(awake), ms(14_000));
    assert!(!deadline.is_past(awake));
    assert!(deadline.is_past(slept));
}

/// The deadline is a comparison: at its very moment it is over, a nanosecond before it is not.
#[test]
fn a_deadline_is_over_at_its_moment() {
    for ttl in TTLS_MS {
        let deadline = Deadline::of_write(Moment::default(), ms(ttl));
        let at = |span| Moment { boot: span, mono: Duration::ZERO };
        assert!(deadline.is_past(at(belief(ms(ttl)))));
        assert!(!deadline.is_past(at(belief(ms(ttl)) - Duration::from_nanos(1))));
        assert!(deadline.is_past(at(Duration::MAX)));
    }
}

/// A renewal that times out, a read that does, and one more request all fit before the deadline,
/// with the longest waits that chance can choose between them.
#[test]
fn a_renewal_can_fail_twice() {
    for ttl in TTLS_MS.into_iter().filter(|ttl| *ttl >= 500).map(ms) {
        let mut left = belief(ttl) - renewal_due(ttl);
        for n in 1..=2 {
            left = left.checked_sub(request_timeout(left)).expect("the request takes too long");
            left = left.checked_sub(jitter(backoff(n, ttl), 1023)).expect("the wait is too long");
        }
        assert!(left > ttl / 20, "{left:?} of {ttl:?} for the last request");
    }
}

/// At the shortest ttl one failure fits.
#[test]
fn at_the_shortest_ttl_a_renewal_can_fail_once() {
    let left = belief(TTL_MIN) - renewal_due(TTL_MIN);
    assert!(request_timeout(left) + jitter(backoff(1, TTL_MIN), 1023) < left);
}

/// What is derived from the ttl stays in order, over all ttls.
#[test]
fn the_spans_of_a_ttl_are_in_order() {
    for ttl in TTLS_MS.map(ms) {
        assert!(renewal_due(ttl) < belief(ttl) && belief(ttl) < ttl);
        assert!(suspicious_jump(ttl) >= ms(100));
        assert_eq!(takeover_due(ttl, ms(7)), ttl + ms(7));
        assert_eq!(takeover_age(ttl, ms(7), ms(2000)), ttl + ms(2007));
        assert!(ttl >= TTL_MIN && ttl <= TTL_MAX);
        for left in [Duration::ZERO, ms(1), ttl / 3, ttl] {
            let timeout = request_timeout(left);
            assert!(timeout >= ms(20) && timeout <= ms(10_000), "{timeout:?}");
        }
    }
    assert_eq!(ttl_min(Duration::ZERO), TTL_MIN);
    assert_eq!(ttl_min(ms(1000)), ms(10_000));
}

/// Waits between failures grow and stay bounded, by a second and by a tenth of the ttl, for as long
/// as the failures go on.
#[test]
fn waits_between_failures_grow_and_stay_bounded() {
    for ttl in TTLS_MS.map(ms) {
        let mut before = Duration::ZERO;
        for n in (0..=40).chain([1_000, u32::MAX]) {
            let wait = backoff(n, ttl);
            assert!(
                wait >= before && wait <= ms(1000) && wait <= ttl / 10 && wait > Duration::ZERO
            );
            before = wait;
        }
    }
}

/// Jitter spreads over one to three halves of a span, and reaches both ends.
#[test]
fn jitter_keeps_to_its_bounds() {
    let spread: Vec<Duration> = (0..1024).map(|random| jitter(ms(1024), random)).collect();
    assert_eq!(spread.iter().min(), Some(&ms(512)));
    assert_eq!(spread.iter().max(), Some(&ms(1535)));
    assert!(jitter(TTL_MAX, u128::MAX) < TTL_MAX * 3 / 2);
    assert_eq!(jitter(Duration::ZERO, 5), Duration::ZERO);
}

/// A waiter looks soon at first and seldom later, never more often than the store asks for by more
/// than jitter, and always about when the lease ends.
#[test]
fn polls_grow_rare_and_tighten_near_expiry() {
    for least in [1, 100, 1000].map(ms) {
        for notifies in [false, true] {
            for waited in [0, 100, 8_000, 1_000_000].map(ms) {
                for to_expiry in [0, 1, 500, 20_000, 86_400_000].map(ms) {
                    for random in [0, 511, 1023, u128::MAX] {
                        let ttl = ms(30_000);
                        let unchanged = waited;
                        let poll = Poll { least, notifies, waited, unchanged, ttl, to_expiry };
                        let sleep = poll.sleep(random);
                        assert!(sleep >= ms(1), "{poll:?}");
                        assert!(sleep <= to_expiry + least.max(ms(1)), "{poll:?}: {sleep:?}");
                        assert!(sleep >= (least / 2).min(to_expiry), "{poll:?}: {sleep:?}");
                        let most = (least * POLL_STEPS).min(ms(10_000)).max(least);
                        assert!(sleep < most * 3 / 2, "{poll:?}: {sleep:?}");
                    }
                }
            }
        }
    }
}

/// Where the holder changes all the time, whoever has waited for long looks about as often as those who
/// have just come: it would never be the first to see the lock free otherwise.
#[test]
fn where_holders_change_old_waiters_keep_looking() {
    let sleep = |waited, unchanged| {
        let (least, ttl, to_expiry) = (ms(1_000), ms(30_000), ms(30_000));
        Poll { least, notifies: false, waited, unchanged, ttl, to_expiry }.sleep(512)
    };
    assert_eq!(sleep(ms(2_000), ms(2_000)), ms(1_000));
    assert_eq!(sleep(ms(32_000), ms(2_000)), ms(1_000));
    assert_eq!(sleep(ms(64_000), ms(2_000)), ms(2_000));
    assert_eq!(sleep(ms(64_000), ms(64_000)), ms(8_000));
}

/// Names of every script are welcome, with slashes between segments; they come back as they went in.
#[test]
fn reasonable_names_are_accepted_as_they_are() {
    let long = "x".repeat(Key::MAX_BYTES);
    let names = [
        "a",
        "nightly-report",
        "team/eu-west-1/nightly",
        "v1.2.3",
        "...",
        ".hidden",
        "a..b",
        "~root",
        "with space",
        "a\u{a0}b",
        "%2e%2e",
        "C:\\temp",
        "*?<>|\"'`$;&",
        "name@host:1#x=y+z,",
        "-n",
        "Zoë",
        "日本語",
        "Ω/λ",
        "Привет",
        "مرحبا",
        "🔒",
        "e\u{301}",
        "CON",
        "nul.txt",
        &long,
    ];
    for name in names {
        assert_eq!(Key::new(name).expect(name).as_str(), name);
    }
    // Nothing is folded: these are two names.
    assert_ne!(Key::new("é").unwrap(), Key::new("e\u{301}").unwrap());
    assert_ne!(Key::new("A").unwrap(), Key::new("a").unwrap());
}

/// Names that could leave their place, move a cursor or look like another name are refused, and the
/// reason can be shown to a person safely.
#[test]
fn dangerous_names_are_refused() {
    let long = "x".repeat(Key::MAX_BYTES + 1);
    let wide = "é".repeat(Key::MAX_BYTES / 2 + 1);
    let names = [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "../etc/passwd",
        "a/../b",
        "a/./b",
        "a/..",
        " ",
        " a",
        "a ",
        "\u{3000}a",
        "a\u{a0}",
        "a\n",
        "\ta",
        "a\0b",
        "a\u{1b}[2Jb",
        "a\u{7f}b",
        "a\u{85}b",
        "a\u{9b}31mb",
        "a\u{202e}b",
        "\u{2066}a",
        "a\u{200b}b",
        "a\u{200d}b",
        "\u{feff}a",
        "a\u{2028}b",
        "a\u{2060}b",
        &long,
        &wide,
    ];
    for name in names {
        let words = Key::new(name).expect_err(name).to_string();
        assert!(!words.contains(|c: char| c.is_control() || is_invisible(c)), "{words:?}");
        assert!(words.contains("cannot be used: ") && words.len() < 400, "{words}");
    }
}

/// Every character that is shown as nothing, or that changes how its neighbours are shown, is refused
/// anywhere in a name; every other one is accepted in the middle of a name.
#[test]
fn no_unseen_character_passes() {
    for c in '\0'..=char::MAX {
        let unseen = c.is_control() || is_invisible(c);
        let fine = Key::new(format!("a{c}b")).is_ok();
        // A slash only parts two segments here.
        assert_eq!(fine, !unseen, "U+{:04X}", u32::from(c));
    }
    let unseen = [0xAD, 0x61C, 0x200E, 0x200F, 0x202A, 0x202B, 0x202C, 0x202D, 0x202E, 0x2066];
    for c in unseen.into_iter().chain([0x2067, 0x206A, 0xE0041]).filter_map(char::from_u32) {
        assert!(is_invisible(c), "U+{:04X}", u32::from(c));
    }
}
