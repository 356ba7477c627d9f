//! Files on Linux.

pub(in crate::backend::file) mod watch;

use std::ffi::CStr;
use std::io;
use std::path::Path;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{self, FallocateFlags, RawDir};
use rustix::io::Errno;

/// Whether waiters can be woken when a directory changes or a writer ends.
pub(in crate::backend::file) const NOTIFIES: bool = true;

/// Makes a file's content and size, or a directory's entries, durable.
pub(in crate::backend::file) fn sync(file: impl AsFd) -> Result<(), Errno> {
    fs::fsync(file)
}

/// Makes a file's content and its size durable.
pub(in crate::backend::file) fn sync_content(file: impl AsFd) -> Result<(), Errno> {
    fs::fdatasync(file)
}

/// Sets space aside without changing what can be read.
pub(in crate::backend::file) fn reserve(file: impl AsFd, room: u64) -> Result<(), Errno> {
    fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, room)
}

/// The names in a freshly opened directory, in no order. Those that are not UTF-8 are spelt as well as
/// can be: they are not ours, and keep a directory from being empty.
///
/// Not a snapshot: POSIX promises only that an entry that stays is listed, and that nothing is
/// listed that was not there at some moment of the listing.
pub(in crate::backend::file) fn names(directory: &OwnedFd) -> Result<Vec<String>, Errno> {
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

/// The name of the file system of `path`, where other machines may share it.
pub(in crate::backend::file) fn remote(path: &Path) -> Result<Option<&'static str>, Errno> {
    // The number is 32 bits wide; some platforms hand it out with its sign extended.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
    let magic = fs::statfs(path)?.f_type as u32;
    Ok(named(magic))
}

/// The name of a file system that other machines may share, by its magic number.
///
/// A list of what to refuse and not of what to accept: new local file systems appear often, and the
/// protocol asks nothing unusual of them.
fn named(magic: u32) -> Option<&'static str> {
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

/// The boot id and the time namespace, where the kernel says both.
pub(in crate::backend::file) fn boot_and_clock() -> Option<(String, String)> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let time = match std::fs::read_link("/proc/self/ns/time") {
        Ok(link) => link.to_str()?.to_owned(),
        // Before Linux 5.6 there is one time namespace.
        Err(e) if e.kind() == io::ErrorKind::NotFound => "-".to_owned(),
        Err(_) => return None,
    };
    Some((boot.trim().to_owned(), time))
}
