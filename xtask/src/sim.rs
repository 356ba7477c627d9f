//! `cargo xtask sim [OPTION..]`: the simulator, built for speed. It explains its options itself.

use crate::sh::{Result, cargo, run};

/// Runs it. A planted bug must be compiled in.
pub(crate) fn start(arguments: &[&str]) -> Result {
    let mut sim = cargo(&["run", "--quiet", "--release", "--package", "leasehold-sim"]);
    if arguments.contains(&"--plant") {
        sim.args(["--features", "planted"]);
    }
    run(sim.arg("--").args(arguments))
}
