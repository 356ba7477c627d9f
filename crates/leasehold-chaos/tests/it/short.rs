//! A short run against the real program.

use std::process::{Command, Stdio};
use std::{fs, thread};

use crate::harness::{chaos, leasehold, run};

/// A dozen processes want two locks, and are killed, stopped and broken while their store, where that
/// is possible, is frozen: no two sections overlap, and nothing is left.
#[test]
fn hurt_for_seconds_no_two_sections_overlap() {
    let program = leasehold().to_str().expect("a path of ours");
    let words = ["--for", "8s", "--names", "2", "--ttl", "1s,2s", "--leasehold", program];
    let said = run(&[&words[..], &["--seed", "47"]].concat());
    assert_eq!(said.code, Some(0), "{}", said.out);
    assert_eq!(said.count("overlaps"), 0);
    // A run in which nothing happened shows nothing.
    for title in ["sections", "tokens", "takeovers", "kills", "stops"] {
        assert!(said.count(title) > 0, "{title}: {}", said.out);
    }
    if !said.out.contains("SKIPPED") {
        assert_ne!(said.row("store frozen"), "shorter than a ttl 0, longer 0");
    }
    assert!(!said.logs().exists(), "nothing is kept of a run in which nothing was violated");
}

/// The harness is killed in the middle, while its store, where that is possible, is frozen: whatever it
/// started, mounted or froze is put back by the process that it leaves behind.
#[test]
fn a_harness_that_is_killed_leaves_nothing_behind() {
    let program = leasehold().to_str().expect("a path of ours");
    let mut command = Command::new(chaos());
    command.args(["--for", "1h", "--leasehold", program, "--seed", "20", "--ttl", "1s"]);
    let mut harness = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut out = harness.stdout.take().expect("a pipe");
    let mut text = vec![];
    // The first line says where the logs are; sections show that all is at work.
    let logs = loop {
        let mut bytes = [0; 1024];
        let n = std::io::Read::read(&mut out, &mut bytes).expect("a pipe can be read");
        assert!(n > 0, "it ended");
        text.extend_from_slice(&bytes[..n]);
        let line = String::from_utf8_lossy(&text);
        if let Some((line, _)) = line.split_once('\n') {
            break line.split_once("logs in ").expect("it says where").1.to_owned();
        }
    };
    let mark = logs.rsplit_once("chaos-").expect("its name").1;
    let is_mounted = || {
        let mounts = fs::read_to_string("/proc/mounts").expect("it can be read");
        mounts.contains(mark)
    };
    // With this seed the store is frozen soon, for longer than it takes to see it.
    let awaited = if is_mounted() { "is frozen" } else { "killed" };
    while !fs::read_to_string(format!("{logs}/journal")).is_ok_and(|log| log.contains(awaited)) {
        thread::yield_now();
    }
    harness.kill().expect("it runs");
    harness.wait().expect("it was started");
    // Its output is open until the process that it left behind has put all back.
    std::io::Read::read_to_end(&mut out, &mut text).expect("a pipe can be read");
    assert!(!is_mounted(), "still mounted");
    let mark = format!("LEASEHOLD_CHAOS={mark}");
    for process in fs::read_dir("/proc").expect("it can be read").flatten() {
        let environ = fs::read(process.path().join("environ")).unwrap_or_default();
        let is_ours = environ.split(|&b| b == 0).any(|entry| entry == mark.as_bytes());
        assert!(!is_ours, "{:?} still runs", process.path());
    }
    fs::remove_dir_all(logs).expect("its logs are kept");
}
