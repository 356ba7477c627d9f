//! Backends that lie, each in its own way and seldom: each must be convicted, in a few lines.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use leasehold_conformance::{Contradiction, History, Recorder, Refusals};
use leasehold_core::backend::{
    Backend, BackendError, BoxFuture, Expected, Facts, Key, Reading, Trouble, Version, Versioned,
    Written,
};
use tokio::task::{JoinSet, yield_now};

use crate::generate::Chance;

/// What a backend does wrong, one time in ten that it could.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lie {
    /// Nothing.
    Honest,
    /// It answers a read from a replica that is one state behind.
    StaleRead,
    /// It finds nothing while a file is being replaced.
    AbsentForAMoment,
    /// It applies a write over a state that has just been replaced: two writers on one version are
    /// both told that they have it.
    LostUpdate,
    /// It says that a write landed, and has it in a cache that is lost.
    Forgotten,
    /// It counts versions from 1 again when a record was deleted.
    VersionComesBack,
    /// Its version is the time in something too coarse.
    VersionShared,
    /// Something repeats a write, and does not repeat its condition.
    LandsTwice,
    /// A client library repeats a write whose reply it missed, and tells the second answer.
    RefusedLanded,
    /// It says that a request was never sent, and it was.
    NotSentLanded,
    /// It takes a busy store for a lost race.
    RefusedForNothing,
    /// It says that it deleted, and has not.
    DeletedStands,
    /// Two writes get mixed into one record.
    Mixed,
}

#[derive(Clone, Default)]
struct Stored {
    record: Option<(u64, Vec<u8>)>,
    before: Option<(u64, Vec<u8>)>,
    versions: u64,
    told: u64,
}

struct Liar {
    lie: Lie,
    stored: Mutex<Stored>,
    chance: Mutex<Chance>,
    lies: AtomicU64,
}

impl std::fmt::Debug for Liar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Liar({:?})", self.lie)
    }
}

fn version(number: u64) -> Version {
    Version::new(number.to_string())
}

impl Liar {
    fn new(lie: Lie, seed: u64) -> Liar {
        let (stored, chance) = (Mutex::default(), Mutex::new(Chance(seed)));
        Liar { lie, stored, chance, lies: AtomicU64::new(0) }
    }

    /// Whether it lies like this, this time, where it `can`.
    fn lies(&self, lie: Lie, can: bool) -> bool {
        let lies = can && self.lie == lie && self.chance.lock().expect("no panic").below(10) == 0;
        self.lies.fetch_add(u64::from(lies), Ordering::Relaxed);
        lies
    }

    fn show(&self) -> Option<(u64, Vec<u8>)> {
        let mut stored = self.stored.lock().expect("no panic");
        if self.lies(Lie::AbsentForAMoment, stored.record.is_some()) {
            return None;
        }
        if self.lies(Lie::StaleRead, stored.before != stored.record) {
            return stored.before.clone();
        }
        if let Some((version, bytes)) = stored.record.clone()
            && self.lies(Lie::LandsTwice, stored.told == version)
        {
            stored.versions += 1;
            stored.record = Some((stored.versions, bytes));
        }
        stored.record.clone()
    }

    fn swap(&self, expected: &Expected, bytes: &[u8]) -> Result<Written, BackendError> {
        let mut stored = self.stored.lock().expect("no panic");
        let is = |state: &Option<(u64, Vec<u8>)>| match (expected, state) {
            (Expected::Absent, state) => state.is_none(),
            (Expected::Version(v), Some((number, _))) => *v == version(*number),
            (Expected::Version(_), None) => false,
        };
        if !is(&stored.record) && !self.lies(Lie::LostUpdate, is(&stored.before)) {
            return Ok(Written::Conflict(None));
        }
        if self.lies(Lie::RefusedForNothing, true) {
            return Ok(Written::Conflict(None));
        }
        if !self.lies(Lie::VersionShared, stored.record.is_some()) {
            stored.versions += 1;
        }
        let number = stored.versions;
        if self.lies(Lie::Forgotten, true) {
            return Ok(Written::Applied(version(number)));
        }
        stored.before = stored.record.take();
        let mut bytes = bytes.to_vec();
        if self.lies(Lie::Mixed, true) {
            bytes.extend(b" and another");
        }
        stored.record = Some((number, bytes));
        if self.lies(Lie::RefusedLanded, true) {
            return Ok(Written::Conflict(None));
        }
        if self.lies(Lie::NotSentLanded, true) {
            return Err(BackendError::not_sent(Trouble::Unavailable, "no route"));
        }
        stored.told = number;
        Ok(Written::Applied(version(number)))
    }

    fn remove(&self, expected: &Version) -> bool {
        let mut stored = self.stored.lock().expect("no panic");
        if stored.record.as_ref().is_none_or(|(number, _)| *expected != version(*number)) {
            return false;
        }
        if self.lies(Lie::DeletedStands, true) {
            return true;
        }
        stored.before = stored.record.take();
        if self.lies(Lie::VersionComesBack, true) {
            stored.versions = 0;
        }
        true
    }
}

impl Backend for Liar {
    fn facts(&self) -> Facts {
        Facts {
            least_write_interval: Duration::ZERO,
            clock_uncertainty: Duration::ZERO,
            least_poll: Duration::from_millis(10),
            notifies: false,
        }
    }

