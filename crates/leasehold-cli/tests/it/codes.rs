//! Exit codes, arguments, environment: what `run` promises to whoever calls it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use crate::world::{World, chmod, end, with_mode};

#[test]
fn the_commands_exit_code_is_ours() {
    let world = World::new();
    for code in [0, 1, 7, 75, 79, 255] {
        world.run(&["run", "x", "--", "sh", "-c", &format!("exit {code}")]).expect(code);
    }
}

#[test]
fn a_command_ended_by_signal_n_gives_128_and_n() {
    let world = World::new();
    for (signal, code) in [("TERM", 143), ("KILL", 137), ("INT", 130), ("SEGV", 139), ("PIPE", 141)]
    {
        world.run(&["run", "x", "--", "sh", "-c", &format!("kill -{signal} $$")]).expect(code);
    }
}

#[test]
fn a_command_that_cannot_be_run_says_so_before_any_waiting() {
    // The lock is held by another, so that whoever waited for it would never say anything.
    let world = World::new();
    let mut holder = world.start(&["run", "x", "--", "sh", "-c", "echo in; exec sleep 1000"]);
    holder.await_line("in");
    with_mode(&world.path("plain"), "echo no", 0o644);
    with_mode(&world.path("no-interpreter"), "#!/no/such/interpreter\n", 0o755);
    let run = |command: &str| world.run(&["run", "x", "--", command]);
    assert!(run("no-such-command").expect(127).err.contains("command not found"));
    run("./no/such/path").expect(127);
    run("").expect(127);
    run("./plain").expect(126);
    run("/tmp").expect(126);
    holder.kill();
    world.run(&["run", "y", "--", "./no-interpreter"]).expect(127);
}

#[test]
fn a_script_without_an_interpreter_line_runs_as_under_a_shell() {
    let world = World::new();
    with_mode(&world.path("script"), "echo \"$0 $1\"; exit 3\n", 0o755);
    let seen = world.run(&["run", "x", "--", "./script", "a b"]).expect(3);
    assert_eq!(seen.out, "./script a b\n");
}

#[test]
fn what_cannot_be_meant_is_64() {
    let world = World::new();
    let wrong: &[&[&str]] = &[
        &["run", "x"],
        &["run", "x", "echo"],
        &["run", "-n", "-w", "1", "x", "--", "true"],
        &["run", "-E", "300", "x", "--", "true"],
        &["run", "--ttl", "soon", "x", "--", "true"],
        &["run", "--ttl", "1ms", "x", "--", "true"],
        &["run", "--ttl", "10s", "--grace", "4s", "x", "--", "true"],
        &["run", "a/../b", "--", "true"],
        &["run", "", "--", "true"],
        &["--backend", "nosuch://x", "run", "x", "--", "true"],
        &["--backend", "/tmp", "status", "x"],
        &["break", "x", "--reason", " "],
        &["release"],
        &["release", "nobody-has-it"],
        &["frobnicate"],
        &[],
    ];
    for words in wrong {
        let seen = world.run(words).expect(64);
        assert!(seen.out.is_empty() && !seen.err.is_empty(), "{words:?}: {seen:?}");
    }
    world.run(&["--help"]).expect(0);
    world.run(&["run", "--help"]).expect(0);
    world.run(&["--version"]).expect(0);
}

#[test]
fn a_lock_that_is_held_gives_75_or_what_was_asked_for() {
    let world = World::new();
    let mut holder =
        world.start(&["run", "x", "--label", "me", "--", "sh", "-c", "echo in; exec sleep 1000"]);
    holder.await_line("in");
    let seen = world.run(&["run", "-n", "x", "--", "true"]).expect(75);
    assert!(seen.err.contains("held by me"), "{seen:?}");
    world.run(&["run", "-w", "0", "x", "--", "true"]).expect(75);
    let seen = world.run(&["run", "-w", "0.2", "x", "--", "true"]).expect(75);
    assert_eq!(seen.err.matches("waiting for x, held by me").count(), 1, "{seen:?}");
    world.run(&["run", "-n", "-E", "3", "x", "--", "true"]).expect(3);
    let seen = world.run(&["run", "-n", "-E", "0", "x", "--", "false"]).expect(0);
    assert_eq!(seen.err, "", "asked to be nothing special");
    world.run(&["wait", "x", "-w", "100ms"]).expect(75);
    holder.kill();
    world.run(&["wait", "x", "-w", "50s"]).expect(0);
    world.run(&["run", "x", "-w", "50s", "--", "true"]).expect(0);
}

#[test]
fn a_damaged_record_is_65_and_break_repairs_it() {
    let world = World::new();
    world.run(&["run", "x", "--", "true"]).expect(0);
    world.spoil_store();
    world.run(&["run", "x", "--", "true"]).expect(65);
    assert!(world.run(&["status", "x"]).expect(0).out.contains("unreadable"));
    world.run(&["break", "x", "--reason", "a test spoiled it"]).expect(0);
    world.run(&["run", "x", "--", "true"]).expect(0);
}

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
    std::fs::copy(env!("CARGO_BIN_EXE_leasehold"), &program).expect("there is room");
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
fn a_release_that_fails_does_not_hide_the_commands_code() {
    // The command takes the store away and ends: its work was done under the lock.
    let world = World::new();
    let script = "mv store gone; : >store; exit 3";
    let seen = world.run(&["run", "x", "--ttl", "1s", "--", "sh", "-c", script]).expect(3);
    assert!(seen.err.contains("not released") && seen.err.contains("within 1s"), "{seen:?}");
}

