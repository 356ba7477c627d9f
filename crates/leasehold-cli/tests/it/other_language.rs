//! A client in another language, written after the documents, shares our locks.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::world::{Running, World, end};

/// The Python client with these words, or `None` and a line in the report where no Python is.
fn python(world: &World, words: &[&str]) -> Option<Command> {
    let found = Command::new("python3").arg("--version").stdout(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        if let Some(path) = std::env::var_os("LEASEHOLD_SKIPPED_FILE") {
            let file = OpenOptions::new().create(true).append(true).open(path);
            let line = b"SKIPPED: the client in another language: there is no python3\n";
            file.and_then(|mut file| file.write_all(line)).expect("it can be written");
        }
        return None;
    }
    let client = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/other/leasehold.py");
    let mut command = Command::new("python3");
    // Without `-B` it would leave compiled files beside its source.
    command.args(["-B", client]).args(words);
    Some(world.prepared(command))
}

/// The Python client that runs a command under the lock `x`.
fn python_run(world: &World, options: &[&str], run: &[&str]) -> Option<Command> {
    let store = world.backend();
    let words = [&["run", &store, "x"], options, &["--"], run].concat();
    python(world, &words)
}

/// The bytes of a vector.
fn bytes(vector: &Value) -> Vec<u8> {
    let text = |name: &str| vector[name].as_str().unwrap_or_default();
    if let Some(hex) = vector["hex"].as_str() {
        let byte = |i: usize| u8::from_str_radix(&hex[i..i + 2], 16).expect("two digits");
        return (0..hex.len()).step_by(2).map(byte).collect();
    }
    let times = usize::try_from(vector["times"].as_u64().unwrap_or_default()).expect("it fits");
    let long = text("before").to_owned() + &text("repeat").repeat(times) + text("after");
    vector["record"].as_str().map_or(long, str::to_owned).into_bytes()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What a change is asked for with, as the head of the vectors says.
fn change(vector: &Value) -> Value {
    let (first, now) = (1_700_000_099_999_u64, 1_700_000_100_000_u64);
    let me = "0102030405060708090a0b0c0d0e0f10";
    let (name, with) = match vector["change"].as_str().expect("it is named") {
        "acquire" => {
            let holder = json!({"id": me, "label": "bob@web-2 pid 12", "ttl_ms": 30_000});
            ("acquire", json!({"first": first, "now": now, "holder": holder}))
        }
        "renew" => ("renew", json!({})),
        "release" if vector["by"] == me => ("give_up", json!({"first": first, "now": now})),
        "release" => ("release", json!({"now": now})),
        "start" => {
            let holder = json!({"id": me, "label": "bob@web-2 pid 12", "ttl_ms": 30_000});
            ("start", json!({"first": first, "now": now, "holder": holder, "key": "v2"}))
        }
        "save" => ("save", json!({"checkpoint": "row 7"})),
        "done" => ("complete", json!({"now": now, "state": "done", "code": 0, "text": "42 rows"})),
        "failed" => {
            ("complete", json!({"now": now, "state": "failed", "code": 1, "text": "disk full"}))
        }
        "reset" => ("reset", json!({"now": now, "by": "ops@desk", "reason": "host is gone"})),
        "force" => ("force", json!({"now": now, "by": "ops@desk", "reason": "host is gone"})),
        other => panic!("a change without a name in the other language: {other}"),
    };
    let before = vector["before"].as_str().map(|record| hex(record.as_bytes()));
    json!({"record": before, "change": name, "with": with, "write": format!("{:032x}", 7)})
}

/// A record that one client writes and another takes for damaged stops everybody, and one that it
/// takes for free lets two in. So both agree on every vector, byte for byte.
#[test]
fn it_agrees_on_every_record() {
    let world = World::new();
    let Some(mut command) = python(&world, &["records"]) else { return };
    let vectors: Value =
        serde_json::from_str(include_str!("../../../../docs/record-vectors.json")).expect("JSON");
    let all = |kind: &str| vectors[kind].as_array().expect("an array").clone();
    let mut cases: Vec<(String, Value, String)> = vec![];
    let mut add = |vector: &Value, ask: Value, answer: String| {
        cases.push((vector["name"].to_string(), ask, answer));
    };
    for vector in [all("good"), all("alike"), all("bad")].concat() {
        let record = hex(&bytes(&vector));
        let answer = match (vector["verdict"].as_str(), vector["as"].as_str()) {
            (Some(verdict), _) => verdict.to_owned(),
            (_, Some(same)) => hex(same.as_bytes()),
            _ => record.clone(),
        };
        add(&vector, json!({"record": record}), answer);
    }
    for vector in all("changes") {
        let after = vector["after"].as_str().expect("a record");
        add(&vector, change(&vector), hex(after.as_bytes()));
    }
    let asks: Vec<String> = cases.iter().map(|(_, ask, _)| ask.to_string()).collect();
    world.write("asks", &asks.join("\n"));
    command.stdin(File::open(world.path("asks")).expect("it was written"));
    let seen = end(command).expect(0);
    let answers: Vec<&str> = seen.out.lines().collect();
    assert_eq!(answers.len(), cases.len(), "{}", seen.err);
    for ((name, _, wanted), answer) in cases.iter().zip(answers) {
        assert_eq!(answer, wanted, "{name}");
    }
}

/// The same URL has to be the same place to both, or both hold one lock. So the foreign client reads
/// each as the vectors have it.
#[test]
fn it_agrees_on_every_url() {
    let world = World::new();
    let Some(mut command) = python(&world, &["places"]) else { return };
    let dir = world.path("store");
    let vectors = include_str!("../../../../docs/url-vectors.json");
    let vectors = vectors.replace("{dir}", dir.to_str().expect("UTF-8"));
    let vectors: Value = serde_json::from_str(&vectors).expect("JSON");
    let all = |kind: &str| vectors[kind].as_array().expect("an array").iter();
    let mut asks: Vec<(&Value, &Value)> = vec![];
    for vector in all("good").chain(all("bad")) {
        asks.push((&vector["url"], &vector["place"]));
    }
    for vector in all("alike") {
        asks.extend([(&vector["url"], &Value::Null), (&vector["as"], &Value::Null)]);
    }
    let lines: Vec<String> = asks.iter().map(|(url, _)| url.to_string()).collect();
    world.write("asks", &lines.join("\n"));
    command.stdin(File::open(world.path("asks")).expect("it was written"));
    let seen = end(command).expect(0);
    let answers: Vec<&str> = seen.out.lines().collect();
    assert_eq!(answers.len(), asks.len(), "{}", seen.err);
    let (sole, pairs) = answers.split_at(all("good").len() + all("bad").len());
    for ((url, place), answer) in asks.iter().zip(sole) {
        let read: Option<Value> = serde_json::from_str(answer).ok();
        assert_eq!(read.as_ref(), Some(*place).filter(|place| !place.is_null()), "{url}: {answer}");
    }
    for (pair, vector) in pairs.chunks(2).zip(all("alike")) {
        assert!(pair[0] == pair[1] && pair[0] != "refused", "{}: {pair:?}", vector["name"]);
    }
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
