//! Short runs on a bucket.

use std::fs;
use std::num::NonZeroU64;

use leasehold_servers::gcs::{Fake, Fault, Rule, When};

use crate::harness::{Said, leasehold, run_and_hear};

/// Runs the harness on a bucket of the fake, which is honest again when the time is over.
fn on_bucket(fake: &Fake, length: &str, more: &[&str]) -> Said {
    fake.make_bucket("chaos");
    let url = fake.url("chaos/short");
    let program = leasehold().to_str().expect("a path of ours");
    let words = ["--backend", &url, "--leasehold", program, "--for", length, "--ttl", "1s"];
    run_and_hear(&[&words[..], more].concat(), |line| {
        if line.contains("nobody is hurt any more") {
            fake.heal();
        }
    })
}

/// Eight processes want two locks in a bucket, and are killed, stopped and broken, while every
/// fifteenth answer is lost, late, an error, or hides a write that lands later: no two sections
/// overlap, and nothing is left.
#[test]
fn hurt_on_a_bucket_that_fails_no_two_sections_overlap() {
    let fake = Fake::start();
    fake.fail_at_random(NonZeroU64::new(15).expect("fifteen"), 7);
    let more = ["--names", "2", "--processes", "8", "--seed", "47", "--store-fails"];
    let said = on_bucket(&fake, "4s", &more);
    assert_eq!(said.code, Some(0), "{}", said.out);
    assert_eq!(said.count("overlaps"), 0);
    // A run in which nothing happened shows nothing.
    for title in ["sections", "tokens", "takeovers", "kills", "stops"] {
        assert!(said.count(title) > 0, "{title}: {}", said.out);
    }
    let unanswered = fake.seen().iter().filter(|seen| seen.status.is_none()).count();
    assert!(unanswered > 10, "{unanswered} requests were not answered");
    assert!(!said.logs().exists(), "nothing is kept of a run in which nothing was violated");
}

/// The bucket shows a state from before, as a cache does, and takes every write whatever its condition says,
/// as some emulators do: two at a time believe that they hold the lock, and that is seen.
#[test]
fn a_bucket_that_lies_is_seen() {
    let fake = Fake::start();
    fake.script(Rule { when: When::Read, times: None, fault: Fault::Stale });
    fake.script(Rule { when: When::Write, times: None, fault: Fault::IgnorePrecondition });
    let said = on_bucket(&fake, "2s", &["--names", "1", "--seed", "47"]);
    assert_eq!(said.code, Some(1), "it was acquitted: {}", said.out);
    assert!(said.count("overlaps") > 0, "{}", said.out);
    fs::remove_dir_all(said.logs()).expect("the logs were kept");
}
