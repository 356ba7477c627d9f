//! A database that refuses, is missing, does not answer or loses what it did: what the program says then,
//! and how it ends.

use std::process::Stdio;
use std::time::Duration;

use leasehold_servers::spanner::{Code, Fake, Fault, Rule, When};
use serde_json::Value;

use crate::store::Store;
use crate::world::{Running, Seen, World, until};

/// A world on a fake of its own, so that its faults hit nobody else.
fn world() -> (Fake, World) {
    let fake = Fake::start();
    let world = World::on(Store::in_database(fake.address()));
    (fake, world)
}

fn always(when: When, fault: Fault) -> Rule {
    Rule { when, times: None, fault }
}

fn once(when: When, fault: Fault) -> Rule {
    Rule { when, times: Some(1), fault }
}

fn answer(code: Code) -> Fault {
    Fault::Answer { code, retry_after: None, done: false }
}

/// A section that says when it is asked to end.
const ASKED: &str = "trap 'echo asked' TERM; echo up; while :; do sleep 0.01; done";

/// Every command that needs the store meets what is wrong with it.
fn all_say(world: &World, url: &str, code: i32, what: &str) {
    for words in [
        &["run", "x", "--ttl", "1s", "--", "echo", "never"][..],
        &["run", "-n", "x", "--ttl", "1s", "--", "echo", "never"],
        &["acquire", "x", "-w", "20s", "--ttl", "1s"],
        &["break", "x", "--reason", "a test"],
        &["wait", "x", "-w", "1s"],
        &["status", "x"],
        &["list"],
    ] {
        let Seen { status, out, err } = world.run(&[&["--backend", url], words].concat());
        assert_eq!(status.code(), Some(code), "{words:?}: {out} {err}");
        assert!(!out.contains("never") && err.contains(what), "{words:?}: {out} {err}");
    }
}

/// Somebody mistyped the database or the table, or has not made them. Whatever was asked for ends at once,
/// also what would wait, and says how they are made.
#[test]
fn what_is_missing_is_64_and_says_how_to_make_it() {
    let (fake, world) = (Fake::start(), World::new());
    fake.make_instance("acme/main");
    fake.make_database("acme/main/empty", &[]);
    for place in ["acme/main/none", "acme/main/empty"] {
        let url = fake.url(place);
        all_say(&world, &url, 64, &format!("leasehold init spanner://{place}"));
        // What the error says helps.
        let seen = world.run(&["--backend", &url, "run", "x", "--", "true"]).expect(64);
        let (_, command) = seen.err.split_once("`leasehold init ").expect("a command");
        let (told, _) = command.split_once('`').expect("a command");
        world.run(&["init", told]).expect(0);
        world.run(&["--backend", &url, "run", "x", "--", "true"]).expect(0);
    }
}

/// An instance costs money, so nobody but an emulator gets one by `init`: the error says how one is made.
#[test]
fn a_missing_instance_is_64_and_says_how_to_make_it() {
    let (fake, world) = (Fake::start(), World::new());
    all_say(&world, &fake.url("acme/main/locks"), 64, "gcloud spanner instances create main");
}

/// The credentials may do nothing here: no waiting helps, and the error names the role that would.
#[test]
fn a_database_that_refuses_is_77_and_names_the_role() {
    let (fake, world) = world();
    fake.script(always(When::Any, answer(Code::PermissionDenied)));
    all_say(&world, &world.backend(), 77, "roles/spanner.databaseUser");
}

/// They may read but not write: that shows only when the lock is taken.
#[test]
fn a_database_that_can_only_be_read_is_77() {
    let (fake, world) = world();
    fake.script(always(When::Commit, answer(Code::PermissionDenied)));
    world.run(&["status", "x"]).expect(0);
    let seen = world.run(&["run", "x", "--", "echo", "never"]).expect(77);
    assert!(seen.out.is_empty() && seen.err.contains("roles/spanner.databaseUser"), "{seen:?}");
}

/// Nobody listens there, or it takes every request and never answers: after a ttl of trying it is 69. Where
/// nobody listens the error says where was tried.
#[test]
fn a_server_that_is_not_there_is_69() {
    let fake = Fake::start();
    let (address, url) = (fake.address(), fake.url("acme/main/locks"));
    drop(fake);
    let gone = World::new();
    let (_fake, silent) = world();
    silent.store().take_away();
    for how in [&["-n"][..], &[]] {
        for (world, url, what) in [
            (&gone, &url, address.to_string()),
            (&silent, &silent.backend(), "no answer".to_owned()),
        ] {
            let words = ["--backend", url, "run", "x", "--ttl", "2s"];
            let words = [&words[..], how, &["--", "echo", "never"]].concat();
            let seen = world.run(&words).expect(69);
            assert!(seen.out.is_empty() && seen.err.contains(&what), "{seen:?}");
        }
    }
}

