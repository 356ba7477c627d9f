//! Where things are: sockets on hosts without a usual place for them, and directories that a variable
//! names and another user owns.

use std::fs;
use std::os::unix::fs::chown;
use std::process::Command;

use crate::store::skipped;
use crate::world::{World, chmod, end, program_path};

/// A script with a lock of `acquire`, and a command of `once` that saves how far it came.
const BOTH: &str = r#"
    code=$(leasehold acquire x) && eval "${code:-false}" || exit
    echo "$LEASEHOLD_SESSION"
    leasehold run -n x -- true; echo $?
    leasehold release x && leasehold run -n x -- true && echo free
    save='leasehold checkpoint set 7; leasehold checkpoint get'
    leasehold once o --key "$LEASEHOLD_TOKEN" -- sh -c "$save""#;

/// A user that no file of users knows.
const STRANGER: u32 = 65_533;

/// The path of the runtime directory is longer than a socket's address may be.
#[test]
fn a_long_runtime_directory_serves() {
    let world = World::new();
    let long = world.path(&format!("run/{}", "d".repeat(180)));
    for (variable, below) in [("XDG_RUNTIME_DIR", "/leasehold/"), ("LEASEHOLD_RUNTIME_DIR", "/")] {
        let _ = fs::create_dir(&long);
        chmod(&long, 0o700);
        let mut script = world.script("sh", BOTH);
        script.env(variable, &long);
        let seen = end(script).expect(0);
        let rest = seen.out.strip_prefix(&format!("{}{below}", long.display()));
        let rest = rest.and_then(|rest| rest.split_once('\n')).expect("it is there").1;
        assert_eq!(rest, "75\nfree\n7", "{seen:?}");
    }
}

/// The place that is named is none. That is said before anything is acquired or run, by a code of its own.
#[test]
fn without_a_place_nothing_is_acquired() {
    let world = World::new();
    world.write("file", "");
    let none = world.path("file/below");
    for text in ["leasehold acquire x >/dev/null", "leasehold once x -- touch ran"] {
        let mut script = world.script("sh", text);
        script.env("LEASEHOLD_RUNTIME_DIR", &none);
        let seen = end(script).expect(73);
        assert!(seen.err.contains("set LEASEHOLD_RUNTIME_DIR to a directory"), "{seen:?}");
        assert_eq!(seen.err.lines().count(), 1, "{seen:?}");
        assert!(!world.path("ran").exists());
    }
    let seen = world.run(&["list", "--json"]).expect(0);
    assert!(!seen.out.contains("held") && !seen.out.contains("running"), "{seen:?}");
}

/// A container whose root cannot be written to, with nothing but the directory of the locks: the sockets
/// are in there.
#[test]
fn a_read_only_root_is_enough() {
    let world = World::new();
    let program = world.path("leasehold");
    fs::copy(program_path(), program).expect("there is room");
    let script = format!(
        "mount --bind . /mnt && cd /mnt || exit 99
        for dir in /tmp /var/tmp /dev/shm /run; do mount -t tmpfs -o ro none $dir || exit 99; done
        PATH=/mnt:$PATH LEASEHOLD_BACKEND=file:///mnt/locks
        unset XDG_RUNTIME_DIR{BOTH}"
    );
    let mut command = Command::new("setsid");
    command.args(["unshare", "-m", "sh", "-c", &script]);
    let seen = end(world.prepared(command));
    if !seen.out.starts_with("/mnt/") && matches!(seen.status.code(), Some(1 | 99)) {
        return skipped("a read-only root: a mount namespace cannot be made");
    }
    assert_eq!(seen.out.split_once('\n').map(|(_, rest)| rest), Some("75\nfree\n7"), "{seen:?}");
}

/// `sudo` and `su` leave HOME and `XDG_RUNTIME_DIR` as they were. Nothing is made in another user's
/// directories, and it is said what is done instead.
#[test]
fn the_directories_of_another_user_are_not_used() {
    let world = World::new();
    if !rustix::process::getuid().is_root() {
        return skipped("another user's directories: it takes root to be two users");
    }
    let seen_as = |uid: u32, words: &str| {
        let mut command = Command::new("setsid");
        let ids = [format!("--reuid={uid}"), format!("--regid={uid}")];
        command.arg("setpriv").args(ids).args(["--clear-groups", "sh", "-c", words]);
        end(world.prepared(command))
    };
    fs::copy(program_path(), world.path("program")).expect("there is room");
    fs::create_dir(world.path("home")).expect("there is room");
    chmod(&world.path("home"), 0o755);
    let at_home = "unset LEASEHOLD_BACKEND XDG_STATE_HOME; HOME=$PWD/home ./program run x -- true";
    let seen = seen_as(STRANGER, at_home).expect(64);
    assert!(seen.err.contains("which belongs to uid 0 and is not used"), "{seen:?}");
    assert!(seen.err.contains("no store is given"), "{seen:?}");
    // Root, with what `sudo -E` leaves of the user's.
    chown(world.path("run"), Some(STRANGER), Some(STRANGER)).expect("we are root");
    let seen = seen_as(0, BOTH).expect(0);
    assert!(seen.out.ends_with("75\nfree\n7"), "{seen:?}");
    assert!(seen.err.contains(&format!("which belongs to uid {STRANGER} and is not used")));
    assert_eq!(fs::read_dir(world.path("run")).expect("it is there").count(), 0);
}
