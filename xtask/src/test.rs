//! `cargo xtask test [FILTER..]`: builds the binaries, runs every test, then says how many passed and,
//! loudly, which parts did not run: skipped must never be taken for passed.
//!
//! A test that cannot run here says so with a line `SKIPPED: what, and why`, appended to the file named by
//! the environment variable `LEASEHOLD_SKIPPED_FILE` (`cargo test` swallows what a passing test prints), or
//! printed to standard output by a test program that is not captured. With `CI=true` a skip is a failure.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::{env, fs, io};

use crate::planted;
use crate::servers::{self, Server};
use crate::sh::{self, Result, cargo};

mod conformance;
mod static_program;

use conformance::Conformance;

const SKIPPED: &str = "SKIPPED: ";

/// The servers of others: the environment variable in which the tests find the address, and what starts one.
const OUTSIDE: [(&str, Start); 2] = [
    ("LEASEHOLD_GCS_SERVER", servers::fake_gcs_server),
    ("LEASEHOLD_SPANNER_SERVER", servers::spanner_emulator),
];

type Start = fn() -> Result<Server>;

pub(crate) fn run(filters: &[&str]) -> Result {
    measure(filters)?.close()
}

/// Runs the tests and returns the counts. An error means that they could not be run at all.
pub(crate) fn measure(filters: &[&str]) -> Result<Report> {
    let skipped_file = sh::target_dir().join("skipped-tests.txt");
    let conformance_file = sh::target_dir().join("conformance.txt");
    for file in [&skipped_file, &conformance_file] {
        fs::create_dir_all(sh::target_dir())
            .and_then(|()| fs::write(file, ""))
            .map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    }

    // The tests of the command line run the real binary, also from crates that do not depend on it.
    let mut report = Report::default();
    if let Err(why) = sh::run(&mut cargo(&["build", "--workspace", "--bins"])) {
        println!("!!! {why}");
        report.counts.failed += 1;
        return Ok(report);
    }
    // They live until the end of this function.
    let outside = outside(&mut report);
    // `--all-targets` leaves the documentation's examples out, so they are a run of their own.
    for kind in ["--all-targets", "--doc"] {
        let mut tests = cargo(&["test", "--workspace", "--no-fail-fast", kind, "--"]);
        tests.args(filters).env("LEASEHOLD_SKIPPED_FILE", &skipped_file);
        tests.env(conformance::REPORT, &conformance_file);
        tests.envs(outside.iter().map(|(variable, server)| (variable, server.url())));
        report.run(&mut tests)?;
    }
    // What has bugs planted in it is a build of its own.
    for mut tests in planted::tests() {
        report.run(tests.args(filters))?;
    }
    if filters.is_empty() {
        match static_program::tests() {
            Ok(mut tests) => {
                tests.env("LEASEHOLD_SKIPPED_FILE", &skipped_file);
                report.run(&mut tests)?;
            }
            Err(why) => report.skip(&why),
        }
    }
    report.read_skipped(&skipped_file)?;
    report.conformance = Conformance::read(&read(&conformance_file)?);
    if !filters.is_empty() {
        // Whoever asks for some tests does not miss the others.
        report.conformance.missing.clear();
    }
    Ok(report)
}

/// Starts somebody else's server for each store, unless whoever calls has one. Where one cannot be had, the
/// tests that need it are skipped, and say so.
fn outside(report: &mut Report) -> Vec<(&'static str, Server)> {
    let mut servers = vec![];
    for (variable, start) in OUTSIDE {
        if env::var_os(variable).is_some_and(|address| !address.is_empty()) {
            continue;
        }
        match start() {
            Ok(server) => servers.push((variable, server)),
            Err(why) => report.note(&why),
        }
    }
    servers
}

/// What came of the tests.
#[derive(Debug, Default)]
pub(crate) struct Report {
    counts: Counts,
    skipped: Vec<String>,
    notes: Vec<String>,
    conformance: Conformance,
}

impl Report {
    /// Adds a part that did not run and need not: it is shown, but is no failure even in CI.
    pub(crate) fn note(&mut self, what: &str) {
        self.notes.push(what.to_owned());
    }

