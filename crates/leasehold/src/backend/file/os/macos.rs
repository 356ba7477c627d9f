//! Files on macOS: as on Linux, with less that can be known.

pub(in crate::backend::file) mod watch;

use std::path::Path;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{self, Dir};
use rustix::io::Errno;

/// Waiters poll: what `kqueue` says of a directory does not name what moved.
pub(in crate::backend::file) const NOTIFIES: bool = false;

/// `MNT_LOCAL` of `sys/mount.h`.
const LOCAL: u32 = 0x1000;

/// Makes a file's content and size, or a directory's entries, durable. `fsync` alone leaves them in the
/// cache of the drive here.
pub(in crate::backend::file) fn sync(file: impl AsFd) -> Result<(), Errno> {
    match fs::fcntl_fullfsync(&file) {
        // Not every file system knows it.
        Err(Errno::NOTSUP | Errno::NOTTY | Errno::INVAL) => fs::fsync(&file),
        synced => synced,
    }
}

/// Makes a file's content and its size durable.
pub(in crate::backend::file) fn sync_content(file: impl AsFd) -> Result<(), Errno> {
    sync(file)
}

/// Space cannot be set aside for a file that is written over here: APFS writes to another place.
pub(in crate::backend::file) fn reserve(_: impl AsFd, _: u64) -> Result<(), Errno> {
    Err(Errno::NOTSUP)
}

/// The names in a directory, in no order; those that are not UTF-8 are spelt as well as can be.
pub(in crate::backend::file) fn names(directory: &OwnedFd) -> Result<Vec<String>, Errno> {
    let mut found = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            found.push(name.to_string_lossy().into_owned());
        }
    }
    Ok(found)
}

/// The name of the file system of `path`, where other machines may share it.
pub(in crate::backend::file) fn remote(path: &Path) -> Result<Option<&'static str>, Errno> {
    let is_local = fs::statfs(path)?.f_flags & LOCAL != 0;
    Ok((!is_local).then_some("a file system that is not local"))
}

/// Nothing is claimed: the id of a boot cannot be read without unsafe code. So no age of a record is
/// told, and nothing that was seen is kept for another process. That a writer has ended is still
/// proven by its liveness file.
pub(in crate::backend::file) fn boot_and_clock() -> Option<(String, String)> {
    None
}
