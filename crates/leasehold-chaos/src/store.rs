//! The store that the locks are in, and how it is frozen.

use std::fmt::Write;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::options::Options;
use crate::undo::Undo;

/// A store.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) url: String,
    pub(crate) freezer: Option<Freezer>,
    /// Why it is not frozen although nobody said so.
    pub(crate) skipped: Option<String>,
    /// Its directory, if it is ours.
    pub(crate) dir: Option<PathBuf>,
    /// It fails by itself, too.
    pub(crate) fails: bool,
}

/// Commands for a shell.
#[derive(Debug)]
pub(crate) struct Freezer {
    freeze: String,
    pub(crate) thaw: String,
}

impl Freezer {
    pub(crate) fn freeze(&self) -> Result<(), String> {
        shell(&self.freeze)
    }

    pub(crate) fn thaw(&self) -> Result<(), String> {
        shell(&self.thaw)
    }
}

impl Store {
    /// The one that was asked for, or a new one in `dir`.
    pub(crate) fn prepare(options: &Options, dir: &Path, undo: &mut Undo) -> Result<Store, String> {
        let commands = options.freeze.clone().zip(options.thaw.clone());
        let by_pid =
            options.store_pid.map(|pid| (format!("kill -STOP {pid}"), format!("kill -CONT {pid}")));
        let freezer = commands.or(by_pid).map(|(freeze, thaw)| Freezer { freeze, thaw });
        if let Some(url) = &options.backend {
            let (url, fails) = (url.clone(), options.store_fails);
            return Ok(Store { url, freezer, skipped: None, dir: None, fails });
        }
        let dir = dir.join("store");
        fs::create_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let (url, fails) = (file_url(&dir), options.store_fails);
        let mut store = Store { url, freezer, skipped: None, dir: Some(dir.clone()), fails };
        if !options.no_freeze && store.freezer.is_none() {
            match mount(&dir, undo) {
                Ok(freezer) => store.freezer = Some(freezer),
                Err(why) => store.skipped = Some(why),
            }
        }
        Ok(store)
    }

    /// What stands in the store and should not: too many files for one key. A crash may leave a state
    /// that no head names, which the next writer removes, and there are at most so many writers.
    pub(crate) fn litter(&self, writers: usize) -> Vec<String> {
        let Some(dir) = &self.dir else { return vec![] };
        let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
        let mut litter = vec![];
        for key in entries(dir).filter(|entry| entry.path().is_dir()) {
            let name = key.file_name().to_string_lossy().into_owned();
            let count = entries(&key.path()).count();
            // `.alive` is swept after a day: a file for each process that died while it held a lock.
            if name != ".alive" && name != "lost+found" && count > 3 + writers {
                litter.push(format!("{count} files in {name} of the store"));
            }
        }
        litter
    }
}

/// Mounts a new file system at `dir`, and has it unmounted in the end.
fn mount(dir: &Path, undo: &mut Undo) -> Result<Freezer, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("mounting and freezing a file system needs root".into());
    }
    let dir = quoted(dir)?;
    let image = format!("{dir}.image");
    let tell = |error: std::io::Error| error.to_string();
    undo.in_the_end(&format!("rm -f {image}")).map_err(tell)?;
    shell(&format!("truncate -s 96M {image} && mkfs.ext4 -q -F {image}"))?;
    undo.in_the_end(&format!("! mountpoint -q {dir} || umount {dir}")).map_err(tell)?;
    shell(&format!("mount -o loop {image} {dir}"))?;
    let freezer =
        Freezer { freeze: format!("fsfreeze -f {dir}"), thaw: format!("fsfreeze -u {dir}") };
    undo.within(2_000, &freezer.thaw).map_err(tell)?;
    freezer.freeze().and_then(|()| freezer.thaw())?;
    undo.undone().map_err(tell)?;
    Ok(freezer)
}

/// A path that a shell takes as it is.
fn quoted(path: &Path) -> Result<String, String> {
    match path.to_str().filter(|path| !path.contains(['\'', '\n'])) {
        Some(path) => Ok(format!("'{path}'")),
        None => Err(format!("{} is too odd a path", path.display())),
    }
}

fn file_url(dir: &Path) -> String {
    let mut url = String::from("file://");
    for &byte in dir.as_os_str().as_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'~' => url.push(byte.into()),
            _ if byte.is_ascii_alphanumeric() => url.push(byte.into()),
            // Writing to a string cannot fail.
            _ => drop(write!(url, "%{byte:02X}")),
        }
    }
    url
}

/// Runs a command of a shell to its end.
fn shell(command: &str) -> Result<(), String> {
    let mut shell = Command::new("sh");
    let output = shell.args(["-c", command]).stdin(Stdio::null()).output();
    let output = output.map_err(|e| format!("sh cannot be run: {e}"))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let why = String::from_utf8_lossy(&output.stderr);
            Err(format!("`{command}` failed: {}", why.trim()))
        }
    }
}
