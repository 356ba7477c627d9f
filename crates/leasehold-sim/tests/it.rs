//! The world of the protocol, some seeds of it: `cargo xtask sim` lives through as many as you like.

use leasehold_sim::{Options, Summary, campaign, protocol};

/// Enough for every fault and every counter to be above zero, and done in a few seconds.
const SEEDS: u64 = 1_500;

/// Whatever messages, hosts, the store and operators do, every promise is kept. What is counted must
/// have happened, or the run has shown nothing.
#[test]
fn no_schedule_breaks_a_promise() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let run = campaign(protocol::explore, 0..SEEDS, threads, &Options::default(), &|_| {});
    let summary = run.unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!(summary.seeds, SEEDS);
    let missing = summary.missing(protocol::FAULTS);
    assert!(missing.is_empty(), "never happened: {missing:?}");
}

/// A seed that failed must fail again, so a world may depend on nothing but its seed: not on what was
/// before, not on the number of threads, not on whether its story is told.
#[test]
fn the_same_seed_gives_the_same_world() {
    let silent = Options::default();
    let told = Options { told: true, ..Options::default() };
    let mut sum = Summary::default();
    for seed in 0..40 {
        let first = protocol::explore(seed, &told).expect("a promise is broken");
        let second = protocol::explore(seed, &told).expect("a promise is broken");
        assert_eq!(first, second, "seed {seed}");
        assert!(first.trace.to_string() == second.trace.to_string() && first.trace.len() > 100);
        let untold = protocol::explore(seed, &silent).expect("a promise is broken");
        assert_eq!((untold.digest, untold.tally.clone()), (first.digest, first.tally));
        sum.add(&untold);
    }
    let three = campaign(protocol::explore, 0..40, 3, &silent, &|_| {}).expect("as above");
    assert_eq!(three, sum);
    assert_ne!(three.digest, 0);
}

/// Who shrinks a world by hand types options; what a violation prints must be read back as the same.
#[test]
fn options_are_read_as_they_are_printed() {
    let typed = " --without crash,slow-reply --clients 0,2 --calm-at 1234567 --only \
                 lost-request:1.2.30.1,cut:0.0.17.0";
    let mut options = Options::default();
    let words: Vec<&str> = typed.split_whitespace().collect();
    for pair in words.chunks(2) {
        assert_eq!(options.set(pair[0], pair[1]), Ok(true), "{pair:?}");
    }
    assert_eq!(options.to_string().split(',').count(), typed.split(',').count());
    let mut again = Options::default();
    let printed = options.to_string();
    let words: Vec<&str> = printed.split_whitespace().collect();
    for pair in words.chunks(2) {
        assert_eq!(again.set(pair[0], pair[1]), Ok(true), "{pair:?}");
    }
    assert_eq!(again, options);
    assert_eq!(Options::default().set("--seed", "1"), Ok(false));
    assert!(Options::default().set("--without", "rain").is_err());
    assert!(Options::default().set("--only", "crash").is_err());
}

/// A world without faults is a world in which nothing but the users' own doing happens, and a world
/// told to leave a kind out goes without it.
#[test]
fn what_is_switched_off_does_not_strike() {
    let mut bare = Options { told: true, ..Options::default() };
    bare.set("--only", "").expect("it is an option");
    let mut dry = Options::default();
    dry.set("--without", "lost-request").expect("it is an option");
    for seed in 0..40 {
        let report = protocol::explore(seed, &bare).expect("a promise is broken");
        let struck = protocol::FAULTS.iter().filter(|f| report.struck.of(**f) > 0).count();
        assert_eq!(struck, 0, "seed {seed}");
        assert!(report.tally.grants > 0, "seed {seed}");
        let report = protocol::explore(seed, &dry).expect("a promise is broken");
        assert_eq!(report.struck.of(leasehold_sim::Fault::LostRequest), 0, "seed {seed}");
    }
}
