//! What people are told: of names that were never used, of records that are not ours to use, of a wait
//! in a log, of who holds. None of it depends on the store, so it is tested on files only.

use std::fs;
use std::path::PathBuf;

use crate::world::{Running, Seen, World, end, until};

/// A lock that is held until it is told to end.
#[track_caller]
fn held(world: &World, name: &str, label: &str) -> Running {
    let mut holder =
        world.start(&["run", name, "--label", label, "--", "sh", "-c", "echo in; exec sleep 1000"]);
    holder.await_line("in");
    holder
}

/// The file of the newest state of a name.
fn record(world: &World, name: &str) -> PathBuf {
    let entries = fs::read_dir(world.path("store").join(name)).expect("it was used");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    let states = paths.filter(|path| path.to_string_lossy().contains("/state-"));
    states.max().expect("there is a state")
}

/// Somebody on call mistypes a name, or forgets which store the job uses. It must not look like a free
/// lock: the answer says that the name was never used, what may have been meant, and which store was asked.
#[test]
fn a_name_that_was_never_used_is_no_free_lock() {
    let world = World::new();
    world.run(&["run", "deploy", "--", "true"]).expect(0);
    let seen = world.run(&["status", "deplyo"]).expect(0);
    let store = format!("store      {}\n", world.backend());
    assert!(seen.out.starts_with(&store), "{seen:?}");
    assert!(seen.out.contains("state      never used; did you mean deploy?\n"), "{seen:?}");
    let json = world.run(&["status", "deplyo", "--json"]).expect(0).out;
    assert!(json.contains("\"state\": \"absent\"") && json.contains("did_you_mean"), "{json}");
    let seen = world.run(&["wait", "deplyo"]).expect(0);
    assert!(seen.err.contains("was never used") && seen.err.contains("mean deploy?"), "{seen:?}");
    for words in [
        vec!["break", "deplyo", "--reason", "x"],
        vec!["reset", "deplyo", "--reason", "x"],
        vec!["forget", "deplyo"],
    ] {
        let seen = world.run(&words).expect(0);
        assert!(seen.out.starts_with(&store), "{words:?}: {seen:?}");
        assert!(seen.out.contains("was never used; did you mean deploy?"), "{words:?}: {seen:?}");
    }
    let mut elsewhere = world.leasehold(&["list"]);
    elsewhere.env_remove("LEASEHOLD_BACKEND").env("XDG_STATE_HOME", world.path("state"));
    let seen = end(elsewhere).expect(0);
    assert!(seen.out.lines().next().is_some_and(|it| it.contains("the default one")), "{seen:?}");
    let seen = world.run(&["list"]).expect(0);
    assert!(seen.out.starts_with(&store), "{seen:?}");
}

/// A newer leasehold has used the name. That is no damage: every command says that a newer leasehold is
/// needed, none advises to repair it, and nothing is written over without `--newer`.
#[test]
fn a_newer_record_is_left_to_newer_programs() {
    let world = World::new();
    world.run(&["once", "x", "--", "true"]).expect(0);
    let path = record(&world, "x");
    let newer = fs::read_to_string(&path).expect("text").replace("hold\":1,", "hold\":2,");
    fs::write(&path, &newer).expect("it is ours");
    let check = |seen: Seen| {
        let said = format!("{}{}", seen.out, seen.err);
        assert!(said.contains("use a newer leasehold"), "{seen:?}");
        assert!(!said.contains("repair"), "{seen:?}");
    };
    check(world.run(&["status", "x"]).expect(0));
    for words in [
        vec!["run", "-n", "x", "--", "true"],
        vec!["run", "x", "--", "true"],
        vec!["once", "x", "--", "true"],
        vec!["wait", "x"],
        vec!["reset", "x", "--reason", "y"],
        vec!["forget", "x"],
        vec!["break", "x", "--reason", "y"],
        vec!["break", "x", "--reason", "y", "--token", "7"],
    ] {
        check(world.run(&words).expect(65));
    }
    assert_eq!(fs::read_to_string(record(&world, "x")).expect("text"), newer);
    world.run(&["break", "x", "--reason", "y", "--newer"]).expect(0);
    world.run(&["once", "x", "--", "true"]).expect(0);
}

/// Two hundred names, and a person looks for the one that hangs: only those that are held, the longest
/// first, in columns that stay straight.
#[test]
fn a_list_shows_what_is_asked_for() {
    let world = World::new();
    for name in ["東京", "free"] {
        world.run(&["run", name, "--", "true"]).expect(0);
    }
    let holders = [held(&world, "z", "first"), held(&world, "a", "second")];
    let seen = world.run(&["list"]).expect(0);
    assert!(seen.out.contains("\n東京  free   "), "{seen:?}");
    assert!(seen.out.contains("\na     held   "), "{seen:?}");
    let names = |seen: &Seen| -> Vec<String> {
        let rows = seen.out.lines().skip(2);
        rows.map(|row| row.split(' ').next().unwrap_or_default().to_owned()).collect()
    };
    let seen = world.run(&["list", "--held"]).expect(0);
    assert_eq!(names(&seen), ["a", "z"]);
    let seen = world.run(&["list", "--held", "--sort", "since"]).expect(0);
    assert_eq!(names(&seen), ["z", "a"]);
    for holder in holders {
        holder.finish();
    }
}

