//! Requests that go wrong at random: for tests that run for minutes, and for whoever tries leasehold by hand.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::num::NonZeroU64;
use std::time::Duration;

use tonic::Code;

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
            (random % self.one_in == 0, (random >> 16) % 16, (random >> 32) % 1500);
        is_hit.then(|| fault(kind, span, seen == When::Commit))
    }
}

/// One of sixteen kinds; those that say that a commit was done are of commits only.
fn fault(kind: u64, span_ms: u64, is_commit: bool) -> Fault {
    let span = Duration::from_millis(span_ms);
    let answer = |code, retry_after, done| Fault::Answer { code, retry_after, done };
    match kind {
        0 | 1 => Fault::LoseAnswer,
        2 => Fault::Close,
        3 => Fault::Truncate,
        4 => Fault::Hang { done: false },
        5 => Fault::Hang { done: true },
        // Longer than the shortest ttl.
        6 | 7 => Fault::Late(span),
        8 => Fault::Slow(span),
        9 => answer(Code::Aborted, Some(Duration::from_millis(10)), false),
        10 => answer(Code::ResourceExhausted, Some(span / 4), false),
        11 => answer(Code::Unavailable, None, false),
        12 => answer(Code::Unavailable, None, is_commit),
        13 => answer(Code::DeadlineExceeded, None, is_commit),
        14 => answer(Code::Unknown, None, is_commit),
        // As when a proxy sent it twice, and the second copy met what the first one wrote.
        _ if is_commit => answer(Code::NotFound, None, true),
        _ => answer(Code::Internal, None, false),
    }
}
