//! What shells make of us: the lines that the help and the first page give them, in every shell that is
//! installed, on bad days too; and what they are told when a result cannot be written.

use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::world::{Running, World, children, end, until, with_mode};

const README: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md"));
const CONTRIB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../contrib/leasehold.sh");

/// The shells of this machine that can evaluate what we print.
fn shells() -> Vec<Vec<&'static str>> {
    let known = [vec!["sh"], vec!["bash"], vec!["dash"], vec!["zsh"], vec!["busybox", "sh"]];
    let runs = |shell: &Vec<&str>| {
        let status = Command::new(shell[0]).args(&shell[1..]).args(["-c", ":"]).status();
        status.is_ok_and(|status| status.success())
    };
    let found: Vec<_> = known.into_iter().filter(runs).collect();
    assert!(found.len() >= 2, "sh and bash are everywhere");
    found
}

/// The ways that are documented to take the lock `deploy`, or leave.
fn idioms(world: &World) -> Vec<String> {
    let help = world.run(&["help", "acquire"]).expect(0).out;
    let examples = help.split("\nExamples:\n").nth(1).expect("there are examples");
    let from_help = examples.lines().find(|line| line.contains("acquire deploy")).expect("it");
    let from_readme = README.lines().find(|line| line.contains("leasehold acquire NAME"));
    let from_readme = from_readme.and_then(|line| line.split("   #").next()).expect("it");
    let header = std::fs::read_to_string(CONTRIB).expect("it is there");
    let from_contrib = header.lines().find(|line| line.contains("lock deploy")).expect("it");
    let from_contrib = from_contrib.trim_start_matches(['#', ' ']).split("   #").next();
    vec![
        from_help.trim().to_owned(),
        from_readme.replace("NAME", "deploy"),
        // Its option is one of several.
        format!(". {CONTRIB}\n{}", from_contrib.expect("it").replace("-w 5m", "")),
    ]
}

/// Every documented line, in every shell, with and without `set -e`, and what is to happen behind it.
fn scripts(world: &World, rest: &str) -> Vec<(Vec<&'static str>, String)> {
    let mut scripts = vec![];
    for shell in shells() {
        for idiom in idioms(world) {
            for set in ["", "set -e; "] {
                scripts.push((shell.clone(), format!("{set}{idiom}\n{rest}")));
            }
        }
    }
    scripts
}

fn script(world: &World, shell: &[&str], text: &str) -> Command {
    let mut command = Command::new("setsid");
    command.args(shell).args(["-c", text]);
    world.prepared(command)
}

/// A script takes its lock as the help says, works, and lets go of it.
#[test]
fn the_documented_line_takes_the_lock() {
    let world = World::new();
    let rest = "leasehold run -n deploy -- true; echo $?";
    for (shell, text) in scripts(&world, &format!("set +e; {rest}; leasehold release; {rest}")) {
        let seen = end(script(&world, &shell, &text)).expect(0);
        assert_eq!(seen.out, "75\n0\n", "{shell:?}: {text}: {seen:?}");
    }
}

/// The lock is another's, and who waits for it is killed by -9: out of memory, or an impatient hand. The
/// script does not go on.
#[test]
fn a_script_whose_acquire_is_killed_does_not_go_on() {
    let world = World::new();
    let mut holder = world.start(&["run", "deploy", "--", "sh", "-c", "echo in; exec sleep 1000"]);
    holder.await_line("in");
    for (shell, text) in scripts(&world, "echo went on") {
        let script = Running::of(script(&world, &shell, &text));
        let mut waiter = None;
        until("it waits", || {
            waiter = below(script.pid()).into_iter().find(|(_, name)| name.contains("\0acquire\0"));
            waiter.is_some()
        });
        kill_process(waiter.expect("it waits").0, Signal::KILL).expect("it runs");
        let seen = script.end();
        assert_eq!((seen.code(), &*seen.out), (137, ""), "{shell:?}: {text}: {seen:?}");
    }
    holder.finish();
    world.run(&["run", "deploy", "-w", "30s", "--", "true"]).expect(0);
}

/// The processes below another one that are ours, and no session: pid and command line.
fn below(pid: Pid) -> Vec<(Pid, String)> {
    let direct = children(pid).into_iter().filter(|(_, name)| !name.contains("__session"));
    direct.flat_map(|(pid, name)| [vec![(pid, name)], below(pid)].concat()).collect()
}