/// Names of branches that are long merged pile up. They are forgotten by name or by age; what is held
/// stays, and so does what `once` did, unless it is said.
#[test]
fn names_are_forgotten_when_nobody_holds_them() {
    let world = World::new();
    for name in ["review/1", "review/2", "deploy"] {
        world.run(&["run", name, "--", "true"]).expect(0);
    }
    world.run(&["once", "schema", "--", "true"]).expect(0);
    let holder = held(&world, "review/3", "me");
    let seen = world.run(&["forget", "review/3"]).expect(75);
    assert!(seen.out.contains("is held by me, for "), "{seen:?}");
    let seen = world.run(&["forget", "schema"]).expect(64);
    assert!(seen.out.contains("--once forgets it"), "{seen:?}");
    let seen = world.run(&["forget", "deploy"]).expect(0);
    assert!(seen.out.contains("\"deploy\" is forgotten; its last token was "), "{seen:?}");
    let seen = world.run(&["forget", "--older-than", "1d"]).expect(0);
    assert!(seen.out.ends_with("\n0 of 4 names are forgotten\n"), "{seen:?}");
    let seen = world.run(&["forget", "--older-than", "0", "review/"]).expect(0);
    assert!(seen.out.ends_with("\n2 of 3 names are forgotten\n"), "{seen:?}");
    assert!(seen.out.contains("\"review/3\" is held by me"), "{seen:?}");
    holder.finish();
    world.run(&["forget", "schema", "--once"]).expect(0);
    let seen = world.run(&["list"]).expect(0);
    assert_eq!(seen.out.lines().count(), 3, "{seen:?}");
    // It is used again like a new one.
    let seen = world.run(&["run", "deploy", "--", "sh", "-c", "echo $LEASEHOLD_TOKEN"]).expect(0);
    assert!(seen.out.trim().parse::<u64>().is_ok_and(|token| token > 1_700_000_000_000));
}

/// A job waits in a log. It is told who holds the lock, when that changes, and in the end how long it
/// took; with `-q` nothing, with `-v` also what was done and when.
#[test]
fn a_wait_in_a_log_is_told_from_its_beginning_to_its_end() {
    let world = World::new();
    let first = held(&world, "x", "first");
    let waiter = |voice: &str, label: &str| {
        let script = ["--", "sh", "-c", "echo in; read line"];
        let mut command =
            world.leasehold(&[&["run", "x", voice, "--label", label], &script[..]].concat());
        let log = fs::File::create(world.path(label)).expect("there is room");
        command.stdin(std::process::Stdio::piped()).stderr(log);
        Running::of(command)
    };
    let (loud, quiet) = (waiter("-v", "loud"), waiter("-q", "quiet"));
    until("it is told who is waited for", || {
        world.read("loud").contains("waiting for x, held by first")
    });
    first.finish();
    // One of the two comes first and holds until it is told to end.
    let status = || world.run(&["status", "x"]).out;
    until("one of them holds it", || status().contains("state      held"));
    let (mut next, mut last) =
        if status().contains("held by    loud") { (loud, quiet) } else { (quiet, loud) };
    for turn in [&mut next, &mut last] {
        turn.await_line("in");
        turn.write("\n");
    }
    next.end().expect(0);
    last.end().expect(0);
    assert_eq!(world.read("quiet"), "");
    let log = world.read("loud");
    for text in [
        "asking for \"x\" at file://",
        "acquired \"x\" with token",
        " after ",
        "done with \"x\" after",
    ] {
        assert!(log.contains(text), "{text}: {log}");
    }
}

/// `run -n` of a job that cron starts is refused. Its one line has all that is needed: who, since when,
/// until when, which store, and what to type next.
#[test]
fn a_refusal_says_who_since_when_until_when_and_where() {
    let world = World::new();
    let holder = held(&world, "x", "me");
    let seen = world.run(&["run", "-n", "x", "--", "true"]).expect(75);
    for text in ["is held by me since 2", "its lease ends ", " at file://", "leasehold status x"] {
        assert!(seen.err.contains(text), "{text}: {seen:?}");
    }
    let seen = world.run(&["run", "-w", "0.1", "x", "--", "true"]).expect(75);
    assert!(seen.err.contains("leasehold status x"), "{seen:?}");
    holder.finish();
}

/// A CI job, where USER is not set, holds a lock, and another person wants to know what that is: the
/// label has the user, the command without its arguments, and the URL of the run.
#[test]
fn a_label_leads_to_the_job() {
    let world = World::new();
    let words = ["run", "x", "--", "sh", "-c", "echo in; exec sleep 1000 # secret"];
    let mut command = world.leasehold(&words);
    command
        .env_remove("USER")
        .env_remove("LOGNAME")
        .env("GITHUB_SERVER_URL", "https://github.com")
        .env("GITHUB_REPOSITORY", "acme/app")
        .env("GITHUB_RUN_ID", "99");
    let mut holder = Running::of(command);
    holder.await_line("in");
    let seen = world.run(&["status", "x"]).expect(0);
    let held_by = seen.out.lines().find(|line| line.starts_with("held by")).expect("it is held");
    assert!(held_by.ends_with(" (sh, https://github.com/acme/app/actions/runs/99)"), "{held_by}");
    assert!(!held_by.contains("secret"), "{held_by}");
    let uid = fs::read_to_string("/etc/passwd").unwrap_or_default();
    if uid.lines().any(|line| line.starts_with("root:")) && rustix::process::getuid().is_root() {
        assert!(held_by.contains("held by    root@"), "{held_by}");
    }
    holder.finish();
}
