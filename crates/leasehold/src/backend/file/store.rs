//! The register: reading, comparing and swapping, each a few system calls that never wait for
//! another process. The module above explains why it is right.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use leasehold_core::backend::{
    BackendError, Expected, Fate, Key, MAX_RECORD_BYTES, Trouble, Versioned, Written,
};
use rustix::fd::OwnedFd;
use rustix::fs::{self, AtFlags};
use rustix::io::Errno;

use super::files;
use super::filesystem::{self, HostId, failure, names, sync};
use super::layout::{self, Decoded, Entry, Head, MOST_READ, NAME, Stamp, State, Tag};
use super::liveness::{self, Alive, OLD};
use crate::env::{Env, Host};

/// How often a reader looks again while the state moves on under its eyes. Each time is somebody
/// else's successful write, which takes longer than a look.
const LOOKS: usize = 100;

/// The directory, and what this process knows about its own writes there.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) root: PathBuf,
    /// This host, where what only one host can know may be used.
    pub(super) host: Option<HostId>,
    pub(super) alive: Mutex<Option<Alive>>,
    /// Keys whose last write by us seems to hold something.
    held: Mutex<HashSet<Key>>,
    /// States that we made the newest and do not know to be durable.
    unsynced: Mutex<HashSet<u128>>,
}

/// What stands under a key.
#[derive(Debug)]
pub(super) enum Look {
    /// There is no directory, or an empty one.
    Nothing,
    /// A tool removed the record.
    Gone(OwnedFd, State),
    /// The newest state.
    Present(OwnedFd, Seen),
}

/// A state as it was read.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) tag: Tag,
    bytes: Vec<u8>,
    stamp: Option<Stamp>,
}

impl Store {
    pub(super) fn new(root: PathBuf, host: Option<HostId>) -> Store {
        Store {
            root,
            host,
            alive: Mutex::default(),
            held: Mutex::default(),
            unsynced: Mutex::default(),
        }
    }

    /// The directory of a key.
    pub(super) fn directory(&self, key: &Key) -> PathBuf {
        self.root.join(layout::directory(key.as_str()))
    }

    /// Our liveness file, locked, where this host's kernel can be asked about it.
    pub(super) fn alive(&self) -> Option<(u128, PathBuf)> {
        self.host.as_ref()?;
        let now = Host.now().moment.boot;
        let mut alive = lock(&self.alive);
        if alive.is_none() {
            // Without it others wait for the ttl, so a full disk is no reason to fail here.
            *alive = Alive::begin(&self.root, Host.unique(), now).ok();
            // Only a write asks, and it may come to hold.
            alive.iter_mut().for_each(|alive| alive.mark(true));
        }
        let alive = alive.as_mut()?;
        alive.touch(now);
        Some((alive.id, alive.path.clone()))
    }

    /// Finds the newest state: the one that a head names at some moment of this call.
    pub(super) fn look(&self, key: &Key) -> Result<Look, BackendError> {
        let path = self.directory(key);
        let fail = |errno| failure(Fate::NotSent, "read", &path, errno);
        let mut seen_names = false;
        let mut seen_head = false;
        for _ in 0..LOOKS {
            let directory = match filesystem::open_directory(&path) {
                Err(Errno::NOENT) => return Ok(Look::Nothing),
                opened => opened.map_err(fail)?,
            };
            let names = names(&directory).map_err(fail)?;
            seen_names |= !names.is_empty();
            // A listing that meets a rename may have the old name, the new one, both or neither.
            let newest = names.iter().filter_map(|name| match Entry::of(name) {
                Entry::Head(head) => Some(head),
                _ => None,
            });
            match newest.max_by_key(|head| head.state()) {
                None => {}
                Some(Head::Gone(state)) => return Ok(Look::Gone(directory, state)),
                Some(Head::At(state)) => {
                    seen_head = true;
                    if let Some(seen) = Self::content(&directory, &path, state)? {
                        self.make_durable(&directory, state)
                            .map_err(|errno| failure(Fate::NotSent, "sync", &path, errno))?;
                        return Ok(Look::Present(directory, seen));
                    }
                }
            }
        }
        match (seen_names, seen_head) {
            (false, _) => Ok(Look::Nothing),
            (true, false) => Err(BackendError::not_sent(
                Trouble::Corrupt,
                format!(
                    "{} has files but none that says which state is the newest: if nobody uses \
                     this lock, remove the directory",
                    path.display()
                ),
            )),
            (true, true) => Err(BackendError::not_sent(
                Trouble::Unavailable,
                format!("{} changed {LOOKS} times while it was read", path.display()),
            )),
        }
    }

