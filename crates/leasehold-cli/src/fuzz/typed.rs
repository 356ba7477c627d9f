//! The target `typed`: command lines, and directories as they become URLs.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use clap::Parser;
use leasehold_fuzz::Target;

use crate::cli::{Cli, Command};
use crate::place::file_url;

const WORDS: &[&str] = &[
    "\nrun\n",
    "\nacquire\n",
    "\nrelease\n",
    "\nstatus\n",
    "\nlist\n",
    "\nwait\n",
    "\nbreak\n",
    "\n--\n",
    "\n-n\n",
    "\n-w\n",
    "\n-E\n",
    "\n--ttl\n",
    "\n--wait=",
    "\n--grace\n",
    "\n--label\n",
    "\n--reason\n",
    "\n--pid\n",
    "\n--json\n",
    "\n--backend\n",
    "\n--help\n",
    "5s",
    "0",
    "-1",
    "256",
    "\u{1b}",
    "é",
    "%",
];

/// Whatever is typed, one word a line, is understood or refused; and a command goes through as it
/// was typed. A directory of any name becomes a URL that means it.
#[test]
fn typed() {
    Target { name: "typed", words: WORDS, runs: 3_000, check }.fuzz();
}

fn check(bytes: &[u8]) -> bool {
    means_it(bytes);
    let words =
        bytes.split(|&b| b == b'\n').take(30).map(|word| OsStr::from_bytes(word).to_owned());
    let words: Vec<OsString> = words.filter(|word| !word.is_empty()).collect();
    let typed =
        Cli::try_parse_from(std::iter::once(OsString::from("leasehold")).chain(words.clone()));
    let Ok(cli) = typed else { return false };
    if let Command::Run(run) = cli.command {
        let verbatim =
            (0..words.len()).any(|at| words[at] == "--" && words[at + 1..] == run.command);
        assert!(verbatim && !run.command.is_empty(), "{words:?} became {:?}", run.command);
    }
    true
}

fn means_it(path: &[u8]) {
    let url = file_url(Path::new(OsStr::from_bytes(path)));
    let path_in_url = url.strip_prefix("file://").expect("its scheme");
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.~%".contains(&b);
    assert!(path_in_url.bytes().all(is_plain), "{url}");
    let mut parts = path_in_url.split('%');
    let mut meant = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at(2);
        meant.push(u8::from_str_radix(digits, 16).expect("two digits"));
        meant.extend_from_slice(rest.as_bytes());
    }
    assert_eq!(meant, path, "{url}");
}
