//! Small files in an opened directory: written once and durable, read bounded, removed when dead.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use leasehold_core::backend::Key;
use rustix::fd::OwnedFd;
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::filesystem::{
    NEW_FILE, PRIVATE_DIRECTORY, PRIVATE_FILE, names, open_directory, retrying, sync,
};
use super::layout::{self, Entry, Head, NAME, State};

/// Reads at most `most` bytes of a regular file, and says how long it is.
pub(super) fn read(directory: &OwnedFd, name: &str, most: usize) -> Result<(Vec<u8>, u64), Errno> {
    // Without NONBLOCK, opening a fifo that somebody put there would wait for ever.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = retrying(|| fs::openat(directory, name, flags, Mode::empty()))?;
    let stat = fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    let length = u64::try_from(stat.st_size).unwrap_or_default();
    let mut content = Vec::with_capacity(most.min(4096));
    let limit = u64::try_from(most).unwrap_or(u64::MAX);
    File::from(file).take(limit).read_to_end(&mut content).map_err(|e| errno(&e))?;
    Ok((content, length))
}

/// Writes a new file whose content is durable when this returns. Its name is not, yet.
pub(super) fn write(directory: &OwnedFd, name: &str, content: &[u8]) -> Result<(), Errno> {
    let file = retrying(|| fs::openat(directory, name, NEW_FILE, PRIVATE_FILE))?;
    let mut file = File::from(file);
    file.write_all(content).map_err(|e| errno(&e))?;
    retrying(|| fs::fdatasync(&file))
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Whether a name is there. What cannot be told is taken for there: the caller looks again.
pub(super) fn exists(directory: &OwnedFd, name: &str) -> bool {
    fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).err() != Some(Errno::NOENT)
}

/// Removes a file that serves nobody. If it stays, a later sweep finds it.
pub(super) fn remove(directory: &OwnedFd, name: &str) {
    let _ = fs::unlinkat(directory, name, AtFlags::empty());
}

/// Makes a key's directory under another name, all of it durable: the state, the head and, where
/// the directory's name cannot tell it, the key's name.
pub(super) fn prepare(path: &Path, key: &Key, first: State, content: &[u8]) -> Result<(), Errno> {
    fs::mkdir(path, PRIVATE_DIRECTORY)?;
    let directory = open_directory(path)?;
    write(&directory, &first.file(), content)?;
    if layout::is_cut(key) {
        write(&directory, NAME, key.as_str().as_bytes())?;
    }
    write(&directory, &Head::At(first).to_string(), b"")?;
    sync(&directory)
}

/// Removes a directory of plain files that serves nobody.
pub(super) fn discard(path: &Path) {
    if let Ok(directory) = open_directory(path) {
        for name in names(&directory).unwrap_or_default() {
            remove(&directory, &name);
        }
        let _ = fs::rmdir(path);
    }
}

/// Removes the states that are dead for ever, now that the head is at `newest`: each can only
/// become the newest by a rename of the one head that has the number below its own, and that head
/// is gone.
///
/// `previous` is spared: a reader that has just seen its name still finds it, and so does a person
/// who asks what happened.
pub(super) fn sweep(directory: &OwnedFd, path: &Path, newest: State, previous: Option<State>) {
    let Ok(fresh) = open_directory(path) else { return };
    for name in names(&fresh).unwrap_or_default() {
        if let Entry::State(state) = Entry::of(&name)
            && state.seq <= newest.seq
            && state != newest
            && Some(state) != previous
        {
            remove(directory, &name);
        }
    }
}
