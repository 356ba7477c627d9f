//! Shows that the worlds of the library find what is wrong in the driver and in what users hold.

use leasehold::planted::{Bug, plant};
use leasehold_sim::{Options, campaign, library};

/// Within how many seeds, from the first, each bug must be caught: some five times the first seed that
/// catches it, where that is late.
fn budget(bug: Bug) -> u64 {
    match bug {
        Bug::RefusalUnsettled => 8_000,
        Bug::DoubtIsHeld | Bug::TimerCountsSleep | Bug::GrantUnchecked => 2_500,
        _ => 500,
    }
}

/// Every promise of the library is broken in turn, in the production code itself, and each time some
/// world must show it. The code as it is must come clean through the first of the very same worlds;
/// the others are in the long run.
#[test]
fn every_planted_bug_of_the_library_is_caught() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let hunt = |seeds| campaign(library::explore, 0..seeds, threads, &Options::default(), &|_| {});
    let mut missed = vec![];
    for &bug in Bug::ALL {
        plant(Some(bug));
        let head = format!("planted: {} | {}", bug.name(), bug.wrong());
        match hunt(budget(bug)) {
            Err(found) => println!("{head} | {} | {}", found.seed, found.promise.name),
            Ok(_) => {
                println!("{head} | - | -");
                missed.push(bug);
            }
        }
    }
    plant(None);
    if let Err(violation) = hunt(300) {
        panic!("without a bug: {violation}");
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
