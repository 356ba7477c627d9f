//! The lock is lost while the command runs: it is over before the lease is.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use rustix::process::{Signal, kill_process};

use crate::world::{Running, World, keeper, moment, runs, until, with_mode};

#[test]
fn break_ends_the_command_with_79() {
    let world = World::new();
    let script = "trap 'echo asked; exit 3' TERM; echo up; while :; do sleep 0.01; done";
    let mut run = world.start(&["run", "x", "--ttl", "3s", "--", "sh", "-c", script]);
    run.await_line("up");
    world.run(&["break", "x", "--reason", "evil \x1b]0;owned\x07 reason"]).expect(0);
    run.await_line("asked");
    let seen = run.end().expect(79);
    assert!(seen.err.contains("force-released") && !seen.err.contains('\x1b'), "{seen:?}");
}

#[test]
fn what_does_not_end_is_killed_with_all_it_started() {
    // Deaf to SIGTERM; one grandchild left the group and the family, another is stopped.
    let world = World::new();
    let script = "
        trap '' TERM
        (setsid sh -c 'echo $$; exec sleep 1000' &)
        sh -c 'echo $$; kill -STOP $$' &
        echo $$
        while :; do sleep 1000; done";
    let words = ["run", "x", "--ttl", "2s", "--grace", "0.2", "--", "sh", "-c", script];
    let mut run = world.start(&words);
    let pids = [run.line(), run.line(), run.line()];
    world.run(&["break", "x", "--reason", "test"]).expect(0);
    run.end().expect(79);
    assert_eq!(pids.iter().filter(|pid| runs(pid)).count(), 0, "{pids:?}");
}

#[test]
fn everybody_has_the_grace_to_clean_up() {
    // The command dies of SIGTERM at once, its child needs a moment to clean up.
    let world = World::new();
    let script = r#"
        sh -c 'trap "sleep 0.2; echo clean; exit" TERM; echo up; while :; do sleep 0.01; done' &
        wait"#;
    let mut run = world.start(&["run", "x", "--ttl", "20s", "--", "sh", "-c", script]);
    run.await_line("up");
    world.run(&["break", "x", "--reason", "test"]).expect(0);
    run.await_line("clean");
    run.end().expect(79);
}

#[test]
fn a_store_that_goes_away_ends_the_command_in_time() {
    // The directory is replaced by a file: no renewal gets through any more.
    let world = World::new();
    let script = "trap 'echo asked' TERM; echo up; while :; do sleep 0.01; done";
    let words = ["run", "x", "--ttl", "4s", "--grace", "1500ms", "--", "sh", "-c", script];
    let mut run = world.start(&words);
    run.await_line("up");
    std::fs::rename(world.path("store"), world.path("gone")).expect("it is there");
    world.write("store", "in the way");
    run.await_line("asked");
    let seen = run.end().expect(79);
    assert!(
        seen.err.contains("not be renewed in time: ") && seen.err.contains("store"),
        "{seen:?}"
    );
}

#[test]
fn a_stop_beyond_the_lease_kills_the_command_while_we_are_stopped() {
    let world = World::new();
    let script = "sh -c 'echo $$; exec sleep 1000' & echo $$; wait";
    let mut run = world.start(&["run", "x", "--ttl", "1s", "--", "sh", "-c", script]);
    let pids = [run.line(), run.line()];
    run.signal(Signal::STOP);
    until("the command is dead", || !pids.iter().any(|pid| runs(pid)));
    // The rival gets the lock by the end of the lease, while we are still stopped.
    world.run(&["run", "x", "-w", "30s", "--", "true"]).expect(0);
    run.signal(Signal::CONT);
    let seen = run.end().expect(79);
    assert!(!seen.err.is_empty());
}

#[test]
fn a_short_stop_does_no_harm() {
    let world = World::new();
    let mut run =
        world.start(&["run", "x", "--ttl", "5s", "--", "sh", "-c", "echo up; exec sleep 1000"]);
    run.await_line("up");
    run.signal(Signal::STOP);
    moment(100);
    run.signal(Signal::CONT);
    run.signal(Signal::TERM);
    run.end().expect(143);
}

#[test]
fn without_its_keeper_no_command_runs() {
    let world = World::new();
    let mut run = world.start(&["run", "x", "--", "sh", "-c", "echo up; exec sleep 1000"]);
    run.await_line("up");
    kill_process(keeper(&run), Signal::KILL).expect("it runs");
    let seen = run.end().expect(79);
    assert!(seen.err.contains("keeper"), "{seen:?}");
    world.run(&["run", "-n", "x", "--", "true"]).expect(0);
}

