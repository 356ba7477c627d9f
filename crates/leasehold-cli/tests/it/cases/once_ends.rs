//! How a run of `once` can end: done, failed, for good or not, stopped, interrupted, forgotten;
//! and what everybody is told then.

use std::process::Stdio;

use rustix::process::Signal;

use crate::world::{Running, end};

/// Attempts that follow each other at once.
const QUICK: [&str; 2] = ["--backoff", "10ms"];

#[test]
fn what_fails_is_tried_again_until_it_works() {
    let Some(world) = super::world() else { return };
    let script = "echo $LEASEHOLD_ATTEMPT ${LEASEHOLD_RESUMED+resumed}; leasehold checkpoint get; \
        leasehold checkpoint set \"at $LEASEHOLD_ATTEMPT \"; [ $LEASEHOLD_ATTEMPT = 3 ]";
    let words = [&["once", "x"], &QUICK[..], &["--", "sh", "-c", script]].concat();
    let seen = world.run(&words).expect(0);
    assert_eq!(seen.out, "1\n2 resumed\nat 1 3 resumed\nat 2 ");
    assert_eq!(seen.err.matches("failed with exit code 1, attempt").count(), 2, "{seen:?}");
    let seen = world.run(&["status", "x"]).expect(0);
    assert!(
        seen.out.contains("state      done by") && seen.out.contains("3 (2 failed)"),
        "{seen:?}"
    );
}

/// It can never work. Nobody tries for ever, and whoever comes on whatever host is told why.
#[test]
fn what_never_works_is_given_up_everywhere() {
    let Some(world) = super::world() else { return };
    let script = "echo \"attempt $LEASEHOLD_ATTEMPT\" >>log; \
        printf 'much before\\n\\033]0;owned\\007no such table: \\342\\202\\254\\n' >&2; exit 7";
    let words = [&["once", "x", "--key", "v1", "--label", "web-1"], &QUICK[..]].concat();
    let words = [&words[..], &["--", "sh", "-c", script]].concat();
    let seen = world.run(&words).expect(7);
    assert_eq!(seen.err.matches("much before").count(), 3, "its own, not told again: {seen:?}");
    assert!(seen.err.contains("has failed 3 times, last here"), "{seen:?}");
    let seen = end(world.elsewhere(&["once", "x", "--key", "v1", "--", "touch", "ran"])).expect(7);
    assert!(seen.err.contains("failed 3 times, last by web-1 at"), "{seen:?}");
    assert!(
        seen.err.contains("no such table: €") && seen.err.contains("leasehold reset x --reason")
    );
    assert!(!seen.err.contains('\x1b'), "{seen:?}");
    assert!(!world.path("ran").exists());
    assert_eq!(world.read("log"), "attempt 1\nattempt 2\nattempt 3\n");
    // Whoever allows one more tries once more.
    let words = ["once", "x", "--key", "v1", "--max-attempts", "4", "--", "touch", "ran"];
    world.run(&words).expect(0);
    assert!(world.path("ran").exists());
}

/// One host fails while another waits: the next attempt is anybody's, and the result everybody's.
#[test]
fn a_failure_here_can_be_made_good_elsewhere() {
    let Some(world) = super::world() else { return };
    let fails = "echo up; read line; exit 3";
    let words = ["once", "x", "-n", "--backoff", "1h", "--", "sh", "-c", fails];
    let mut command = world.leasehold(&words);
    command.stdin(Stdio::piped());
    let mut first = Running::of(command);
    first.await_line("up");
    let second = "echo $LEASEHOLD_ATTEMPT";
    let second =
        Running::of(world.elsewhere(&["once", "x", "--backoff", "10ms", "--", "sh", "-c", second]));
    first.write("\n");
    // It may not wait for another attempt, so that its own failure is its result, unless the second was
    // quicker than its look.
    let seen = first.end();
    assert!([0, 3].contains(&seen.code()), "{seen:?}");
    assert_eq!(second.end().expect(0).out, "2\n");
}

/// Who may not wait learns why, and a failure of its own is not hidden behind "try again later", not even
/// behind `-E 0`.
#[test]
fn who_may_not_wait_for_another_attempt_says_so() {
    let Some(world) = super::world() else { return };
    let words = ["once", "x", "-n", "-E", "0", "--backoff", "1h", "--"];
    let seen = world.run(&[&words[..], &["sh", "-c", "exit 3"]].concat()).expect(3);
    assert!(
        seen.err.contains("not tried again here") && seen.err.contains("too early"),
        "{seen:?}"
    );
    let words = ["once", "x", "--backoff", "1h"];
    let seen = world.run(&[&words[..], &["-n", "--", "echo", "no"]].concat()).expect(75);
    assert!(seen.out.is_empty() && seen.err.contains("too early for the next"), "{seen:?}");
    let seen = world.run(&[&words[..], &["-w", "0.2", "--", "echo", "no"]].concat()).expect(75);
    assert!(
        seen.err.contains("waiting for x, too early") && seen.err.contains("(1 failed, last by")
    );
}

