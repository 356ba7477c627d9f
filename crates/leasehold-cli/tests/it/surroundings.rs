//! What is around us: /proc, a pid namespace of our own, a container whose first process we are, and what
//! a parent process passes on: signals, sockets, a stderr that cannot be written.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::store::skipped;
use crate::world::{Running, World, children, chmod, end, program_path, runs, until};

/// Whether a namespace can be made here; if not, the test command is told that `test` did not run.
fn can_unshare(options: &str, test: &str) -> bool {
    let words = options.split(' ').chain(["true"]);
    let made = Command::new("unshare").args(words).stderr(Stdio::null()).status();
    let can = made.is_ok_and(|status| status.success());
    if !can {
        skipped(&format!("{test}: `unshare {options}` is not allowed here"));
    }
    can
}

/// In a container made by hand, /proc is still that of the host. Every number in it is another process's, and
/// a signal would reach a stranger. So nothing is acquired and nothing is started, and the sentence says what
/// to do. The same where the parent is in one namespace and its children in the next one.
#[test]
fn a_proc_of_another_namespace_is_refused_at_once() {
    if !can_unshare("--pid --fork", "a /proc of another pid namespace") {
        return;
    }
    let world = World::new();
    let refused = |script: &str, why: &str| {
        let seen = world.sh(script).expect(126);
        assert!(seen.err.contains(why) && seen.err.contains("--mount-proc"), "{seen:?}");
        assert!(!world.path("ran").exists() && !world.path("store/x").exists(), "{script}");
    };
    for command in ["run x -- touch ran", "once x -- touch ran"] {
        refused(&format!("unshare --pid --fork leasehold {command}"), "another pid namespace");
    }
    refused("unshare --pid leasehold run x -- touch ran", "another pid namespace");
    refused("unshare --pid --fork leasehold acquire --json x", "another pid namespace");
    let seen = world.sh("unshare --pid --fork --mount-proc leasehold run x -- echo ran").expect(0);
    assert_eq!(seen.out, "ran\n");
}

/// A chroot has no /proc, or an empty directory of that name.
#[test]
fn no_proc_is_said_before_anything_is_acquired() {
    if !can_unshare("--mount", "no /proc") {
        return;
    }
    let world = World::new();
    let seen = world
        .sh("exec unshare -m sh -c 'mount -t tmpfs none /proc && exec leasehold run x -- true'")
        .expect(126);
    assert!(seen.err.contains("/proc is not mounted here"), "{seen:?}");
    assert!(!world.path("store/x").exists());
    // Less than all of it is enough.
    let mount = "mount -t proc -o subset=pid proc /proc";
    let script = format!("exec unshare -m sh -c '{mount} && exec leasehold run x -- echo ran'");
    assert_eq!(world.sh(&script).expect(0).out, "ran\n");
}

/// /proc vanishes while the command runs, and then we are killed. The keeper still finds what the command
/// has started.
#[test]
fn a_proc_that_vanishes_saves_no_process() {
    if !can_unshare("--mount", "a /proc that vanishes") {
        return;
    }
    let world = World::new();
    let script = "setsid sleep 1000 & echo $!; mount -t tmpfs none /proc && echo up; wait";
    let mut run = Running::of(
        world.script("sh", &format!("exec unshare -m leasehold run x -- sh -c '{script}'")),
    );
    let orphan = run.line();
    run.await_line("up");
    run.kill();
    world.run(&["run", "x", "-w", "20s", "--", "true"]).expect(0);
    assert!(!runs(&orphan));
}

