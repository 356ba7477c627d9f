//! One record: stale writers, damage, removal, names, permissions.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use leasehold::backend::file::FileBackend;
use leasehold_core::backend::{
    Backend, Expected, Fate, Key, MAX_RECORD_BYTES, Trouble, Version, Written,
};

use super::{Scratch, key, names, newest, put, write};

/// Guards against a late create that wins because the first states are long gone.
#[tokio::test]
async fn a_stale_create_conflicts() {
    let scratch = Scratch::new();
    let (backend, name) = (scratch.open(), key("k"));
    let mut version = put(&backend, &name, &Expected::Absent, b"first").await;
    for _ in 0..5 {
        version = put(&backend, &name, &Expected::Version(version), b"next").await;
    }
    let late = write(&backend, &name, &Expected::Absent, b"late").await;
    let Written::Conflict(Some(winner)) = late else { panic!("{late:?}") };
    assert_eq!((winner.version, winner.bytes), (version, b"next".to_vec()));
    assert_eq!(names(&scratch.0), [".alive", "k"], "its draft is gone");
}

/// Guards against an old version that is taken for the newest, or that comes back with the same
/// bytes.
#[tokio::test]
async fn a_stale_version_conflicts() {
    let scratch = Scratch::new();
    let (backend, name) = (scratch.open(), key("k"));
    let absent = Expected::Version(Version::new("nothing like it"));
    assert_eq!(write(&backend, &name, &absent, b"x").await, Written::Conflict(None));
    let mut versions = vec![put(&backend, &name, &Expected::Absent, b"same").await];
    for _ in 0..5 {
        let last = Expected::Version(versions[versions.len() - 1].clone());
        let next = put(&backend, &name, &last, b"same").await;
        assert!(!versions.contains(&next));
        versions.push(next);
    }
    let newest = versions.pop();
    for old in versions {
        match write(&backend, &name, &Expected::Version(old), b"late").await {
            Written::Conflict(winner) => assert_eq!(winner.map(|w| w.version), newest),
            Written::Applied(_) => panic!("an old version was taken"),
        }
    }
}

/// Guards against a panic, an unbounded read or a blind overwrite when somebody edited, cut or
/// replaced a state; and against a state that cannot be repaired.
#[tokio::test]
async fn a_damaged_state_is_another_version_and_can_be_replaced() {
    let scratch = Scratch::new();
    let (backend, name) = (scratch.open(), key("k"));
    let mut version = put(&backend, &name, &Expected::Absent, b"good").await;
    let megabyte = vec![b'x'; 1 << 20];
    let header = b"leasehold-file 1 boot= time=\xff at=-1 writer=\n";
    let damages: [&[u8]; 6] =
        [b"", b"leasehold-file 1 boot", b"\0\n\xff", &megabyte, header, b"{}"];
    for damage in damages {
        fs::write(scratch.state(&name), damage).expect("it can be written");
        let read = newest(&backend, &name).await.expect("a record");
        assert!(read.bytes.len() <= MAX_RECORD_BYTES + 1);
        assert!(damage == header || damage.starts_with(&read.bytes));
        assert_eq!((read.age, read.orphaned), (None, false));
        let stale = write(&backend, &name, &Expected::Version(version), b"good").await;
        assert!(matches!(stale, Written::Conflict(Some(_))), "{stale:?}");
        version = put(&backend, &name, &Expected::Version(read.version), b"good").await;
        assert_eq!(newest(&backend, &name).await.expect("a record").bytes, b"good");
    }
    let mut file = File::options().append(true).open(scratch.state(&name)).expect("it is there");
    file.write_all(&megabyte).expect("it grows");
    let grown = newest(&backend, &name).await.expect("a record");
    assert_eq!(grown.bytes.len(), MAX_RECORD_BYTES + 1);
    file.write_all(b"y").expect("it grows");
    assert_ne!(newest(&backend, &name).await.expect("a record").version, grown.version);
}