#[test]
fn until_the_keeper_has_done_its_work_nobody_else_gets_in() {
    // We are killed while the keeper is stopped: what we left running is not dead yet, and whoever
    // asks on this host must not take us for gone.
    let world = World::new();
    let script = "setsid sleep 1000 & echo $!; wait";
    let mut run = world.start(&["run", "x", "--ttl", "30s", "--", "sh", "-c", script]);
    let orphan = run.line();
    let keeper = keeper(&run);
    kill_process(keeper, Signal::STOP).expect("it runs");
    run.kill();
    assert!(runs(&orphan));
    world.run(&["run", "x", "-w", "0.5", "--", "true"]).expect(75);
    kill_process(keeper, Signal::CONT).expect("it runs");
    world.run(&["run", "x", "-w", "20s", "--", "true"]).expect(0);
    assert!(!runs(&orphan));
}

#[test]
fn the_end_of_the_outer_section_is_the_end_of_the_inner_one() {
    // The inner lock's processes have another holder id and, here, no parent that lives.
    let world = World::new();
    let inner = "(setsid sh -c 'echo $$; exec sleep 1000' &) ; echo up; exec sleep 1000";
    let outer = format!("leasehold run inner -- sh -c \"{}\"", inner.replace('$', "\\$"));
    let mut run = world.start(&["run", "outer", "--ttl", "5s", "--", "sh", "-c", &outer]);
    let lines = [run.line(), run.line()];
    let pid = lines.iter().find(|line| *line != "up").expect("a pid").clone();
    let status = run.kill();
    assert_eq!(status.signal(), Some(9));
    // Whoever gets the outer lock finds nothing running of either section.
    let check =
        format!("grep -q '^State:[[:space:]]*[^ZX[:space:]]' /proc/{pid}/status && echo alive");
    let seen = world.run(&["run", "outer", "-w", "50s", "--", "sh", "-c", &check]);
    assert_eq!(seen.out, "", "{seen:?}");
}

#[test]
fn a_command_that_ends_in_the_last_moment_is_not_blamed() {
    // Deaf to us but done in time: the lease was ours to the end.
    let world = World::new();
    let mut run: Running =
        world.start(&["run", "x", "--ttl", "200ms", "--", "sh", "-c", "echo up"]);
    run.await_line("up");
    run.end().expect(0);
}

#[test]
fn a_command_does_not_begin_after_its_lease() {
    // We were stopped just before the shim was started, for longer than the lease: the keeper has
    // found nobody to kill, and the next holder is at work. The command must not run beside it, not
    // even for the moment until we notice.
    let world = World::new();
    let parent = std::process::id().to_string();
    let shim = |until: &str| world.run(&["__exec", &parent, until, "/bin/echo", "echo", "ran"]);
    assert_eq!(shim("1").expect(79).out, "");
    assert_eq!(shim(&u64::MAX.to_string()).expect(0).out, "ran\n");
}

#[test]
fn a_keeper_that_begins_to_kill_says_so_first() {
    // The store was away, and came back just as the keeper's time was up: a renewal got through and
    // was told to a keeper that did not listen any more. The command that it killed seemed to have
    // ended by itself, with 137 and the lock still ours. So the keeper hangs up before its first
    // signal. Here it has still to do (it waits for another keeper, which it does not kill), so that
    // its end cannot be what is seen.
    let world = World::new();
    let holder = "00000000000000000000000000000001";
    with_mode(&world.path("lh-keeper"), "#!/bin/sh\necho up\nread nothing\n", 0o755);
    let mut member = world.script("sh", "exec ./lh-keeper");
    member.env("LEASEHOLD_HOLDER", holder).stdin(Stdio::piped());
    // It makes a session of its own, which a session's leader cannot.
    let mut keeper = world.prepared(Command::new(env!("CARGO_BIN_EXE_leasehold")));
    keeper.args(["__keeper", holder]).stdin(Stdio::piped());
    let mut keeper = Running::of(keeper);
    // Its members are those that started later.
    keeper.write(&format!("deadline {}\n", u64::MAX / 2));
    keeper.await_line("ready");
    let mut member = Running::of(member);
    member.await_line("up");
    keeper.write("deadline 1\n");
    keeper.await_line("");
    assert!(runs(&keeper.pid().as_raw_pid().to_string()), "it waits for the member");
    assert!(runs(&member.pid().as_raw_pid().to_string()), "who was not killed");
    member.end().expect(1);
    keeper.end().expect(79);
}
