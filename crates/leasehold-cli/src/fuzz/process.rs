//! The target `process`: what the keeper is told, what the kernel says about processes, and which
//! process is named.

use leasehold_fuzz::Target;
use rustix::process::Pid;

use crate::keeper::Line;
use crate::procs::{parse_pid, parse_stat};

const WORDS: &[&str] = &[
    "deadline ",
    "child ",
    "done",
    " ",
    "(",
    ")",
    ") S 1 ",
    "-1",
    "+1",
    "0",
    "2147483647",
    "2147483648",
    "18446744073709551615",
    "18446744073709551616",
    "\0",
    "\n",
];

/// A line to the keeper is understood as it was meant or not at all, and names a process, never a
/// group or everybody; whatever a process calls itself, it is not taken for another.
#[test]
fn process() {
    Target { name: "process", words: WORDS, runs: 40_000, check }.fuzz();
}

fn check(bytes: &[u8]) -> bool {
    let us = rustix::process::getpid();
    // Must not panic, whatever it makes of it.
    let _ = parse_stat(us, bytes);
    calls_itself(us, bytes);
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let pid = parse_pid(text).ok();
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse::<i32>().ok().filter(|n| is_number && *n > 0);
    assert_eq!(pid, number, "{text:?}");
    let Some(line) = Line::decode(text) else { return pid.is_some() };
    if let Line::Child(root) = line {
        assert!(root.pid.as_raw_pid() > 0, "{text:?} is not one process");
    }
    let told = line.encode();
    let told = told.strip_suffix('\n').expect("a line");
    assert_eq!(Line::decode(told), Some(line), "{text:?}");
    true
}

/// The kernel puts the name between parentheses, as it is.
fn calls_itself(pid: Pid, name: &[u8]) {
    let mut stat = b"7 (".to_vec();
    stat.extend_from_slice(name);
    stat.extend_from_slice(b") S 11 12 13 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 22 0 0\n");
    let process = parse_stat(pid, &stat).expect("as the kernel says it");
    assert_eq!(process.name, name);
    assert_eq!((process.parent, process.group, process.session), (11, 12, 13));
    assert!(process.start == 22 && !process.ended && !process.is_kernels);
}