/// The program is not there, cannot start, says half of what it has to say, or ends well and has said
/// nothing of use: no script goes on.
#[test]
fn a_script_without_a_sound_answer_does_not_go_on() {
    let world = World::new();
    let whole = world.sh("leasehold acquire x --pid $$").expect(0).out;
    let half = &whole[..whole.len() / 2];
    for (dir, text) in [
        ("cut", format!("#!/bin/sh\ncat <<'END'\n{half}\nEND\n")),
        ("killed", format!("#!/bin/sh\ncat <<'END'\n{half}\nEND\nkill -9 $$\n")),
        ("wrong", "#!/bin/sh\nfalse\n".into()),
    ] {
        std::fs::create_dir(world.path(dir)).expect("there is room");
        with_mode(&world.path(&format!("{dir}/leasehold")), &text, 0o755);
    }
    let dir = |name: &str| format!("{}:/usr/bin:/bin", world.path(name).display());
    for (shell, text) in scripts(&world, "echo went on") {
        for path in ["none", "cut", "killed", "wrong"].map(dir) {
            let mut command = script(&world, &shell, &text);
            command.env("PATH", &path);
            let seen = end(command);
            assert_ne!(seen.status.code(), Some(0), "{shell:?}: {text}: {seen:?}");
            assert_eq!(seen.out, "", "{shell:?} with {path}: {text}: {seen:?}");
        }
        // The shell itself cannot make a pipe, and has the code of an earlier lock.
        let seen = end(script(&world, &shell, &format!("code=:\nulimit -n 4\n{text}")));
        assert!(seen.code() != 0 && seen.out.is_empty(), "{shell:?}: {text}: {seen:?}");
    }
}

/// A lock that was taken in a subshell ends with it, though the script goes on; by the printed code and by
/// the functions, in a group of a pipeline too.
#[test]
fn the_end_of_a_subshell_is_the_end_of_its_lock() {
    let world = World::new();
    let held = "leasehold run -n deploy -- true; echo $?";
    let free = "leasehold run -w 30s deploy -- true; echo $?";
    for shell in shells() {
        for idiom in idioms(&world) {
            let text =
                format!("( {idiom}\n {held} ); {free}\n{{ {idiom}\n {held}; }} | cat; {free}");
            let seen = end(script(&world, &shell, &text)).expect(0);
            assert_eq!(seen.out, "75\n0\n75\n0\n", "{shell:?}: {text}: {seen:?}");
        }
    }
}

/// A shell that becomes its last command holds nothing any more when that ends.
#[test]
fn a_shell_that_ends_at_once_keeps_no_lock() {
    let world = World::new();
    for shell in shells() {
        let text = r#"code=$(leasehold acquire x) && eval "${code:-false}""#;
        end(script(&world, &shell, text)).expect(0);
        world.run(&["run", "x", "-w", "30s", "--", "true"]).expect(0);
    }
}

/// The disk is full, and what was asked for cannot be written. Each command says so by its exit code; a
/// lock that its script never heard of is free again.
#[test]
fn what_could_not_be_written_is_a_failure() {
    let world = World::new();
    world.run(&["run", "a", "--", "true"]).expect(0);
    let commands = [
        "status a",
        "status a --json",
        "list",
        "list --json",
        "wait a --json",
        "break a --reason test",
        "break a --reason test --json",
        "reset b --reason test",
        "doctor",
        "doctor --json",
        "init",
        "init --json",
        "demo --processes 1 --clients 1 --for 0s",
        "demo --processes 1 --clients 1 --for 0s --json",
        "completions bash",
        "help run",
        "--help",
        "--version",
        "acquire x",
        "acquire x --json",
        "acquire x --pid $$",
        "once o --max-attempts 1 -- sh -c 'leasehold checkpoint set 1; leasehold checkpoint get'",
    ];
    for command in commands {
        let seen = world.sh(&format!("leasehold {command} >/dev/full")).expect(74);
        assert!(seen.err.contains("No space left"), "{command}: {seen:?}");
        // While the shell lives, to whose life it may be bound.
        let text = format!("leasehold {command} >/dev/full; leasehold run -n x -- true");
        world.sh(&text).expect(0);
    }
    let release =
        r#"code=$(leasehold acquire x) && eval "$code"; leasehold release --json >/dev/full"#;
    world.sh(release).expect(74);
}

/// A reader that has what it wanted goes, as `head` does: that is no failure. Only `acquire` has to let go
/// of what nobody will evaluate.
#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let world = World::new();
    world.run(&["run", "a", "--", "true"]).expect(0);
    let gone = |command: &str| {
        let text = format!("exec 3>&1; {{ read go; leasehold {command}; echo $? >&3; }} | :");
        let mut script = world.script("sh", &text);
        script.stdin(std::process::Stdio::piped());
        let mut script = Running::of(script);
        // By then `:` has ended in all likelihood; if not, the pipe is empty and all is well too.
        script.write("go\n");
        script.end().out
    };
    for command in ["status a", "list --json", "completions bash", "--help", "help run"] {
        assert_eq!(gone(command), "0\n", "{command}");
    }
}
