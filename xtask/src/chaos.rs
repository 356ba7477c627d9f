//! `cargo xtask chaos [ARGS..]`: real `leasehold run` processes, killed, stopped, and their store taken
//! away, for as long as is asked; `--help` says what can be asked. Built as users have it.

use std::process::Command;

use crate::sh::{self, Result, cargo};

/// Builds the program and the harness, and runs the harness.
pub(crate) fn run(arguments: &[&str]) -> Result {
    let packages = ["--package", "leasehold-cli", "--package", "leasehold-chaos"];
    sh::run(cargo(&["build", "--quiet", "--release", "--bins"]).args(packages))?;
    // Started directly, so that no cargo holds its lock for an hour.
    let harness = sh::target_dir().join("release").join("leasehold-chaos");
    sh::run(Command::new(harness).args(arguments))
}
