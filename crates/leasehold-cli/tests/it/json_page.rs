//! `docs/json.md` is true: each example on the page has the fields that the program prints.

use serde_json::Value;

use crate::world::{Running, World};

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/json.md"));

/// The example under a heading.
#[track_caller]
fn example(command: &str) -> Value {
    let section = PAGE.split("\n## ").find(|section| section.lines().next() == Some(command));
    let block = section.and_then(|it| it.split("```json\n").nth(1)?.split("```").next());
    let block = block.unwrap_or_else(|| panic!("{command} has no example"));
    serde_json::from_str(block).unwrap_or_else(|e| panic!("the example of {command}: {e}"))
}

/// Each field of the one is a field of the other, with a value of the same type; what is null may be
/// anything, and of an array the first element stands for all.
fn same(path: &str, page: &Value, real: &Value) {
    match (page, real) {
        (Value::Object(page), Value::Object(real)) => {
            let fields = |it: &serde_json::Map<String, Value>| {
                it.keys().cloned().collect::<std::collections::BTreeSet<_>>()
            };
            assert_eq!(fields(page), fields(real), "{path}");
            for (field, value) in page {
                same(&format!("{path}.{field}"), value, &real[field]);
            }
        }
        (Value::Array(page), Value::Array(real)) => {
            if let (Some(page), Some(real)) = (page.first(), real.first()) {
                same(&format!("{path}[0]"), page, real);
            }
        }
        (Value::Null, _)
        | (_, Value::Null)
        | (Value::Number(_), Value::Number(_))
        | (Value::String(_), Value::String(_))
        | (Value::Bool(_), Value::Bool(_)) => {}
        _ => panic!("{path}: {page} on the page, and {real} in truth"),
    }
}

#[track_caller]
fn parsed(text: &str) -> Value {
    let value: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let one = value.as_array().map_or(&value, |all| &all[0]);
    assert_eq!(one["v"], 1, "{text}");
    value
}

#[track_caller]
fn check(world: &World, words: &[&str], code: i32) -> Value {
    let words = [words, &["--json"]].concat();
    let real = parsed(&world.run(&words).expect(code).out);
    same(words[0], &example(words[0]), &real);
    real
}

/// A person writes a script by the page. Every field is there, of the type that the page shows, and every
/// answer says in which version.
#[test]
fn every_example_has_the_fields_of_a_real_answer() {
    let world = World::new();
    let script = "leasehold checkpoint set state; echo in; read line; exit $LEASEHOLD_ATTEMPT";
    world.run(&["once", "x", "--key", "v1", "--", "true"]).expect(0);
    let words = ["once", "x", "--key", "v2", "--max-attempts", "2", "--backoff", "0"];
    let mut command = world.leasehold(&[&words[..], &["--", "sh", "-c", script]].concat());
    command.stdin(std::process::Stdio::piped());
    let mut runner = Running::of(command);
    runner.await_line("in");
    runner.write("\n");
    // The second attempt, after one that has failed.
    runner.await_line("in");
    let status = check(&world, &["status", "x"], 0);
    assert_eq!(status["once"]["state"], "running");
    let all = parsed(&world.run(&["list", "--json"]).expect(0).out);
    same("list", &example("status"), &all[0]);
    assert_eq!(check(&world, &["break", "x", "--reason", "a test"], 0)["outcome"], "released");
    drop(runner.end());
    assert_eq!(check(&world, &["reset", "x", "--reason", "a test"], 0)["outcome"], "forgotten");
    assert_eq!(check(&world, &["wait", "x"], 0)["free"], true);
    assert_eq!(check(&world, &["forget", "x"], 0)["outcome"], "removed");
    let all = parsed(&world.run(&["acquire", "y", "--pid", "1", "--json"]).expect(0).out);
    same("acquire", &example("acquire"), &all);
    check(&world, &["release", "y", "--pid", "1"], 0);
    check(&world, &["doctor"], 0);
    check(&world, &["init"], 0);
    check(&world, &["demo", "--processes", "2", "--clients", "2", "--for", "0.1"], 0);
}
