//! A client in another language, written after the documents, shares our locks.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::world::{Running, World, end};

mod planted;
mod vectors;

/// The Python client.
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/other");

/// The Python client with these words, or `None` and a line in the report where no Python is.
fn python(world: &World, words: &[&str]) -> Option<Command> {
    python_file(world, &format!("{CLIENT}/leasehold.py"), words)
}

/// A program in Python with these words.
fn python_file(world: &World, file: &str, words: &[&str]) -> Option<Command> {
    let found = Command::new("python3").arg("--version").stdout(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        if let Some(path) = std::env::var_os("LEASEHOLD_SKIPPED_FILE") {
            let file = OpenOptions::new().create(true).append(true).open(path);
            let line = b"SKIPPED: the client in another language: there is no python3\n";
            file.and_then(|mut file| file.write_all(line)).expect("it can be written");
        }
        return None;
    }
    let mut command = Command::new("python3");
    // Without `-B` it would leave compiled files beside its source.
    command.args(["-B", file]).args(words);
    Some(world.prepared(command))
}

/// The Python client that runs a command under the lock `x`.
fn python_run(world: &World, options: &[&str], run: &[&str]) -> Option<Command> {
    let store = world.backend();
    let words = [&["run", &store, "x"], options, &["--"], run].concat();
    python(world, &words)
}

/// Each section reads the number and writes the next, so two at a time would lose a count; and
/// each notes its token and when it began and ended, by one clock. One of the foreign clients loses
/// answers, is told lies and has writes land late: it must find out by reading, and hit nobody.
#[test]
fn both_race_for_one_lock_and_no_sections_overlap() {
    const ROUNDS: usize = 6;
    let world = World::new();
    world.write("count", "0\n");
    world.write(
        "section",
        "begun=$(date +%s%N)
        read n <count; echo $((n + 1)) >count
        echo $LEASEHOLD_TOKEN $begun $(date +%s%N) $1 >>log\n",
    );
    let python = |times: usize, more: &[&str]| {
        let times = times.to_string();
        let options = [&["--ttl", "5", "--times", &times], more].concat();
        python_run(&world, &options, &["sh", "./section", "python"])
    };
    let rust = "leasehold run x --ttl 5s -- sh ./section rust";
    let only_rust = format!("for i in $(seq {}); do {rust} || exit; done", 3 * ROUNDS);
    // In turn, so that neither language can do all of its sections before the other begins.
    let both = format!("for i in $(seq {ROUNDS}); do {rust} && \"$@\" || exit; done");
    let mut clients = vec![];
    for more in [&[][..], &["--unreliable"]] {
        let Some(once) = python(1, &[]) else { return };
        let mut in_turn = world.script("sh", &both);
        in_turn.arg("sh").arg(once.get_program()).args(once.get_args());
        clients.extend([in_turn, world.script("sh", &only_rust)]);
        clients.extend(python(3 * ROUNDS, more));
    }
    let clients: Vec<_> = clients.into_iter().map(Running::of).collect();
    for one in clients {
        one.end().expect(0);
    }
    check_sections(&world, 2 * (2 + 3 + 3) * ROUNDS, 2 * ROUNDS - 1);
}

/// The notes of sections that ran one at a time, and changed language so often or more.
#[track_caller]
fn check_sections(world: &World, sections: usize, turns: usize) {
    assert_eq!(world.read("count").trim(), sections.to_string());
    let log = world.read("log");
    let lines: Vec<Vec<&str>> = log.lines().map(|line| line.split(' ').collect()).collect();
    assert_eq!(lines.len(), sections);
    let number = |text: &str| text.parse::<u64>().expect("a number");
    for pair in lines.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        assert!(number(after[0]) > number(before[0]), "tokens do not rise: {pair:?}");
        assert!(number(after[1]) >= number(before[2]), "two sections overlap: {pair:?}");
    }
    assert!(lines.windows(2).filter(|pair| pair[0][3] != pair[1][3]).count() >= turns);
}

/// A foreign client asks once and gives up, while it does not know what became of its writes. If
/// one landed unseen, the lock would be held by nobody for an hour.
#[test]
fn it_leaves_no_ghost_when_it_gives_up() {
    let world = World::new();
    let options = ["--ttl", "3600", "--wait", "0", "--unreliable"];
    for _ in 0..6 {
        let Some(python) = python_run(&world, &options, &["true"]) else { return };
        world.run(&["run", "x", "-w", "50s", "--", "true"]).expect(0);
        let seen = end(python);
        assert!(matches!(seen.code(), 0 | 75), "{seen:?}");
        let (_, text) = record(&world);
        assert!(text.contains("\"holders\":[]"), "{text}");
    }
}

