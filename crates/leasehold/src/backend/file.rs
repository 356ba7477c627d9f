//! Files in a local directory: locks between the processes of one host, with nothing to set up.
//!
//! # What is on the disk
//!
//! ```text
//! <dir>/nightly-report/head-00000000000000000007-5f0c…   empty; its name says what is newest
//!                      state-00000000000000000007-5f0c…  the newest: a line, then the record
//!                      spare-00000000000000000006-91aa…  the file of the one before, for its room
//! <dir>/.alive/<id>                                      locked while its process lives
//! <dir>/.new-<id>/                                       a key that is being prepared
//! ```
//!
//! # How it is changed, and why that is a compare-and-swap
//!
//! A state is a file of its own, never changed under its name once it is written. To go from state n to
//! n+1, a writer
//!
//! 1. writes `state-(n+1)-<fresh random id>` and makes its content durable (`fdatasync`),
//! 2. renames `head-n-<id of n>` to `head-(n+1)-<fresh random id>`,
//! 3. makes the directory durable (`fsync`), and only then answers,
//! 4. keeps the file of state n as a spare, and removes all other states but its own.
//!
//! Step 2 is the whole protocol. *At every moment a key's directory has exactly one head*: it is
//! born with one, and only step 2 touches it. *A head's name never comes back*: it contains a
//! random number that its writer made for this one attempt. And a rename is atomic and needs its
//! source. So of all writers conditioned on state n exactly one can succeed, and a writer that was
//! stopped for an hour between any two instructions finds that its source is gone, for ever. There
//! is no lock: a process that is stopped or killed anywhere holds nobody up.
//!
//! **Reading** lists the directory, which is no snapshot: POSIX lets a listing that meets a rename
//! have the old name, the new one, both or neither. But what it has was there at some moment of the
//! listing, and a head that is there *is* the newest state at that moment, so any head is a right
//! answer (of two, the later). With none, or if the state's file was removed since, others have
//! succeeded meanwhile, and the reader looks again.
//!
//! **Creating** prepares a directory that has its state and its head, all durable, and renames it
//! to the key's name. A rename onto a directory succeeds only if that is empty, and one in use
//! never is. There is no moment at which a key half exists, and a late create fails whatever the
//! number of states since. **Deleting**, for tools, renames the head to `gone-(n+1)-…`: an absent
//! record that the next create starts from. The directory stays, so that a late writer can never
//! write into one that was moved away.
//!
//! **Removing** dead states needs no care: state-k can become the newest only by renaming the one
//! head that had number k-1. When the head has number k or more, every other state-k is dead for
//! ever, by any process and however late.
//!
//! # A full disk
//!
//! A holder must be able to renew and to release, and a run to be recorded, without new space and without
//! a new inode. So step 1 takes the spare file where there is one: it gives it the name of the
//! new state, which one writer can, and writes over it. That an inode is used again changes nothing above:
//!
//! - *A spare is dead for ever*, on the disk too: it becomes one only after step 3, by which the head that
//!   named it is durably gone.
//! - *Nobody writes into it any more*: only state n itself is kept, which was the newest, so its writer was
//!   done with it before its own step 2. The file of a writer who lost is removed, never kept: that
//!   writer may have been stopped in the middle, and would go on writing into somebody's newest state.
//! - *Nobody reads the wrong thing*: a reader looks, after it has read, whether the name that it opened is
//!   still there. The name goes before the content is touched, and never comes back.
//! - It is ours alone: a file with a second name (a backup by hard links, a trap for root) is not written to.
//!
//! A spare is made with the name and has room for the next state, which may be longer; it is never cut
//! shorter than it is, because others would take what that gives back. A writer that is killed between
//! taking the spare and step 2 costs one; the next write makes another. On network file systems nothing is
//! used again, because their clients keep what they have read of an inode.
//!
//! # What a crash leaves
//!
//! | killed after | left behind |
//! | --- | --- |
//! | a part of 1 | a state that no head names; the next successful writer removes it |
//! | 2 | the new state, which holds; the writer's caller never heard, and reads it back |
//! | a part of creating | `.new-<id>`, which is removed after a day when a backend is opened |
//!
//! After a power cut the directory has the old head or the new one, and the content of either was
//! durable before its head could be. (This asks of the file system that a rename is atomic across a
//! power cut, and that of two changes of one directory the later is not kept without the earlier:
//! ext4, XFS and btrfs with their journals on.) A write that was answered is durable. A write that
//! was not answered, and is found by reading back, is made durable before its own writer sees it;
//! others may see it before that, which gives none of them a lease.
//!
//! # What an operator may do
//!
//! `cat` everything. Remove a key's directory: its holder loses the lock, and the next one starts
//! anew; remove it while nobody writes, because a write under way may still be answered. Moving or
//! restoring directories while they are in use is like changing a database's files under it.

