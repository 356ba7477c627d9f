//! `once`: who runs it, who does not, and what the run is given.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use crate::world::{Running, until};

/// Twenty instances of a service start at once. One of them migrates, and all others wait for it and go on.
#[test]
fn one_of_many_runs_it_and_all_others_inherit() {
    let Some(world) = super::world() else { return };
    let script = "echo ran >>log; sleep 0.2";
    let all: Vec<_> = (0..12)
        .map(|n| {
            let words = ["once", "schema", "--key", "v1", "--", "sh", "-c", script];
            Running::of(if n % 2 == 0 { world.leasehold(&words) } else { world.elsewhere(&words) })
        })
        .collect();
    let seen: Vec<_> = all.into_iter().map(|one| one.end().expect(0)).collect();
    assert_eq!(world.read("log"), "ran\n");
    let inherited = seen.iter().filter(|seen| seen.err.contains("(key v1) was done before by "));
    assert_eq!(inherited.count(), 11, "{seen:?}");
}

#[test]
fn a_new_key_runs_again_and_an_old_one_never_does() {
    let Some(world) = super::world() else { return };
    let run = |key: &str| {
        let script = "echo $LEASEHOLD_KEY";
        world.run(&["once", "x", "--key", key, "--max-attempts", "1", "--", "sh", "-c", script])
    };
    assert_eq!(run("v1").expect(0).out, "v1\n");
    assert_eq!(run("v2").expect(0).out, "v2\n");
    let seen = run("v1").expect(0);
    assert!(seen.out.is_empty() && seen.err.contains("a later key has come since"), "{seen:?}");
    // One that was never done must not be done after a later one: that may build on it.
    world.run(&["once", "y", "--key", "v1", "--max-attempts", "1", "--", "false"]).expect(1);
    world.run(&["once", "y", "--key", "v2", "--", "true"]).expect(0);
    let seen = world.run(&["once", "y", "--key", "v1", "--", "echo", "no"]).expect(75);
    assert!(seen.out.is_empty() && seen.err.contains("taken its place: \"v2\""), "{seen:?}");
}

/// The key of a directory says what is in it. Anybody can compute it by the line in the help.
#[test]
fn the_contents_of_a_directory_are_a_key() {
    let Some(world) = super::world() else { return };
    let make = "mkdir -p m/sub m/..data && echo a >m/b && echo b >'m/a b' && echo c >m/sub/c \
        && echo d >m/b-d && ln -s sub/c m/link && echo no >m/..data/e && printf '\\n' >\"m/\n\"";
    world.sh(make).expect(0);
    let show = "test $LEASEHOLD_KEY = sha256:$(cd m && find -L . -name '..?*' -prune -o -type f \
        -print0 | LC_ALL=C sort -z | xargs -0 sha256sum -z | sha256sum | cut -c -64)";
    let run = || world.run(&["once", "x", "--key-file", "m", "--", "sh", "-c", show]).expect(0);
    assert_eq!(run().err, "");
    assert!(run().err.contains("was done before"));
    world.write("m/sub/c", "changed\n");
    assert_eq!(run().err, "", "it runs again");
    world.sh("mv m/b m/e").expect(0);
    assert_eq!(run().err, "", "a name counts too");
    let show = "test $LEASEHOLD_KEY = sha256:$(sha256sum m/e | cut -c -64)";
    world.run(&["once", "y", "--key-file", "m/e", "--", "sh", "-c", show]).expect(0);
}

#[test]
fn what_cannot_be_a_key_is_64_and_nothing_runs() {
    let Some(world) = super::world() else { return };
    world.sh("mkdir empty linked odd; ln -s .. linked/up; mkfifo odd/pipe; ln -s x gone").expect(0);
    let long = "k".repeat(129);
    let wrong: &[(&[&str], &str)] = &[
        (&["--key-file", "no/such"], "no/such cannot be read"),
        (&["--key-file", "gone"], "gone cannot be read"),
        (&["--key-file", "empty"], "empty has no files"),
        (&["--key-file", "linked"], "linked/up is a link to a directory"),
        (&["--key-file", "odd"], "odd/pipe is not a regular file"),
        (&["--key", &long], "129 bytes"),
        (&["--key", "a\nb"], "U+000A"),
        (&["--key", "a", "--key-file", "b"], "cannot be used with"),
        (&["--max-attempts", "0"], "--max-attempts"),
        (&["--ttl", "10s", "--grace", "4s"], "grace"),
        (&["--config", "no/such"], "no/such"),
    ];
    for (words, what) in wrong {
        let words = [&["once", "x"], *words, &["--", "echo", "never"]].concat();
        let seen = world.run(&words).expect(64);
        assert!(seen.out.is_empty() && seen.err.contains(what), "{words:?}: {seen:?}");
    }
    world.run(&["once", "--", "true"]).expect(64);
}

