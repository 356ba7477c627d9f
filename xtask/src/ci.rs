//! `cargo xtask checks` and `cargo xtask ci`: everything a change must pass, cheapest first. The
//! first failure ends it.

use crate::sh::{self, Result, cargo};
use crate::{planted, platforms, test, tidy};

/// The checks, then the tests.
pub(crate) fn run() -> Result {
    let missed = checks()?;
    println!("\n=== tests");
    let mut report = test::measure(&[])?;
    for part in &missed {
        report.note(part);
    }
    report.close()
}

/// All but the tests. Returns what could not be checked on this machine, and why.
pub(crate) fn checks() -> Result<Vec<String>> {
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
    step("lints of the planted bugs", &mut planted::lints)?;
    let bare = ["check", "-p", "leasehold", "--no-default-features", "--locked"];
    step("library without features", &mut || sh::run(&mut cargo(&bare)))?;
    let bucket = [&bare[..], &["--features", "gcs"]].concat();
    step("library with a bucket alone", &mut || sh::run(&mut cargo(&bucket)))?;
    let database = [&bare[..], &["--features", "spanner"]].concat();
    step("library with a database alone", &mut || sh::run(&mut cargo(&database)))?;
    let mut missed = platforms::check(&mut step)?;
    step("documentation", &mut documentation)?;
    step("licences", &mut || {
        if !licences()? {
            missed.push("licences: cargo-deny is not installed".into());
        }
        Ok(())
    })?;
    println!("\n=== times");
    for line in &times {
        println!("{line}");
    }
    Ok(missed)
}

fn documentation() -> Result {
    let mut doc = cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
    sh::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Whether the licences, the banned crates and the sources were checked. CI installs what that
/// needs; a user's machine is left as it is. Advisories are not checked here: they come from a
/// server that may be away, and change without the code.
fn licences() -> Result<bool> {
    let tools = sh::target_dir().join("tools");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let bin = std::iter::once(tools.join("bin")).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(bin).map_err(|e| e.to_string())?;
    let deny = |arguments: &[&str]| {
        let mut command = cargo(arguments);
        command.env("PATH", &path);
        command
    };
    let probe = deny(&["deny", "--version"]).output().map_err(|e| e.to_string())?;
    if !probe.status.success() {
        if std::env::var_os("CI").is_none() {
            println!("!!! did not run: cargo-deny is not installed");
            return Ok(false);
        }
        let mut install = cargo(&["install", "--locked", "--quiet", "cargo-deny", "--root"]);
        sh::run(install.arg(&tools))?;
    }
    sh::run(&mut deny(&["deny", "check", "licenses", "bans", "sources"])).map(|()| true)
}
