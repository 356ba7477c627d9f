//! What one host can know: a writer's end, a state's age, and that something has changed.

use std::fs::{self, File};
use std::time::Duration;

use leasehold::backend::file::FileBackend;
use leasehold::env::{Env, Host};
use leasehold_core::backend::{Backend, Expected};

use super::{FREE, HELD, Other, Scratch, increment, key, names, newest, number, put};

/// Guards against taking a lock from a living process, and against waiting a whole ttl for a dead
/// one.
#[tokio::test]
async fn a_state_is_orphaned_when_its_writer_and_its_helpers_have_ended() {
    let scratch = Scratch::new();
    let (backend, name) = (scratch.open(), key("held"));
    let mut other = Other::start("hold", &scratch);
    let liveness = other.says().expect("a path");
    let orphaned = async || newest(&backend, &name).await.expect("a record").orphaned;
    assert!(!orphaned().await);
    other.signal("-STOP");
    assert!(!orphaned().await, "stopped is not dead");

    let helper = File::options().read(true).write(true).open(&liveness).expect("it is there");
    helper.try_lock_shared().expect("nobody has it exclusively");
    other.kill();
    assert!(!orphaned().await, "a helper lives");
    drop(helper);
    assert!(orphaned().await);
    assert!(orphaned().await, "asking does not change the answer");

    fs::rename(&liveness, scratch.0.join("elsewhere")).expect("it is there");
    assert!(!orphaned().await, "a missing file proves nothing");
    fs::create_dir(&liveness).expect("it is not there");
    assert!(!orphaned().await, "nor does something else in its place");
}

/// Guards against a process that takes itself, or another backend of its own, for dead.
#[tokio::test]
async fn a_living_process_is_never_dead_to_itself() {
    let scratch = Scratch::new();
    let (one, two, name) = (scratch.open(), scratch.open(), key("k"));
    put(&one, &name, &Expected::Absent, HELD).await;
    assert!(!newest(&one, &name).await.expect("a record").orphaned);
    assert!(!newest(&two, &name).await.expect("a record").orphaned);
    assert_ne!(one.liveness(), two.liveness());
    // A guard may outlive its backend.
    drop(one);
    assert!(!newest(&two, &name).await.expect("a record").orphaned);
}

/// Guards against thousands of short runs leaving a file each.
#[tokio::test]
async fn a_backend_that_holds_nothing_takes_its_liveness_file_away() {
    let scratch = Scratch::new();
    let (backend, name) = (scratch.open(), key("k"));
    let held = put(&backend, &name, &Expected::Absent, HELD).await;
    let alive = scratch.0.join(".alive");
    assert_eq!(names(&alive).len(), 1);
    put(&backend, &name, &Expected::Version(held), FREE).await;
    drop(backend);
    assert_eq!(names(&alive), [""; 0]);
}

/// A program ends without taking its liveness file away, as most do after a release. The file is
/// empty then, and goes a minute later; that of a writer that died holding stays, because a waiter
/// may learn from it.
#[tokio::test]
async fn what_idle_programs_left_behind_is_swept() {
    let scratch = Scratch::new();
    let (backend, name) = (scratch.open(), key("k"));
    let held = put(&backend, &name, &Expected::Absent, HELD).await;
    let alive = backend.liveness().expect("a liveness file");
    let bytes = || fs::metadata(&alive).expect("it is there").len();
    assert_eq!(bytes(), 1, "it holds something");
    put(&backend, &name, &Expected::Version(held), FREE).await;
    assert_eq!(bytes(), 0, "it holds nothing");
    let [idle, held, new] = [(2, 0), (2, 1), (0, 0)].map(|(minutes, bytes)| {
        let path = alive.with_file_name(format!("{minutes:016x}{bytes:016x}"));
        let file = File::create(&path).expect("made");
        file.set_len(bytes).expect("cut");
        let modified = file.metadata().and_then(|m| m.modified()).expect("a time");
        file.set_modified(modified - Duration::from_mins(minutes)).expect("set");
        path
    });
    scratch.open();
    assert_eq!([idle, held, new, alive].map(|path| path.exists()), [false, true, true, true]);
}

