//! `acquire` and `release`: a lock for a shell script.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::world::{Running, end, until};

#[test]
fn a_script_holds_the_lock_between_acquire_and_release() {
    let Some(world) = super::world() else { return };
    for shell in ["sh", "bash"] {
        let script = r#"
            code=$(leasehold acquire x) && eval "${code:-false}" || exit
            echo "$LEASEHOLD_NAME $LEASEHOLD_TOKEN"
            leasehold run -n x -- true; echo $?
            leasehold release || exit
            leasehold run -n x -- true; echo $?"#;
        let seen = end(world.script(shell, script)).expect(0);
        let lines: Vec<&str> = seen.out.lines().collect();
        assert!(lines[0].starts_with("x 1"), "{shell}: {seen:?}");
        assert_eq!(lines[1..], ["75", "0"], "{shell}: {seen:?}");
    }
}

#[test]
fn the_end_of_the_shell_is_the_end_of_the_lock() {
    let Some(world) = super::world() else { return };
    // By itself, and killed.
    world.sh(r#"code=$(leasehold acquire x) && eval "${code:-false}" && exit 3"#).expect(3);
    world.run(&["run", "x", "-w", "30s", "--", "true"]).expect(0);
    let script = r#"code=$(leasehold acquire x) && eval "${code:-false}"; echo up; read line"#;
    let mut command = world.script("sh", script);
    command.stdin(Stdio::piped());
    let mut shell = Running::of(command);
    shell.await_line("up");
    world.run(&["run", "-n", "x", "--", "true"]).expect(75);
    shell.kill();
    world.run(&["run", "x", "-w", "30s", "--", "true"]).expect(0);
}

#[test]
fn without_the_lock_the_script_is_told() {
    let Some(world) = super::world() else { return };
    let mut holder = world.start(&["run", "x", "--", "sh", "-c", "echo in; exec sleep 1000"]);
    holder.await_line("in");
    let try_with = |options: &str| {
        let idiom = format!(r#"code=$(leasehold acquire x {options}) && eval "$code"; echo $?"#);
        let seen = world.sh(&idiom).expect(0);
        // What older scripts have fails too, as long as anything is printed.
        let older = world.sh(&format!(r#"eval "$(leasehold acquire x {options})"; echo $?"#));
        assert_eq!(older.expect(0).out, seen.out, "{options}");
        seen.out
    };
    assert_eq!(try_with("-n"), "75\n");
    assert_eq!(try_with("-w 0.1"), "75\n");
    assert_eq!(try_with("-n -E 9"), "9\n");
    // A mistake in the options must not be taken for the lock either.
    assert_eq!(try_with("--no-such-option"), "64\n");
    assert_eq!(try_with("--ttl 1ms"), "64\n");
    // That it is no failure not to have it is nothing that a script may go on with.
    assert_eq!(try_with("-n -E 0"), "64\n");
    holder.kill();
}

#[test]
fn a_lost_lock_ends_the_script() {
    let Some(world) = super::world() else { return };
    let script = r#"
        trap 'leasehold release; echo $?; exit 5' TERM
        code=$(leasehold acquire x --ttl 2s) && eval "${code:-false}" || exit
        echo up
        while :; do sleep 0.01; done"#;
    let mut shell = Running::of(world.script("sh", script));
    shell.await_line("up");
    world.run(&["break", "x", "--reason", "test"]).expect(0);
    shell.await_line("79");
    shell.end().expect(5);
}

#[test]
fn a_shell_that_never_comes_does_not_keep_the_lock() {
    // Who only prints the code has no lock for long: here its pid is that of a finished process.
    let Some(world) = super::world() else { return };
    let seen = world.sh("sh -c 'leasehold acquire x --pid $$ >/dev/null'").expect(0);
    assert_eq!(seen.out, "");
    world.run(&["run", "x", "-w", "30s", "--", "true"]).expect(0);
}

#[test]
fn a_signal_ends_the_wait_of_acquire() {
    let Some(world) = super::world() else { return };
    let mut holder = world.start(&["run", "x", "--", "sh", "-c", "echo in; exec sleep 1000"]);
    holder.await_line("in");
    let mut waiter = Running::of(world.script("sh", "exec leasehold acquire x 2>&1"));
    assert!(waiter.line().contains("waiting for x"));
    waiter.signal(Signal::TERM);
    assert_eq!(waiter.end().expect(143).out, "(exit 143)\n");
    holder.finish();
    // And it takes the lock no more.
    world.run(&["run", "x", "-w", "30s", "--", "true"]).expect(0);
}

#[test]
fn the_session_holds_no_pipe_of_the_scripts() {
    // Whoever reads the script's output to its end must not wait for the background process.
    let Some(world) = super::world() else { return };
    let script = r#"
        exec 3>&1
        out=$(leasehold acquire x --pid $$ 2>&1 4>&1)
        echo "${out%%=*}""#;
    let seen = world.sh(script).expect(0);
    assert_eq!(seen.out, "{\nexport LEASEHOLD_NAME\n");
}

#[test]
fn json_is_for_programs() {
    let Some(world) = super::world() else { return };
    let script = "
        leasehold acquire x --json >lock && leasehold run -n x -- true
        echo $? && leasehold release x --json && leasehold run -n x -- true";
    let seen = world.sh(script).expect(0);
    let answer = "{\n  \"v\": 1,\n  \"name\": \"x\",\n  \"code\": 0,\n  \"message\": null\n}\n";
    assert_eq!(seen.out, format!("75\n{answer}"), "{seen:?}");
    let lock = world.read("lock");
    assert!(lock.contains("\"token\": 1") && lock.contains("\"name\": \"x\""), "{lock}");
}

#[test]
fn the_functions_for_scripts_hold_several_locks() {
    let Some(world) = super::world() else { return };
    let functions = concat!(env!("CARGO_MANIFEST_DIR"), "/../../contrib/leasehold.sh");
    for shell in ["sh", "bash"] {
        let script = format!(
            ". {functions}
            set -e
            lock a; lock b -n
            lock a -n || echo $?
            leasehold run -n a -- true || echo $?
            unlock a
            leasehold run -n a -- echo free
            leasehold run -n b -- true || echo $?
            unlock b
            unlock b 2>/dev/null || echo $?
            echo end"
        );
        let seen = end(world.script(shell, &script)).expect(0);
        assert_eq!(seen.out, "75\n75\nfree\n75\n64\nend\n", "{shell}: {seen:?}");
    }
}

#[test]
fn a_killed_session_is_noticed_by_release() {
    let Some(world) = super::world() else { return };
    // Its pid is the last part of its label.
    let script = r#"
        code=$(leasehold acquire x --ttl TTL) && eval "${code:-false}" || exit
        leasehold status x
        echo up
        read line
        leasehold release; echo $?"#;
    let mut command = world.script("sh", &script.replace("TTL", world.mortal_ttl()));
    command.stdin(Stdio::piped());
    let mut shell = Running::of(command);
    let mut session = None;
    loop {
        let line = shell.line();
        if line.starts_with("held by") {
            session = line.rsplit(':').next().and_then(|pid| Pid::from_raw(pid.parse().ok()?));
        } else if line == "up" {
            break;
        }
    }
    kill_process(session.expect("a pid"), Signal::KILL).expect("it runs");
    until("the lock is orphaned", || world.run(&["run", "-n", "x", "--", "true"]).code() == 0);
    shell.write("\n");
    shell.await_line("79");
    shell.end().expect(0);
}
