//! What hangs on this host and not on the store: rights of a directory, who is alive here, the keeper and
//! the process that becomes the command.

use std::process::{Command, Stdio};

use rustix::process::{Signal, kill_process};

use crate::world::{Running, World, chmod, end, keeper, program_path, runs, with_mode};

#[test]
fn a_store_that_cannot_be_had_has_its_codes() {
    let world = World::new();
    world.write("file", "");
    let backend = format!("file://{}/below", world.path("file").display());
    let seen = world.run(&["--backend", &backend, "run", "x", "--", "true"]);
    assert!(matches!(seen.code(), 64 | 69), "{seen:?}");
    let mut command = world.leasehold(&["run", "x", "--", "true"]);
    command.env_remove("LEASEHOLD_BACKEND").env_remove("XDG_STATE_HOME");
    command.env("HOME", world.path("home"));
    end(command).expect(0);
    assert!(world.path("home/.local/state/leasehold/x").exists(), "the default store");
}

#[test]
fn a_store_that_refuses_is_77() {
    // Root may do everything, so the program runs as somebody else here.
    let world = World::new();
    std::fs::create_dir(world.path("store")).expect("there is room");
    let program = world.path("program");
    std::fs::copy(program_path(), &program).expect("there is room");
    chmod(&world.path("store"), 0o555);
    let mut command = Command::new("setsid");
    if rustix::process::getuid().is_root() {
        command.args(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
    }
    command.arg(program).args(["run", "x", "--", "true"]);
    end(world.prepared(command)).expect(77);
    chmod(&world.path("store"), 0o755);
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
    let shim =
        |until: &str| world.run(&["__exec", &parent, until, "0:0", "/bin/echo", "echo", "ran"]);
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
    let mut keeper = world.prepared(Command::new(program_path()));
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