/// Guards against an age that is made up: it is small after a write, grows, and is told for every
/// state that this host wrote.
#[tokio::test]
async fn the_age_of_a_state_is_told() {
    let scratch = Scratch::new();
    let (backend, name) = (scratch.open(), key("k"));
    let before = Host.now().moment.boot;
    put(&backend, &name, &Expected::Absent, b"1").await;
    let first = newest(&backend, &name).await.expect("a record").age.expect("an age");
    let second = newest(&scratch.open(), &name).await.expect("a record").age.expect("an age");
    let now = Host.now().moment.boot;
    assert!(first < second);
    assert!(second <= now.saturating_sub(before), "no older than the call that wrote it");
}

/// Guards against relying on one host where the user said that there may be more.
#[tokio::test]
async fn a_network_file_system_gets_no_shortcuts() {
    let scratch = Scratch::new();
    let name = key("k");
    put(&scratch.open(), &name, &Expected::Absent, HELD).await;
    let shared = FileBackend::open(scratch.0.clone(), true).expect("a backend");
    assert!(!shared.facts().notifies);
    assert_eq!(shared.liveness(), None);
    assert!(shared.url().ends_with("?network-fs=allow"), "{}", shared.url());
    let read = newest(&shared, &name).await.expect("a record");
    assert_eq!((read.age, read.orphaned), (None, false));
    put(&shared, &name, &Expected::Version(read.version), HELD).await;
    let read = newest(&scratch.open(), &name).await.expect("a record");
    assert_eq!((read.age, read.orphaned), (None, false));
}

/// Guards against a waiter that sleeps through a create, a write or a delete.
#[tokio::test]
async fn a_waiter_is_woken_by_every_change() {
    let scratch = Scratch::new();
    let (waiter, writer, name) = (scratch.open(), scratch.open(), key("k"));
    let absent = Expected::Absent;
    let ((), first) = tokio::join!(biased; waiter.changed(&name, &absent), async {
        put(&writer, &name, &absent, b"1").await
    });
    let first = Expected::Version(first);
    // What has changed already needs no event.
    waiter.changed(&name, &absent).await;
    let ((), second) =
        tokio::join!(biased; waiter.changed(&name, &first), put(&writer, &name, &first, b"2"));
    let at = Expected::Version(second.clone());
    let ((), deleted) =
        tokio::join!(biased; waiter.changed(&name, &at), writer.delete(&name, &second));
    assert!(deleted.expect("an answer"));
    let ((), _) =
        tokio::join!(biased; waiter.changed(&name, &absent), put(&writer, &name, &absent, b"3"));
}

