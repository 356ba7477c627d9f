//! What one process saw of a holder, kept for the next one: tries of cron add up, though none of them
//! waits.
//!
//! A file for each name of each store, in a directory of the user's own. It is a hint that can be
//! missing, old or wrong: what it says counts only for a holder that is found exactly as it says, at a
//! moment of the same clocks. Those of another boot or another host, which may share a home,
//! mean nothing, so a file names them. Nothing here is an error.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use leasehold_core::backend::{Expected, Key, Version};
use leasehold_core::deadline::{Moment, Now};
use leasehold_core::lease::{Sighting, Standing, Watch};
use leasehold_core::record::HolderId;
use rustix::fs::OFlags;
use rustix::process::geteuid;
use xxhash_rust::xxh3::xxh3_128;

use crate::backend::file::HostId;
use crate::env::{Env, blocking};

/// The directories that sightings may be kept in: the first that is ours, or can be made, is.
#[derive(Debug)]
pub(crate) struct Sightings {
    directories: Vec<PathBuf>,
    /// Names the clocks whose moments are kept.
    clocks: String,
}

/// How long a disk may take: longer, and it is done without.
const PATIENCE: Duration = Duration::from_secs(1);

/// The longest file that is read.
const BYTES_MAX: u64 = 4096;

/// More files than this, and the oldest go.
const FILES_MAX: usize = 512;

/// An hour more than the longest ttl: what is older serves nobody.
const OLD_MS: u64 = 25 * 3_600_000;

/// The time namespace that a host begins with. Those of containers have offsets, and their numbers are
/// used again.
const FIRST_NAMESPACE: &str = "time:[4026531834]";

impl Sightings {
    /// `None` where the kernel does not say which clocks these are.
    pub(crate) fn new(directories: Vec<PathBuf>) -> Option<Sightings> {
        let HostId { boot, time } = HostId::here()?;
        let node = rustix::system::uname();
        let node = node.nodename().to_str().ok()?;
        let is_first = time == "-" || time == FIRST_NAMESPACE;
        is_first.then(|| Sightings { directories, clocks: format!("{boot} {node}") })
    }

    /// What was seen last under a name of a store.
    pub(crate) async fn recall(self: &Arc<Self>, env: &dyn Env, store: String, key: Key) -> Watch {
        let sightings = Arc::clone(self);
        let read = blocking(move || sightings.read(&store, &key));
        tokio::select! {
            biased;
            watch = read => watch.flatten().unwrap_or_default(),
            () = env.sleep(PATIENCE) => Watch::default(),
        }
    }

    /// Keeps what is seen now.
    pub(crate) async fn note(
        self: &Arc<Self>,
        env: &dyn Env,
        (store, key): (String, Key),
        watch: Watch,
    ) {
        let (sightings, now) = (Arc::clone(self), env.now());
        let random = env.unique();
        let write = blocking(move || sightings.write(&store, &key, &watch, now, random));
        tokio::select! {
            biased;
            _ = write => {}
            () = env.sleep(PATIENCE) => {}
        }
    }

    /// What a file begins with.
    fn head(&self, store: &str, key: &Key) -> String {
        format!("leasehold-seen 1\n{}\n{store}\n{key}\n", self.clocks)
    }

    fn read(&self, store: &str, key: &Key) -> Option<Watch> {
        let (head, name) = (self.head(store, key), name(store, key));
        self.directories.iter().filter(|directory| is_ours(directory)).find_map(|directory| {
            let text = content(&directory.join(&name))?;
            Some(decode(text.strip_prefix(&head)?))
        })
    }

    fn write(&self, store: &str, key: &Key, watch: &Watch, now: Now, random: u128) -> Option<()> {
        let seen = Some(encode(watch)).filter(|seen| !seen.is_empty())?;
        let text = self.head(store, key) + &seen;
        let directory = self.directories.iter().find(|directory| {
            let _ = DirBuilder::new().recursive(true).mode(0o700).create(directory);
            is_ours(directory)
        })?;
        let path = directory.join(name(store, key));
        if !path.exists() {
            sweep(directory, now.unix_ms);
        }
        let draft = directory.join(format!("{random:032x}.new"));
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&draft);
        let kept = file.and_then(|mut file| file.write_all(text.as_bytes()));
        let kept = kept.and_then(|()| fs::rename(&draft, &path));
        if kept.is_err() {
            let _ = fs::remove_file(&draft);
        }
        kept.ok()
    }
}

fn name(store: &str, key: &Key) -> String {
    format!("{:032x}", xxh3_128(format!("{store}\n{key}").as_bytes()))
}

/// Whether nobody else can put anything there.
fn is_ours(directory: &Path) -> bool {
    let is_safe = |data: Metadata| data.is_dir() && is_private(&data);
    fs::symlink_metadata(directory).is_ok_and(is_safe)
}

fn is_private(data: &Metadata) -> bool {
    data.uid() == geteuid().as_raw() && data.mode() & 0o022 == 0
}

fn content(path: &Path) -> Option<String> {
    // A fifo would wait for ever, and a link may lead anywhere.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file: File = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let data = file.metadata().ok().filter(|data| data.is_file() && is_private(data))?;
    let mut text = String::new();
    file.take(BYTES_MAX).read_to_string(&mut text).ok().filter(|_| data.len() < BYTES_MAX)?;
    Some(text)
}

