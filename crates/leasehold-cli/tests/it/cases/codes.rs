//! Exit codes, arguments, environment: what `run` promises to whoever calls it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use crate::world::{Running, end, runs, with_mode};

#[test]
fn the_commands_exit_code_is_ours() {
    let Some(world) = super::world() else { return };
    for code in [0, 1, 7, 75, 79, 255] {
        world.run(&["run", "x", "--", "sh", "-c", &format!("exit {code}")]).expect(code);
    }
}

#[test]
fn a_command_ended_by_signal_n_gives_128_and_n() {
    let Some(world) = super::world() else { return };
    for (signal, code) in [("TERM", 143), ("KILL", 137), ("INT", 130), ("SEGV", 139), ("PIPE", 141)]
    {
        world.run(&["run", "x", "--", "sh", "-c", &format!("kill -{signal} $$")]).expect(code);
    }
}

#[test]
fn a_command_that_cannot_be_run_says_so_before_any_waiting() {
    // The lock is held by another, so that whoever waited for it would never say anything.
    let Some(world) = super::world() else { return };
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
    let Some(world) = super::world() else { return };
    with_mode(&world.path("script"), "echo \"$0 $1\"; exit 3\n", 0o755);
    let seen = world.run(&["run", "x", "--", "./script", "a b"]).expect(3);
    assert_eq!(seen.out, "./script a b\n");
}

#[test]
fn what_cannot_be_meant_is_64() {
    let Some(world) = super::world() else { return };
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
    let Some(world) = super::world() else { return };
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
    holder.finish();
    world.run(&["wait", "x", "-w", "50s"]).expect(0);
    world.run(&["run", "x", "-w", "50s", "--", "true"]).expect(0);
}

#[test]
fn a_damaged_record_is_65_and_break_repairs_it() {
    let Some(world) = super::world() else { return };
    world.run(&["run", "x", "--", "true"]).expect(0);
    world.store().spoil();
    world.run(&["run", "x", "--", "true"]).expect(65);
    assert!(world.run(&["status", "x"]).expect(0).out.contains("unreadable"));
    world.run(&["break", "x", "--reason", "a test spoiled it"]).expect(0);
    world.run(&["run", "x", "--", "true"]).expect(0);
}

#[test]
fn a_release_that_fails_does_not_hide_the_commands_code() {
    // The store goes away and the command ends: its work was done under the lock.
    let Some(world) = super::world() else { return };
    let script = "echo up; read line; exit 3";
    let mut command = world.leasehold(&["run", "x", "--ttl", "2s", "--", "sh", "-c", script]);
    command.stdin(Stdio::piped());
    let mut run = Running::of(command);
    run.await_line("up");
    world.store().take_away();
    run.write("\n");
    let seen = run.end().expect(3);
    assert!(seen.err.contains("not released") && seen.err.contains("within 2s"), "{seen:?}");
}

#[test]
fn arguments_go_through_verbatim() {
    let Some(world) = super::world() else { return };
    let odd = OsStr::from_bytes(b"not \xff utf-8 $HOME \n *");
    let mut command = world.leasehold(&["run", "x", "--ttl", "5s", "--", "printf", "%s|"]);
    command.args(["--ttl", "", "--", "-n", "a b"]).arg(odd);
    let seen = end(command).expect(0);
    assert_eq!(seen.out, "--ttl||--|-n|a b|not \u{fffd} utf-8 $HOME \n *|");
}

#[test]
fn stdin_stdout_and_stderr_are_the_commands() {
    let Some(world) = super::world() else { return };
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
    let Some(world) = super::world() else { return };
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
    let Some(world) = super::world() else { return };
    let seen = world.sh("trap '' HUP; leasehold run x -- sh -c 'kill -HUP $$; echo survived'");
    assert_eq!(seen.expect(0).out, "survived\n");
}

#[test]
fn the_environment_tells_the_lock_and_nested_locks_are_right() {
    let Some(world) = super::world() else { return };
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
    let Some(world) = super::world() else { return };
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
    let Some(world) = super::world() else { return };
    let leave = "sleep 1000 >/dev/null 2>&1 & echo $!";
    let mut command = world.leasehold(&["run", "x", "--", "sh", "-c", leave]);
    command.stdin(Stdio::null());
    let seen = end(command).expect(0);
    assert!(runs(seen.out.trim()), "{seen:?}");
    world.sh(&format!("kill {}", seen.out.trim())).expect(0);
}
