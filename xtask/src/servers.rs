//! `cargo xtask servers up gcs|spanner`: stores to try leasehold with, until Ctrl-C. The tests start theirs
//! from here.

mod fake_gcs_server;
mod process;
mod spanner_emulator;

use crate::sh::{self, Result, cargo};
use process::Speaks;

pub(crate) use fake_gcs_server::start as fake_gcs_server;
pub(crate) use process::Server;
pub(crate) use spanner_emulator::start as spanner_emulator;

/// Starts every stand-in for Google Cloud Storage that can be had here, says how to use each, and stays until
/// one ends.
pub(crate) fn up_gcs() -> Result {
    let mut servers = vec![fake("gcs", Speaks::Http)?];
    match fake_gcs_server() {
        Ok(server) => servers.push(server),
        Err(why) => println!("\n!!! {why}"),
    }
    for server in &servers {
        make_bucket(server)?;
        println!("\n{}, log in {}:\n", server.name(), server.log().display());
        println!("    export STORAGE_EMULATOR_HOST={}", server.url());
        println!("    export LEASEHOLD_BACKEND='gs://demo/locks?write-interval=0s'");
        println!("    cargo leasehold run hello -- echo hello");
        println!("    cargo leasehold status hello");
    }
    println!("\nCtrl-C ends them, and with them what they store.");
    process::until_one_ends(&mut servers)
}

/// The same for Cloud Spanner.
pub(crate) fn up_spanner() -> Result {
    let mut servers = vec![fake("spanner", Speaks::Grpc)?];
    match spanner_emulator() {
        Ok(server) => servers.push(server),
        Err(why) => println!("\n!!! {why}"),
    }
    for server in &servers {
        println!("\n{}, log in {}:\n", server.name(), server.log().display());
        println!("    export SPANNER_EMULATOR_HOST={}", server.address());
        println!("    export LEASEHOLD_BACKEND=spanner://demo/demo/demo");
        println!("    cargo leasehold init $LEASEHOLD_BACKEND");
        println!("    cargo leasehold run hello -- echo hello");
        println!("    cargo leasehold status hello");
    }
    println!("\nCtrl-C ends them, and with them what they store.");
    process::until_one_ends(&mut servers)
}

/// The fake of this repository.
fn fake(what: &'static str, speaks: Speaks) -> Result<Server> {
    sh::run(&mut cargo(&["build", "--quiet", "--package", "leasehold-servers"]))?;
    let program = sh::target_dir().join("debug").join("leasehold-servers");
    Server::start("leasehold-servers", &program, speaks, |port| {
        vec![what.to_owned(), "--listen".to_owned(), format!("127.0.0.1:{port}")]
    })
}

/// Makes it as `leasehold init` would.
fn make_bucket(server: &Server) -> Result {
    let about = r#"{"name":"demo","iamConfiguration":{"publicAccessPrevention":"enforced",
                    "uniformBucketLevelAccess":{"enabled":true}}}"#;
    match server.call("POST", "/storage/v1/b?project=demo", about) {
        Ok(200) => Ok(()),
        Ok(code) => Err(format!("{} does not make a bucket: {code}", server.name())),
        Err(why) => Err(format!("{} does not make a bucket: {why}", server.name())),
    }
}
