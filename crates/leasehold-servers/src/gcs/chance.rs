//! Requests that go wrong at random: for tests that run for minutes, and for whoever tries leasehold by hand.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::num::NonZeroU64;
use std::time::Duration;

use super::script::{Fault, When};

/// About one request in so many goes wrong. Which one, and how, comes from the seed and from the request's
/// place in the order of arrival.
#[derive(Debug)]
pub(super) struct Chance {
    one_in: NonZeroU64,
    seed: u64,
    nth: u64,
}

impl Chance {
    pub(super) fn new(one_in: NonZeroU64, seed: u64) -> Chance {
        Chance { one_in, seed, nth: 0 }
    }

    /// What befalls the next request, which is of this kind.
    pub(super) fn draw(&mut self, seen: When) -> Option<Fault> {
        self.nth += 1;
        let random = BuildHasherDefault::<DefaultHasher>::default().hash_one((self.seed, self.nth));
        let (is_hit, kind, span) =
            (random % self.one_in == 0, (random >> 16) % 14, (random >> 32) % 1500);
        is_hit.then(|| fault(kind, span, seen.is_write()))
    }
}

/// One of fourteen kinds; those that say that a write was done are of writes only.
fn fault(kind: u64, span_ms: u64, is_write: bool) -> Fault {
    let answer = |code, retry_after, done| Fault::Answer { code, retry_after, done };
    match kind {
        0 | 1 => Fault::LoseAnswer,
        2 => Fault::Close,
        3 => Fault::Truncate,
        4 => Fault::Hang { done: false },
        5 => Fault::Hang { done: true },
        // Longer than the shortest ttl.
        6 | 7 => Fault::Late(Duration::from_millis(span_ms)),
        8 => answer(429, None, false),
        9 => answer(429, Some(1), is_write),
        10 => answer(503, None, is_write),
        11 => answer(503, Some(1), false),
        12 => answer(500, None, is_write),
        // As when a proxy sent it twice, and the second copy met what the first one wrote.
        _ if is_write => answer(412, None, true),
        _ => answer(408, None, false),
    }
}
