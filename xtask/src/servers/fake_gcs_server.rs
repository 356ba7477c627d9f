//! fake-gcs-server, somebody else's stand-in for Google Cloud Storage: found, or built where Go is, and
//! started.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::Server;
use super::process::Speaks;
use crate::sh::{self, Result};

const NAME: &str = "fake-gcs-server";

/// The version whose differences from Google the tests know.
const MODULE: &str = "github.com/fsouza/fake-gcs-server@v1.55.1";

/// Starts one that keeps everything in memory.
pub(crate) fn start() -> Result<Server> {
    let program = match installed() {
        Some(program) => program,
        None => install()?,
    };
    Server::start(NAME, &program, Speaks::Http, |port| {
        let public = format!("127.0.0.1:{port}");
        let port = port.to_string();
        let words = ["-scheme", "http", "-host", "127.0.0.1", "-backend", "memory", "-port", &port];
        let words = words.into_iter().chain(["-public-host", &public]);
        words.map(str::to_owned).collect()
    })
}

fn installed() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(bin()).chain(env::split_paths(&path));
    folders.map(|folder| folder.join(NAME)).find(|program| program.is_file())
}

/// Where what is only for this repository is installed.
fn bin() -> PathBuf {
    sh::target_dir().join("tools").join("bin")
}

fn install() -> Result<PathBuf> {
    let mut probe = Command::new("go");
    let probe = probe.arg("version").stdin(Stdio::null()).stdout(Stdio::null());
    if !probe.stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return Err(format!("{NAME}: neither it nor Go, which builds it, is installed"));
    }
    println!("building {NAME} with Go, once; it takes some minutes");
    let mut go = Command::new("go");
    go.args(["install", MODULE]).env("GOBIN", bin()).current_dir(sh::root());
    sh::run(go.stdin(Stdio::null())).map_err(|why| format!("{NAME}: {why}"))?;
    Ok(bin().join(NAME))
}
