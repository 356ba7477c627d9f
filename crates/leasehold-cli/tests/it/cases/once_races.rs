//! The runner of `once` dies, loses the lock, or comes too late: it is done all
//! the same, once, and nobody is told the opposite of what happened.

use std::process::Stdio;

use rustix::process::Signal;

use crate::world::{Running, World, end, moment, until};

/// Runs until it is told to end well, and says so.
const GOES: &str = "echo up; while [ ! -e go ]; do sleep 0.01; done; touch gone";

fn starts(world: &World, ttl: &str) -> Running {
    let mut run = world.start(&["once", "x", "--ttl", ttl, "--", "sh", "-c", GOES]);
    run.await_line("up");
    run
}

/// The instance that migrates is killed, half-way, without a word. Another resumes where it left.
#[test]
fn who_dies_is_resumed_by_the_next() {
    let Some(world) = super::world() else { return };
    let dies = "leasehold checkpoint set 'row 7'; echo $LEASEHOLD_TOKEN; exec sleep 1000";
    let words = ["once", "x", "--ttl", world.mortal_ttl(), "--", "sh", "-c", dies];
    let mut first = world.start(&words);
    let token = first.line();
    let resumes = "echo $LEASEHOLD_RESUMED $LEASEHOLD_ATTEMPT; leasehold checkpoint get";
    let second = Running::of(world.leasehold(&["once", "x", "--", "sh", "-c", resumes]));
    first.kill();
    assert_eq!(second.end().expect(0).out, format!("{token} 1\nrow 7"));
}

#[test]
fn who_loses_the_lock_is_stopped_and_is_told() {
    let Some(world) = super::world() else { return };
    let script = "trap 'echo asked; exit 3' TERM; echo up; while :; do sleep 0.01; done";
    let mut run = world.start(&["once", "x", "--ttl", "3s", "--", "sh", "-c", script]);
    run.await_line("up");
    world.run(&["break", "x", "--reason", "a test"]).expect(0);
    run.await_line("asked");
    let seen = run.end().expect(79);
    assert!(seen.err.contains("force-released"), "{seen:?}");
    // It has not failed: what it did half is the next one's to go on with.
    let script = "echo ${LEASEHOLD_RESUMED+resumed} $LEASEHOLD_ATTEMPT";
    let seen = world.run(&["once", "x", "--", "sh", "-c", script]).expect(0);
    assert_eq!(seen.out, "resumed 1\n");
}

/// It stood still while its lock was taken away and another did it all. Its own end comes too late, and
/// must neither count nor be taken for a success.
#[test]
fn an_end_that_comes_after_anothers_is_79() {
    let Some(world) = super::world() else { return };
    let first = starts(&world, "30s");
    first.signal(Signal::STOP);
    world.write("go", "");
    until("its command has ended", || world.path("gone").exists());
    world.run(&["break", "x", "--reason", "it stands still"]).expect(0);
    let script = "echo ${LEASEHOLD_RESUMED+resumed}";
    let seen =
        end(world.elsewhere(&["once", "x", "--label", "b", "--", "sh", "-c", script])).expect(0);
    assert_eq!(seen.out, "resumed\n");
    first.signal(Signal::CONT);
    let seen = first.end().expect(79);
    assert!(seen.err.contains("was done, but") && seen.err.contains("somebody else's"), "{seen:?}");
    let seen = world.run(&["status", "x"]).expect(0);
    assert!(seen.out.contains("state      done by b at"), "{seen:?}");
}

/// The same, while the other is still at work.
#[test]
fn an_end_that_comes_while_another_runs_is_79() {
    let Some(world) = super::world() else { return };
    let first = starts(&world, "30s");
    first.signal(Signal::STOP);
    world.write("go", "");
    until("its command has ended", || world.path("gone").exists());
    world.run(&["break", "x", "--reason", "it stands still"]).expect(0);
    let mut command = world.elsewhere(&["once", "x", "--", "sh", "-c", "echo up; read line"]);
    command.stdin(Stdio::piped());
    let mut second = Running::of(command);
    second.await_line("up");
    first.signal(Signal::CONT);
    first.end().expect(79);
    let seen = world.run(&["status", "x"]).expect(0);
    assert!(seen.out.contains("state      running"), "{seen:?}");
    second.write("\n");
    second.end().expect(0);
}

/// It stood still beyond its lease, and its command ended meanwhile. Nobody came: done is done.
#[test]
fn an_end_after_the_lease_counts_if_nobody_came() {
    let Some(world) = super::world() else { return };
    let first = starts(&world, "1s");
    first.signal(Signal::STOP);
    world.write("go", "");
    until("its command has ended", || world.path("gone").exists());
    // Until the lease is over.
    for _ in 0..3 {
        moment(500);
    }
    first.signal(Signal::CONT);
    first.end().expect(0);
    let seen = world.run(&["once", "x", "--", "false"]).expect(0);
    assert!(seen.err.contains("done before"), "{seen:?}");
}

/// The store is away in the moment of the completion. It is patient with it, and what cannot be recorded is
/// not known: neither done nor failed.
#[test]
fn a_store_that_is_away_at_the_end_leaves_it_open() {
    let Some(world) = super::world() else { return };
    let mut command =
        world.leasehold(&["once", "x", "--ttl", "1s", "--", "sh", "-c", "echo up; read line"]);
    command.stdin(Stdio::piped());
    let mut run = Running::of(command);
    run.await_line("up");
    world.store().take_away();
    run.write("\n");
    let seen = run.end().expect(69);
    assert!(seen.err.contains("not known whether that is recorded"), "{seen:?}");
}

#[test]
fn a_store_that_comes_back_in_time_gets_the_completion() {
    let Some(world) = super::world() else { return };
    let mut command = world.leasehold(&[
        "once",
        "x",
        "--ttl",
        "3s",
        "--",
        "sh",
        "-c",
        "echo up; read line; touch gone",
    ]);
    command.stdin(Stdio::piped());
    let mut run = Running::of(command);
    run.await_line("up");
    world.store().take_away();
    run.write("\n");
    until("its command has ended", || world.path("gone").exists());
    // Long enough for the first write to fail; the patience is four ttls.
    for _ in 0..4 {
        moment(900);
    }
    world.store().bring_back();
    run.end().expect(0);
    let seen = world.run(&["once", "x", "--", "false"]).expect(0);
    assert!(seen.err.contains("done before"), "{seen:?}");
}
