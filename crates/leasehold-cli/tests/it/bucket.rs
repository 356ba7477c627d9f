//! A bucket that refuses, is missing, does not answer or lies about what it did: what the program says
//! then, and how it ends.

use std::process::Stdio;
use std::time::Duration;

use leasehold_servers::gcs::{Fake, Fault, Odd, Rule, When};
use leasehold_servers::proxy::{Mode, Proxy};

use crate::store::{BUCKET, Store};
use crate::world::{Running, Seen, World, end, until};

/// A world on a fake of its own, so that its faults hit nobody else.
fn world() -> (Fake, World) {
    let fake = Fake::start();
    fake.make_bucket(BUCKET);
    let world = World::on(Store::in_bucket(fake.address()));
    (fake, world)
}

fn always(when: When, fault: Fault) -> Rule {
    Rule { when, times: None, fault }
}

fn once(when: When, fault: Fault) -> Rule {
    Rule { when, times: Some(1), fault }
}

fn answer(code: u16) -> Fault {
    Fault::Answer { code, retry_after: None, done: false }
}

/// A section that says when it is asked to end.
const ASKED: &str = "trap 'echo asked' TERM; echo up; while :; do sleep 0.01; done";

/// Every command that needs the store meets what is wrong with it.
fn all_say(world: &World, code: i32, what: &str) {
    for words in [
        &["run", "x", "--ttl", "1s", "--", "echo", "never"][..],
        &["run", "-n", "x", "--ttl", "1s", "--", "echo", "never"],
        &["acquire", "x", "-w", "20s", "--ttl", "1s"],
        &["break", "x", "--reason", "a test"],
        &["wait", "x", "-w", "1s"],
        &["status", "x"],
        &["list"],
    ] {
        let Seen { status, out, err } = world.run(words);
        assert_eq!(status.code(), Some(code), "{words:?}: {out} {err}");
        assert!(!out.contains("never") && err.contains(what), "{words:?}: {out} {err}");
    }
}

/// Somebody mistyped the bucket, or has not made it. Whatever was asked for ends at once, also what would
/// wait, and says how it is made.
#[test]
fn a_missing_bucket_is_64_and_says_how_to_make_it() {
    let fake = Fake::start();
    let world = World::on(Store::in_bucket(fake.address()));
    all_say(&world, 64, "leasehold init gs://leasehold-cli/");
    // What the error says helps.
    let seen = world.run(&["run", "x", "--", "true"]).expect(64);
    let (_, command) = seen.err.split_once("`leasehold init ").expect("a command");
    let (url, _) = command.split_once('`').expect("a command");
    world.run(&["init", &format!("{url}&project=test")]).expect(0);
    world.run(&["run", "x", "--", "true"]).expect(0);
}

/// The credentials may do nothing here: no waiting helps, and the error names the role that would.
#[test]
fn a_bucket_that_refuses_is_77_and_names_the_role() {
    let (fake, world) = world();
    fake.script(always(When::Any, answer(403)));
    all_say(&world, 77, "roles/storage.objectUser");
}

/// One of several objects may not be read. It has its row and its reason, and hides no other; the exit
/// code says that something is not known. Before, there was not one row.
#[test]
fn one_forbidden_object_hides_no_other_in_a_list() {
    let (fake, world) = world();
    for name in ["a", "b", "c"] {
        world.run(&["run", name, "--", "true"]).expect(0);
    }
    fake.script(once(When::Read, answer(403)));
    let seen = world.run(&["list"]).expect(77);
    assert_eq!(seen.out.matches("  free  ").count(), 2, "{seen:?}");
    assert_eq!(seen.out.matches("  unknown  ").count(), 1, "{seen:?}");
    assert!(seen.out.contains("cannot read"), "{seen:?}");
    assert!(seen.err.contains("1 of 3 names could not be read"), "{seen:?}");
}

/// They may read but not write: that shows only when the lock is taken.
#[test]
fn a_bucket_that_can_only_be_read_is_77() {
    let (fake, world) = world();
    fake.script(always(When::Write, answer(403)));
    world.run(&["status", "x"]).expect(0);
    let seen = world.run(&["run", "x", "--", "echo", "never"]).expect(77);
    assert!(seen.out.is_empty() && seen.err.contains("roles/storage.objectUser"), "{seen:?}");
}

