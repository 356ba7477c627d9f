//! `leasehold doctor`, from outside.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::world::{Running, Seen, World, chmod, end, program_path};

/// Everything below a directory, by name.
fn names(dir: &Path) -> Vec<String> {
    let mut names = vec![];
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("it can be read").flatten() {
            names.push(entry.path().display().to_string());
            if entry.path().is_dir() {
                dirs.push(entry.path());
            }
        }
    }
    names.sort();
    names
}

fn json(seen: &Seen) -> Value {
    serde_json::from_str(&seen.out).unwrap_or_else(|e| panic!("{e}: {seen:?}"))
}

/// An operator has a store with a lock in it and asks whether it may be used. The answer is yes, on one
/// screen, and the store is as it was.
#[test]
fn a_store_of_files_is_proven_and_left_as_it_was() {
    let world = World::new();
    world.run(&["run", "x", "--", "true"]).expect(0);
    let before = names(&world.path("store"));
    let seen = world.run(&["doctor"]).expect(0);
    assert_eq!(names(&world.path("store")), before, "{seen:?}");
    assert_eq!(seen.err, "");
    let lines: Vec<&str> = seen.out.lines().collect();
    assert!(lines.len() <= 24 && lines.iter().all(|line| line.chars().count() <= 100), "{seen:?}");
    assert!(!seen.out.contains("FAIL") && !seen.out.contains("warn"), "{seen:?}");
    let verdict = format!("{} may be used for locks, with a ttl of ", world.backend());
    assert!(seen.out.contains(&verdict), "{seen:?}");
    // A URL that is typed counts more than the variable.
    let other = format!("file://{}", world.path("other").display());
    let seen = world.run(&["doctor", &other]).expect(0);
    assert!(seen.out.contains(&format!("{other} may be used")), "{seen:?}");
}

/// Another user has made a lock in a directory that both may write to. `run` refuses that name, so the doctor
/// does not say that all is well.
#[test]
fn a_name_of_another_user_is_told() {
    let world = World::new();
    world.run(&["run", "theirs", "--", "true"]).expect(0);
    chmod(&world.path("store"), 0o1777);
    chmod(&world.path("store/.alive"), 0o1777);
    chmod(&world.path("store/theirs"), 0o500);
    let program = world.path("program");
    fs::copy(program_path(), &program).expect("there is room");
    let mut command = std::process::Command::new("setsid");
    if rustix::process::getuid().is_root() {
        command.args(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
    }
    command.arg(program).arg("doctor");
    let seen = end(world.prepared(command)).expect(77);
    assert!(seen.out.contains("this user may not use 1: "), "{seen:?}");
    assert!(seen.out.contains("theirs"), "{seen:?}");
}

/// A deployment asks before it begins, and reads the answer with a program.
#[test]
fn a_program_gets_one_object() {
    let world = World::new();
    let value = json(&world.run(&["doctor", "--json"]).expect(0));
    assert_eq!(value["usable"], true, "{value}");
    assert_eq!(value["store"], world.backend(), "{value}");
    let checks = value["checks"].as_array().expect("an array");
    let result = |check: &str| {
        let found = checks.iter().find(|line| line["check"] == check);
        found.map_or("none", |line| line["result"].as_str().expect("a word"))
    };
    for check in ["create again", "stale swap", "re-creation", "create race", "swap race"] {
        assert_eq!(result(check), "ok", "{value}");
    }
    assert!(value["measured"]["write_ms"]["max"].as_f64() > Some(0.0), "{value}");
    assert!(value["plan"]["ttl_ms_min"].as_u64() >= Some(100), "{value}");
    assert_eq!(value["left_behind"], Value::Array(vec![]), "{value}");
}

/// What cannot be opened has the codes that it has everywhere, and one sentence.
#[test]
fn what_cannot_be_opened_has_its_code() {
    let world = World::new();
    let cases = [("nosuch://x", 64), ("file://relative", 64), ("file:///dev/null/no", 64)];
    for (url, code) in cases {
        for command in ["doctor", "init"] {
            let seen = world.run(&[command, url]).expect(code);
            assert_eq!((seen.out.as_str(), seen.err.lines().count()), ("", 1), "{seen:?}");
        }
    }
}

/// A service's user may read the store and not write there. It is told which right is lacking, and
/// not that the store is bad.
#[test]
fn a_store_that_may_only_be_read_is_77() {
    // Root may do everything, so the program runs as somebody else here.
    let world = World::new();
    world.run(&["run", "x", "--", "true"]).expect(0);
    let program = world.path("program");
    fs::copy(program_path(), &program).expect("there is room");
    chmod(&world.path("store"), 0o555);
    let mut command = std::process::Command::new("setsid");
    if rustix::process::getuid().is_root() {
        command.args(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
    }
    command.arg(program).arg("doctor");
    let seen = end(world.prepared(command)).expect(77);
    assert!(seen.out.contains("FAIL  create"), "{seen:?}");
    assert!(seen.out.contains("could not be proven"), "{seen:?}");
    chmod(&world.path("store"), 0o755);
}

/// Somebody asks a service to stop while it proves its store: nothing stays behind.
#[test]
fn an_interrupted_doctor_leaves_nothing() {
    let world = World::new();
    world.run(&["run", "x", "--", "true"]).expect(0);
    let before = names(&world.path("store"));
    let mut running = Running::of(world.leasehold(&["doctor"]));
    let started: Vec<String> = (0..3).map(|_| running.line()).collect();
    assert!(started[2].starts_with("ok    create"), "{started:?}");
    running.signal(Signal::TERM);
    let seen = running.end();
    // On a machine that is busy enough it may have come to its end first.
    assert!(matches!(seen.code(), 143 | 0), "{seen:?}");
    assert_eq!(names(&world.path("store")), before, "{seen:?}");
}
