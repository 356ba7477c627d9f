//! Whether the process that wrote a state still lives, on one host.
//!
//! A process that writes states holds a kernel lock (`flock`, shared) on a file of its own,
//! `.alive/<random id>`, and its states name that id. Who can lock that file exclusively has the
//! proof that nobody holds it any more: the kernel drops such a lock only when every descriptor of
//! the opened file is closed, at the latest when the last process that has one has ended, however
//! it ended. Process ids, which are reused and differ between containers, play no part.
//!
//! - The lock is held *before* the first state that names the id is written, and for as long as the
//!   process runs, even after its backend is dropped, unless the file is removed first.
//! - The boot id plays no part either. A lock does not outlive its kernel, so after a restart every
//!   file of before it can be locked, and rightly; and one kernel shows different ids to different
//!   containers, so another id is no proof of a restart.
//! - A file that is missing proves nothing: somebody may have tidied up. So removing a liveness
//!   file is always safe; others then wait for the ttl. Nor does a copy or a restored file: the state
//!   has the number of the inode that its writer locked.
//! - A child between fork and exec has a copy of the descriptor: it only delays the proof.
//! - An id is never used twice, and a file never by two backends: an old state may name it.
//! - A helper process that must end too takes the same lock, *shared and without blocking*, on the
//!   path opened for writing, while its parent lives. Nobody waits for any of these locks: a tester
//!   that is stopped while it has the exclusive lock only hides a death for that long.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::fs::{
    self, AtFlags, FileType, FlockOperation, Mode, OFlags, Timespec, Timestamps, UTIME_NOW,
};
use rustix::io::Errno;

use super::filesystem::{
    NEW_FILE, PRIVATE_DIRECTORY, PRIVATE_FILE, open_directory, open_made, retrying,
};
use super::layout::{ALIVE, Writer, hex};
use super::rights::Rights;

/// How often a test is repeated that another tester may have spoiled.
const TESTS: usize = 3;

/// This backend's liveness file, locked.
#[derive(Debug)]
pub(super) struct Alive {
    pub(super) writer: Writer,
    pub(super) path: PathBuf,
    lock: OwnedFd,
    touched: Duration,
    marked: bool,
}

/// How often a liveness file's modification time is renewed, so that [`sweep`] sees when its owner
/// last wrote and not when it began.
const TOUCHED_EVERY: Duration = Duration::from_hours(1);

/// What is older than this serves nobody: an hour more than the longest ttl.
pub(super) const OLD: Duration = Duration::from_hours(25);

/// A file that is empty for longer than this is not one that its owner is about to lock.
const BEGUN: Duration = Duration::from_mins(1);

impl Alive {
    /// Makes and locks a new file.
    pub(super) fn begin(root: &Path, id: u128, now: Duration) -> Result<Alive, Errno> {
        let path = path(root, id);
        let rights = Rights::within(root);
        let create = || retrying(|| fs::open(&path, NEW_FILE, PRIVATE_FILE));
        let lock = match create() {
            Err(Errno::NOENT) => {
                let directory = root.join(ALIVE);
                match fs::mkdir(&directory, PRIVATE_DIRECTORY) {
                    Ok(()) => rights.give_directory(&open_made(&directory)?),
                    Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno),
                }
                create()?
            }
            made => made?,
        };
        rights.give_file(&lock);
        let inode = fs::fstat(&lock).ok().map(|stat| stat.st_ino);
        match retrying(|| fs::flock(&lock, FlockOperation::NonBlockingLockShared)) {
            Ok(()) => {
                let writer = Writer { id, inode };
                Ok(Alive { writer, path, lock, touched: now, marked: false })
            }
            Err(errno) => {
                let _ = fs::unlink(&path);
                Err(errno)
            }
        }
    }

    /// Says that the owner is about to write, at `now` of the clock that [`Alive::begin`] was
    /// given.
    pub(super) fn touch(&mut self, now: Duration) {
        if now.saturating_sub(self.touched) >= TOUCHED_EVERY {
            let present = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
            let times = Timestamps { last_access: present, last_modification: present };
            // If it fails, the file is swept early, and a takeover waits for the ttl.
            let _ = fs::futimens(&self.lock, &times);
            self.touched = now;
        }
    }

    /// Says whether the owner may hold anything: one byte if so, none otherwise. The file of an owner
    /// that ends with none can be swept soon; many programs end before their backend is dropped.
    pub(super) fn mark(&mut self, holds: bool) {
        // If it fails, the file is swept too late, or early, and then a takeover waits for the ttl.
        if self.marked != holds && fs::ftruncate(&self.lock, u64::from(holds)).is_ok() {
            self.marked = holds;
        }
    }

    /// The backend ends, and perhaps the process lives on.
    ///
    /// Without the file nobody can take us for dead, so the lock can go. Otherwise it is kept until
    /// the process ends, because a guard may still be in use: one descriptor for each backend that
    /// was dropped while it held a lock.
    pub(super) fn end(self, holds_nothing: bool) {
        if !holds_nothing || fs::unlink(&self.path).is_err() {
            std::mem::forget(self.lock);
        }
    }
}

/// The liveness file of a writer.
pub(super) fn path(root: &Path, id: u128) -> PathBuf {
    root.join(ALIVE).join(format!("{id:032x}"))
}

/// True only where it is proven that the writer has ended.
pub(super) fn has_ended(root: &Path, writer: Writer) -> bool {
    (0..TESTS).any(|_| lock_exclusively(&path(root, writer.id), writer.inode).is_some())
}

/// Locks a liveness file whose owner has ended; the lock goes with the value.
fn lock_exclusively(path: &Path, inode: Option<u64>) -> Option<OwnedFd> {
    // Without NONBLOCK, opening a fifo that somebody put there would wait for ever.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = retrying(|| fs::open(path, flags, Mode::empty())).ok()?;
    let stat = fs::fstat(&file).ok()?;
    let is_it = inode.is_none_or(|inode| inode == stat.st_ino);
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || !is_it {
        return None;
    }
    fs::flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(file)
}

/// Removes the files of dead writers that prove nothing any more: because the writer held nothing when
/// it ended, or because that is long ago and no record names it. `named` finds the writers that records
/// name; it is asked only where that matters, because it reads them all.
pub(super) fn sweep(
    root: &Path,
    age: impl Fn(i64) -> Duration,
    named: impl FnOnce() -> Option<HashSet<u128>>,
) -> Result<(), Errno> {
    let directory = open_directory(&root.join(ALIVE))?;
    let (mut idle, mut old) = (vec![], vec![]);
    for name in super::os::names(&directory)? {
        let Some(id) = hex(&name) else { continue };
        let Ok(stat) = fs::statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let age = age(stat.st_mtime);
        // The dead do not write: what is dead here, and named by no record after this, never is again.
        let is_dead = || lock_exclusively(&path(root, id), None).is_some();
        match stat.st_size {
            0 if age > BEGUN && is_dead() => idle.push(id),
            1.. if age > OLD && is_dead() => old.push(id),
            _ => {}
        }
    }
    // The machine was off for long, perhaps: the file is then the only proof that its writer is dead.
    let named = if old.is_empty() { Some(HashSet::new()) } else { named() };
    let old = old.into_iter().filter(|id| named.as_ref().is_some_and(|named| !named.contains(id)));
    for id in idle.into_iter().chain(old) {
        if let Some(_lock) = lock_exclusively(&path(root, id), None) {
            let _ = fs::unlink(path(root, id));
        }
    }
    Ok(())
}