/// Removes what serves nobody, and the oldest of what is too much.
fn sweep(directory: &Path, unix_ms: u64) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| {
            let seconds = u64::try_from(entry.metadata().ok()?.mtime()).ok()?;
            Some((seconds * 1000, entry.path()))
        })
        .collect();
    files.sort();
    let many = files.len().saturating_sub(FILES_MAX - 1);
    for (at, (modified, path)) in files.iter().enumerate() {
        if at < many || unix_ms.saturating_sub(*modified) > OLD_MS {
            let _ = fs::remove_file(path);
        }
    }
}

fn encode(watch: &Watch) -> String {
    let moment = |at: Moment| format!("{} {}", at.boot.as_nanos(), at.mono.as_nanos());
    let mut text = String::new();
    // Writing to a string cannot fail.
    if let Some(Sighting { token, holder, renewals, since }) = &watch.sighting {
        let since = moment(*since);
        let _ = writeln!(text, "holder {} {:032x} {renewals} {since}", token.0, holder.0);
    }
    if let Some(Standing { state: Expected::Version(version), at, least }) = &watch.stood
        && !version.as_str().contains('\n')
    {
        let (at, least) = (moment(*at), least.as_nanos());
        let _ = writeln!(text, "state {at} {least} {}", version.as_str());
    }
    text
}

/// What cannot be read is not there.
fn decode(text: &str) -> Watch {
    let mut watch = Watch::default();
    // A number that was cut is another number: only whole lines count.
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        match line.split_once(' ') {
            Some(("holder", rest)) => watch.sighting = sighting(rest),
            Some(("state", rest)) => watch.stood = standing(rest),
            _ => {}
        }
    }
    watch
}

fn sighting(text: &str) -> Option<Sighting> {
    let mut words = text.split(' ');
    Some(Sighting {
        token: words.next()?.parse().ok()?,
        holder: HolderId(u128::from_str_radix(words.next()?, 16).ok()?),
        renewals: words.next()?.parse().ok()?,
        since: moment(&mut words)?,
    })
}

fn standing(text: &str) -> Option<Standing> {
    let mut words = text.splitn(4, ' ');
    Some(Standing {
        at: moment(&mut words)?,
        least: span(words.next()?)?,
        state: Expected::Version(Version::new(words.next()?)),
    })
}

fn moment<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Moment> {
    Some(Moment { boot: span(words.next()?)?, mono: span(words.next()?)? })
}

fn span(text: &str) -> Option<Duration> {
    text.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use leasehold_core::record::FencingToken;

    use super::*;

    /// What was kept is read as it was meant, by nobody but its owner, for the same name of the same store
    /// on the same boot; damage, links and directories of others are as good as nothing.
    #[test]
    fn what_was_kept_is_found_and_anything_else_is_nothing() {
        let random = crate::env::Host.unique();
        let root = std::env::temp_dir().join(format!("leasehold-seen-{random:032x}"));
        let sightings = Sightings { directories: vec![root.clone()], clocks: "boot here".into() };
        let key = Key::new("a name").expect("a good name");
        let at =
            |ms| Moment { boot: Duration::from_millis(ms), mono: Duration::from_millis(ms + 1) };
        let state = Expected::Version(Version::new("v 1"));
        let watch = Watch {
            sighting: Some(Sighting {
                token: FencingToken(7),
                holder: HolderId(u128::MAX),
                renewals: 3,
                since: at(5),
            }),
            stood: Some(Standing { state, at: at(9), least: Duration::from_secs(2) }),
        };
        let now = crate::env::Host.now();
        assert_eq!(sightings.read("s://", &key), None);
        sightings.write("s://", &key, &watch, now, 1).expect("it is kept");
        assert_eq!(sightings.read("s://", &key), Some(watch.clone()));
        assert_eq!(sightings.read("t://", &key), None);
        let other = Sightings { directories: vec![root.clone()], clocks: "boot there".into() };
        assert_eq!(other.read("s://", &key), None);

        let path = root.join(name("s://", &key));
        assert_eq!(fs::metadata(&path).expect("it is there").mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).expect("text");
        for end in 0..text.len() {
            fs::write(&path, &text[..end]).expect("written");
            let read = sightings.read("s://", &key).unwrap_or_default();
            assert!(read.sighting.is_none() || read.sighting == watch.sighting, "{end}");
        }
        fs::rename(&path, root.join("elsewhere")).expect("it is there");
        std::os::unix::fs::symlink(root.join("elsewhere"), &path).expect("a link");
        assert_eq!(sightings.read("s://", &key), None);
        for n in 0..2 * FILES_MAX {
            File::create(root.join(format!("{n}"))).expect("made");
        }
        let another = Key::new("another").expect("a good name");
        sightings.write("s://", &another, &watch, now, 2).expect("it is kept");
        assert!(fs::read_dir(&root).expect("listed").count() <= FILES_MAX);
        fs::set_permissions(&root, std::os::unix::fs::PermissionsExt::from_mode(0o770))
            .expect("set");
        assert_eq!(sightings.read("s://", &another), None, "others can write there");
        let _ = fs::remove_dir_all(&root);
    }
}