    /// Reads a state; `None` when it is the newest no more.
    fn content(
        directory: &OwnedFd,
        path: &Path,
        state: State,
    ) -> Result<Option<Seen>, BackendError> {
        let name = state.file();
        let read = files::read(directory, &name, MOST_READ);
        let (content, length) = match read {
            Ok(read) => read,
            Err(Errno::NOENT | Errno::LOOP | Errno::ISDIR | Errno::NXIO | Errno::INVAL) => {
                let head = Head::At(state).to_string();
                if !files::exists(directory, &head) {
                    return Ok(None);
                }
                // The head stands and its state is lost: somebody removed or replaced the file.
                // An empty record is what the codec calls corrupt and `break` can repair.
                (Vec::new(), 0)
            }
            Err(errno) => {
                return Err(failure(Fate::NotSent, "read", &path.join(name), errno));
            }
        };
        let tag = Tag { state, hash: layout::hash(&content, length) };
        let (stamp, record) = layout::dissect(&content);
        Ok(Some(Seen { tag, bytes: record.to_vec(), stamp }))
    }

    /// A state that we made the newest is not shown to its writer before it is durable: it would
    /// take the lease for granted, and a power cut could give its token to somebody else.
    fn make_durable(&self, directory: &OwnedFd, state: State) -> Result<(), Errno> {
        if lock(&self.unsynced).contains(&state.id) {
            sync(directory)?;
            filesystem::sync_directory(&self.root)?;
            lock(&self.unsynced).remove(&state.id);
        }
        Ok(())
    }

    /// A state as the contract has it.
    pub(super) fn versioned(&self, seen: Seen) -> Versioned {
        let orphaned = self.writer_has_ended(&seen);
        let age = seen.stamp.as_ref().filter(|stamp| Some(&stamp.host) == self.host.as_ref());
        let age = age.and_then(|stamp| Host.now().moment.boot.checked_sub(stamp.at));
        Versioned { bytes: seen.bytes, version: seen.tag.version(), age, orphaned }
    }

    /// The liveness id of a state's writer, if this kernel can tell whether it lives.
    pub(super) fn writer(&self, seen: &Seen) -> Option<u128> {
        let host = self.host.as_ref()?;
        let stamp = seen.stamp.as_ref().filter(|stamp| stamp.host.boot == host.boot)?;
        let ours = lock(&self.alive).as_ref().map(|alive| alive.id);
        stamp.writer.filter(|id| Some(*id) != ours)
    }

    /// Whether it is proven that a state's writer has ended.
    pub(super) fn writer_has_ended(&self, seen: &Seen) -> bool {
        self.writer(seen).is_some_and(|id| liveness::has_ended(&self.root, id))
    }

    /// Stores `record` if the newest state is `expected`.
    pub(super) fn write(
        &self,
        key: &Key,
        expected: &Expected,
        record: &[u8],
    ) -> Result<Written, BackendError> {
        if record.len() > MAX_RECORD_BYTES {
            let message = format!("a record of {} bytes is too long", record.len());
            return Err(BackendError::not_sent(Trouble::Invalid, message));
        }
        let was_held = self.holds(|held| !held.insert(key.clone()));
        let written = match self.look(key)? {
            Look::Present(directory, seen) => match expected {
                Expected::Version(version) if *version == seen.tag.version() => {
                    self.replace(key, &directory, Head::At(seen.tag.state), record)
                }
                _ => Ok(Written::Conflict(Some(self.versioned(seen)))),
            },
            Look::Gone(directory, state) if *expected == Expected::Absent => {
                self.replace(key, &directory, Head::Gone(state), record)
            }
            Look::Nothing if *expected == Expected::Absent => self.create(key, record),
            Look::Gone(..) | Look::Nothing => Ok(Written::Conflict(None)),
        };
        let holds_nothing = match &written {
            Ok(Written::Applied(_)) => is_free(record),
            Ok(Written::Conflict(_)) => !was_held,
            Err(error) => !was_held && error.fate == Fate::NotSent,
        };
        if holds_nothing {
            self.holds(|held| held.remove(key));
        }
        written
    }

