//! `cargo xtask model [--full] [NAME..]`: the model checker, built for speed.

use crate::sh::{Result, cargo, run};

/// Runs it. It explains its options itself.
pub(crate) fn search(arguments: &[&str]) -> Result {
    let mut model = cargo(&["run", "--quiet", "--release", "--package", "leasehold-model", "--"]);
    run(model.args(arguments))
}