/// Under `hidepid` another user's processes are not shown. A command that became root in part is killed all
/// the same; one that became root altogether cannot be killed, and until it ends the lock is not taken to be
/// a dead holder's.
#[test]
fn what_is_hidden_is_not_taken_for_dead() {
    if !rustix::process::getuid().is_root()
        || !can_unshare("--mount", "a command of another user under hidepid")
    {
        return;
    }
    let world = World::new();
    let copy = |from: &Path, to: &str, mode| {
        fs::copy(from, world.path(to)).expect("there is room");
        chmod(&world.path(to), mode);
    };
    copy(&program_path(), "program", 0o755);
    copy(Path::new("/bin/sleep"), "in-part", 0o4755);
    copy(Path::new("/usr/bin/setpriv"), "as-root", 0o4755);
    fs::create_dir(world.path("store")).expect("there is room");
    chmod(&world.path("store"), 0o777);
    let status = |pid: &str| fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    for (name, command, users) in [
        ("x", "./in-part 1000", "Uid:\t65534\t0\t0"),
        ("y", "./as-root --reuid=0 --regid=0 --clear-groups sleep 1000", "Uid:\t0\t0\t0"),
    ] {
        let script = format!(
            "exec unshare -m sh -c 'mount -t proc -o hidepid=2 proc /proc && exec setpriv \
             --reuid=65534 --regid=65534 --clear-groups ./program run {name} --ttl 60s -- \
             sh -c \"{command} & echo \\$!; wait\"'"
        );
        let mut run = Running::of(world.script("sh", &script));
        let hidden = run.line();
        until("it became the program", || {
            let status = status(&hidden);
            status.contains(":\tsleep\n") || status.contains(":\tin-part\n")
        });
        if !status(&hidden).contains(users) {
            skipped("a command of another user under hidepid: no setuid programs in the directory");
            return;
        }
        run.kill();
        if name == "y" {
            world.run(&["run", name, "-w", "0.5", "--", "true"]).expect(75);
            let hidden = Pid::from_raw(hidden.parse().expect("a number")).expect("not zero");
            kill_process(hidden, Signal::KILL).expect("it runs");
        }
        world.run(&["run", name, "-w", "20s", "--", "true"]).expect(0);
        assert!(!runs(&hidden));
    }
}

