//! The vectors of `docs`, as questions to the client in another language.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::process::Command;

use serde_json::{Value, json};

use super::{CLIENT, python_file};
use crate::world::{World, end};

/// Questions, a line each, and the right answers.
pub(super) struct Exam {
    /// The word that makes the client answer.
    about: &'static str,
    cases: Vec<Case>,
}

struct Case {
    name: String,
    ask: String,
    right: Right,
}

enum Right {
    /// This.
    Line(String),
    /// Another spelling of this.
    Json(Value),
    /// What the case before was answered, and no refusal.
    AsBefore,
    /// Whatever the next one is answered.
    Any,
}

impl Exam {
    /// The client in this directory, to be asked.
    pub(super) fn client(&self, world: &World, directory: &str) -> Option<Command> {
        python_file(world, &format!("{directory}/answers.py"), &[self.about])
    }

    /// How many questions there are.
    pub(super) fn cases(&self) -> usize {
        self.cases.len()
    }

    /// What this client answers wrongly, or does not answer.
    pub(super) fn failures(&self, world: &World, mut client: Command) -> Vec<&str> {
        let asks: Vec<&str> = self.cases.iter().map(|case| &*case.ask).collect();
        let file = format!("asks-{}", self.about);
        world.write(&file, &asks.join("\n"));
        client.stdin(File::open(world.path(&file)).expect("it was written"));
        let seen = end(client);
        let mut answers = seen.out.lines();
        let mut before = "";
        let is_wrong = |case: &&Case| {
            let answer = answers.next().unwrap_or("refused");
            let right = match &case.right {
                Right::Line(right) => answer == right,
                Right::Json(right) => {
                    serde_json::from_str::<Value>(answer).is_ok_and(|answer| answer == *right)
                }
                Right::AsBefore => answer == before && answer != "refused",
                Right::Any => true,
            };
            before = answer;
            !right
        };
        self.cases.iter().filter(is_wrong).map(|case| &*case.name).collect()
    }
}

/// The bytes of a vector: a text, or pieces of a long one, or digits.
fn bytes(vector: &Value, name: &str) -> Option<Vec<u8>> {
    if let Some(hex) = vector["hex"].as_str().filter(|_| name != "after") {
        let byte = |i: usize| u8::from_str_radix(&hex[i..i + 2], 16).expect("two digits");
        return Some((0..hex.len()).step_by(2).map(byte).collect());
    }
    let piece = |piece: &Value| match (piece.as_str(), piece[1].as_u64()) {
        (Some(text), _) => text.to_owned(),
        (None, times) => {
            let times = usize::try_from(times.expect("a number")).expect("it fits");
            piece[0].as_str().expect("a text").repeat(times)
        }
    };
    let text = match &vector[name] {
        Value::Array(pieces) => Some(pieces.iter().map(piece).collect()),
        text => text.as_str().map(str::to_owned),
    };
    text.map(String::into_bytes)
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
    let me = json!({
        "id": "0102030405060708090a0b0c0d0e0f10", "label": "bob@web-2 pid 12", "ttl_ms": 30_000,
    });
    let force = json!({"now": now, "by": "ops@desk", "reason": "host is gone"});
    let change = vector["change"].as_str().expect("it is named");
    let (name, with) = match change {
        "acquire" => (change, json!({"first": first, "now": now, "holder": me})),
        "start" => (change, json!({"first": first, "now": now, "holder": me, "key": "v2"})),
        "renew" => (change, json!({})),
        "release" | "interrupt" | "withdraw" => (change, json!({"now": now})),
        "give up" => {
            let once = vector["once"].as_bool().unwrap_or_default();
            ("give_up", json!({"first": first, "now": now, "once": once}))
        }
        "save" => (change, json!({"checkpoint": "row 7"})),
        "done" => ("complete", json!({"now": now, "state": "done", "code": 0, "text": "42 rows"})),
        "fail" => {
            ("complete", json!({"now": now, "state": "failed", "code": 1, "text": "disk full"}))
        }
        "break" => ("force", force),
        "reset" => (change, force),
        "repair" => {
            let mut with = force;
            with["first"] = first.into();
            (change, with)
        }
        other => panic!("a change without a name in the other language: {other}"),
    };
    let record = |name| bytes(vector, name).map(|record| hex(&record));
    let mut ask = json!({
        "record": record("before"), "change": name, "with": with, "write": format!("{:032x}", 7),
    });
    if change == "withdraw" {
        ask["was"] = record("was").into();
    }
    ask
}