/// A client dies without a word. The other finds its liveness file unlocked and goes on at once:
/// the ttl is far longer than anybody would wait here.
#[test]
fn each_goes_on_at_once_when_the_other_was_killed() {
    takes_over("3600", false);
}

/// The same, but somebody tidied up the liveness files: only the ttl in the record tells.
#[test]
fn each_waits_for_the_ttl_of_the_other_where_a_death_is_not_proven() {
    takes_over("1", true);
}

fn takes_over(ttl: &str, tidied: bool) {
    let world = World::new();
    let holds = ["sh", "-c", "echo $LEASEHOLD_TOKEN; exec sleep 1000"];
    let tells = ["sh", "-c", "echo $LEASEHOLD_TOKEN"];
    let seconds = format!("{ttl}s");
    let rust_holds = [&["run", "x", "--ttl", &seconds, "--"], &holds[..]].concat();
    let rust_tells = [&["run", "x", "-w", "50s", "--"], &tells[..]].concat();
    let Some(python_holds) = python_run(&world, &["--ttl", ttl], &holds) else { return };
    let Some(python_tells) = python_run(&world, &["--wait", "50"], &tells) else { return };
    let pairs = [
        (python_holds, world.leasehold(&rust_tells)),
        (world.leasehold(&rust_holds), python_tells),
    ];
    for (holder, waiter) in pairs {
        let mut holder = Running::of(holder);
        let before: u64 = holder.line().parse().expect("a token");
        if tidied {
            fs::remove_dir_all(world.path("store/.alive")).expect("it was there");
        }
        let begun = record(&world);
        holder.kill();
        let seen = end(waiter).expect(0);
        let after: u64 = seen.out.trim().parse().expect("a token");
        assert_eq!(after, before + 1, "{seen:?}");
        assert_ne!(begun, record(&world));
    }
}

/// A later version may mean anything by its record, so whoever does not know it keeps out and
/// writes nothing.
#[test]
fn each_refuses_a_newer_record_of_the_other() {
    let world = World::new();
    for foreign_writer in [true, false] {
        let _ = fs::remove_dir_all(world.path("store/x"));
        let rust = world.leasehold(&["run", "x", "--", "true"]);
        let Some(python) = python_run(&world, &[], &["true"]) else { return };
        let (writer, reader) = if foreign_writer { (python, rust) } else { (rust, python) };
        end(writer).expect(0);
        let (path, text) = record(&world);
        let newer = text.replace("\"leasehold\":1,", "\"leasehold\":2,");
        assert_ne!(newer, text);
        fs::write(&path, &newer).expect("it is ours");
        let seen = end(reader).expect(65);
        assert!(seen.err.contains("format 2"), "{seen:?}");
        assert_eq!(record(&world), (path, newer), "it was written over");
    }
}

/// The newest state of `x`: its file, and what is in it.
fn record(world: &World) -> (PathBuf, String) {
    let mut states: Vec<PathBuf> = fs::read_dir(world.path("store/x"))
        .expect("it was used")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.to_string_lossy().contains("/state-"))
        .collect();
    states.sort();
    let newest = states.pop().expect("there is a state");
    let text = fs::read_to_string(&newest).expect("it is text");
    (newest, text)
}

/// A person takes the lock away from a foreign holder: it ends its command, says so, and leaves
/// the next holder alone.
#[test]
fn it_stops_when_its_lock_is_broken() {
    let world = World::new();
    let section = ["sh", "-c", "echo up; exec sleep 1000"];
    let Some(python) = python_run(&world, &["--ttl", "2"], &section) else { return };
    let mut holder = Running::of(python);
    holder.await_line("up");
    world.run(&["break", "x", "--reason", "it is time"]).expect(0);
    let mut next = world.start(&["run", "x", "--", "sh", "-c", "echo up; exec sleep 1000"]);
    next.await_line("up");
    let held = record(&world);
    assert!(holder.end().expect(79).err.contains("lost x"));
    assert_eq!(record(&world), held, "it wrote over the next holder's record");
    next.kill();
}
