//! `cargo xtask bench`: the benchmarks, built for speed, on a quiet machine if you want to quote them.

use crate::servers;
use crate::sh::{Result, cargo, run};

/// The environment variable in which the benchmarks find the address of a fake-gcs-server.
const OUTSIDE_GCS: &str = "LEASEHOLD_GCS_SERVER";

/// Runs all benchmarks or those that are named, with a fake-gcs-server where one can be had.
pub(crate) fn measure(arguments: &[&str]) -> Result {
    let mut bench = cargo(&["run", "--quiet", "--release", "--package", "leasehold-bench", "--"]);
    bench.args(arguments);
    let is_given = std::env::var_os(OUTSIDE_GCS).is_some_and(|address| !address.is_empty());
    let needs_it = matches!(arguments, [] | ["gcs"] | ["gcs", "bucket"]) && !is_given;
    // It lives until the end of this function.
    let server = needs_it
        .then(servers::fake_gcs_server)
        .and_then(|started| started.map_err(|why| println!("!!! {why}")).ok());
    bench.envs(server.as_ref().map(|server| (OUTSIDE_GCS, server.url())));
    run(&mut bench)
}
