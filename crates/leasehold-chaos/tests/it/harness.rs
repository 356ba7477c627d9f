//! Running the harness, and the program that it hurts.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::{env, fs};

/// The harness.
pub(crate) fn chaos() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_leasehold-chaos"))
}

/// The `leasehold` program beside it. Whoever tests this crate alone has not built it, or not lately.
pub(crate) fn leasehold() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let beside = chaos().parent().expect("it is in a directory");
        let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args(["build", "--quiet", "--package", "leasehold-cli", "--bins"]);
        if beside.ends_with("release") {
            build.arg("--release");
        }
        let target = beside.parent().expect("a profile's directory is in the target's");
        build.current_dir(env!("CARGO_MANIFEST_DIR")).env("CARGO_TARGET_DIR", target);
        assert!(build.status().expect("cargo runs").success(), "the program is built");
        beside.join("leasehold")
    })
}

/// What the harness said.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
}

/// Runs the harness to its end.
pub(crate) fn run(words: &[&str]) -> Said {
    run_and_hear(words, |_| {})
}

/// Runs the harness to its end, and hands on each line when it comes.
pub(crate) fn run_and_hear(words: &[&str], mut hear: impl FnMut(&str)) -> Said {
    // What goes wrong inside shows where the test fails.
    let mut harness = Command::new(chaos()).args(words).stdout(Stdio::piped()).spawn();
    let harness = harness.as_mut().expect("it starts");
    let mut out = String::new();
    for line in BufReader::new(harness.stdout.take().expect("a pipe")).lines() {
        let line = line.expect("a line");
        hear(&line);
        out.extend([&line, "\n"]);
    }
    let status = harness.wait().expect("it was started");
    if let Some(line) = out.lines().find(|line| line.starts_with("SKIPPED: ")) {
        skipped(line);
    }
    Said { code: status.code(), out }
}

/// Tells the test command that something did not run.
pub(crate) fn skipped(line: &str) {
    println!("{line}");
    if let Some(path) = env::var_os("LEASEHOLD_SKIPPED_FILE") {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(path);
        let written = file.as_mut().map(|file| file.write_all(format!("{line}\n").as_bytes()));
        assert!(matches!(written, Ok(Ok(()))), "a skip must not be lost");
    }
}

impl Said {
    /// The value of a row of the table.
    #[track_caller]
    pub(crate) fn row(&self, title: &str) -> &str {
        let row = self.out.lines().find_map(|line| line.strip_prefix(title));
        row.unwrap_or_else(|| panic!("no row {title:?}: {}", self.out)).trim()
    }

    /// The first number in a row.
    #[track_caller]
    pub(crate) fn count(&self, title: &str) -> u64 {
        let digits: String = self.row(title).chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_else(|_| panic!("no number: {title}: {}", self.out))
    }

    /// Where it kept its logs.
    #[track_caller]
    pub(crate) fn logs(&self) -> PathBuf {
        let at = self.out.lines().find_map(|line| line.split_once("logs in ").map(|both| both.1));
        at.unwrap_or_else(|| panic!("no directory: {}", self.out)).into()
    }
}

/// A program, written as a shell script, that says it is `leasehold`.
pub(crate) fn impostor(name: &str, script: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("the directory is ours");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    path
}