mod files;
mod filesystem;
#[cfg(test)]
mod fuzz;
mod layout;
mod listing;
mod liveness;
mod os;
mod rights;
mod store;
mod targets;

use std::collections::HashMap;
use std::future::pending;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use leasehold_core::backend::{
    Backend, BackendError, BoxFuture, Expected, Facts, Fate, Key, Reading, Trouble, Version,
    Versioned, Written,
};

pub(crate) use self::filesystem::HostId;
use self::filesystem::failure;
use self::layout::Tag;
use self::os::watch::{Subscription, Watcher};
use self::store::{Look, Store, lock};
use self::targets::Targets;
use crate::connect::address::percent_encode;
use crate::env::{Env, Host, blocking};

/// Records as files in a directory, for the processes of one host.
#[derive(Debug)]
pub struct FileBackend {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    allow_network: bool,
    watcher: Mutex<Option<Arc<Watcher>>>,
    /// The states of which we said that their writer has ended.
    told: Mutex<HashMap<Key, Version>>,
}

impl FileBackend {
    /// Opens `dir`. One that is not there is made by the first write, and until then has no records.
    ///
    /// A file system that other machines may share is refused: whether its rename is atomic for
    /// all of them is not ours to know. With `allow_network` the caller vouches for that, and
    /// nothing is used that only one host can know: no ages, no proof of a writer's end, no
    /// notification.
    ///
    /// Blocks for a few file operations.
    pub fn open(dir: PathBuf, allow_network: bool) -> Result<FileBackend, BackendError> {
        let fail = |doing, path: &Path, errno| {
            let mut error = failure(Fate::NotSent, doing, path, errno);
            if error.trouble == Trouble::Corrupt {
                // No record is damaged: the wrong place was named.
                error.trouble = Trouble::Invalid;
            }
            error
        };
        let dir = if dir.is_absolute() { dir } else { filesystem::absolute(&dir)? };
        // The links on the way are followed once, here, so that they cannot change under us.
        let resolved = filesystem::resolve(&dir);
        let (root, there) = resolved.map_err(|(at, e)| fail("find the directory", &at, e))?;
        filesystem::open_directory(&there).map_err(|e| fail("open the directory", &root, e))?;
        filesystem::check(&there, allow_network)?;
        let store = Store::new(root, !allow_network);
        store.sweep();
        Ok(FileBackend {
            inner: Arc::new(Inner {
                store,
                allow_network,
                watcher: Mutex::default(),
                told: Mutex::default(),
            }),
        })
    }

    /// Runs `work` beside the caller's task. A disk that hangs holds up a thread of its own.
    async fn beside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, BackendError> + Send + 'static,
    ) -> Result<T, BackendError> {
        let inner = Arc::clone(&self.inner);
        blocking(move || work(&inner)).await.unwrap_or_else(|| {
            let message = "the file operation was cut off: the runtime is shutting down";
            Err(BackendError::unknown(Trouble::Unavailable, message))
        })
    }
}

impl Backend for FileBackend {
    fn facts(&self) -> Facts {
        Facts {
            least_write_interval: Duration::ZERO,
            clock_uncertainty: Duration::ZERO,
            least_poll: Duration::from_millis(10),
            notifies: self.inner.store.is_local && os::NOTIFIES,
        }
    }

    fn url(&self) -> String {
        shown(&self.inner.store.root, self.inner.allow_network)
    }

    fn locate(&self, key: &Key) -> String {
        self.inner.store.directory(key).display().to_string()
    }

    fn locate_state(&self, key: &Key, version: &Version) -> String {
        let directory = self.inner.store.directory(key);
        let file = Tag::of(version).map(|tag| directory.join(tag.state.file()));
        file.unwrap_or(directory).display().to_string()
    }

    fn read<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Reading, BackendError>> {
        let key = key.clone();
        Box::pin(self.beside(move |inner| {
            let record = inner.read(&key)?;
            Ok(Reading { record, unix_ms: Some(Host.now().unix_ms) })
        }))
    }

