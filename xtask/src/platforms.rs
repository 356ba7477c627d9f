//! Checks that the library compiles for the platforms whose tests cannot run here.

use std::process::Command;

use crate::sh::{self, Result, cargo};

/// What is checked: the name of the step, the target, and the features of the library.
const CHECKS: [(&str, &str, &[&str]); 2] = [
    ("library for macOS", "aarch64-apple-darwin", &["--all-features"]),
    // `file` needs Unix, and the C of the stores on the network a compiler for Windows.
    ("library for Windows", "x86_64-pc-windows-msvc", &["--no-default-features"]),
];

/// Checks one platform after another, each as a `step`. Returns those that could not be checked because
/// their target cannot be installed; in CI that is an error.
pub(crate) fn check(
    step: &mut impl FnMut(&str, &mut dyn FnMut() -> Result) -> Result,
) -> Result<Vec<String>> {
    let mut missing = vec![];
    for (name, target, features) in CHECKS {
        step(name, &mut || {
            if let Err(why) = install(target) {
                if std::env::var_os("CI").is_some() {
                    return Err(why);
                }
                println!("!!! did not run: {why}");
                missing.push(format!("{name}: {why}"));
                return Ok(());
            }
            let mut check = cargo(&["check", "-p", "leasehold", "--locked", "--target", target]);
            // Nothing is linked, so what the C of a dependency would become is never looked at: its
            // build script finds a compiler and an archiver that succeed, and the Rust is checked.
            let variable = target.replace('-', "_");
            for tool in ["CC", "AR"] {
                check.env(format!("{tool}_{variable}"), "true");
            }
            sh::run(check.args(features))
        })?;
    }
    Ok(missing)
}

/// Adds the target's standard library to the toolchain, where it is not there.
pub(crate) fn install(target: &str) -> Result {
    let mut add = Command::new("rustup");
    sh::run(add.args(["target", "add", target]).current_dir(sh::root()))
        .map_err(|why| format!("the target {target} cannot be installed: {why}"))
}