#[test]
fn a_signal_that_nobody_sent_through_us_is_a_failure() {
    let Some(world) = super::world() else { return };
    for (signal, code) in [("SEGV", 139), ("KILL", 137), ("TERM", 143)] {
        let kill = format!("kill -{signal} $$");
        let words = ["once", signal, "--max-attempts", "1", "--", "sh", "-c", &kill];
        let seen = world.run(&words).expect(code);
        assert!(seen.err.contains(&format!("failed with exit code {code}")), "{seen:?}");
        let seen = world.run(&["status", signal]).expect(0);
        assert!(seen.out.contains(&format!("exit code {code}\n")), "{seen:?}");
    }
}

/// The platform ends the instance in the middle of the migration. That is nobody's failure, and the next
/// instance goes on.
#[test]
fn who_is_interrupted_has_not_failed() {
    let Some(world) = super::world() else { return };
    let ways = [
        ("exec sleep 1000", Signal::TERM, 143),
        ("trap 'exit 9' TERM; while :; do sleep 0.01; done", Signal::TERM, 143),
        ("exec sleep 1000", Signal::INT, 130),
        ("exec sleep 1000", Signal::HUP, 129),
        ("exec sleep 1000", Signal::USR1, 138),
    ];
    let mut before = String::new();
    for (script, signal, code) in ways {
        let script = format!(
            "echo ${{LEASEHOLD_RESUMED-none}}; echo $LEASEHOLD_TOKEN-$LEASEHOLD_ATTEMPT; {script}"
        );
        let mut run = world.start(&["once", "x", "--", "sh", "-c", &script]);
        assert_eq!(run.line(), if before.is_empty() { "none" } else { before.as_str() });
        let line = run.line();
        let (token, attempt) = line.split_once('-').expect("both");
        assert_eq!(attempt, "1");
        before = token.to_owned();
        run.signal(signal);
        let seen = run.end().expect(code);
        assert!(!seen.err.contains("failed"), "{seen:?}");
        let seen = world.run(&["status", "x"]).expect(0);
        assert!(seen.out.contains("state      interrupted") && seen.out.contains("(0 failed)"));
    }
    // It can end its work after it was asked to end.
    let script = "trap 'echo last; exit 0' TERM; echo up; while :; do sleep 0.01; done";
    let mut run = world.start(&["once", "x", "--", "sh", "-c", script]);
    run.await_line("up");
    run.signal(Signal::TERM);
    run.end().expect(0);
    let seen = world.run(&["once", "x", "--", "false"]).expect(0);
    assert!(seen.err.contains("done before"), "{seen:?}");
}

#[test]
fn a_signal_ends_the_wait_and_nothing_is_recorded() {
    let Some(world) = super::world() else { return };
    let mut holder = world.start(&["once", "x", "--", "sh", "-c", "echo in; exec sleep 1000"]);
    holder.await_line("in");
    let mut waiter = Running::of(world.script("sh", "exec leasehold once x -- echo never 2>&1"));
    assert!(waiter.line().contains("waiting for x, held by"));
    waiter.signal(Signal::TERM);
    assert_eq!(waiter.end().expect(143).out, "");
    let seen = world.run(&["once", "-n", "x", "--", "true"]).expect(75);
    assert!(seen.err.contains("held by"), "{seen:?}");
    world.run(&["once", "-w", "0.2", "-E", "3", "x", "--", "true"]).expect(3);
    holder.finish();
}

/// A migration that hangs on a lock of the database would hang all instances. At its deadline it is asked to
/// end, may still save how far it came, is killed if it does not end, and has failed.
#[test]
fn what_runs_into_its_deadline_has_failed() {
    let Some(world) = super::world() else { return };
    let saves = "trap 'leasehold checkpoint set row-7; exit 0' TERM; echo stuck >&2; \
        while :; do sleep 0.01; done";
    let words = ["once", "x", "--deadline", "0.3", "--max-attempts", "1", "--", "sh", "-c"];
    let seen = world.run(&[&words[..], &[saves]].concat()).expect(124);
    assert!(seen.err.contains("its deadline"), "{seen:?}");
    let seen =
        end(world.elsewhere(&["once", "x", "--max-attempts", "1", "--", "true"])).expect(124);
    assert!(seen.err.contains("| stuck") && seen.err.contains("its deadline of 0.3s"), "{seen:?}");
    let script = "leasehold checkpoint get; echo \" $LEASEHOLD_ATTEMPT\"";
    let seen = world.run(&["once", "x", "--", "sh", "-c", script]).expect(0);
    assert_eq!(seen.out, "row-7 2\n");
    let deaf =
        "trap '' TERM; (trap '' TERM; setsid sleep 1000 & echo $!); while :; do sleep 1; done";
    let words = ["once", "y", "--grace", "0.2", "--deadline", "0.3", "--max-attempts", "1", "--"];
    let seen = world.run(&[&words[..], &["sh", "-c", deaf]].concat()).expect(124);
    assert!(!crate::world::runs(seen.out.trim()), "{seen:?}");
}