    /// Changes what we may hold, and says in our liveness file whether there is anything.
    fn holds<T>(&self, change: impl FnOnce(&mut HashSet<Key>) -> T) -> T {
        let mut held = lock(&self.held);
        let changed = change(&mut held);
        if let Some(alive) = lock(&self.alive).as_mut() {
            alive.mark(!held.is_empty());
        }
        changed
    }

    /// Moves the head from `from` to a new state with `record`.
    fn replace(
        &self,
        key: &Key,
        directory: &OwnedFd,
        from: Head,
        record: &[u8],
    ) -> Result<Written, BackendError> {
        let path = self.directory(key);
        let to = Self::after(from, &path)?;
        let content = layout::compose(self.stamp().as_ref(), record);
        let tag = Tag { state: to, hash: layout::hash(&content, content.len() as u64) };
        if let Err(errno) = files::write(directory, &to.file(), &content) {
            files::remove(directory, &to.file());
            return Err(failure(Fate::NotSent, "write", &path.join(to.file()), errno));
        }
        match self.swing(directory, &path, from, Head::At(to))? {
            Swung::Yes => {
                files::sweep(directory, &path, to, Some(from.state()));
                Ok(Written::Applied(tag.version()))
            }
            Swung::No => Ok(self.lost(key, directory, to)),
        }
    }

    /// Answers a write that came too late, and removes its state if it is certainly dead.
    fn lost(&self, key: &Key, directory: &OwnedFd, ours: State) -> Written {
        let newest = self.look(key).ok();
        match &newest {
            // A network file system may repeat a rename that succeeded and then not find its
            // source. Our state is dead only when another one has its number or a higher one.
            Some(Look::Present(_, Seen { tag: Tag { state, .. }, .. }) | Look::Gone(_, state))
                if state.seq >= ours.seq && *state != ours =>
            {
                files::remove(directory, &ours.file());
            }
            _ => {}
        }
        Written::Conflict(match newest {
            Some(Look::Present(_, seen)) => Some(self.versioned(seen)),
            _ => None,
        })
    }

    /// The one step that counts: renames the head, which succeeds for one writer only.
    fn swing(
        &self,
        directory: &OwnedFd,
        path: &Path,
        from: Head,
        to: Head,
    ) -> Result<Swung, BackendError> {
        let id = to.state().id;
        lock(&self.unsynced).insert(id);
        match fs::renameat(directory, from.to_string(), directory, to.to_string()) {
            Ok(()) => {}
            Err(Errno::NOENT) => {
                lock(&self.unsynced).remove(&id);
                return Ok(Swung::No);
            }
            Err(errno) => return Err(failure(Fate::Unknown, "rename the head in", path, errno)),
        }
        sync(directory).map_err(|errno| failure(Fate::Unknown, "sync", path, errno))?;
        lock(&self.unsynced).remove(&id);
        Ok(Swung::Yes)
    }

