//! Shows that the simulator finds what is wrong: each wrong variant of the protocol must be caught.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use leasehold_core::planted::{Bug, plant};
use leasehold_sim::{Options, Violation, protocol};

/// Seeds that are tried at a time, on all processors.
const ROUND: u64 = 64;

/// Enough failing seeds to say how often a bug is seen.
const ENOUGH: usize = 10;

/// Within how many seeds, from the first, the simulator promises to catch a bug: about five times
/// the first failing seed where that is late.
fn budget(bug: Bug) -> u64 {
    match bug {
        Bug::ConflictIsFailure | Bug::UnchangedIsProof | Bug::AbsenceTrusted => 5_000,
        Bug::PatienceFromRequest
        | Bug::SecondLeaseUnseen
        | Bug::SuspicionSettledByAny
        | Bug::FailureDenied
        | Bug::WakeupLost => 2_000,
        _ => 1_000,
    }
}

/// A simulator that finds nothing has either nothing to find or no eyes. Here every promise of the
/// protocol is broken in turn, in the production code itself, and each time some world must show it.
/// The code as it is must come clean through the very same worlds.
#[test]
fn every_planted_bug_is_caught() {
    let mut missed = vec![];
    let mut furthest = 0;
    for &bug in Bug::ALL {
        plant(Some(bug));
        let (caught, tried) = hunt(budget(bug));
        furthest = furthest.max(tried);
        let head = format!("planted: {} | {}", bug.name(), bug.wrong());
        match caught.first() {
            Some(first) => {
                let cells = format!("{}; {} of {tried}", first.seed, caught.len());
                println!("{head} | {cells} | {}", first.promise.name);
            }
            None => {
                println!("{head} | -; 0 of {tried} | -");
                missed.push(bug);
            }
        }
    }
    plant(None);
    let clean = try_all(0..furthest);
    assert!(clean.is_empty(), "without a bug: {}", clean[0]);
    println!("planted: none | The protocol as it is. | -; 0 of {furthest} | -");
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

/// The violations of the first seeds, in order, and how many seeds those were.
fn hunt(budget: u64) -> (Vec<Violation>, u64) {
    let mut caught = vec![];
    let mut tried = 0;
    while tried < budget && caught.len() < ENOUGH {
        let round = tried..(tried + ROUND).min(budget);
        tried = round.end;
        caught.extend(try_all(round));
    }
    (caught, tried)
}

fn try_all(seeds: Range<u64>) -> Vec<Violation> {
    let next = AtomicU64::new(seeds.start);
    let caught = Mutex::new(vec![]);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            if let Err(violation) = protocol::explore(seed, &Options::default()) {
                caught.lock().unwrap_or_else(PoisonError::into_inner).push(*violation);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut caught = caught.into_inner().unwrap_or_else(PoisonError::into_inner);
    caught.sort_by_key(|violation| violation.seed);
    caught
}
