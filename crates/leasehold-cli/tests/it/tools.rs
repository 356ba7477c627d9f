//! `doctor` and `init` on a bucket, and the worked example on top of both.

use std::path::Path;
use std::process::Command;

use leasehold_servers::gcs::{Fake, Fault, Rule, When};

use crate::store::with_backend;
use crate::world::{Seen, World, end};

fn start() -> Fake {
    let server = Fake::start();
    server.make_bucket("acme");
    server
}

fn lie(server: &Fake, when: When, fault: Fault) {
    server.script(Rule { when, times: None, fault });
}

/// What was printed, without where its lines end.
fn said(seen: &Seen) -> String {
    seen.out.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The names that are left in the store.
fn left(url: &str) -> usize {
    with_backend(url, async |backend| backend.list("").await.expect("the store is there").len())
}

/// A bucket is proven on one screen, with what a lock costs there, and nothing is left in it.
#[test]
fn a_bucket_is_proven() {
    let (world, server) = (World::new(), start());
    let url = server.url("acme/prod");
    let seen = world.run(&["doctor", &url]).expect(0);
    assert!(said(&seen).contains("may be used for locks, with a ttl of"), "{seen:?}");
    assert!(
        said(&seen).contains("$0.043") && said(&seen).contains("storage.objects.get"),
        "{seen:?}"
    );
    assert!(seen.out.lines().count() <= 24, "{seen:?}");
    assert_eq!(left(&url), 0);
}

/// Two stores that lie: one ignores what a write is conditioned on, one answers with an older state than
/// the newest. With either two would hold one lock, so both are refused, and the exit code says so.
#[test]
fn a_bucket_that_lies_is_refused() {
    for (when, fault) in [(When::Write, Fault::IgnorePrecondition), (When::Read, Fault::Stale)] {
        let (world, server) = (World::new(), start());
        lie(&server, when, fault.clone());
        let url = server.url("acme/prod");
        let seen = world.run(&["doctor", &url]).expect(76);
        assert!(said(&seen).contains("must NOT be used"), "{fault:?}: {seen:?}");
        server.heal();
        assert_eq!(left(&url), 0, "{fault:?}: {seen:?}");
    }
}

/// What is in the way is told with what to do, and with the exit code of its kind.
#[test]
fn what_is_in_the_doctors_way_is_told() {
    let (world, server) = (World::new(), start());
    let seen = world.run(&["doctor", &server.url("amce/prod")]).expect(64);
    assert!(said(&seen).contains("leasehold init"), "{seen:?}");
    lie(&server, When::Any, Fault::Answer { code: 403, retry_after: None, done: false });
    let seen = world.run(&["doctor", &server.url("acme/prod")]).expect(77);
    assert!(said(&seen).contains("roles/storage.objectUser"), "{seen:?}");
}

/// First it is said what would be done, then it is done, and then there is nothing to do.
#[test]
fn a_bucket_is_made_as_it_was_planned() {
    let (world, server) = (World::new(), start());
    let url = format!("{}&project=shop&location=EU", server.url("fresh/prod"));
    let planned = world.run(&["init", "--dry-run", &url]).expect(0);
    assert!(
        said(&planned).contains("would make") && said(&planned).contains("in EU"),
        "{planned:?}"
    );
    world.run(&["run", "--backend", &url, "x", "--", "true"]).expect(64);
    let made = world.run(&["init", &url]).expect(0);
    assert!(made.out.contains("made"), "{made:?}");
    let found = world.run(&["init", &url]).expect(0);
    assert!(found.out.contains("is there") && !found.out.contains("made "), "{found:?}");
    world.run(&["run", "--backend", &url, "x", "--", "true"]).expect(0);
}

/// A bucket that is there and that would break locks is not touched, and the remedy is told.
#[test]
fn a_bucket_that_breaks_locks_is_not_taken() {
    let (world, server) = (World::new(), start());
    server.make_bucket_as(
        "tidied",
        r#"{"iamConfiguration":{"uniformBucketLevelAccess":{"enabled":true}},
            "lifecycle":{"rule":[{"action":{"type":"Delete"},"condition":{"age":30}}]}}"#,
    );
    let seen = world.run(&["init", &server.url("tidied/prod")]).expect(76);
    assert!(said(&seen).contains("lifecycle"), "{seen:?}");
}

/// `examples/deploy-from-anywhere/deploy.sh`, as its page says.
fn deploy(world: &World, url: &str, release: &str, check: &str) -> Command {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/deploy-from-anywhere");
    let script = example.join("deploy.sh");
    let source = world.path(release);
    std::fs::create_dir_all(&source).expect("a directory of ours");
    let words = ["run", "--backend", url, "deploy", "--", script.to_str().expect("a path of ours")];
    let mut command = world.leasehold(&words);
    command.arg(release).arg(&source).env("DEPLOY_DIR", world.path("live"));
    command.env("DEPLOY_CHECK", check);
    command
}

/// Three places deploy at once through one bucket, as in the worked example: a laptop and two jobs. One
/// after the other goes live, each with a higher token; a script without the lock is refused.
#[test]
fn the_worked_example_deploys_one_at_a_time() {
    let (world, server) = (World::new(), start());
    let url = server.url("acme/prod");
    // Whoever is inside beside another one finds its mark.
    let check = world.path("check");
    let mark = world.path("inside").display().to_string();
    crate::world::with_mode(
        &check,
        &format!("#!/bin/sh\nmkdir {mark} && sleep 0.1 && rmdir {mark}\n"),
        0o755,
    );
    let check = check.to_str().expect("a path of ours");
    let places = ["laptop", "job-1", "job-2"];
    let running: Vec<_> = places
        .map(|release| crate::world::Running::of(deploy(&world, &url, release, check)))
        .into_iter()
        .collect();
    let seen: Vec<Seen> = running.into_iter().map(|run| run.end().expect(0)).collect();
    assert!(seen.iter().all(|seen| said(seen).contains("is live, token")), "{seen:?}");
    let releases =
        std::fs::read_dir(world.path("live").join("releases")).expect("releases").count();
    assert_eq!(releases, 3, "{seen:?}");
    // Without the lock, and with the token of an earlier one.
    let script = "../../examples/deploy-from-anywhere/deploy.sh";
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
    for token in ["", "1"] {
        let mut late = world.prepared(Command::new(&script));
        late.args(["late", "."]).env("DEPLOY_DIR", world.path("live"));
        late.env("LEASEHOLD_TOKEN", token);
        let late = end(late).expect(1);
        assert!(
            late.err.contains(if token.is_empty() { "no lock" } else { "refused" }),
            "{late:?}"
        );
    }
}