/// Guards against a race between the end of one watch and the begin of the next, with many waiters
/// of one key in one process.
#[tokio::test]
async fn many_waiters_miss_nothing() {
    let scratch = Scratch::new();
    let (waiter, writer, name) = (scratch.open(), scratch.open(), key("k"));
    let wait = async || {
        let mut last = 0;
        while last < 50 {
            let seen = newest(&waiter, &name).await;
            last = seen.as_ref().map_or(0, |seen| number(&seen.bytes));
            let since = seen.map_or(Expected::Absent, |seen| Expected::Version(seen.version));
            if last < 50 {
                waiter.changed(&name, &since).await;
            }
        }
    };
    let write = async {
        while increment(&writer, &name).await < 50 {
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(wait(), wait(), wait(), wait(), write);
}

/// Guards against a waiter that learns of a death only by polling.
#[tokio::test]
async fn a_waiter_is_woken_by_the_writers_death() {
    let scratch = Scratch::new();
    let (waiter, name) = (scratch.open(), key("held"));
    let mut other = Other::start("hold", &scratch);
    other.says().expect("a path");
    let held = newest(&waiter, &name).await.expect("a record");
    let since = Expected::Version(held.version);
    let kill = async {
        // Each goes through the same threads as the waiter's looks, so that it waits by now.
        for _ in 0..50 {
            newest(&waiter, &name).await;
        }
        // Another close of the file is no death.
        let alive = names(&scratch.0.join(".alive")).pop().expect("a liveness file");
        let path = scratch.0.join(".alive").join(alive);
        drop(File::options().write(true).open(path).expect("it is there"));
        other.kill();
    };
    tokio::join!(biased; waiter.changed(&name, &since), kill);
    assert!(newest(&waiter, &name).await.expect("a record").orphaned);
}

/// Guards against a busy loop: who was told of the writer's end is not woken by it again and again.
#[tokio::test]
async fn a_known_death_wakes_nobody() {
    let scratch = Scratch::new();
    let (waiter, writer, name) = (scratch.open(), scratch.open(), key("held"));
    let mut other = Other::start("hold", &scratch);
    other.says().expect("a path");
    other.kill();
    let dead = newest(&waiter, &name).await.expect("a record");
    assert!(dead.orphaned);
    let since = Expected::Version(dead.version);
    let mut waiting = waiter.changed(&name, &since);
    for _ in 0..20 {
        // Each of these goes through the same threads as the waiter's own looks.
        let read = newest(&writer, &name);
        tokio::select! {
            biased;
            () = &mut waiting => panic!("nothing has changed"),
            _ = read => {}
        }
    }
    tokio::join!(waiting, put(&writer, &name, &since, FREE));
}

/// The host restarts, or a container shows another boot id on the same kernel: the age means nothing then,
/// and a lock that can be taken proves the death all the same. A restored copy of the liveness file was
/// never locked by anybody, and proves nothing.
#[tokio::test]
async fn a_death_is_proven_whatever_the_boot_id_says() {
    let scratch = Scratch::new();
    let (backend, name) = (scratch.open(), key("held"));
    let mut other = Other::start("hold", &scratch);
    let liveness = other.says().expect("a path");
    let state = scratch.state(&name);
    let text = fs::read_to_string(&state).expect("text");
    let boot = text.split(' ').find(|part| part.starts_with("boot=")).expect("a boot id");
    for elsewhere in ["boot=6f1b1f6e-0f3f-4f0a-9d53-2f7e3f1c8a11", "boot=-"] {
        fs::write(&state, text.replace(boot, elsewhere)).expect("written");
        let read = newest(&backend, &name).await.expect("a record");
        assert_eq!((read.age, read.orphaned), (None, false), "it lives");
    }
    other.kill();
    let read = newest(&backend, &name).await.expect("a record");
    assert_eq!((read.age, read.orphaned, read.bytes), (None, true, HELD.to_vec()));

    fs::copy(&liveness, scratch.0.join("copy")).expect("copied");
    fs::rename(scratch.0.join("copy"), &liveness).expect("restored");
    assert!(!newest(&backend, &name).await.expect("a record").orphaned, "a copy");
}

/// The machine was off for a weekend. The first program after it sweeps what is older than a day, and not
/// the one file that proves that the holder is dead; once no record names that, it goes.
#[tokio::test]
async fn what_proves_a_death_is_not_swept() {
    let scratch = Scratch::new();
    let name = key("held");
    let mut other = Other::start("hold", &scratch);
    let liveness = other.says().expect("a path");
    other.kill();
    let file = File::options().write(true).open(&liveness).expect("it is there");
    let modified = file.metadata().and_then(|m| m.modified()).expect("a time");
    file.set_modified(modified - Duration::from_hours(70)).expect("set");
    let backend = scratch.open();
    let held = newest(&backend, &name).await.expect("a record");
    assert!(held.orphaned);
    put(&backend, &name, &Expected::Version(held.version), FREE).await;
    scratch.open();
    assert!(!fs::exists(&liveness).expect("known"));
}
