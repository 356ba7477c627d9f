//! A process that may not start another thread: what keeping a lock needs is there before it is acquired.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::store::skipped;
use crate::world::{Running, World, end, program_path};

/// A user of this test alone: the limit counts all processes of a user.
const USER: u32 = 60_217;

fn world() -> Option<World> {
    if !rustix::process::getuid().is_root() {
        skipped("a limit on processes: it takes root to be a user that has no others");
        return None;
    }
    let world = World::new();
    fs::copy(program_path(), world.path("program")).expect("there is room");
    for (name, mode) in [("program", 0o755), ("store", 0o777)] {
        let _ = fs::create_dir(world.path(name));
        fs::set_permissions(world.path(name), fs::Permissions::from_mode(mode)).expect("ours");
    }
    Some(world)
}

/// The program, as a user that may have this many processes and threads.
fn limited(world: &World, most: u32, words: &[&str]) -> Command {
    let mut command = Command::new("setsid");
    command.args(["setpriv", &format!("--reuid={USER}"), &format!("--regid={USER}")]);
    command.args(["--clear-groups", "prlimit", &format!("--nproc={most}:{most}"), "./program"]);
    let mut command = world.prepared(command);
    command.args(words);
    command
}

/// A host is at its limit when a job starts. It is told so in a sentence and a documented code, whichever
/// thread or process is the one too many, and nothing stays held.
#[test]
fn a_start_at_the_limit_is_an_error_and_no_panic() {
    let Some(world) = world() else { return };
    let mut codes = vec![];
    for most in 1..=12 {
        for words in [
            &["run", "-n", "x", "--", "true"][..],
            &["once", "--key", &most.to_string(), "y", "--", "true"],
            &["status", "x"],
            &["list"],
        ] {
            let seen = end(limited(&world, most, words));
            assert!(!seen.err.contains("panicked"), "{most} {words:?}: {seen:?}");
            assert!(matches!(seen.code(), 0 | 69 | 126), "{most} {words:?}: {seen:?}");
            assert!(seen.code() == 0 || !seen.err.is_empty(), "{most} {words:?}: {seen:?}");
            codes.push(seen.code());
        }
    }
    assert!(codes.contains(&0) && codes.iter().any(|code| *code != 0), "{codes:?}");
    world.run(&["run", "-n", "x", "--", "true"]).expect(0);
}

/// A build takes every process that its user may have, before the first renewal and for longer than an idle
/// thread is kept. The lock is renewed all the same.
#[test]
fn a_lock_is_kept_at_the_limit() {
    let Some(world) = world() else { return };
    // From here on leasehold, the parent of the command, cannot start a thread.
    let command = "prlimit --pid $PPID --nproc=1:1 && echo in && exec sleep 14";
    let words = ["run", "--ttl", "36s", "x", "--", "sh", "-c", command];
    let mut run = Running::of(limited(&world, 100, &words));
    run.await_line("in");
    run.end().expect(0);
    assert!(world.run(&["status", "x", "--json"]).expect(0).out.contains("\"released\""));
}