/// Nobody listens there: after a ttl of trying it is 69, and the error says where was tried.
#[test]
fn a_server_that_is_not_there_is_69() {
    let fake = Fake::start();
    let (address, endpoint) = (fake.address(), fake.endpoint());
    drop(fake);
    let url = format!("gs://{BUCKET}?endpoint={endpoint}&write-interval=0s&poll-interval=20ms");
    let world = World::new();
    for how in [&["-n"][..], &[]] {
        let words = ["--backend", &url, "run", "x", "--ttl", "1s"];
        let words = [&words[..], how, &["--", "echo", "never"]].concat();
        let seen = world.run(&words).expect(69);
        assert!(seen.out.is_empty() && seen.err.contains(&address.to_string()), "{seen:?}");
    }
}

/// The server takes every request and never answers. Who waits learns after a ttl, who does not want to
/// sooner.
#[test]
fn a_server_that_never_answers_is_69() {
    let (_fake, world) = world();
    world.store().take_away();
    for how in [&["-n"][..], &[]] {
        let words = [&["run", "x", "--ttl", "2s"][..], how, &["--", "echo", "never"]].concat();
        let seen = world.run(&words).expect(69);
        assert!(seen.out.is_empty() && !seen.err.is_empty(), "{seen:?}");
    }
}

/// In whatever way the store goes away, the command is asked to end while the lease lasts, and is over
/// before it is.
#[test]
fn a_bucket_that_goes_away_ends_the_command_with_79() {
    let faults = [
        Fault::Close,
        Fault::LoseAnswer,
        Fault::Hang { done: false },
        Fault::Truncate,
        answer(403),
        answer(429),
        answer(500),
        answer(503),
        Fault::Answer { code: 503, retry_after: Some(60), done: false },
    ];
    std::thread::scope(|scope| {
        for fault in faults {
            scope.spawn(move || {
                let (fake, world) = world();
                let words = ["run", "x", "--ttl", "3s", "--grace", "1s", "--", "sh", "-c", ASKED];
                let mut run = world.start(&words);
                run.await_line("up");
                fake.script(always(When::Any, fault));
                run.await_line("asked");
                run.end().expect(79);
            });
        }
    });
}

/// The same, but it is the network that fails, and comes back too late.
#[test]
fn a_network_that_fails_ends_the_command_with_79() {
    std::thread::scope(|scope| {
        for mode in [Mode::Reset, Mode::BlackHole, Mode::DropReplies, Mode::DropReplyThenClose] {
            scope.spawn(move || {
                let (fake, _) = world();
                let proxy = Proxy::start(fake.address());
                let world = World::on(Store::in_bucket(proxy.address()));
                let words = ["run", "x", "--ttl", "3s", "--grace", "1s", "--", "sh", "-c", ASKED];
                let mut run = world.start(&words);
                run.await_line("up");
                proxy.set(mode);
                run.await_line("asked");
                run.end().expect(79);
                proxy.set(Mode::Pass);
                world.run(&["run", "x", "-w", "30s", "--", "true"]).expect(0);
            });
        }
    });
}

/// A fault that passes costs nobody the lock: it is taken, renewed and released through it, and
/// nobody mistakes a lost answer for somebody else's write.
#[test]
fn a_fault_that_passes_does_no_harm() {
    let faults = [
        Fault::Close,
        Fault::LoseAnswer,
        Fault::Truncate,
        Fault::Hang { done: true },
        Fault::Hang { done: false },
        Fault::Late(Duration::from_millis(300)),
        answer(409),
        answer(429),
        Fault::Answer { code: 429, retry_after: Some(1), done: true },
        Fault::Answer { code: 500, retry_after: None, done: true },
        Fault::Answer { code: 503, retry_after: Some(1), done: false },
    ];
    std::thread::scope(|scope| {
        for fault in faults {
            scope.spawn(move || {
                let (fake, world) = world();
                fake.script(once(When::Read, fault.clone()));
                fake.script(once(When::Create, fault.clone()));
                let script = "echo $LEASEHOLD_TOKEN; read line; exit 3";
                let words = ["run", "x", "--ttl", "6s", "--", "sh", "-c", script];
                let mut command = world.leasehold(&words);
                command.stdin(Stdio::piped());
                let mut run = Running::of(command);
                let token: u64 = run.line().parse().expect("a token");
                // A renewal meets it, and the release. The one after the repeated renewal shows that its
                // answer was heard: before that, what is left of the lease is short for a release.
                let before = overwrites(&fake);
                fake.script(once(When::Overwrite, fault.clone()));
                until("it was renewed through the fault", || overwrites(&fake) >= before + 3);
                fake.script(once(When::Overwrite, fault.clone()));
                run.write("\n");
                let seen = run.end().expect(3);
                assert!(!seen.err.contains("not released"), "{fault:?}: {seen:?}");
                let seen =
                    world.run(&["run", "x", "-n", "--", "sh", "-c", "echo $LEASEHOLD_TOKEN"]);
                let next: u64 = seen.expect(0).out.trim().parse().expect("a token");
                assert!(next > token, "{fault:?}: {next} after {token}");
            });
        }
    });
}

