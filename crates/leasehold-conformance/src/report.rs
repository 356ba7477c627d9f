//! What ran where: skipped must never be taken for passed.
//!
//! One line per event goes to the file that the environment variable `LEASEHOLD_REPORT_FILE` names,
//! tab-separated: backend, case, outcome, reason. `cargo xtask test` sets it, reads it, and fails if
//! a case that a backend `has` neither `ran` nor was `inapplicable` or `skipped`.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

/// The environment variable that names the report.
const REPORT: &str = "LEASEHOLD_REPORT_FILE";

/// The environment variable that names the list of what could not run on this machine.
const SKIPPED: &str = "LEASEHOLD_SKIPPED_FILE";

/// What became of a case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// It ran to its end. A failure leaves no line, and is a failed test besides.
    Ran,
    /// The backend cannot do by its nature what the case needs, and declared it.
    Inapplicable(&'static str),
    /// This machine cannot run it.
    Skipped(String),
}

/// Says, once per backend and process, which cases the backend has.
pub(crate) fn has(backend: &'static str, cases: impl Iterator<Item = &'static str>) {
    static TOLD: Mutex<Vec<&str>> = Mutex::new(vec![]);
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if !told.contains(&backend) {
        told.push(backend);
        let lines: Vec<_> = cases.map(|case| format!("{backend}\t{case}\thas\t\n")).collect();
        append(REPORT, &lines.concat());
    }
}

/// Says what became of a case.
pub(crate) fn tell(backend: &str, case: &str, outcome: &Outcome) {
    let (word, reason) = match outcome {
        Outcome::Ran => ("ran", ""),
        Outcome::Inapplicable(why) => ("inapplicable", *why),
        Outcome::Skipped(why) => ("skipped", why.as_str()),
    };
    let reason = reason.replace(['\t', '\n'], " ");
    append(REPORT, &format!("{backend}\t{case}\t{word}\t{reason}\n"));
    if word == "skipped" {
        append(SKIPPED, &format!("SKIPPED: {backend}: {reason}\n"));
    }
}

/// One `write` on a file opened for appending, so that lines of several processes do not mix.
fn append(variable: &str, lines: &str) {
    let Some(path) = std::env::var_os(variable) else { return };
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let written = file.and_then(|mut file| file.write_all(lines.as_bytes()));
    written.unwrap_or_else(|e| panic!("cannot write the report {}: {e}", path.display()));
}