/// Whoever can ask the database whether there is something to do is asked, and is asked again under the
/// lock, because another may have done it meanwhile.
#[test]
fn what_is_not_needed_is_not_run() {
    let Some(world) = super::world() else { return };
    let needed = "echo question $LEASEHOLD_NAME; echo asked >>asked; test ! -e migrated";
    let run = || {
        world.run(&["once", "x", "--needed", needed, "--valid-for", "0", "--", "touch", "migrated"])
    };
    let seen = run().expect(0);
    assert_eq!((seen.out.as_str(), seen.err.as_str()), ("", "question x\nquestion x\n"));
    assert!(world.path("migrated").exists());
    let seen = run().expect(0);
    assert_eq!((seen.out.as_str(), world.read("asked").lines().count()), ("", 3), "{seen:?}");
    let seen = world.run(&["status", "x"]).expect(0);
    assert!(seen.out.contains("state      done"), "what was done stays done: {seen:?}");
}

/// The tool that asks is not in the image. To take that for "no" would start the service on the old schema.
#[test]
fn a_question_that_cannot_be_asked_is_no_answer() {
    let Some(world) = super::world() else { return };
    world.write("plain", "");
    for (needed, code) in [("no-such-command", 127), ("./plain", 126), ("kill -9 $$", 126)] {
        let seen = world.run(&["once", "x", "--needed", needed, "--", "echo", "ran"]).expect(code);
        assert!(seen.out.is_empty() && seen.err.contains("no answer"), "{needed}: {seen:?}");
    }
    world.run(&["once", "x", "--needed", "exit 3", "--", "echo", "ran"]).expect(0);
}

#[test]
fn the_command_gets_what_it_gets_under_run_and_more() {
    let Some(world) = super::world() else { return };
    let odd = OsStr::from_bytes(b"not \xff utf-8");
    let script = "cat; echo $LEASEHOLD_NAME-$LEASEHOLD_KEY-$LEASEHOLD_ATTEMPT-\
        ${LEASEHOLD_RESUMED-unset}; printf '%s|' \"$@\"";
    let words = ["once", "x", "--key", "v1", "--", "sh", "-c", script, "--", "-n", ""];
    let mut command = world.leasehold(&words);
    // An outer one's.
    command.arg(odd).env("LEASEHOLD_RESUMED", "1").env("LEASEHOLD_KEY", "old");
    command.stdin(Stdio::piped());
    let mut run = Running::of(command);
    run.write("in\n");
    let seen = run.end().expect(0);
    assert_eq!(seen.out, "in\nx-v1-1-unset\n-n||not \u{fffd} utf-8|");
    assert_eq!(seen.err, "");
}

/// Its stderr goes through us, so that its end can be kept. Nothing of it may be lost, delayed or moved.
#[test]
fn stderr_is_handed_on_as_it_is() {
    let Some(world) = super::world() else { return };
    let much = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i + 1)); done";
    world.sh(&format!("leasehold once a -- sh -c '({much}) >&2' 2>err")).expect(0);
    assert_eq!(world.read("err"), world.sh(much).out);
    // Where both are one file their order stays.
    let both = "for i in 1 2 3 4 5 6 7 8; do echo out $i; echo err $i >&2; done";
    let seen = world.sh(&format!("leasehold once b -- sh -c '{both}' 2>&1")).expect(0);
    assert_eq!(seen.out, world.sh(&format!("({both}) 2>&1")).out);
    // It is there before the command ends.
    let waits = "echo first >&2; read line; exit 0";
    let mut command =
        world.script("sh", &format!("exec leasehold once c -- sh -c '{waits}' 2>&1 >/dev/null"));
    command.stdin(Stdio::piped());
    let mut run = Running::of(command);
    run.await_line("first");
    run.write("\n");
    run.end().expect(0);
    // Nobody reads it any more: the command learns it, as without us.
    let seen = world
        .sh("leasehold once d --max-attempts 1 -- sh -c 'yes >&2' 2>&1 >/dev/null | head -n 1");
    assert_eq!(seen.expect(0).out, "y\n");
}

