//! The worlds of the library, some of them: the production driver under simulation.

use leasehold_sim::{Options, campaign, library};

/// Enough for every counter to be above zero, and done in some ten seconds.
const SEEDS: u64 = 400;

/// Whatever networks, hosts, operators and users do: what the library says to its users is true, and
/// without faults everything comes to an end. What is counted must have happened, or the run has shown
/// nothing.
#[test]
fn no_user_is_ever_told_a_lie() {
    let summary = campaign(library::explore, 0..SEEDS, 2, &Options::default(), &|_| {});
    let summary = summary.unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!(summary.missing(library::FAULTS), Vec::<&str>::new(), "never happened");
}

/// A seed that failed must fail again, so a world may depend on nothing but its seed: not on the
/// runtime of the driver, not on another world before it, not on what is told of it.
#[test]
fn the_same_seed_gives_the_same_world() {
    for seed in 0..20 {
        let told = Options { told: true, ..Options::default() };
        let [first, second] =
            [&told, &told].map(|options| library::explore(seed, options).unwrap());
        assert_eq!(first, second, "seed {seed}");
        let quiet = library::explore(seed, &Options::default()).unwrap();
        assert_eq!(quiet.digest, first.digest, "seed {seed}");
        assert!(!first.trace.is_empty());
    }
}
