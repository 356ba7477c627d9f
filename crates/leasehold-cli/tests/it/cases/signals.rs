//! Signals that we get, the command gets, and all that it started.

use std::os::unix::process::ExitStatusExt;

use rustix::process::Signal;

use crate::world::{Running, children, end, runs, until};

/// A command with a child of its own that both report what they get.
const FAMILY: &str = r#"
    report() { echo "$1 $2"; }
    for s in TERM INT HUP USR1 USR2; do trap "report parent $s" $s; done
    sh -c '
        for s in TERM INT HUP USR1 USR2; do trap "echo child $s" $s; done
        echo ready
        while :; do sleep 1000 & wait $!; done
    ' &
    while :; do wait $!; done
"#;

#[test]
fn signals_reach_the_command_and_its_children() {
    // dash ignores INT in background children, so this family is bash's.
    let Some(world) = super::world() else { return };
    let mut run = world.start(&["run", "x", "--", "bash", "-c", FAMILY]);
    run.await_line("ready");
    let signals = [
        (Signal::TERM, "TERM"),
        (Signal::HUP, "HUP"),
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
    ];
    for (signal, name) in signals {
        run.signal(signal);
        let mut lines = [run.line(), run.line()];
        lines.sort();
        assert_eq!(lines, [format!("child {name}"), format!("parent {name}")]);
    }
    run.signal(Signal::INT);
    assert_eq!(run.line(), "parent INT");
    run.kill();
}

#[test]
fn the_commands_answer_to_a_signal_is_our_exit_code() {
    let Some(world) = super::world() else { return };
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::USR1] {
        let script = "trap 'exit 7' TERM INT HUP QUIT USR1; echo up; while :; do read l; done";
        let mut run = world.start(&["run", "x", "--", "bash", "-c", script]);
        run.await_line("up");
        run.signal(signal);
        run.end().expect(7);
    }
    // Without a trap the command dies of it, and the code says so.
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::USR1, 138)] {
        let mut run = world.start(&["run", "x", "--", "sh", "-c", "echo up; exec sleep 1000"]);
        run.await_line("up");
        run.signal(signal);
        run.end().expect(code);
    }
    // And the lock is free at once.
    world.run(&["run", "-n", "x", "--", "true"]).expect(0);
}

#[test]
fn a_signal_ends_the_wait_and_leaves_nothing_behind() {
    let Some(world) = super::world() else { return };
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let mut holder = world.start(&["run", "x", "--", "sh", "-c", "echo in; exec sleep 1000"]);
        holder.await_line("in");
        // Its stderr goes to the pipe, so that the test sees when it waits.
        let mut waiter = Running::of(world.script("sh", "exec leasehold run x -- echo never 2>&1"));
        assert!(waiter.line().contains("waiting for x"));
        waiter.signal(signal);
        let seen = waiter.end().expect(code);
        assert_eq!(seen.out, "");
        holder.finish();
    }
    world.run(&["run", "x", "-w", "30s", "--", "true"]).expect(0);
}

#[test]
fn a_stopped_command_is_continued_by_us() {
    let Some(world) = super::world() else { return };
    let mut run = world.start(&["run", "x", "--", "sh", "-c", "echo $$; kill -STOP $$; echo on"]);
    let pid = run.line();
    let state = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:\tT"))
    };
    until("the command is stopped", state);
    run.signal(Signal::CONT);
    run.await_line("on");
    run.end().expect(0);
}

#[test]
fn pkill_by_our_name_does_not_hit_the_keeper() {
    // The keeper is what ends the section when we are killed.
    let Some(world) = super::world() else { return };
    let mut run = world.start(&["run", "x", "--", "sh", "-c", "setsid sleep 1000 & echo $!; wait"]);
    let grandchild = run.line();
    for (pid, name) in children(run.pid()) {
        // `pkill leasehold` and `pkill -f leasehold` look at these.
        assert!(!name.contains("leasehold"), "{pid:?}: {name}");
    }
    run.signal(Signal::KILL);
    until("the grandchild is dead", || !runs(&grandchild));
    assert_eq!(run.end().status.signal(), Some(9));
}

#[test]
fn ignored_child_signals_do_not_hide_the_end() {
    // Started with SIGCHLD ignored, a program cannot learn how its children ended.
    let Some(world) = super::world() else { return };
    let seen = end(world.script("bash", "trap '' CHLD; exec leasehold run x -- sh -c 'exit 5'"));
    seen.expect(5);
}