#[test]
fn what_runs_on_in_the_background_keeps_its_stderr() {
    let Some(world) = super::world() else { return };
    let script = "(while [ ! -e go ]; do sleep 0.01; done; echo late >&2) & echo early >&2";
    let words = format!("leasehold once x -- sh -c '{script}' >/dev/null 2>err; echo over");
    let seen = world.sh(&words).expect(0);
    assert_eq!((seen.out.as_str(), world.read("err").as_str()), ("over\n", "early\n"));
    world.write("go", "");
    until("the late line is there", || world.read("err") == "early\nlate\n");
}

#[test]
fn a_checkpoint_is_bytes_and_bounded() {
    let Some(world) = super::world() else { return };
    let script = r"
        leasehold checkpoint get && exit 1
        printf 'a\0b\377\n' >state
        leasehold checkpoint set <state && leasehold checkpoint get | cmp - state || exit 2
        head -c 4096 /dev/zero | leasehold checkpoint set || exit 3
        head -c 4097 /dev/zero | leasehold checkpoint set; [ $? = 64 ] || exit 4
        leasehold checkpoint get | wc -c
        leasehold checkpoint set -1 && [ $(leasehold checkpoint get) = -1 ] || exit 6
        leasehold run inner -- leasehold checkpoint set '' || exit 5
        leasehold checkpoint get | wc -c";
    let seen = world.run(&["once", "x", "--max-attempts", "1", "--", "sh", "-c", script]).expect(0);
    assert_eq!(seen.out, "4096\n0\n", "{seen:?}");
    // Done is done, and nothing is left of the way there.
    let seen = world.run(&["status", "x", "--json"]).expect(0);
    assert!(seen.out.contains("\"checkpoint_bytes\": null"), "{seen:?}");
    for act in [&["get"][..], &["set", "x"]] {
        let seen = world.run(&[&["checkpoint"], act].concat()).expect(64);
        assert!(seen.out.is_empty() && seen.err.contains("`leasehold once` runs"), "{seen:?}");
    }
}

/// The command is a stranger's program, and may do to the socket whatever it likes.
#[test]
fn the_socket_of_the_checkpoint_survives_its_visitors() {
    let Some(world) = super::world() else { return };
    let script = "leasehold checkpoint set before; echo $LEASEHOLD_CHECKPOINT; read line; \
        leasehold checkpoint get";
    let mut command = world.leasehold(&["once", "x", "--", "sh", "-c", script]);
    command.stdin(Stdio::piped());
    let mut run = Running::of(command);
    let socket = run.line();
    let say = |words: &[u8]| {
        let mut stream = UnixStream::connect(&socket).expect("it listens");
        // It may have been hung up on in the middle.
        let _ = stream.write_all(words);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = vec![];
        let _ = stream.read_to_end(&mut answer);
        answer
    };
    let _silent = UnixStream::connect(&socket).expect("it listens");
    say(&[&b"set "[..], &vec![b'x'; 1 << 20]].concat());
    for words in [&b""[..], b"get more", b"set", b"\xff\xfe", b"GET"] {
        assert_eq!(say(words).first(), Some(&64), "{words:?}");
    }
    run.write("\n");
    assert_eq!(run.end().expect(0).out, "before");
    assert!(!std::path::Path::new(&socket).exists(), "it is tidied away");
}

/// Whoever comes from py-spanner-mutex has a file. What is typed has precedence.
#[test]
fn a_file_of_py_spanner_mutex_says_what_is_not_typed() {
    let Some(world) = super::world() else { return };
    let uuid = "f01cae82-db2d-4ee4-a2bb-28f209126a4f";
    world.write(
        "mutex.json",
        &format!(
            r#"{{"mutex_uuid": "{{{}}}", "instance_id": "i", "database_id": "d", "table_id": "t",
                "project_id": "p", "mutex_display_name": "the schema"}}"#,
            uuid.to_uppercase()
        ),
    );
    let backend = world.backend();
    let file = ["--backend", &backend, "once", "--config", "mutex.json"];
    let show = ["--", "sh", "-c", "echo $LEASEHOLD_NAME"];
    let run = |words: &[&str]| world.run(&[&file, words, &show].concat()).expect(0);
    assert_eq!(run(&[]).out, format!("{uuid}\n"));
    let seen = run(&[]);
    assert!(seen.err.contains("\"the schema\" was done before"), "{seen:?}");
    assert_eq!(run(&["other"]).out, "other\n");
    assert_eq!(run(&["--valid-for", "0"]).out, format!("{uuid}\n"));
}
