//! A broken promise is only as good as its story: the shrinker and the replay line, on planted bugs.

use leasehold_core::planted::{Bug, plant};
use leasehold_sim::{Options, Strike, Violation, campaign, protocol, shrink};

/// How many worlds a shrinking may try.
const TRIES: u64 = 2_000;

/// Somebody breaks the protocol and runs the simulator. The world in which it shows is full of faults
/// that have nothing to do with it. The shrinker must leave a smaller world in which the same promise
/// breaks, and the line it prints must lead there again, exactly.
#[test]
fn a_violation_is_shrunk_and_seen_again() {
    for bug in [Bug::NoDeadline, Bug::EarlierWritesForgotten, Bug::SleepNotCounted] {
        plant(Some(bug));
        let found = campaign(protocol::explore, 0..5_000, 2, &Options::default(), &|_| {});
        let found = found.expect_err("the bug is caught");
        let told = Options { told: true, ..Options::default() };
        let before = protocol::explore(found.seed, &told).expect_err("it is seen again");
        let same = |a: &Violation, b: &Violation| {
            assert_eq!((a.time, a.promise, &a.why), (b.time, b.promise, &b.why), "{bug:?}");
        };
        same(&before, &found);

        let small = shrink(protocol::explore, &found, TRIES).expect("it is seen again").violation;
        assert_eq!(small.promise, found.promise, "{bug:?}");
        assert!(small.strikes.len() * 2 <= before.strikes.len(), "{bug:?}: {small}");
        let listed: Vec<Strike> = small.options.only.iter().flatten().copied().collect();
        assert!(small.strikes.iter().all(|strike| listed.contains(strike)), "{bug:?}: {small}");

        let line = small.replay();
        let typed = line.strip_prefix("cargo xtask sim ").expect("a command line");
        let (seed, options) = read(typed);
        assert!(line.contains(&format!("--plant {}", bug.name())), "{line}");
        let again = protocol::explore(seed, &options).expect_err("it is seen again");
        same(&again, &small);
        let story = small.trace.to_string();
        assert_eq!(again.trace.to_string(), story, "{bug:?}");
        let last = story.lines().last().unwrap_or_default();
        assert!(last.contains("BROKEN") && last.ends_with(&small.why), "{last}");
    }
    plant(None);
}

/// As the program reads its command line.
fn read(line: &str) -> (u64, Options) {
    let words: Vec<&str> = line.split_whitespace().map(|word| word.trim_matches('\'')).collect();
    let mut options = Options { told: true, ..Options::default() };
    let mut seed = None;
    for pair in words.chunks(2) {
        match pair {
            ["--plant", _] => {}
            ["--seed", number] => seed = number.parse().ok(),
            [flag, value] => assert_eq!(options.set(flag, value), Ok(true), "{flag} {value}"),
            _ => panic!("{line} ends with a flag without a value"),
        }
    }
    (seed.expect("the line names its seed"), options)
}
