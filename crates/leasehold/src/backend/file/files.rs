//! Small files in an opened directory: written once and durable, read bounded, removed when dead.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use leasehold_core::backend::Key;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::filesystem::{
    NEW_FILE, PRIVATE_DIRECTORY, PRIVATE_FILE, open_directory, open_made, retrying, sync,
};
use super::layout::{self, Entry, Head, MOST_READ, NAME, State};
use super::os::{self, names};
use super::rights::Rights;

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

/// Writes a new file whose content is durable when this returns. Its name is not, yet. Where that can
/// be had, `room` bytes are set aside for it.
pub(super) fn write(
    directory: &OwnedFd,
    name: &str,
    content: &[u8],
    room: u64,
    rights: Rights,
) -> Result<(), Errno> {
    let file = retrying(|| fs::openat(directory, name, NEW_FILE, PRIVATE_FILE))?;
    rights.give_file(&file);
    reserve(&file, room);
    finish(file, content)
}

fn finish(file: OwnedFd, content: &[u8]) -> Result<(), Errno> {
    let mut file = File::from(file);
    file.write_all(content).map_err(|e| errno(&e))?;
    retrying(|| os::sync_content(file.as_fd()))
}

/// By how much a state may be longer than the one before it without needing new space: the longest
/// report of a run fits, and so do a label and a reason.
const GROWTH: usize = 4096;

/// The room to set aside for what follows a state of this length.
pub(super) fn room(length: usize) -> u64 {
    u64::try_from(length + GROWTH).unwrap_or(u64::MAX).next_multiple_of(4096)
}

/// Sets space aside without changing what can be read. Not all file systems can, and a full one has
/// none: then a later state may need space when it is written.
fn reserve(file: &OwnedFd, room: u64) {
    if room > 0 {
        let _ = retrying(|| os::reserve(file, room));
    }
}

fn has_room(stat: &fs::Stat, room: u64) -> bool {
    u64::try_from(stat.st_blocks).is_ok_and(|blocks| blocks * 512 >= room)
}

/// Writes a state into the file of one that is dead for ever, which needs no new space and no new
/// inode. False where that file cannot be had; its name is then gone.
///
/// Taking the name comes first: one writer gets it, and a reader that finds the old name gone throws
/// away what it has read. The content is made as long as the file is: making it shorter would
/// give space back that others could take.
pub(super) fn reuse(
    directory: &OwnedFd,
    spare: State,
    state: State,
    content: &mut Vec<u8>,
) -> Result<bool, Errno> {
    let (name, old) = (state.file(), spare.spare());
    if !is_plain(directory, &old) || fs::renameat(directory, &old, directory, &name).is_err() {
        return Ok(false);
    }
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let opened = retrying(|| fs::openat(directory, &name, flags, Mode::empty()));
    let opened = opened.ok().zip(fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW).ok());
    let usable = opened.and_then(|(file, stat)| {
        let same = fs::fstat(&file).ok()?;
        // Our name is the only one that it has: somebody's backup, or a file that was put there for
        // root to write to, has another.
        let is_ours = (same.st_dev, same.st_ino) == (stat.st_dev, stat.st_ino)
            && stat.st_nlink == 1
            && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let length = usize::try_from(stat.st_size).ok().filter(|length| *length < MOST_READ)?;
        is_ours.then_some((file, stat, length))
    });
    let Some((file, stat, length)) = usable else {
        remove(directory, &name);
        return Ok(false);
    };
    let room = room(content.len());
    if !has_room(&stat, room) {
        reserve(&file, room);
    }
    layout::fill(content, length);
    finish(file, content).map(|()| true)
}

fn is_plain(directory: &OwnedFd, name: &str) -> bool {
    let stat = fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
}

/// Keeps the file of a state that is dead for ever, and whose writer had finished it, for its room.
pub(super) fn retire(directory: &OwnedFd, state: State, room: u64) {
    let name = state.spare();
    if fs::renameat(directory, state.file(), directory, &name).is_ok()
        && let Ok(stat) = fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW)
        && !has_room(&stat, room)
    {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        if let Ok(file) = fs::openat(directory, &name, flags, Mode::empty()) {
            reserve(&file, room);
        }
    }
}

/// The spare file in a key's directory, if there is one.
pub(super) fn spare(path: &Path) -> Option<State> {
    let names = names(&open_directory(path).ok()?).unwrap_or_default();
    let spares = names.iter().filter_map(|name| match Entry::of(name) {
        Entry::Spare(state) => Some(state),
        _ => None,
    });
    spares.max()
}

/// Makes an empty spare file. Without it the next write needs space, so it may fail.
fn make_spare(directory: &OwnedFd, room: u64, rights: Rights, id: u128) {
    let state = State { seq: 0, id };
    if let Ok(file) = retrying(|| fs::openat(directory, state.spare(), NEW_FILE, PRIVATE_FILE)) {
        rights.give_file(&file);
        reserve(&file, room);
    }
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
pub(super) fn prepare(
    path: &Path,
    key: &Key,
    first: State,
    content: &[u8],
    rights: Rights,
) -> Result<(), Errno> {
    fs::mkdir(path, PRIVATE_DIRECTORY)?;
    let directory = open_made(path)?;
    rights.give_directory(&directory);
    write(&directory, &first.file(), content, room(content.len()), rights)?;
    if layout::is_cut(key) {
        write(&directory, NAME, key.as_str().as_bytes(), 0, rights)?;
    }
    write(&directory, &Head::At(first).to_string(), b"", 0, rights)?;
    make_spare(&directory, room(content.len()), rights, first.id);
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

/// Removes the states that are dead for ever, now that the head is at `newest` and that is durable: each
/// can only become the newest by a rename of the one head that has the number below its own, and
/// that head is gone.
///
/// One file is kept for its room: that of `previous`, which was the newest, so that its writer had
/// finished it. Of any other a writer that is stopped may still write into it.
pub(super) fn sweep(
    directory: &OwnedFd,
    path: &Path,
    newest: State,
    previous: Option<State>,
    keep: Option<Keep>,
) {
    if let Some((previous, keep)) = previous.zip(keep) {
        retire(directory, previous, keep.room);
    }
    let Ok(fresh) = open_directory(path) else { return };
    let (mut kept, mut dead) = (None, vec![]);
    for name in names(&fresh).unwrap_or_default() {
        match Entry::of(&name) {
            Entry::State(state)
                if state.seq <= newest.seq
                    && state != newest
                    && (keep.is_some() || Some(state) != previous) =>
            {
                dead.push(name);
            }
            Entry::Spare(state) if keep.is_some() => {
                let lesser = kept.replace(state).map(|other: State| {
                    kept = Some(other.max(state));
                    other.min(state)
                });
                dead.extend(lesser.map(State::spare));
            }
            _ => {}
        }
    }
    for name in dead {
        remove(directory, &name);
    }
    if let Some(Keep { room, rights, id }) = keep.filter(|_| kept.is_none()) {
        make_spare(directory, room, rights, id);
    }
}

/// How a file is kept for the next state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    pub(super) room: u64,
    pub(super) rights: Rights,
    /// For a new one, where none could be kept.
    pub(super) id: u128,
}
