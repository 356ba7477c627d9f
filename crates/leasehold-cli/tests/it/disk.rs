//! Tries of several processes, and a disk that is full.

use std::fs::OpenOptions;
use std::io::Write;

use leasehold::env::{Env, Host};

use crate::world::{World, end};

/// A job of cron tries with `-n` and never waits, on a store that tells no age and proves no death. Its
/// holder was killed. What one try saw helps the next: one of them gets the lock after a ttl, and none
/// before.
#[test]
fn tries_that_do_not_wait_add_up() {
    let world = World::new();
    let backend = format!("file://{}?network-fs=allow", world.path("shared").display());
    for options in [&["-n", "-E", "0"][..], &["-w", "0.1", "-q"]] {
        let held = [
            "--backend",
            &backend,
            "run",
            "x",
            "--ttl",
            "1s",
            "--",
            "sh",
            "-c",
            "echo up; sleep 1000",
        ];
        let mut holder = world.start(&held);
        holder.await_line("up");
        holder.kill();
        let begun = Host.now().moment.boot;
        let waited = || Host.now().moment.boot.saturating_sub(begun).as_millis();
        let words = [&["--backend", &backend, "run", "x"], options, &["--", "echo", "got"]];
        while !world.run(&words.concat()).out.contains("got") {
            assert!(waited() < 30_000, "no try gets it");
        }
        assert!(waited() >= 600, "it was taken before its lease was over");
    }
}

/// The command of a held lock fills the disk with the locks, to the last block and the last inode, for three
/// ttls. It runs to its end, `once` is recorded, and a name that is new is refused in time.
#[test]
fn a_full_disk_ends_nobody() {
    let world = World::new();
    let script = "
        mount -t tmpfs -o size=1m,nr_inodes=60 none \"$PWD/full\" || exit 77
        export LEASEHOLD_BACKEND=\"file://$PWD/full/locks\"
        fill='i=0; while touch full/f$i 2>/dev/null; do i=$((i+1)); done'
        fill=\"$fill; cat /dev/zero >full/f0 2>/dev/null; sleep 3; echo end\"
        leasehold run --ttl 1s held -- sh -c \"$fill\" || exit 1
        leasehold run --ttl 1s held -- true || exit 2
        leasehold run -n --ttl 1s new -- true; [ $? = 69 ] || exit 3
        rm -f full/f*
        leasehold once --ttl 1s o -- sh -c \"$fill\" || exit 4
        rm -f full/f*
        leasehold once --ttl 1s o -- echo again || exit 5";
    std::fs::create_dir(world.path("full")).expect("there is room");
    let mut command = std::process::Command::new("setsid");
    command.args(["unshare", "-m", "sh", "-c", script]);
    let seen = end(world.prepared(command));
    if seen.code() == 77 || seen.err.contains("unshare") {
        if let Some(path) = std::env::var_os("LEASEHOLD_SKIPPED_FILE") {
            let file = OpenOptions::new().create(true).append(true).open(path);
            let line = b"SKIPPED: a full disk: no file system can be mounted here\n";
            file.and_then(|mut file| file.write_all(line)).expect("it can be written");
        }
        return;
    }
    assert_eq!(seen.expect(0).out, "end\nend\n");
}