    fn write<'a>(
        &'a self,
        key: &'a Key,
        expected: &'a Expected,
        bytes: &'a [u8],
    ) -> BoxFuture<'a, Result<Written, BackendError>> {
        let (key, expected, bytes) = (key.clone(), expected.clone(), bytes.to_vec());
        Box::pin(self.beside(move |inner| inner.store.write(&key, &expected, &bytes)))
    }

    fn delete<'a>(
        &'a self,
        key: &'a Key,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        let (key, tag) = (key.clone(), Tag::of(version));
        Box::pin(self.beside(move |inner| match tag {
            Some(tag) => inner.store.delete(&key, tag),
            None => Ok(false),
        }))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Key>, BackendError>> {
        let prefix = prefix.to_owned();
        Box::pin(self.beside(move |inner| inner.store.list(&prefix)))
    }

    fn changed<'a>(&'a self, key: &'a Key, since: &'a Expected) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            // What cannot be watched is left to polling.
            if self.wait(key, since).await.is_none() {
                pending::<()>().await;
            }
        })
    }

    fn liveness(&self) -> Option<PathBuf> {
        self.inner.store.alive().map(|(_, path)| path)
    }
}

/// The URL of a directory.
pub(crate) fn shown(root: &Path, allow_network: bool) -> String {
    let mut url = format!("file://{}", percent_encode(root.as_os_str().as_bytes(), b"/+@,="));
    if allow_network {
        url.push_str("?network-fs=allow");
    }
    url
}

/// How often, a millisecond apart, a writer's end is looked for after its file was closed: the
/// kernel says that a file is closed just before it drops the lock.
const DEATH_LOOKS: u32 = 50;

impl FileBackend {
    /// Returns when the state is not `since` or its writer has ended; `None` where that cannot be
    /// watched.
    async fn wait(&self, key: &Key, since: &Expected) -> Option<()> {
        let watcher = self.inner.watcher().filter(|_| self.inner.store.is_local)?;
        loop {
            let Some(targets) = self.unchanged(key, since).await? else { return Some(()) };
            let subscription = watcher.subscribe(targets.clone()).await?;
            // Looked at again now that nothing is missed any more, and after every event.
            while let Some(now) = self.unchanged(key, since).await? {
                if now != targets {
                    break;
                }
                self.event(&subscription, key, since).await?;
            }
        }
    }

    /// Returns after an event that is worth a look.
    async fn event(&self, subscription: &Subscription, key: &Key, since: &Expected) -> Option<()> {
        tokio::select! {
            () = subscription.directory() => {}
            () = subscription.writer() => {
                for _ in 0..DEATH_LOOKS {
                    if self.unchanged(key, since).await?.is_none() {
                        break;
                    }
                    Host.sleep(Duration::from_millis(1)).await;
                }
            }
        }
        Some(())
    }

    /// What to watch while nothing has changed; `Some(None)` when something has, and `None` when
    /// that cannot be told.
    async fn unchanged(&self, key: &Key, since: &Expected) -> Option<Option<Targets>> {
        let (key, since) = (key.clone(), since.clone());
        self.beside(move |inner| inner.unchanged(&key, &since)).await.ok()
    }
}

impl Inner {
    fn read(&self, key: &Key) -> Result<Option<Versioned>, BackendError> {
        let record = match self.store.look(key)? {
            Look::Present(_, seen) => Some(self.store.versioned(seen)),
            Look::Gone(..) | Look::Nothing => None,
        };
        let mut told = lock(&self.told);
        match record.as_ref().filter(|record| record.orphaned) {
            Some(record) => told.insert(key.clone(), record.version.clone()),
            None => told.remove(key),
        };
        Ok(record)
    }

    fn unchanged(&self, key: &Key, since: &Expected) -> Result<Option<Targets>, BackendError> {
        let mut directory = self.store.directory(key);
        let (mut is_above, mut writer) = (false, None);
        let same = match self.store.look(key)? {
            Look::Nothing => {
                directory.clone_from(&self.store.root);
                while !directory.is_dir() && directory.pop() {
                    is_above = true;
                }
                *since == Expected::Absent
            }
            Look::Gone(..) => *since == Expected::Absent,
            Look::Present(_, seen) => {
                let version = seen.tag.version();
                // A reader that knows of the writer's end waits for something else: a free record
                // is nobody's concern.
                if lock(&self.told).get(key) != Some(&version) {
                    if self.store.writer_has_ended(&seen) {
                        return Ok(None);
                    }
                    writer = self.store.writer(&seen);
                }
                *since == Expected::Version(version)
            }
        };
        let writer = writer.map(|writer| liveness::path(&self.store.root, writer.id));
        Ok(same.then_some(Targets { directory, is_above, writer }))
    }

    /// The watching task, started when it is first needed.
    fn watcher(&self) -> Option<Arc<Watcher>> {
        let mut watcher = lock(&self.watcher);
        if watcher.as_ref().is_none_or(|watcher| watcher.has_ended()) {
            *watcher = Watcher::start().map(Arc::new);
        }
        watcher.clone()
    }
}