    fn url(&self) -> String {
        "liar://".into()
    }

    fn locate(&self, key: &Key) -> String {
        format!("liar://{key}")
    }

    fn read<'a>(&'a self, _: &'a Key) -> BoxFuture<'a, Result<Reading, BackendError>> {
        Box::pin(async {
            yield_now().await;
            let record = self.show().map(|(number, bytes)| Versioned {
                bytes,
                version: version(number),
                age: None,
                orphaned: false,
            });
            yield_now().await;
            Ok(Reading { record, unix_ms: None })
        })
    }

    fn write<'a>(
        &'a self,
        _: &'a Key,
        expected: &'a Expected,
        bytes: &'a [u8],
    ) -> BoxFuture<'a, Result<Written, BackendError>> {
        Box::pin(async {
            yield_now().await;
            let written = self.swap(expected, bytes);
            yield_now().await;
            written
        })
    }

    fn delete<'a>(
        &'a self,
        _: &'a Key,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async {
            yield_now().await;
            let deleted = self.remove(version);
            yield_now().await;
            Ok(deleted)
        })
    }

    fn list<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<Key>, BackendError>> {
        Box::pin(async { Ok(vec![]) })
    }
}

/// Reads and writes, sometimes on what is out of date.
async fn client(store: Recorder, seed: u64, rounds: usize) {
    let (mut chance, name) = (Chance(seed), Key::new("x").expect("a name"));
    let mut known = Expected::Absent;
    for round in 0..rounds {
        let learnt = match chance.below(10) {
            0..4 => {
                let record = store.read(&name).await.expect("an answer").record;
                Some(record.map_or(Expected::Absent, |state| Expected::Version(state.version)))
            }
            4..9 => {
                let bytes = format!("{round} by {seed}");
                match store.write(&name, &known, bytes.as_bytes()).await {
                    Ok(Written::Applied(version)) => Some(Expected::Version(version)),
                    _ => None,
                }
            }
            _ => match &known {
                Expected::Version(version) => store
                    .delete(&name, version)
                    .await
                    .expect("an answer")
                    .then_some(Expected::Absent),
                Expected::Absent => None,
            },
        };
        known = learnt.unwrap_or(known);
        for _ in 0..chance.below(4) {
            yield_now().await;
        }
    }
}

/// What four clients are told by a backend that lies like this, and how often it did.
async fn told_by(lie: Lie, seed: u64, rounds: usize) -> (History, u64) {
    let (liar, history) = (Arc::new(Liar::new(lie, seed)), History::default());
    let mut clients = JoinSet::new();
    for number in 0..4 {
        let store = Recorder::new(format!("client {number}"), liar.clone(), &history);
        clients.spawn(client(store, 4 * seed + number, rounds));
    }
    clients.join_all().await;
    (history, liar.lies.load(Ordering::Relaxed))
}

async fn convicted(lie: Lie, refusals: Refusals) -> Contradiction {
    let (history, lies) = told_by(lie, 1, 200).await;
    assert!(lies > 0, "it had no occasion");
    let contradiction = history.check(refusals).expect_err("it lied");
    let text = contradiction.to_string();
    println!("{lie:?}, {lies} times, {text}\n");
    // A person looks at these, and not at hundreds.
    assert!(contradiction.operations.len() <= 8, "{text}");
    assert!(text.lines().count() == contradiction.operations.len() + 2, "{text}");
    contradiction
}

/// Whoever is honest must not be convicted, however many race: nobody would believe the kit again.
#[tokio::test]
async fn the_honest_is_not_convicted() {
    for seed in 0..30 {
        let (history, _) = told_by(Lie::Honest, seed, 100).await;
        let found = history.check(Refusals::Prove).unwrap_or_else(|wrong| panic!("{wrong}"));
        assert!(found.landed > 20 && found.refused > 20, "{found:?}");
    }
}

/// Each of these would let two hold a lock, or a token go back, on the day it happens. It happens
/// one time in ten here, among eight hundred answers that look right one by one.
#[tokio::test]
async fn liars_are_convicted() {
    let lies = [
        Lie::StaleRead,
        Lie::AbsentForAMoment,
        Lie::LostUpdate,
        Lie::Forgotten,
        Lie::VersionComesBack,
        Lie::VersionShared,
        Lie::LandsTwice,
        Lie::NotSentLanded,
        Lie::RefusedForNothing,
        Lie::DeletedStands,
        Lie::Mixed,
    ];
    for lie in lies {
        for refusals in [Refusals::Prove, Refusals::MayBeOfASecondCopy] {
            convicted(lie, refusals).await;
        }
    }
}

/// A refused write that landed is a lie of a backend, whose every call is one attempt; and is what
/// a network that repeats requests does to an honest one. Only the first may be convicted.
#[tokio::test]
async fn refused_but_landed_is_a_matter_of_who_is_asked() {
    convicted(Lie::RefusedLanded, Refusals::Prove).await;
    let (history, lies) = told_by(Lie::RefusedLanded, 1, 200).await;
    assert!(lies > 0, "it had no occasion");
    let check = history.check(Refusals::MayBeOfASecondCopy);
    check.unwrap_or_else(|wrong| panic!("{wrong}"));
}