/// Guards against a key that can never be used again because its state, its head or its whole
/// directory was removed or replaced by hand.
#[tokio::test]
async fn what_was_removed_by_hand_can_be_used_again() {
    let scratch = Scratch::new();
    let (backend, name) = (scratch.open(), key("k"));
    let directory = scratch.0.join("k");
    let old = put(&backend, &name, &Expected::Absent, b"old").await;

    fs::remove_file(scratch.state(&name)).expect("it is there");
    let empty = newest(&backend, &name).await.expect("the head stands");
    assert_eq!(empty.bytes, b"");
    put(&backend, &name, &Expected::Version(empty.version), b"repaired").await;

    let head = names(&directory).into_iter().find(|name| name.starts_with("head-"));
    fs::remove_file(directory.join(head.expect("a head"))).expect("it is there");
    let error = backend.read(&name).await.expect_err("no head");
    assert_eq!(error.trouble, Trouble::Corrupt);
    assert!(error.message.contains(&backend.locate(&name)), "{error}");

    fs::remove_dir_all(&directory).expect("it is there");
    assert_eq!(newest(&backend, &name).await, None);
    let late = write(&backend, &name, &Expected::Version(old.clone()), b"late").await;
    assert_eq!(late, Written::Conflict(None));

    fs::create_dir(&directory).expect("it is not there");
    assert_eq!(newest(&backend, &name).await, None);
    let new = put(&backend, &name, &Expected::Absent, b"new").await;
    assert_ne!(new, old);

    fs::remove_dir_all(&directory).expect("it is there");
    fs::write(&directory, b"a file").expect("it is not there");
    let error = backend.read(&name).await.expect_err("a file");
    assert_eq!(error.trouble, Trouble::Corrupt);
    let error = backend.write(&name, &Expected::Absent, b"x").await.expect_err("a file");
    assert_eq!((error.trouble, error.fate), (Trouble::Corrupt, Fate::NotSent));

    fs::remove_file(&directory).expect("it is there");
    std::os::unix::fs::symlink(std::env::temp_dir(), &directory).expect("it is not there");
    let error = backend.read(&name).await.expect_err("a link");
    assert_eq!(error.trouble, Trouble::Corrupt);
    assert_eq!(backend.list("").await.expect("a list"), []);
}

/// Guards against a deleted record that a late writer brings back, and against versions that begin
/// again.
#[tokio::test]
async fn a_deleted_record_is_absent_and_stays_so() {
    let scratch = Scratch::new();
    let (backend, name) = (scratch.open(), key("k"));
    let first = put(&backend, &name, &Expected::Absent, b"1").await;
    let second = put(&backend, &name, &Expected::Version(first.clone()), b"2").await;
    assert!(!backend.delete(&name, &first).await.expect("an answer"));
    assert!(backend.delete(&name, &second).await.expect("an answer"));
    assert!(!backend.delete(&name, &second).await.expect("an answer"));
    assert_eq!(newest(&backend, &name).await, None);
    assert_eq!(backend.list("").await.expect("a list"), []);
    let late = write(&backend, &name, &Expected::Version(second.clone()), b"late").await;
    assert_eq!(late, Written::Conflict(None));
    let third = put(&backend, &name, &Expected::Absent, b"3").await;
    assert!(![first, second].contains(&third));
    assert_eq!(newest(&backend, &name).await.expect("a record").bytes, b"3");
}

/// Guards against a name that leaves its directory, meets another name, or is lost in `list`.
#[tokio::test]
async fn every_name_has_its_own_directory_and_is_listed() {
    let scratch = Scratch::new();
    let backend = scratch.open();
    let long = |end: &str| format!("{}{end}", "\u{e9}".repeat(99));
    let mut keys: Vec<Key> =
        ["a", "A", "a/b", "a%2Fb", "a~b", ".alive", ".new-x", "head-1", "x y", "-"]
            .map(String::from)
            .into_iter()
            .chain([long("1"), long("2"), "n".repeat(200), "!".repeat(67)])
            .map(|name| key(&name))
            .collect();
    keys.sort();
    for name in &keys {
        put(&backend, name, &Expected::Absent, name.as_str().as_bytes()).await;
    }
    for name in &keys {
        let read = newest(&backend, name).await.expect("a record");
        assert_eq!(read.bytes, name.as_str().as_bytes());
        let place = PathBuf::from(backend.locate(name));
        assert_eq!(place.parent(), Some(&*scratch.0.canonicalize().expect("it is there")));
        assert!(place.is_dir());
    }
    fs::create_dir(scratch.0.join("%41")).expect("a second spelling of A");
    fs::write(scratch.0.join("notes.txt"), b"foreign").expect("it can be written");
    assert_eq!(backend.list("").await.expect("a list"), keys);
    assert_eq!(backend.list("a/").await.expect("a list"), [key("a/b")]);
}

