//! What is printed, for people and for programs.

use serde_json::Value;

use crate::world::Running;

#[test]
fn status_tells_a_lock_that_is_held_from_one_that_is_free() {
    let Some(world) = super::world() else { return };
    assert!(world.run(&["status", "x"]).expect(0).out.contains("never used"));
    let label = "me \x1b]52;c;ZXZpbA==\x07\u{202e}";
    let words =
        ["run", "x", "--label", label, "--", "sh", "-c", "echo $LEASEHOLD_TOKEN; exec sleep 1000"];
    let mut holder = Running::of(world.leasehold(&words));
    let token = holder.line();
    let seen = world.run(&["status", "x"]).expect(0);
    assert!(seen.out.contains("held by    me \\u{1b}]52;c;ZXZpbA==\\u{7}\\u{202e}\n"), "{seen:?}");
    assert!(seen.out.contains(&format!("token      {token}\n")), "{seen:?}");
    let seen = world.run(&["status", "x", "--json"]).expect(0);
    assert!(seen.out.contains("\"state\": \"held\""), "{seen:?}");
    assert!(seen.out.contains("\"label\": \"me \\u001b]52;c;ZXZpbA==\\u0007\\u202e\""), "{seen:?}");
    let seen = world.run(&["run", "-n", "x", "--", "true"]).expect(75);
    assert!(!seen.err.contains('\x1b') && !seen.err.contains('\u{202e}'), "{seen:?}");
    holder.kill();
}

#[test]
fn list_shows_all_with_a_prefix() {
    let Some(world) = super::world() else { return };
    for name in ["prod/a", "prod/b", "test/a"] {
        world.run(&["run", name, "--", "true"]).expect(0);
    }
    let seen = world.run(&["list", "prod/"]).expect(0);
    let names: Vec<_> = seen.out.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["store", "NAME", "prod/a", "prod/b"]);
    let seen = world.run(&["list", "--json"]).expect(0);
    assert_eq!(seen.out.matches("\"state\": \"free\"").count(), 3, "{seen:?}");
    assert_eq!(world.run(&["list", "nothing", "--json"]).expect(0).out, "[]\n");
}

/// An operator breaks a lock that hangs, and then the same one again, by what `status` showed: the second
/// time another holds it, who is left alone. The answers say what happened, and what may still run.
#[test]
fn break_says_what_it_did() {
    let Some(world) = super::world() else { return };
    let seen = world.run(&["break", "x", "--reason", "why not"]).expect(0);
    assert!(seen.out.contains("\"x\" was never used"), "{seen:?}");
    let hold = |label| {
        let words = ["run", "x", "--label", label, "--", "sh", "-c", "echo in; exec sleep 1000"];
        let mut holder = world.start(&words);
        holder.await_line("in");
        holder
    };
    let first = hold("first");
    let json = world.run(&["status", "x", "--json"]).expect(0).out;
    let status: Value = serde_json::from_str(&json).expect("it is JSON");
    let (token, id) = (status["token"].to_string(), status["holder"]["id"].as_str());
    let id = id.expect("it has an id");
    let seen = world.run(&["break", "x", "--reason", "it hangs", "--token", &token]).expect(0);
    assert!(seen.out.contains("\"x\" was taken from first, for "), "{seen:?}");
    assert!(seen.out.contains("\nits command may still run until "), "{seen:?}");
    first.end().expect(79);
    let by_id = ["break", "x", "--reason", "it hangs", "--holder", id];
    let seen = world.run(&by_id).expect(75);
    assert!(seen.out.contains("\"x\" is free") && seen.out.contains("it hangs"), "{seen:?}");
    let next = hold("next");
    for words in [by_id, ["break", "x", "--reason", "it hangs", "--token", &token]] {
        let seen = world.run(&words).expect(75);
        assert!(seen.out.contains("nothing was done: \"x\" is held by another"), "{seen:?}");
        assert!(seen.out.contains(": next, for "), "{seen:?}");
    }
    next.finish();
    for token in ["+7", "-7", "9007199254740992"] {
        let typed = format!("--token={token}");
        let seen = world.run(&["break", "x", "--reason", "it hangs", &typed]).expect(64);
        assert!(seen.err.contains("a token is a whole number from 0 to "), "{seen:?}");
    }
    let seen = world.run(&["break", "x", "--reason", "why not"]).expect(0);
    assert!(seen.out.ends_with("\nnobody held \"x\"\n"), "{seen:?}");
    let seen = world.run(&["break", "x", "--reason", "why not", "--json"]).expect(0);
    assert!(seen.out.contains("was-free"), "{seen:?}");
}

#[test]
fn waiting_is_one_line_where_nobody_watches() {
    let Some(world) = super::world() else { return };
    let script = "echo in; exec sleep 1000";
    let words =
        ["run", "x", "--ttl", world.mortal_ttl(), "--label", "me", "--", "sh", "-c", script];
    let mut holder = world.start(&words);
    holder.await_line("in");
    let seen = world.run(&["wait", "x", "-w", "1200ms"]).expect(75);
    assert_eq!(seen.err.matches("waiting for").count(), 1, "{seen:?}");
    assert!(!seen.err.contains('\r') && seen.out.is_empty(), "{seen:?}");
    holder.kill();
    world.run(&["wait", "x", "-w", "30s", "--json"]).expect(0);
}

#[test]
fn every_command_has_help_with_examples() {
    let Some(world) = super::world() else { return };
    let commands = [
        "run",
        "once",
        "reset",
        "status",
        "list",
        "wait",
        "break",
        "forget",
        "acquire",
        "release",
        "doctor",
        "init",
        "completions",
    ];
    for command in commands {
        let seen = world.run(&[command, "--help"]).expect(0);
        assert!(seen.out.contains("Examples:\n  "), "{command}");
    }
    for act in ["get", "set"] {
        let seen = world.run(&["checkpoint", act, "--help"]).expect(0);
        assert!(seen.out.contains("Examples:\n  "), "{act}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(world.run(&["completions", shell]).expect(0).out.contains("leasehold"));
    }
}