/// A container with leasehold as its first process: processes whose parents have ended are its children, and
/// would be zombies for ever. Asked to end, it ends as elsewhere.
#[test]
fn the_first_process_of_a_container_waits_for_what_it_adopts() {
    if !can_unshare("--pid --fork --mount-proc", "leasehold as the first process") {
        return;
    }
    let world = World::new();
    let work = r"for i in 1 2 3 4 5 6 7 8 9; do ( true & ); done; ( sleep 0.3 & )
        zombies() { cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z '; }
        for i in $(seq 400); do sleep 0.02; [ $i -gt 20 ] && [ $(zombies) = 0 ] && break; done
        echo $(zombies)";
    world.write("work", work);
    for command in ["run x", "once y"] {
        let script = format!("exec unshare --pid --fork --mount-proc leasehold {command} -- ");
        assert_eq!(world.sh(&(script + "sh work")).expect(0).out, "0\n", "{command}");
    }
    let script = "exec unshare --pid --fork --mount-proc leasehold run x -- \
        sh -c 'echo up; exec sleep 1000'";
    let mut run = Running::of(world.script("sh", script));
    run.await_line("up");
    let (first, _) = children(run.pid()).into_iter().next().expect("unshare waits for it");
    kill_process(first, Signal::TERM).expect("it runs");
    run.end().expect(143);
}

/// systemd starts services with SIGPIPE ignored, nohup ignores SIGHUP, some parents forget to unblock. The
/// command finds it as it would without us.
#[test]
fn signals_reach_the_command_as_they_reached_us() {
    let world = World::new();
    let show = "grep -E '^Sig(Blk|Ign)' /proc/self/status";
    let ways = [
        ":;",
        "trap '' PIPE;",
        "trap '' HUP INT TERM USR1;",
        "env --block-signal=TERM,USR2",
        "trap '' PIPE; env --block-signal=PIPE",
    ];
    // 33 and 34 are the C library's own; it ignores them in what it spawns.
    let masks = |out: &str| -> Vec<u64> {
        let words = out.lines().filter_map(|line| line.split_whitespace().nth(1));
        words
            .filter_map(|mask| u64::from_str_radix(mask, 16).ok())
            .map(|m| m & 0x7fff_ffff)
            .collect()
    };
    for (n, way) in ways.into_iter().enumerate() {
        let bash = |command: &str| end(world.script("bash", &format!("{way} {command}"))).expect(0);
        let without = masks(&bash(show).out);
        assert_eq!(without.len(), 2, "{way}");
        for command in ["run x --", &format!("once {n} --")] {
            let with = bash(&format!("leasehold {command} {show}"));
            assert_eq!(masks(&with.out), without, "{way} {command}");
        }
    }
}

/// A service that is started by its socket, with leasehold before it: the sockets are the command's, and no
/// process of ours keeps them open.
#[test]
fn sockets_of_an_activation_are_the_commands() {
    let world = World::new();
    world.write("socket", "");
    let tell = "echo $(($$ - LISTEN_PID)) $LISTEN_FDS $LISTEN_FDNAMES $(($$ - WATCHDOG_PID)); \
        readlink /proc/$$/fd/3 /proc/$$/fd/4; exec sleep 1000";
    for command in ["run", "once"] {
        let script = format!(
            "exec 3<socket 4<socket; export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=a:b \
             WATCHDOG_PID=$$; exec leasehold {command} {command} -- sh -c '{tell}'"
        );
        let mut run = Running::of(world.script("sh", &script));
        run.await_line("0 2 a:b 0");
        let socket = world.path("socket");
        assert_eq!(
            [run.line(), run.line()],
            [socket.display().to_string(), socket.display().to_string()]
        );
        let helpers: Vec<_> =
            children(run.pid()).into_iter().filter(|c| c.1.contains("lh-")).collect();
        assert_eq!(helpers.len(), if command == "run" { 1 } else { 2 }, "{helpers:?}");
        for (pid, name) in helpers {
            until(&format!("{name} has closed it"), || {
                let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").flatten();
                open.filter_map(|fd| fs::read_link(fd.path()).ok()).all(|open| open != socket)
            });
        }
        run.finish();
    }
    // What is another's stays another's.
    let script =
        "LISTEN_PID=1 LISTEN_FDS=1 leasehold run x -- sh -c 'echo $LISTEN_PID $LISTEN_FDS'";
    assert_eq!(world.sh(script).expect(0).out, "1 1\n");
}

/// The log's disk is full, or its file may not grow. A migration that survives that by itself survives it
/// under `once`. A reader that has gone ends it, as without us.
#[test]
fn a_stderr_that_cannot_be_written_ends_no_command() {
    let world = World::new();
    world.write(
        "migrate",
        "for i in $(seq 2000); do echo \"NOTICE number $i\" >&2; done; echo $1 >>finished",
    );
    world.sh("leasehold once full --max-attempts 1 -- sh migrate full 2>/dev/full").expect(0);
    world.sh("ulimit -f 16; leasehold once f --max-attempts 1 -- sh migrate limit 2>log").expect(0);
    assert_eq!(world.read("finished"), "full\nlimit\n");
    assert!(!world.read("log").contains("number 2000"), "the file could grow");
    let seen =
        world.sh("leasehold once gone --max-attempts 1 -- yes 2>&1 >&2 | head -c 4").expect(0);
    assert_eq!(seen.out, "y\ny\n");
}

/// Somebody stops a job and it does not stop. The person who asks why the lock stays held is told.
#[test]
fn a_signal_that_ends_nothing_is_told() {
    let world = World::new();
    let script = "exec leasehold run x -- sh -c 'trap : TERM; echo up; read a; read b' 2>&1";
    let mut command = world.script("sh", script);
    command.stdin(Stdio::piped());
    let mut run = Running::of(command);
    run.await_line("up");
    run.signal(Signal::TERM);
    let line = run.line();
    assert!(
        line.contains("\"x\": SIGTERM was passed on to the command, which still runs"),
        "{line}"
    );
    assert!(line.contains("held until the command ends"), "{line}");
    run.signal(Signal::TERM);
    run.write("\n\n");
    let seen = run.end();
    assert!(!seen.out.contains("passed on"), "once is enough: {seen:?}");
}

/// A lock is lost, or we are killed: each line says which lock it was, the last one how its command ended.
#[test]
fn the_end_of_a_command_that_was_ended_is_told() {
    let world = World::new();
    let ends = [
        ("trap : TERM; while :; do sleep 0.01; done", "\"x\": the command was killed\n"),
        (
            "trap 'exit 3' TERM; while :; do sleep 0.01; done",
            "\"x\": the command has ended, with exit code 3\n",
        ),
    ];
    for (script, how) in ends {
        let script = format!("echo up; {script}");
        let words = ["run", "x", "--ttl", "1500ms", "--grace", "200ms", "--", "sh", "-c", &script];
        let mut run = world.start(&words);
        run.await_line("up");
        world.run(&["break", "x", "--reason", "a test"]).expect(0);
        let seen = run.end().expect(79);
        assert!(seen.err.ends_with(how), "{seen:?}");
        let mut ours = seen.err.lines().filter(|line| line.starts_with("leasehold: "));
        assert!(ours.all(|line| line.contains("\"x\"")), "{seen:?}");
    }
    let script = "exec 2>&1; leasehold run y -- sh -c 'echo up; exec sleep 1000'; cat";
    let mut shell = Running::of(world.script("sh", script));
    shell.await_line("up");
    let (run, _) = children(shell.pid()).into_iter().next().expect("the shell waits for it");
    kill_process(run, Signal::KILL).expect("it runs");
    let line = std::iter::repeat_with(|| shell.line()).find(|line| line.contains("leasehold:"));
    let line = line.expect("the iterator has no end");
    assert!(line.contains("\"y\": the main process has ended: its command "), "{line}");
    assert!(line.ends_with("was killed") || line.ends_with("has ended"), "{line}");
}

/// Two containers share a user's runtime directory. In one a shell acquires a lock; a process of the other
/// that has the same number holds nothing.
#[test]
fn a_session_of_another_namespace_is_not_ours() {
    if !can_unshare("--pid --fork --mount-proc", "sessions of two pid namespaces") {
        return;
    }
    let world = World::new();
    // Each shell is the first process of its namespace.
    let enter = "exec unshare --pid --fork --mount-proc bash -c";
    let first = "leasehold acquire --json --pid $$ x >/dev/null && echo up && read l && \
        leasehold release x && echo down";
    let mut command = world.script("sh", &format!("{enter} '{first}'"));
    command.stdin(Stdio::piped());
    let mut first = Running::of(command);
    first.await_line("up");
    let second = "leasehold release x; echo $?; :";
    let seen = world.sh(&format!("{enter} '{second}'")).expect(0);
    assert_eq!(seen.out, "64\n", "{seen:?}");
    world.run(&["run", "-n", "x", "--", "true"]).expect(75);
    first.write("\n");
    first.await_line("down");
    first.end().expect(0);
}

/// The tests are started by `nohup`, or in the background of a script. What they start hears their signals.
#[test]
fn tests_give_what_they_start_the_signals_that_they_mean() {
    let world = World::new();
    let us = std::env::current_exe().expect("the test program");
    let case = "on_files::signals::the_commands_answer_to_a_signal_is_our_exit_code";
    let script = format!("trap '' HUP INT QUIT TERM USR1; exec '{}' --exact {case}", us.display());
    let seen = world.sh(&script).expect(0);
    assert!(seen.out.contains("1 passed"), "{seen:?}");
}