#[test]
fn a_completion_can_lapse() {
    let Some(world) = super::world() else { return };
    let run = |valid_for: &str| {
        world.run(&["once", "x", "--valid-for", valid_for, "--", "echo", "ran"]).expect(0).out
    };
    assert_eq!(run("1h"), "ran\n");
    assert_eq!(run("1h"), "");
    assert_eq!(run("0"), "ran\n");
    assert_eq!(run("1h"), "");
}

/// A backup was restored, and the database is not what the record says any more.
#[test]
fn what_is_forgotten_runs_again() {
    let Some(world) = super::world() else { return };
    let reset = |name: &str| world.run(&["reset", name, "--reason", "restored \x1b[31m a backup"]);
    assert!(reset("x").expect(0).out.contains("nothing of \"x\" to forget"));
    let run = |key: &str| world.run(&["once", "x", "--key", key, "--", "echo", key]).expect(0).out;
    assert_eq!((run("v1"), run("v2"), run("v2")), ("v1\n".into(), "v2\n".into(), String::new()));
    let seen = reset("x").expect(0);
    assert!(seen.out.contains("\"x\" is forgotten (done by") && seen.out.contains("key v2"));
    let seen = world.run(&["status", "x"]).expect(0);
    assert!(seen.out.contains("restored \\u{1b}[31m a backup"), "{seen:?}");
    assert!(reset("x").expect(0).out.contains("nothing"));
    assert_eq!((run("v1"), run("v2")), ("v1\n".into(), "v2\n".into()));
    // Not while somebody runs it.
    let mut run =
        world.start(&["once", "y", "--label", "me", "--", "sh", "-c", "echo up; exec sleep 1000"]);
    run.await_line("up");
    let seen = reset("y").expect(75);
    assert!(seen.err.contains("run by me") && seen.err.contains("leasehold break"), "{seen:?}");
    run.finish();
    // Nor what is something else, or nothing that can be read.
    world.run(&["run", "lock", "--", "true"]).expect(0);
    assert!(reset("lock").expect(64).err.contains("in use as a mutex"));
    assert!(world.run(&["once", "lock", "--", "true"]).expect(64).err.contains("as a mutex"));
    let seen = world.run(&["run", "x", "--", "true"]).expect(64);
    assert!(seen.err.contains("in use by `once`"), "{seen:?}");
    world.store().spoil();
    assert!(reset("x").expect(65).err.contains("leasehold break"));
    world.run(&["once", "x", "--", "true"]).expect(65);
    world.run(&["reset", "x", "--reason", " "]).expect(64);
}

#[test]
fn status_and_list_tell_how_far_it_has_come() {
    let Some(world) = super::world() else { return };
    let script = "leasehold checkpoint set 12345; echo up; exec sleep 1000";
    let words = ["once", "a", "--key", "v2", "--label", "me", "--", "sh", "-c", script];
    world.run(&["once", "a", "--key", "v1", "--", "true"]).expect(0);
    let mut run = world.start(&words);
    run.await_line("up");
    let seen = world.run(&["status", "a"]).expect(0);
    for line in
        ["state      running\n", "key        v2\n", "held by    me\n", "5 bytes\n", "  v1\n"]
    {
        assert!(seen.out.contains(line), "{line}: {seen:?}");
    }
    let seen = world.run(&["status", "a", "--json"]).expect(0);
    for part in ["\"state\": \"held\"", "\"state\": \"running\"", "\"checkpoint_bytes\": 5"] {
        assert!(seen.out.contains(part), "{part}: {seen:?}");
    }
    world.run(&["wait", "a", "-w", "0.1"]).expect(75);
    run.finish();
    world.run(&["wait", "a", "-w", "30s"]).expect(0);
    let fails = "printf 'first\\nsecond' >&2; exit 3";
    world.run(&["once", "b", "--max-attempts", "1", "--", "sh", "-c", fails]).expect(3);
    let seen = world.run(&["status", "b"]).expect(0);
    assert!(seen.out.contains("error      first\n           second\n"), "{seen:?}");
    let seen = world.run(&["list"]).expect(0);
    let words: Vec<_> = seen.out.lines().skip(1).map(|l| l.split_whitespace().nth(1)).collect();
    assert_eq!(words, [Some("STATE"), Some("interrupted"), Some("failed")], "{seen:?}");
}
