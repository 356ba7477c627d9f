//! The register: reading, comparing and swapping, each a few system calls that never wait for
//! another process. The module above explains why it is right.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use leasehold_core::backend::{
    BackendError, Expected, Fate, Key, MAX_RECORD_BYTES, Trouble, Versioned, Written,
};
use rustix::fd::OwnedFd;
use rustix::fs;
use rustix::io::Errno;

use super::files::{self, Keep};
use super::filesystem::{self, HostId, failure, sync};
use super::layout::{self, Entry, Head, MOST_READ, Stamp, State, Tag, Writer};
use super::liveness::{self, Alive};
use super::os::names;
use super::rights::Rights;
use crate::env::{Env, Host};

/// How often a reader looks again while the state moves on under its eyes. Each time is somebody
/// else's successful write, which takes longer than a look.
const LOOKS: usize = 100;

/// The directory, and what this process knows about its own writes there.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) root: PathBuf,
    /// Whether all who use the directory share one kernel, so that what only that can know may be used.
    pub(super) is_local: bool,
    /// What names our boot and our clock, where that is so and the kernel says it.
    host: Option<HostId>,
    /// Tried once, before the first state that could name it: what must end before we count as dead
    /// takes its lock from the beginning or never.
    alive: OnceLock<Option<Mutex<Alive>>>,
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
    pub(super) stamp: Option<Stamp>,
}

impl Store {
    pub(super) fn new(root: PathBuf, is_local: bool) -> Store {
        Store {
            root,
            is_local,
            host: if is_local { HostId::here() } else { None },
            alive: OnceLock::new(),
            held: Mutex::default(),
            unsynced: Mutex::default(),
        }
    }

    /// The directory of a key.
    pub(super) fn directory(&self, key: &Key) -> PathBuf {
        self.root.join(layout::directory(key.as_str()))
    }

    /// Makes the directory of all locks, with the first thing that is written: asking makes nothing.
    fn make(&self) -> Result<(), BackendError> {
        filesystem::make_directories(&self.root)
            .map_err(|errno| failure(Fate::NotSent, "create the directory", &self.root, errno))?;
        filesystem::check(&self.root, !self.is_local)
    }

    /// Our liveness file, locked, where this host's kernel can be asked about it.
    pub(super) fn alive(&self) -> Option<(Writer, PathBuf)> {
        let now = Host.now().moment.boot;
        let begin = || {
            self.make().ok().filter(|()| self.is_local)?;
            // Without it others wait for the ttl, so a full disk is no reason to fail here.
            let mut alive = Alive::begin(&self.root, Host.unique(), now).ok()?;
            // Only a write asks, and it may come to hold.
            alive.mark(true);
            Some(Mutex::new(alive))
        };
        let mut alive = lock(self.alive.get_or_init(begin).as_ref()?);
        alive.touch(now);
        Some((alive.writer, alive.path.clone()))
    }

    /// The same, if it was made.
    fn alive_yet(&self) -> Option<MutexGuard<'_, Alive>> {
        self.alive.get()?.as_ref().map(lock)
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
                return Err(failure(Fate::NotSent, "read", &path.join(&name), errno));
            }
        };
        // A file that is not the newest state any more may be in use for another one. Its old name goes
        // first: while that is there, what was read is what was written.
        if length > 0 && !files::exists(directory, &name) {
            return Ok(None);
        }
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
        let stamp = seen.stamp.filter(|stamp| stamp.host.is_some() && stamp.host == self.host);
        let age = stamp.and_then(|stamp| Host.now().moment.boot.checked_sub(stamp.at));
        Versioned { bytes: seen.bytes, version: seen.tag.version(), age, orphaned }
    }

    /// The liveness file of a state's writer, if this kernel can tell whether it lives.
    pub(super) fn writer(&self, seen: &Seen) -> Option<Writer> {
        let writer = seen.stamp.as_ref().filter(|_| self.is_local)?.writer?;
        let is_ours = self.alive_yet().is_some_and(|alive| alive.writer.id == writer.id);
        (!is_ours).then_some(writer)
    }

    /// Whether it is proven that a state's writer has ended.
    pub(super) fn writer_has_ended(&self, seen: &Seen) -> bool {
        self.writer(seen).is_some_and(|writer| liveness::has_ended(&self.root, writer))
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
        if let Some(mut alive) = self.alive_yet() {
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
        let mut content = layout::compose(&self.stamp(), record);
        let keep = self.keep(content.len());
        if let Err(errno) = self.put(&path, directory, to, &mut content, keep) {
            files::remove(directory, &to.file());
            return Err(failure(Fate::NotSent, "write", &path.join(to.file()), errno));
        }
        let tag = Tag { state: to, hash: layout::hash(&content, content.len() as u64) };
        match self.swing(directory, &path, from, Head::At(to))? {
            Swung::Yes => {
                let before = if let Head::At(state) = from { Some(state) } else { None };
                files::sweep(directory, &path, to, before, keep);
                Ok(Written::Applied(tag.version()))
            }
            Swung::No => Ok(self.lost(key, directory, to)),
        }
    }

    /// Writes a state under its name: where that can be into the room of a dead one.
    fn put(
        &self,
        path: &Path,
        directory: &OwnedFd,
        state: State,
        content: &mut Vec<u8>,
        keep: Option<Keep>,
    ) -> Result<(), Errno> {
        let Some(Keep { room, rights, .. }) = keep else {
            return files::write(directory, &state.file(), content, 0, Rights::within(&self.root));
        };
        if let Some(spare) = files::spare(path)
            && files::reuse(directory, spare, state, content)?
        {
            return Ok(());
        }
        files::write(directory, &state.file(), content, room, rights)
    }

    /// How the file of a dead state is kept for the one that follows one of this length.
    fn keep(&self, length: usize) -> Option<Keep> {
        let rights = Rights::within(&self.root);
        self.is_local.then(|| Keep { room: files::room(length), rights, id: Host.unique() })
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
        self.make()?;
        let path = self.directory(key);
        let first = State { seq: 1, id: Host.unique() };
        let draft = self.root.join(format!("{}{:032x}", layout::NEW, first.id));
        let content = layout::compose(&self.stamp(), record);
        let tag = Tag { state: first, hash: layout::hash(&content, content.len() as u64) };
        let rights = Rights::within(&self.root);
        if let Err(errno) = files::prepare(&draft, key, first, &content, rights) {
            files::discard(&draft);
            return Err(failure(Fate::NotSent, "prepare", &draft, errno));
        }
        lock(&self.unsynced).insert(first.id);
        // Renaming a directory onto another succeeds only if that one is empty, and one in use
        // never is: it has its head. So the second writer fails.
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
                files::sweep(&directory, &path, to, Some(tag.state), self.keep(0));
                Ok(true)
            }
        }
    }

    fn stamp(&self) -> Stamp {
        let writer = self.alive().map(|(writer, _)| writer);
        Stamp { host: self.host.clone(), at: Host.now().moment.boot, writer }
    }

    /// A new state with the number after `head`'s.
    fn after(head: Head, path: &Path) -> Result<State, BackendError> {
        let seq = head.state().seq.checked_add(1).ok_or_else(|| {
            let message = format!("{} has a head beyond all numbers", path.display());
            BackendError::not_sent(Trouble::Corrupt, message)
        })?;
        Ok(State { seq, id: Host.unique() })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let holds_nothing = lock(&self.held).is_empty();
        if let Some(alive) = self.alive.take().flatten() {
            alive.into_inner().unwrap_or_else(PoisonError::into_inner).end(holds_nothing);
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