/// What is asked about records.
pub(super) fn records() -> Exam {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../../../docs/record-vectors.json"))
            .expect("JSON");
    let all = |kind: &str| vectors[kind].as_array().expect("an array").clone();
    let mut cases = vec![];
    let mut add = |vector: &Value, ask: &Value, right: String| {
        let (name, ask) = (vector["name"].to_string(), ask.to_string());
        cases.push(Case { name, ask, right: Right::Line(right) });
    };
    for vector in [all("good"), all("alike"), all("bad")].concat() {
        let record = hex(&bytes(&vector, "record").expect("a record"));
        let right = match (vector["verdict"].as_str(), vector["as"].as_str()) {
            (Some(verdict), _) => verdict.to_owned(),
            (_, Some(same)) => hex(same.as_bytes()),
            _ => record.clone(),
        };
        add(&vector, &json!({"record": record}), right);
    }
    for vector in all("changes") {
        let after = bytes(&vector, "after");
        let right = after.map_or_else(|| "not made".to_owned(), |record| hex(&record));
        add(&vector, &change(&vector), right);
    }
    Exam { about: "records", cases }
}

/// What is asked about URLs.
pub(super) fn places(world: &World) -> Exam {
    let dir = world.path("store");
    let vectors = include_str!("../../../../../docs/url-vectors.json");
    let vectors = vectors.replace("{dir}", dir.to_str().expect("UTF-8"));
    let vectors: Value = serde_json::from_str(&vectors).expect("JSON");
    let all = |kind: &str| vectors[kind].as_array().expect("an array").clone();
    let mut cases = vec![];
    let mut add = |vector: &Value, url: &str, right: Right| {
        let (name, ask) = (vector["name"].to_string(), vector[url].to_string());
        cases.push(Case { name, ask, right });
    };
    for vector in all("good") {
        add(&vector, "url", Right::Json(vector["place"].clone()));
    }
    for vector in all("bad") {
        add(&vector, "url", Right::Line("refused".into()));
    }
    for vector in all("alike") {
        add(&vector, "as", Right::Any);
        add(&vector, "url", Right::AsBefore);
    }
    Exam { about: "places", cases }
}

/// A record that one client writes and another takes for damaged stops everybody, and one that it
/// takes for free lets two in. So both agree on every vector, byte for byte.
#[test]
fn it_agrees_on_every_record() {
    let (world, exam) = (World::new(), records());
    let Some(client) = exam.client(&world, CLIENT) else { return };
    assert_eq!(exam.failures(&world, client), [""; 0]);
}

/// The same URL has to be the same place to both, or both hold one lock. So the foreign client reads
/// each as the vectors have it.
#[test]
fn it_agrees_on_every_url() {
    let world = World::new();
    let exam = places(&world);
    let Some(client) = exam.client(&world, CLIENT) else { return };
    assert_eq!(exam.failures(&world, client), [""; 0]);
}

/// A store was named with escapes, slashes in a row and two dots. The command that runs under its lock
/// is given a URL of the same place, in the one spelling of ours, and finds there that the lock is held.
#[test]
fn a_command_is_given_the_place_that_its_holder_uses() {
    let world = World::new();
    let dir = world.path("store");
    let url = format!("file://{}//gone/../a%2520%20b%23%2Fc/", dir.display());
    let look = "cd / && echo $LEASEHOLD_BACKEND && leasehold status x";
    let seen = world.run(&["--backend", &url, "run", "x", "--", "sh", "-c", look]).expect(0);
    let dir = fs::canonicalize(dir).expect("it was made");
    let shown = format!("file://{}/a%2520%20b%23/c", dir.display());
    assert_eq!(seen.out.lines().next(), Some(&*shown));
    assert!(seen.out.contains("held"), "{seen:?}");
    assert!(dir.join("a%20 b#/c/x").is_dir(), "{seen:?}");
}