    /// Makes a key's directory with its first state in it, whole and durable before it has its
    /// name.
    fn create(&self, key: &Key, record: &[u8]) -> Result<Written, BackendError> {
        let path = self.directory(key);
        let first = State { seq: 1, id: Host.unique() };
        let draft = self.root.join(format!("{}{:032x}", layout::NEW, first.id));
        let content = layout::compose(self.stamp().as_ref(), record);
        let tag = Tag { state: first, hash: layout::hash(&content, content.len() as u64) };
        if let Err(errno) = files::prepare(&draft, key, first, &content) {
            files::discard(&draft);
            return Err(failure(Fate::NotSent, "prepare", &draft, errno));
        }
        lock(&self.unsynced).insert(first.id);
        // Renaming a directory onto another succeeds only if that one is empty, and one in use
        // never is: it has its head. So whoever comes second fails.
        match fs::rename(&draft, &path) {
            Ok(()) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                lock(&self.unsynced).remove(&first.id);
                files::discard(&draft);
                let newest = match self.look(key) {
                    Ok(Look::Present(_, seen)) => Some(self.versioned(seen)),
                    _ => None,
                };
                return Ok(Written::Conflict(newest));
            }
            Err(errno) => return Err(failure(Fate::Unknown, "create", &path, errno)),
        }
        filesystem::sync_directory(&self.root)
            .map_err(|errno| failure(Fate::Unknown, "sync", &self.root, errno))?;
        lock(&self.unsynced).remove(&first.id);
        Ok(Written::Applied(tag.version()))
    }

    /// Removes the record at `tag`: its head then says so, and the directory stays.
    pub(super) fn delete(&self, key: &Key, tag: Tag) -> Result<bool, BackendError> {
        let Look::Present(directory, seen) = self.look(key)? else { return Ok(false) };
        if seen.tag != tag {
            return Ok(false);
        }
        let path = self.directory(key);
        let to = Self::after(Head::At(tag.state), &path)?;
        match self.swing(&directory, &path, Head::At(tag.state), Head::Gone(to))? {
            Swung::No => Ok(false),
            Swung::Yes => {
                files::sweep(&directory, &path, to, None);
                Ok(true)
            }
        }
    }

    /// The keys whose name starts with `prefix`, sorted.
    pub(super) fn list(&self, prefix: &str) -> Result<Vec<Key>, BackendError> {
        let fail = |errno| failure(Fate::NotSent, "list", &self.root, errno);
        let root = filesystem::open_directory(&self.root).map_err(fail)?;
        let mut keys = Vec::new();
        for name in names(&root).map_err(fail)? {
            let key = match layout::decode(&name) {
                Decoded::Key(key) => Some(key),
                Decoded::Cut => self.uncut(&name),
                Decoded::Foreign => None,
            };
            let Some(key) = key.filter(|key| key.as_str().starts_with(prefix)) else { continue };
            // A damaged record is listed, so that it is seen; a foreign file is not.
            match self.look(&key) {
                Ok(Look::Present(..)) => keys.push(key),
                Err(e) if e.trouble != Trouble::Corrupt => return Err(e),
                Ok(Look::Gone(..) | Look::Nothing) | Err(_) => {}
            }
        }
        keys.sort();
        Ok(keys)
    }

    /// The key of a directory whose name was cut, from the file inside.
    fn uncut(&self, directory: &str) -> Option<Key> {
        let opened = filesystem::open_directory(&self.root.join(directory)).ok()?;
        let (bytes, _) = files::read(&opened, NAME, Key::MAX_BYTES + 1).ok()?;
        let key = Key::new(String::from_utf8(bytes).ok()?).ok()?;
        (layout::directory(key.as_str()) == directory).then_some(key)
    }

    fn stamp(&self) -> Option<Stamp> {
        let host = self.host.clone()?;
        let writer = self.alive().map(|(id, _)| id);
        Some(Stamp { host, at: Host.now().moment.boot, writer })
    }

    /// A new state with the number after `head`'s.
    fn after(head: Head, path: &Path) -> Result<State, BackendError> {
        let seq = head.state().seq.checked_add(1).ok_or_else(|| {
            let message = format!("{} has a head beyond all numbers", path.display());
            BackendError::not_sent(Trouble::Corrupt, message)
        })?;
        Ok(State { seq, id: Host.unique() })
    }

    /// Removes what crashed or stopped processes left in the directory more than a day ago. What
    /// cannot be removed stays.
    pub(super) fn sweep(&self) {
        let now = Duration::from_millis(Host.now().unix_ms).as_secs();
        // What comes from the future, or from before 1970, is left alone.
        let age = |time: i64| {
            let age = u64::try_from(time).map_or(0, |time| now.saturating_sub(time));
            Duration::from_secs(age)
        };
        let _ = liveness::sweep(&self.root, age);
        let Ok(root) = filesystem::open_directory(&self.root) else { return };
        for name in names(&root).unwrap_or_default() {
            if let Some(id) = name.strip_prefix(layout::NEW) {
                let stat = fs::statat(&root, &name, AtFlags::SYMLINK_NOFOLLOW);
                if stat.is_ok_and(|stat| age(stat.st_mtime) > OLD) {
                    // Renamed first: a creator that wakes up now must not give a half-emptied
                    // directory its name.
                    let trash = format!("{}{id}", layout::TRASH);
                    if fs::renameat(&root, &name, &root, &trash).is_ok() {
                        files::discard(&self.root.join(trash));
                    }
                }
            } else if name.starts_with(layout::TRASH) {
                files::discard(&self.root.join(name));
            }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let holds_nothing = lock(&self.held).is_empty();
        if let Some(alive) = lock(&self.alive).take() {
            alive.end(holds_nothing);
        }
    }
}

/// Whether a head was moved.
enum Swung {
    Yes,
    No,
}

/// Whether a record looks free. A guess from outside the codec, which decides only whether our
/// liveness file is removed at the end: a wrong one costs others the wait for the ttl.
fn is_free(record: &[u8]) -> bool {
    const FREE: &[u8] = br#""holders":[]"#;
    record.windows(FREE.len()).any(|window| window == FREE)
}

/// Locks what no panic can leave half-changed.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
