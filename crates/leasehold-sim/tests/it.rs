//! The simulator's worlds, a few of them.

use leasehold_sim::{Tally, protocol};

/// Enough for every counter in [`Tally`] to be far above zero, and done in a few seconds.
const SEEDS: u64 = 1_000;

/// Whatever messages, hosts and operators do: one holder at a time in true time, tokens that rise,
/// no write over a lease that may still be believed in, and somebody is granted once the faults
/// stop. What is counted must have happened, or the run has shown nothing.
#[test]
fn no_schedule_breaks_a_promise() {
    let mut sum = Tally::default();
    for seed in 0..SEEDS {
        sum.add(&protocol::explore(seed, false));
    }
    sum.assert_that_everything_happened();
}

/// A seed that failed must fail again, so the world may depend on nothing but its seed.
#[test]
fn the_same_seed_gives_the_same_world() {
    for seed in 0..20 {
        assert_eq!(protocol::explore(seed, false), protocol::explore(seed, false));
    }
}
