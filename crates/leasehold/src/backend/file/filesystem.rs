//! The ground under the directory: which file systems will do, what this host calls itself, how a
//! directory is made to last, and what an error number means to the caller.

use std::ffi::CStr;
use std::io;
use std::path::{Path, PathBuf};

use leasehold_core::backend::{BackendError, Fate, Trouble};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{self, Mode, OFlags, RawDir};
use rustix::io::Errno;

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
    retrying(|| fs::fsync(file.as_fd()))
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

/// The names in a freshly opened directory, in no order. Those that are not UTF-8 are spelt as well as
/// can be: they are not ours, and keep a directory from being empty.
///
/// Not a snapshot: POSIX promises only that an entry that stays is listed, and that nothing is
/// listed that was not there at some moment of the listing.
pub(super) fn names(directory: &OwnedFd) -> Result<Vec<String>, Errno> {
    let mut buffer = Vec::with_capacity(16 * 1024);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    let mut found = Vec::new();
    while let Some(entry) = entries.next() {
        let name: &CStr = match &entry {
            Ok(entry) => entry.file_name(),
            Err(errno) => return Err(*errno),
        };
        if name != c"." && name != c".." {
            found.push(name.to_string_lossy().into_owned());
        }
    }
    Ok(found)
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
    let stat = fs::statfs(path)
        .map_err(|e| failure(Fate::NotSent, "learn the file system of", path, e))?;
    // The number is 32 bits wide; some platforms hand it out with its sign extended.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
    let magic = stat.f_type as u32;
    let Some(name) = remote(magic).filter(|_| !allow_network) else { return Ok(()) };
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

/// The name of a file system that other machines may share, by its magic number.
///
/// A list of what to refuse and not of what to accept: new local file systems appear often, and the
/// protocol asks nothing unusual of them.
fn remote(magic: u32) -> Option<&'static str> {
    Some(match magic {
        0x6969 => "NFS",
        0xFF53_4D42 | 0xFE53_4D42 | 0x517B => "SMB (CIFS)",
        0x5346_414F | 0x6B41_4653 => "AFS",
        0x00C3_6400 => "Ceph",
        0x0102_1997 => "9p (a directory of a virtual machine's host, or of Windows under WSL)",
        0x6573_5546 => "FUSE (sshfs, gcsfuse, s3fs, virtiofs or the like)",
        0x0BD0_0BD0 => "Lustre",
        0x4750_4653 => "GPFS",
        0x7461_636F => "OCFS2",
        0x0116_1970 => "GFS2",
        0x7375_7245 => "Coda",
        0x564C => "NCP",
        0x786F_4256 => "a VirtualBox shared folder",
        0xBACB_ACBC => "a VMware shared folder",
        0x7C7C_6673 => "a Parallels shared folder",
        0x1983_0326 => "BeeGFS",
        0x2003_0528 => "OrangeFS (PVFS2)",
        0xAAD7_AAEA => "Panasas",
        _ => return None,
    })
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
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let time = match std::fs::read_link("/proc/self/ns/time") {
            Ok(link) => link.to_str()?.to_owned(),
            // Before Linux 5.6 there is one time namespace.
            Err(e) if e.kind() == io::ErrorKind::NotFound => "-".to_owned(),
            Err(_) => return None,
        };
        let host = HostId { boot: boot.trim().to_owned(), time };
        let plain = |s: &str| !s.is_empty() && s.len() <= 64 && !s.contains([' ', '\n']);
        (plain(&host.boot) && plain(&host.time)).then_some(host)
    }
}

/// `path` made absolute, without asking the file system and without following links.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, BackendError> {
    std::path::absolute(path).map_err(|e| {
        let message = format!("cannot make {:?} an absolute path: {e}", path.display());
        BackendError::not_sent(Trouble::Invalid, message)
    })
}
