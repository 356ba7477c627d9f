//! The ground under the directory: which file systems will do, what this host calls itself, how a
//! directory is made to last, and what an error number means to the caller.

use std::io;
use std::path::{Path, PathBuf};

use leasehold_core::backend::{BackendError, Fate, Trouble};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;

use super::os;
use super::rights::Rights;

/// How every directory is opened: itself, never what a symbolic link in its place points to.
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What a directory that we make allows: everything to its owner, nothing to others.
pub(super) const PRIVATE_DIRECTORY: Mode = Mode::RWXU;

/// What a file that we make allows: reading and writing to its owner, nothing to others.
pub(super) const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);

/// How every file that must be new is made.
pub(super) const NEW_FILE: OFlags = OFlags::RDWR
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Says what was tried, where, and what the operating system answered.
pub(super) fn failure(fate: Fate, doing: &str, path: &Path, errno: Errno) -> BackendError {
    let trouble = match errno {
        Errno::ACCESS | Errno::PERM | Errno::ROFS => Trouble::Denied,
        // Something that we did not put there stands in a directory's place.
        Errno::NOTDIR | Errno::ISDIR | Errno::LOOP => Trouble::Corrupt,
        Errno::NAMETOOLONG => Trouble::Invalid,
        _ => Trouble::Unavailable,
    };
    let message = format!("cannot {doing} {}: {}", path.display(), io::Error::from(errno));
    BackendError { fate, trouble, message }
}

/// Opens a directory to list it, to work in it and to make it durable.
pub(super) fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    retrying(|| fs::open(path, DIRECTORY, Mode::empty()))
}

/// Opens a directory that we have just made. A umask may have made it too private even for us.
pub(super) fn open_made(path: &Path) -> Result<OwnedFd, Errno> {
    match open_directory(path) {
        Err(Errno::ACCESS) => {
            fs::chmod(path, PRIVATE_DIRECTORY)?;
            open_directory(path)
        }
        opened => opened,
    }
}

/// Makes the entries of a directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), Errno> {
    sync(open_directory(path)?)
}

/// Makes a file's content and size, or a directory's entries, durable.
pub(super) fn sync(file: impl AsFd) -> Result<(), Errno> {
    retrying(|| os::sync(file.as_fd()))
}

/// Repeats a call that a signal interrupted before it did anything.
pub(super) fn retrying<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Makes `path` a directory, with its parents, and each new entry durable.
pub(super) fn make_directories(path: &Path) -> Result<(), Errno> {
    let Some(parent) = path.parent() else { return Ok(()) };
    match fs::mkdir(path, PRIVATE_DIRECTORY) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(()),
        Err(Errno::NOENT) => {
            make_directories(parent)?;
            match fs::mkdir(path, PRIVATE_DIRECTORY) {
                Ok(()) => {}
                Err(Errno::EXIST) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
        Err(errno) => return Err(errno),
    }
    Rights::below(parent).give_directory(&open_made(path)?);
    match sync_directory(parent) {
        // A parent may be a link, or not ours to read. Without it the directory may be gone after
        // a power cut; then every record in it is gone too, and so is everyone who relied on one.
        Err(Errno::LOOP | Errno::NOTDIR | Errno::ACCESS) => Ok(()),
        synced => synced,
    }
}

/// Where `path` is, or will be once it is made, with the links on the way followed, and the part of
/// it that is there.
pub(super) fn resolve(path: &Path) -> Result<(PathBuf, PathBuf), (PathBuf, Errno)> {
    let fail = |errno| (path.to_owned(), errno);
    let error = match std::fs::canonicalize(path) {
        Ok(whole) => return Ok((whole.clone(), whole)),
        Err(error) => Errno::from_io_error(&error).unwrap_or(Errno::IO),
    };
    let is_missing = error == Errno::NOENT && std::fs::symlink_metadata(path).is_err();
    let Some(parent) = path.parent().filter(|_| is_missing) else { return Err(fail(error)) };
    let (mut whole, there) = resolve(parent)?;
    match path.file_name() {
        Some(name) => whole.push(name),
        // It ends in `..`, behind a directory that is not there yet.
        None => _ = whole.pop(),
    }
    Ok((whole, there))
}

/// Refuses a file system whose `rename` or whose locks are not decided by this host's kernel.
pub(super) fn check(path: &Path, allow_network: bool) -> Result<(), BackendError> {
    let name = os::remote(path)
        .map_err(|e| failure(Fate::NotSent, "learn the file system of", path, e))?;
    let Some(name) = name.filter(|_| !allow_network) else { return Ok(()) };
    Err(BackendError::not_sent(
        Trouble::Invalid,
        format!(
            "{} is on {name}, where another machine decides what a rename does: use a local \
             directory, or a bucket or a database for locks between machines. If that file \
             system's rename(2) is atomic for all its clients, append ?network-fs=allow to the \
             URL: nothing that needs one host is then relied on",
            path.display()
        ),
    ))
}

/// What names this running kernel and its steady clock: equal on two sides, both read one clock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct HostId {
    /// Random, made anew by the kernel at every boot.
    pub(crate) boot: String,
    /// The time namespace: containers can be given a `CLOCK_BOOTTIME` with an offset.
    pub(crate) time: String,
}

impl HostId {
    /// This host, or `None` where the kernel does not say.
    pub(crate) fn here() -> Option<HostId> {
        let (boot, time) = os::boot_and_clock()?;
        let plain = |s: &str| !s.is_empty() && s.len() <= 64 && !s.contains([' ', '\n']);
        (plain(&boot) && plain(&time)).then_some(HostId { boot, time })
    }
}

/// `path` made absolute, without asking the file system and without following links.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, BackendError> {
    std::path::absolute(path).map_err(|e| {
        let message = format!("cannot make {:?} an absolute path: {e}", path.display());
        BackendError::not_sent(Trouble::Invalid, message)
    })
}