    /// Prints what did not run and then, alone on the last line, what passed and failed.
    pub(crate) fn close(&self) -> Result {
        println!();
        for line in &self.conformance.lines {
            println!("{line}");
        }
        for case in &self.conformance.missing {
            println!("!!! conformance {case} neither ran to its end nor was declared not to");
        }
        let ignored = (self.counts.ignored > 0)
            .then(|| format!("tests marked `ignore`: {}", self.counts.ignored));
        let missed: Vec<&String> = self.skipped.iter().chain(&ignored).collect();
        if !missed.is_empty() || !self.notes.is_empty() {
            println!("\n!!! DID NOT RUN:");
            for what in missed.iter().copied().chain(&self.notes) {
                println!("!!!   {what}");
            }
        }
        let in_ci = env::var("CI").is_ok_and(|ci| ci == "true" || ci == "1");
        let verdict = if self.counts.failed > 0 {
            Err("some tests failed".to_owned())
        } else if self.counts.passed == 0 {
            Err("no test ran".to_owned())
        } else if !self.conformance.missing.is_empty() {
            Err("a conformance case is missing".to_owned())
        } else if in_ci && !missed.is_empty() {
            Err("in CI every test must run".to_owned())
        } else {
            Ok(())
        };
        // The verdict goes first, because the counts are the last line whatever happened.
        if let Err(why) = &verdict {
            println!("\n!!! {why}");
        }
        println!("\n{} passed, {} failed", self.counts.passed, self.counts.failed);
        io::stdout().flush().map_err(|e| e.to_string())?;
        verdict.map_err(|_| String::new())
    }

    fn run(&mut self, tests: &mut Command) -> Result {
        println!("\n--- {}", sh::shown(tests));
        let failed_before = self.counts.failed;
        let status = self.stream(tests).map_err(|e| format!("{}: {e}", sh::shown(tests)))?;
        // A test program that was killed, or that did not compile, prints no count of its own.
        if !status.success() && self.counts.failed == failed_before {
            println!("!!! {} ended with {status}", sh::shown(tests));
            self.counts.failed += 1;
        }
        Ok(())
    }

    /// Passes the tests' output through, line by line as it comes, and reads the counts on the way.
    fn stream(&mut self, tests: &mut Command) -> io::Result<ExitStatus> {
        let mut child = tests.stdout(Stdio::piped()).spawn()?;
        if let Some(output) = child.stdout.take() {
            let mut screen = io::stdout().lock();
            for line in BufReader::new(output).split(b'\n') {
                let line = line?;
                screen.write_all(&line)?;
                screen.write_all(b"\n")?;
                screen.flush()?;
                self.hear(&String::from_utf8_lossy(&line));
            }
        }
        child.wait()
    }

    fn hear(&mut self, line: &str) {
        if let Some(counts) = Counts::parse(line) {
            self.counts.passed += counts.passed;
            self.counts.failed += counts.failed;
            self.counts.ignored += counts.ignored;
        } else if let Some(what) = line.strip_prefix(SKIPPED) {
            self.skip(what);
        }
    }

    fn read_skipped(&mut self, file: &Path) -> Result {
        for line in read(file)?.lines().filter(|line| !line.trim().is_empty()) {
            self.skip(line.strip_prefix(SKIPPED).unwrap_or(line));
        }
        Ok(())
    }

    /// Twenty tests that miss the same server are one line.
    fn skip(&mut self, what: &str) {
        let what = what.trim().to_owned();
        if !self.skipped.contains(&what) {
            self.skipped.push(what);
        }
    }
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).map_err(|e| format!("cannot read {}: {e}", file.display()))
}

#[derive(Debug, Default, PartialEq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Counts {
    /// Reads `test result: ok. 5 passed; 0 failed; 1 ignored; ..`, the last line of every test program.
    fn parse(line: &str) -> Option<Counts> {
        let rest = line.strip_prefix("test result: ")?;
        let rest = rest.strip_prefix("ok. ").or_else(|| rest.strip_prefix("FAILED. "))?;
        let count = |name: &str| {
            let part = rest.split("; ").find_map(|part| part.strip_suffix(name))?;
            part.trim().parse().ok()
        };
        Some(Counts {
            passed: count(" passed")?,
            failed: count(" failed")?,
            ignored: count(" ignored")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str = "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; \
                      finished in 0.01s";
    const FAILED: &str = "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; \
                          0 filtered out; finished in 0.01s";

    /// Two test programs end; the report holds the sum of both.
    #[test]
    fn counts_are_summed_over_test_programs() {
        let mut report = Report::default();
        for line in [OK, "test result: unreadable", "test a ... ok", FAILED] {
            report.hear(line);
        }
        assert_eq!(report.counts, Counts { passed: 6, failed: 2, ignored: 1 });
        assert!(report.close().is_err());
    }

    /// A filter that matches nothing must not look like success.
    #[test]
    fn no_test_is_a_failure() {
        assert!(Report::default().close().is_err());
    }

    /// Two tests miss the same server; one line tells it.
    #[test]
    fn a_skip_is_told_once() {
        let mut report = Report::default();
        for line in ["SKIPPED: gcs: no bucket", "SKIPPED: gcs: no bucket", "not SKIPPED: x"] {
            report.hear(line);
        }
        assert_eq!(report.skipped, ["gcs: no bucket"]);
    }
}