/// In whatever way the store goes away, the command is asked to end while the lease lasts, and is over
/// before it is.
#[test]
fn a_database_that_goes_away_ends_the_command_with_79() {
    let faults = [
        Fault::Close,
        Fault::LoseAnswer,
        Fault::Hang { done: false },
        Fault::Truncate,
        answer(Code::PermissionDenied),
        answer(Code::ResourceExhausted),
        answer(Code::Aborted),
        answer(Code::Unavailable),
        answer(Code::Unknown),
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

/// A fault that passes costs nobody the lock: it is taken, renewed and released through it, and nobody
/// mistakes a lost answer for somebody else's commit. In the middle all sessions are forgotten and all
/// connections closed.
#[test]
fn a_fault_that_passes_does_no_harm() {
    let done = |code| Fault::Answer { code, retry_after: None, done: true };
    let wait = Some(Duration::from_millis(20));
    let faults = [
        Fault::Close,
        Fault::LoseAnswer,
        Fault::Truncate,
        Fault::Hang { done: true },
        Fault::Hang { done: false },
        Fault::Late(Duration::from_millis(300)),
        Fault::Slow(Duration::from_millis(300)),
        Fault::Answer { code: Code::Aborted, retry_after: wait, done: false },
        Fault::Answer { code: Code::ResourceExhausted, retry_after: wait, done: false },
        done(Code::Unknown),
        done(Code::DeadlineExceeded),
        done(Code::NotFound),
        answer(Code::Unavailable),
    ];
    std::thread::scope(|scope| {
        for fault in faults {
            scope.spawn(move || {
                let (fake, world) = world();
                for when in [When::Session, When::Read, When::Commit] {
                    fake.script(once(when, fault.clone()));
                }
                let script = "echo $LEASEHOLD_TOKEN; read line; exit 3";
                let words = ["run", "x", "--ttl", "6s", "--", "sh", "-c", script];
                let mut command = world.leasehold(&words);
                command.stdin(Stdio::piped());
                let mut run = Running::of(command);
                let token: u64 = run.line().parse().expect("a token");
                // A renewal meets it, and the release. The one after the repeated renewal shows that its
                // answer was heard: before that, what is left of the lease is short for a release.
                let before = fake.count("Commit");
                fake.script(once(When::Commit, fault.clone()));
                until("it was renewed", || fake.count("Commit") >= before + 3);
                fake.drop_sessions();
                fake.close_connections();
                fake.script(once(When::Commit, fault.clone()));
                run.write("\n");
                let seen = run.end().expect(3);
                assert!(!seen.err.contains("not released"), "{fault:?}: {seen:?}");
                let words = ["run", "x", "-n", "--", "sh", "-c", "echo $LEASEHOLD_TOKEN"];
                let next: u64 = world.run(&words).expect(0).out.trim().parse().expect("a token");
                assert!(next > token, "{fault:?}: {next} after {token}");
            });
        }
    });
}

/// An operator looks before the database is made: what would be done is printed, statement and all, and
/// nothing is done. Then it is made, and found the next time.
#[test]
fn a_dry_run_prints_the_statement() {
    let (fake, world) = (Fake::start(), World::new());
    fake.make_instance("acme/main");
    let url = fake.url("acme/main/locks");
    let seen = world.run(&["init", &url, "--dry-run"]).expect(0);
    assert!(seen.out.contains("CREATE TABLE leasehold (name STRING(256) NOT NULL"), "{seen:?}");
    assert!(seen.out.contains("the database locks in main"), "{seen:?}");
    assert_eq!(fake.statements("acme/main/locks"), None);
    world.run(&["init", &url]).expect(0);
    let statements = fake.statements("acme/main/locks").expect("it was made");
    assert_eq!(statements.len(), 1);
    assert!(seen.out.contains(&statements[0]), "{seen:?}: {statements:?}");
    let found = world.run(&["init", &url, "--json"]).expect(0);
    let found: Value = serde_json::from_str(&found.out).expect("JSON");
    assert_eq!(found["ready"], true, "{found}");
}

/// The database has a table that deletes its rows by their age, and with them the locks. Whoever sets it up
/// is told, and so is whoever asks whether it may be used.
#[test]
fn a_row_deletion_policy_is_told() {
    let (fake, world) = (Fake::start(), World::new());
    let url = fake.url("acme/main/locks");
    world.run(&["init", &url]).expect(0);
    let table = fake.statements("acme/main/locks").expect("it was made").remove(0);
    let policy = format!("{table}, ROW DELETION POLICY (OLDER_THAN(written, INTERVAL 30 DAY))");
    fake.make_database("acme/main/locks", &[&policy]);
    for command in ["init", "doctor"] {
        let seen = world.run(&[command, &url]);
        let mends = "ALTER TABLE leasehold DROP ROW DELETION POLICY";
        assert!(seen.out.contains(mends), "{command}: {seen:?}");
        assert_ne!(seen.status.code(), Some(69), "{command}: {seen:?}");
    }
}

/// A service may hold locks and look at nothing else: the database is proven nevertheless, and what could not
/// be seen is said.
#[test]
fn who_may_not_look_is_told_so() {
    let (fake, world) = world();
    fake.script(always(When::Admin, answer(Code::PermissionDenied)));
    let seen = world.run(&["doctor"]).expect(0);
    assert!(seen.out.contains("rights        cannot be asked for"), "{seen:?}");
    assert!(seen.out.contains("settings      cannot be seen"), "{seen:?}");
}

/// An operator asks whether the database may be used. The answer is yes, it says that locks cost nothing
/// beside it, and nothing is left there.
#[test]
fn a_database_is_proven_and_left_as_it_was() {
    proven(&world().1);
}

/// Google's emulator, too, which serves one commit at a time and has the others tried again.
#[test]
fn the_emulator_is_proven() {
    let Some(store) = Store::on_outside_database() else { return };
    proven(&World::on(store));
}

fn proven(world: &World) {
    world.run(&["run", "x", "--", "true"]).expect(0);
    let seen = world.run(&["doctor", "--json"]);
    let report: Value = serde_json::from_str(&seen.out).unwrap_or_else(|e| panic!("{e}: {seen:?}"));
    assert_eq!(report["usable"], true, "{report}");
    assert_eq!(seen.status.code(), Some(0), "{report}");
    assert_eq!(report["left_behind"], Value::Array(vec![]), "{report}");
    let listed = world.run(&["list", "--json"]).expect(0);
    let listed: Value = serde_json::from_str(&listed.out).expect("JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
}
