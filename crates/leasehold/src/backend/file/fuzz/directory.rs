//! The target `directory`: the directory of a lock in which somebody has been at work.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use leasehold_core::backend::{Expected, Key, Trouble, Version, Written};
use leasehold_fuzz::Target;

use super::super::layout::Tag;
use super::super::store::{Look, Store};

const WORDS: &[&str] = &[
    "head-00000000000000000007-0123456789abcdef0123456789abcdef",
    "state-00000000000000000007-0123456789abcdef0123456789abcdef",
    "gone-00000000000000000008-0123456789abcdef0123456789abcdef",
    "head-18446744073709551615-0123456789abcdef0123456789abcdef",
    "spare-00000000000000000006-0123456789abcdef0123456789abcdef",
    "spare-00000000000000000005-0123456789abcdef0123456789abcdef",
    "name",
    "file ",
    "second ",
    "folder ",
    "link ",
    " ../outside",
    " /dev/null",
    "\n",
    "leasehold-file 1 boot=- time=- at=- writer=-",
];

/// Whatever files, folders and links stand in a lock's directory: what is read there can be written
/// over, once, by the writer that names the version that was read, or an error says why not; and nothing
/// outside is touched.
#[test]
fn directory() {
    let root = root();
    fs::create_dir_all(root).expect("the directory can be made");
    Target { name: "directory", words: WORDS, runs: 1_000, check }.fuzz();
    fs::remove_dir_all(root).expect("the directory is ours");
}

/// In memory where that can be had, because everything is made durable.
fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let memory = PathBuf::from("/dev/shm");
        let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
        folder.join(format!("leasehold-fuzz-{}", std::process::id()))
    })
}

/// One for all runs: each keeps a liveness file open.
fn store() -> &'static Store {
    static STORE: OnceLock<Store> = OnceLock::new();
    STORE.get_or_init(|| Store::new(root().to_owned(), true))
}

fn check(bytes: &[u8]) -> bool {
    let Ok(script) = str::from_utf8(bytes) else { return false };
    let key = Key::new("k").expect("a name");
    let place = store().directory(&key);
    let outside = root().join("outside");
    fs::write(&outside, "untouched").expect("ours");
    remove(&place);
    build(&place, script);
    let found = used(&key);
    assert_eq!(fs::read(&outside).expect("it is there"), b"untouched");
    found
}

/// One line for each thing that stands there: `file NAME CONTENT`, `folder NAME`, `link NAME TARGET`, and
/// `second NAME`, a second name of the file outside.
fn build(place: &Path, script: &str) {
    for line in script.lines().take(20) {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        // What no file can be called stands nowhere.
        if name.is_empty() || name.contains(['/', '\0']) || matches!(name, "." | "..") {
            continue;
        }
        let _ = fs::create_dir(place);
        let path = place.join(name);
        let _ = match kind {
            "file" => fs::write(&path, rest.replace("\\n", "\n")),
            "folder" => fs::create_dir(&path),
            "second" => fs::hard_link(root().join("outside"), &path),
            "link" => symlink(rest, &path),
            _ => continue,
        };
    }
}

fn remove(place: &Path) {
    if place.exists() {
        fs::remove_dir_all(place).expect("ours");
    }
}

/// Reads, writes over it, reads again, deletes, makes anew. True if a record was there.
fn used(key: &Key) -> bool {
    let store = store();
    let listed = store.list("").expect("the directory above is fine");
    let (expected, bytes) = match store.look(key) {
        Err(error) => {
            assert!(matches!(error.trouble, Trouble::Corrupt | Trouble::Unavailable), "{error}");
            return false;
        }
        Ok(Look::Present(_, seen)) => {
            assert_eq!(listed, std::slice::from_ref(key));
            let seen = store.versioned(seen);
            (Expected::Version(seen.version), Some(seen.bytes))
        }
        Ok(Look::Gone(..) | Look::Nothing) => (Expected::Absent, None),
    };
    let wrong = Expected::Version(Version::new("7"));
    let refused = store.write(key, &wrong, b"wrong").map(|written| match written {
        Written::Conflict(now) => now.map(|now| now.bytes),
        Written::Applied(_) => panic!("a write on another version landed"),
    });
    assert!(refused.is_err() || refused.is_ok_and(|now| now == bytes));
    let version = match store.write(key, &expected, b"ours") {
        Ok(Written::Applied(version)) => version,
        Ok(Written::Conflict(_)) => panic!("nobody else was there"),
        Err(error) => {
            assert_eq!(error.trouble, Trouble::Corrupt, "{error}");
            return false;
        }
    };
    let now = read(key);
    assert_eq!(now, Some((version.clone(), b"ours".to_vec())));
    let late = store.write(key, &expected, b"late").expect("it can be read");
    assert!(matches!(late, Written::Conflict(_)), "one version was written over twice");
    let tag = Tag::of(&version).expect("our own");
    // A program that forges a head near the end of all numbers leaves none for what follows.
    if tag.state.seq > u64::MAX - 2 {
        return true;
    }
    assert!(store.delete(key, tag).expect("it can be written"));
    assert_eq!(read(key), None);
    let anew = store.write(key, &Expected::Absent, b"anew").expect("it can be written");
    assert!(matches!(anew, Written::Applied(_)), "{anew:?}");
    bytes.is_some()
}

fn read(key: &Key) -> Option<(Version, Vec<u8>)> {
    match store().look(key).expect("it was written") {
        Look::Present(_, seen) => {
            let seen = store().versioned(seen);
            Some((seen.version, seen.bytes))
        }
        Look::Gone(..) | Look::Nothing => None,
    }
}
