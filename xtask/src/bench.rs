//! `cargo xtask bench`: the benchmarks, built for speed, on a quiet machine if you want to quote them.

use crate::sh::{Result, cargo, run};

/// Runs the benchmarks.
pub(crate) fn run_all() -> Result {
    run(&mut cargo(&["run", "--quiet", "--release", "--package", "leasehold-bench"]))
}