fn overwrites(fake: &Fake) -> usize {
    fake.seen().iter().filter(|seen| seen.when == When::Overwrite).count()
}

/// Google takes one write a second of one object and refuses more with 429. With the options that are
/// meant for it, locks are handed on under that limit and their tokens rise.
#[test]
fn under_googles_limit_on_writes_the_lock_is_handed_on() {
    let fake = Fake::start();
    fake.make_bucket(BUCKET);
    fake.limit_writes(Some(Duration::from_secs(1)));
    let url = format!("gs://{BUCKET}?endpoint={}&poll-interval=20ms", fake.endpoint());
    let world = World::new();
    let all: Vec<_> = (0..4)
        .map(|_| {
            let words = ["--backend", &url, "run", "x", "--ttl", "10s", "--", "sh", "-c"];
            world.start(&[&words[..], &["echo $LEASEHOLD_TOKEN"]].concat())
        })
        .collect();
    let tokens = all.into_iter().map(|run| run.end().expect(0).out.trim().parse::<u64>());
    let mut tokens: Vec<u64> = tokens.map(|token| token.expect("a token")).collect();
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), 4, "{tokens:?}");
    // A ttl that the limit cannot serve is refused when it is typed.
    let words = ["--backend", &url, "run", "x", "--ttl", "9s", "--", "true"];
    let seen = world.run(&words).expect(64);
    assert!(seen.err.contains("10s"), "{seen:?}");
}

/// The file with the credentials is missing, cut off, of an unknown kind, or has a key that is none.
/// Nothing is sent, it is 77 at once, and no secret that stands in the file is repeated.
#[test]
fn credentials_that_are_none_are_77_and_not_repeated() {
    let world = World::new();
    let whole = r#"{"type":"service_account","client_email":"me@acme.example",
        "private_key":"s3cret","private_key_id":"s3cret","project_id":"acme",
        "token_uri":"https://127.0.0.1:1/token"}"#;
    world.write("cut.json", &whole[..whole.len() / 2]);
    world.write("key.json", whole);
    world.write("odd.json", r#"{"type":"pigeon","private_key":"s3cret"}"#);
    for file in ["none.json", "cut.json", "key.json", "odd.json"] {
        let url = "gs://acme-locks?endpoint=https://127.0.0.1:1";
        let mut command = world.leasehold(&["--backend", url, "run", "x", "--", "echo", "never"]);
        command.env("GOOGLE_APPLICATION_CREDENTIALS", world.path(file));
        let seen = end(command).expect(77);
        assert!(seen.out.is_empty() && !seen.err.contains("s3cret"), "{file}: {seen:?}");
        assert!(seen.err.contains("GOOGLE_APPLICATION_CREDENTIALS"), "{file}: {seen:?}");
    }
}

/// A server that does not know deletions answers with a page of HTML. One line of it is told, and told once.
#[test]
fn a_page_is_told_in_one_line_and_once() {
    let (fake, world) = world();
    fake.script(always(When::Delete, Fault::Odd(Odd::Page(501))));
    let seen = world.run(&["doctor"]).expect(69);
    let told = seen.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(told.matches("guest network").count(), 1, "{told}");
    assert!(told.contains("the answer was 501: Sign in to the guest network"), "{told}");
    assert!(told.contains("the same answer as above") && !told.contains('<'), "{told}");
    // A portal that answers everything is no bucket that is damaged or missing.
    fake.heal();
    fake.script(always(When::Any, Fault::Odd(Odd::Page(200))));
    let seen = world.run(&["run", "x", "--ttl", "1s", "--", "true"]).expect(69);
    let last = seen.err.lines().last().unwrap_or_default();
    assert_eq!(last.matches("guest network").count(), 1, "{seen:?}");
}

/// New objects of the bucket are under a hold. `init` says so before the first lock is stuck there.
#[test]
fn a_bucket_that_holds_its_objects_is_76() {
    let fake = Fake::start();
    let access = r#""iamConfiguration":{"uniformBucketLevelAccess":{"enabled":true}}"#;
    fake.make_bucket_as(BUCKET, &format!(r#"{{{access},"defaultEventBasedHold":true}}"#));
    let world = World::on(Store::in_bucket(fake.address()));
    let seen = world.run(&["init", &world.backend()]).expect(76);
    assert!(seen.out.contains("--no-default-event-based-hold"), "{seen:?}");
    let seen = world.run(&["doctor"]).expect(0);
    assert!(seen.out.contains("default event-based hold"), "{seen:?}");
}
