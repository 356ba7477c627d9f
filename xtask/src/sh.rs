//! What the commands share: where the repository is, how to start cargo, how long a step took.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The first line of what went wrong is written for the person who reads the terminal.
pub(crate) type Result<T = ()> = std::result::Result<T, String>;

/// The root of the repository: the folder above this crate's, wherever it was moved since the build.
pub(crate) fn root() -> PathBuf {
    let this_crate =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let this_crate = PathBuf::from(this_crate);
    this_crate.parent().map_or_else(|| this_crate.clone(), Path::to_path_buf)
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    root().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// A cargo command in the root of the repository that cannot wait for anybody to type.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    command
}

/// Runs a command to its end. Anything but success is an error that names the command.
pub(crate) fn run(command: &mut Command) -> Result {
    let status = command.status().map_err(|e| format!("cannot start {}: {e}", shown(command)))?;
    if status.success() { Ok(()) } else { Err(format!("{} failed: {status}", shown(command))) }
}

/// A command as it would be typed.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    format!("`{}`", words.join(" "))
}

/// What `work` returned and how long it took.
#[expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the time a CI step took decides nothing, and this program has no `Env`"
)]
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = std::time::Instant::now();
    let result = work();
    (result, start.elapsed())
}
