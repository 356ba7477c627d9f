//! Short runs on a database.

use std::num::NonZeroU64;
use std::process::Command;

use leasehold_servers::spanner::{Fake, outside};

use crate::harness::{Said, leasehold, run_and_hear, skipped};

/// Makes the database as a user does.
fn make(url: &str) {
    let made = Command::new(leasehold()).args(["init", url]).output().expect("it starts");
    assert!(made.status.success(), "{made:?}");
}

/// Runs the harness, tells when the hurting is over, and looks at what came of it: no two sections overlap,
/// and nothing is left.
fn hurt(url: &str, more: &[&str], over: impl Fn()) {
    let program = leasehold().to_str().expect("a path of ours");
    let words = ["--backend", url, "--leasehold", program, "--for", "4s", "--ttl", "1s"];
    // With this seed many holders are hurt soon.
    let more = [&["--names", "2", "--processes", "8", "--seed", "66"], more].concat();
    let said: Said = run_and_hear(&[&words[..], &more].concat(), |line| {
        if line.contains("nobody is hurt any more") {
            over();
        }
    });
    assert_eq!(said.code, Some(0), "{}", said.out);
    assert_eq!(said.count("overlaps"), 0);
    // A run in which nothing happened shows nothing.
    for title in ["sections", "tokens", "takeovers", "kills", "stops"] {
        assert!(said.count(title) > 0, "{title}: {}", said.out);
    }
    assert!(!said.logs().exists(), "nothing is kept of a run in which nothing was violated");
}

/// Eight processes want two locks in a database, and are killed, stopped and broken, while every eighth
/// answer is lost, late, an error, or hides a commit that lands later.
#[test]
fn hurt_on_a_database_that_fails_no_two_sections_overlap() {
    let fake = Fake::start();
    let url = fake.url("chaos/main/short");
    make(&url);
    fake.fail_at_random(NonZeroU64::new(8).expect("eight"), 7);
    hurt(&url, &["--store-fails"], || fake.heal());
    let seen = fake.seen();
    let unanswered = seen.iter().filter(|seen| seen.status.is_none()).count();
    // On a busy machine there may be no more than two hundred, of which every sixteenth is not answered.
    assert!(unanswered > 3, "of {} requests {unanswered} were not answered", seen.len());
}

/// The same on Google's emulator, which aborts whoever commits while another does.
#[test]
fn hurt_on_the_emulator_no_two_sections_overlap() {
    let endpoint = match outside() {
        Ok(endpoint) => endpoint,
        Err(why) => return skipped(&format!("SKIPPED: {why}")),
    };
    let instance = format!("chaos-{}", std::process::id());
    let url = format!("spanner://chaos/{instance}/short?endpoint={endpoint}&poll-interval=20ms");
    make(&url);
    hurt(&url, &[], || {});
}
