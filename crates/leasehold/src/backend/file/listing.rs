//! The directory of all locks: which there are, and what may be swept out of it.

use std::collections::HashSet;
use std::time::Duration;

use leasehold_core::backend::{BackendError, Fate, Key, Trouble};
use rustix::fs::{self, AtFlags};
use rustix::io::Errno;

use super::files;
use super::filesystem::{self, failure};
use super::layout::{self, Decoded, NAME};
use super::liveness::{self, OLD};
use super::os::names;
use super::store::{Look, Store};
use crate::env::{Env, Host};

impl Store {
    /// The keys whose name starts with `prefix`, sorted. One that cannot be read is among them: a
    /// read of it says why, and it hides no other.
    pub(super) fn list(&self, prefix: &str) -> Result<Vec<Key>, BackendError> {
        let mut keys = self.keys()?;
        keys.retain(|key| {
            key.as_str().starts_with(prefix)
                && match self.look(key) {
                    Ok(Look::Present(..)) => true,
                    // A damaged record is listed, so that it is seen; a foreign file is not.
                    Err(error) => error.trouble != Trouble::Corrupt,
                    Ok(Look::Gone(..) | Look::Nothing) => false,
                }
        });
        keys.sort();
        Ok(keys)
    }

    /// The keys that have a directory.
    fn keys(&self) -> Result<Vec<Key>, BackendError> {
        let fail = |errno| failure(Fate::NotSent, "list", &self.root, errno);
        let root = match filesystem::open_directory(&self.root) {
            Err(Errno::NOENT) => return Ok(vec![]),
            opened => opened.map_err(fail)?,
        };
        let keys =
            names(&root).map_err(fail)?.into_iter().filter_map(|name| {
                match layout::decode(&name) {
                    Decoded::Key(key) => Some(key),
                    Decoded::Cut => self.uncut(&name),
                    Decoded::Foreign => None,
                }
            });
        Ok(keys.collect())
    }

    /// The liveness ids that records name; `None` where that cannot be told.
    fn named(&self) -> Option<HashSet<u128>> {
        let mut named = HashSet::new();
        for key in self.keys().ok()? {
            if let Look::Present(_, seen) = self.look(&key).ok()? {
                named.extend(seen.stamp.and_then(|stamp| stamp.writer).map(|writer| writer.id));
            }
        }
        Some(named)
    }

    /// The key of a directory whose name was cut, from the file inside.
    fn uncut(&self, directory: &str) -> Option<Key> {
        let opened = filesystem::open_directory(&self.root.join(directory)).ok()?;
        let (bytes, _) = files::read(&opened, NAME, Key::MAX_BYTES + 1).ok()?;
        let key = Key::new(String::from_utf8(bytes).ok()?).ok()?;
        (layout::directory(key.as_str()) == directory).then_some(key)
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
        let _ = liveness::sweep(&self.root, age, || self.named());
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
