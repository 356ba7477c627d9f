//! `cargo xtask ci`: everything a change must pass, cheapest first. The first failure ends it.

use crate::sh::{self, Result, cargo};
use crate::{test, tidy};

pub(crate) fn run() -> Result {
    let mut times = Vec::new();
    let mut step = |name: &str, work: &mut dyn FnMut() -> Result| {
        println!("\n=== {name}");
        let (result, took) = sh::timed(work);
        let line = format!("{:7.1} s  {name}", took.as_secs_f64());
        println!("{line}");
        times.push(line);
        result.map_err(|why| format!("{why}\n\nci: stopped at: {name}"))
    };

    step("format", &mut || sh::run(&mut cargo(&["fmt", "--all", "--check"])))?;
    step("tidy", &mut tidy::run)?;
    let lints = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    step("lints", &mut || sh::run(&mut cargo(&lints)))?;
    let bare = ["check", "-p", "leasehold", "--no-default-features", "--locked"];
    step("library without features", &mut || sh::run(&mut cargo(&bare)))?;
    step("documentation", &mut documentation)?;
    let mut licences_checked = false;
    step("licences", &mut || {
        licences_checked = licences()?;
        Ok(())
    })?;
    let mut report = test::Report::default();
    step("tests", &mut || {
        report = test::measure(&[])?;
        Ok(())
    })?;

    println!("\n=== times");
    for line in &times {
        println!("{line}");
    }
    if !licences_checked {
        report.note("licences: cargo-deny is not installed");
    }
    report.close()
}

fn documentation() -> Result {
    let mut doc = cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
    sh::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Whether the licences were checked: cargo-deny is a tool that not every machine has.
fn licences() -> Result<bool> {
    let probe = cargo(&["deny", "--version"]).output().map_err(|e| e.to_string())?;
    if !probe.status.success() {
        println!("!!! did not run: cargo-deny is not installed");
        return Ok(false);
    }
    sh::run(&mut cargo(&["deny", "check"])).map(|()| true)
}