/// Guards against a file or a directory that others can read or write.
#[tokio::test]
async fn everything_is_private() {
    let scratch = Scratch::new();
    let backend = scratch.open();
    put(&backend, &key("k"), &Expected::Absent, b"1").await;
    let mut open = vec![scratch.0.clone()];
    while let Some(path) = open.pop() {
        let data = fs::symlink_metadata(&path).expect("it is there");
        let mode = data.permissions().mode() & 0o777;
        assert_eq!(mode, if data.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
        if data.is_dir() {
            open.extend(names(&path).iter().map(|name| path.join(name)));
        }
    }
}

/// Guards against a place that cannot work being found out only at the first lock.
#[tokio::test]
async fn a_place_that_cannot_work_is_refused_at_once() {
    let scratch = Scratch::new();
    fs::write(&scratch.0, b"a file").expect("it can be written");
    for place in [scratch.0.clone(), scratch.0.join("below")] {
        let error = FileBackend::open(place.clone(), false).expect_err("a file");
        assert_eq!((error.trouble, error.fate), (Trouble::Invalid, Fate::NotSent));
        assert!(error.message.contains(place.to_str().expect("text")), "{error}");
    }
    fs::remove_file(&scratch.0).expect("it is there");
    let backend = scratch.open();
    let long = vec![b'x'; MAX_RECORD_BYTES + 1];
    let error = backend.write(&key("k"), &Expected::Absent, &long).await.expect_err("too long");
    assert_eq!((error.trouble, error.fate), (Trouble::Invalid, Fate::NotSent));
    put(&backend, &key("k"), &Expected::Absent, &long[1..]).await;
    assert_eq!(newest(&backend, &key("k")).await.expect("a record").bytes, &long[1..]);
}

/// Guards against a typing error that becomes a store: only a write makes the directory.
#[tokio::test]
async fn asking_makes_nothing() {
    let scratch = Scratch::new();
    let (backend, name) =
        (FileBackend::open(scratch.0.join("a/b"), false).expect("usable"), key("k"));
    assert_eq!(newest(&backend, &name).await, None);
    assert_eq!(backend.list("").await.expect("a list"), []);
    let absent = Expected::Version(Version::new("nothing like it"));
    assert_eq!(write(&backend, &name, &absent, b"x").await, Written::Conflict(None));
    assert!(!scratch.0.exists());
    put(&backend, &name, &Expected::Absent, b"x").await;
    assert_eq!(backend.list("").await.expect("a list"), [name]);
}

/// A state is written into the room of the one before the last, whatever their lengths; not where that file
/// has a second name, such as in a backup by hard links, which stays as it was.
#[tokio::test]
async fn a_dead_state_gives_its_room_and_no_backup_is_touched() {
    use std::os::unix::fs::MetadataExt;
    let scratch = Scratch::new();
    let (backend, name) = (scratch.open(), key("k"));
    let directory = scratch.0.join("k");
    let inode = || fs::metadata(scratch.state(&name)).expect("it is there").ino();
    let mut version = put(&backend, &name, &Expected::Absent, &[b'a'; 3000]).await;
    let mut inodes = vec![inode()];
    for bytes in [&b"short"[..], &[b'b'; 5000], b"", b"ends in lines\n\n", &[b'c'; 10]] {
        version = put(&backend, &name, &Expected::Version(version), bytes).await;
        assert_eq!(newest(&backend, &name).await.expect("a record").bytes, bytes);
        inodes.push(inode());
    }
    assert!(inodes.windows(3).all(|three| three[0] == three[2]), "two files in turn: {inodes:?}");

    let names = names(&directory);
    assert_eq!(names.len(), 3, "{names:?}");
    let spare = names.iter().find(|name| name.starts_with("spare-")).expect("a spare");
    let (spare, backup) = (directory.join(spare), scratch.0.join("backup"));
    fs::hard_link(&spare, &backup).expect("linked");
    let before = fs::read(&backup).expect("read");
    put(&backend, &name, &Expected::Version(version), b"after the backup").await;
    assert_eq!(fs::read(&backup).expect("read"), before);
    assert_eq!(newest(&backend, &name).await.expect("a record").bytes, b"after the backup");
}

/// A directory that its group may write to is shared by the group; one that all the world may write to is
/// shared with nobody.
#[tokio::test]
async fn the_directory_says_who_shares_it() {
    for (mode, directory, file) in
        [(0o2770, 0o2770, 0o660), (0o700, 0o700, 0o600), (0o1777, 0o700, 0o600)]
    {
        let scratch = Scratch::new();
        fs::create_dir(&scratch.0).expect("made");
        fs::set_permissions(&scratch.0, fs::Permissions::from_mode(mode)).expect("set");
        put(&scratch.open(), &key("k"), &Expected::Absent, b"1").await;
        let mut open = vec![scratch.0.join("k"), scratch.0.join(".alive")];
        while let Some(path) = open.pop() {
            let data = fs::symlink_metadata(&path).expect("it is there");
            let wanted = if data.is_dir() { directory } else { file };
            assert_eq!(data.permissions().mode() & 0o7777, wanted, "{}", path.display());
            if data.is_dir() {
                open.extend(names(&path).iter().map(|name| path.join(name)));
            }
        }
    }
}