#[test]
fn arguments_go_through_verbatim() {
    let world = World::new();
    let odd = OsStr::from_bytes(b"not \xff utf-8 $HOME \n *");
    let mut command = world.leasehold(&["run", "x", "--ttl", "5s", "--", "printf", "%s|"]);
    command.args(["--ttl", "", "--", "-n", "a b"]).arg(odd);
    let seen = end(command).expect(0);
    assert_eq!(seen.out, "--ttl||--|-n|a b|not \u{fffd} utf-8 $HOME \n *|");
}

#[test]
fn stdin_stdout_and_stderr_are_the_commands() {
    let world = World::new();
    let seen = world.sh("printf 'in' | leasehold run x -- sh -c 'cat; echo err >&2'").expect(0);
    assert_eq!((seen.out.as_str(), seen.err.as_str()), ("in", "err\n"));
    // Broken pipes end the writer, as without us.
    let seen = world.sh("leasehold run x -- yes | head -c 4").expect(0);
    assert_eq!((seen.out.as_str(), seen.err.as_str()), ("y\ny\n", ""));
    let seen = world.sh("yes | leasehold run x -- head -c 4; echo").expect(0);
    assert_eq!((seen.out.as_str(), seen.err.as_str()), ("y\ny\n\n", ""));
}

#[test]
fn the_command_starts_with_clean_signals() {
    // Blocked signals or an ignored SIGPIPE would follow it through every exec.
    let world = World::new();
    let show = "grep -E '^Sig(Blk|Ign)' /proc/self/status";
    let seen = world.run(&["run", "x", "--", "sh", "-c", show]).expect(0);
    let masks: Vec<u64> = seen
        .out
        .lines()
        .filter_map(|line| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok())
        .collect();
    // 32 and 33 are the C library's own; it ignores them in whatever it spawns.
    assert_eq!(masks.iter().map(|mask| mask & 0x7fff_ffff).collect::<Vec<_>>(), [0, 0], "{seen:?}");
}

#[test]
fn what_was_ignored_stays_ignored() {
    // nohup tells its command to survive the end of the terminal; so must what we start.
    let world = World::new();
    let seen = world.sh("trap '' HUP; leasehold run x -- sh -c 'kill -HUP $$; echo survived'");
    assert_eq!(seen.expect(0).out, "survived\n");
}

#[test]
fn the_environment_tells_the_lock_and_nested_locks_are_right() {
    let world = World::new();
    let print = "echo $LEASEHOLD_NAME $LEASEHOLD_TOKEN $LEASEHOLD_HOLDER $LEASEHOLD_BACKEND";
    let nested = format!("{print}; leasehold run inner -- sh -c '{print}'; {print}");
    let mut command = world.leasehold(&["run", "outer", "--", "sh", "-c", &nested]);
    command.env("LEASEHOLD_NAME", "stale").env("LEASEHOLD_TOKEN", "1");
    let seen = end(command).expect(0);
    let lines: Vec<Vec<&str>> = seen.out.lines().map(|line| line.split(' ').collect()).collect();
    assert_eq!(lines.len(), 3, "{seen:?}");
    assert_eq!((lines[0][0], lines[1][0]), ("outer", "inner"));
    assert_eq!(lines[0], lines[2]);
    assert_ne!(lines[0][2], lines[1][2]);
    assert_eq!(lines[1][3], world.backend());
    assert!(lines[0][1].parse::<u64>().is_ok_and(|token| token > 1), "{seen:?}");
    let deadline = "test $LEASEHOLD_DEADLINE -gt $(date +%s)000";
    world.run(&["run", "x", "--", "sh", "-c", deadline]).expect(0);
}

#[test]
fn tokens_rise() {
    let world = World::new();
    let token = || {
        let seen = world.run(&["run", "x", "--", "sh", "-c", "echo $LEASEHOLD_TOKEN"]).expect(0);
        seen.out.trim().parse::<u64>().expect("a number")
    };
    let (a, b, c) = (token(), token(), token());
    assert!(a < b && b < c, "{a} {b} {c}");
}

#[test]
fn what_runs_on_in_the_background_is_left_alone() {
    // The command ends by itself: what it leaves behind is its own business.
    let world = World::new();
    let leave = "sleep 1000 >/dev/null 2>&1 & echo $!";
    let mut command = world.leasehold(&["run", "x", "--", "sh", "-c", leave]);
    command.stdin(Stdio::null());
    let seen = end(command).expect(0);
    assert!(crate::world::runs(seen.out.trim()), "{seen:?}");
    world.sh(&format!("kill {}", seen.out.trim())).expect(0);
}
