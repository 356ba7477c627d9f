//! A store in memory that is right but for one thing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use leasehold::core::admin::{Admin, Prices, Right};
use leasehold::core::backend::{
    Backend, BackendError, BoxFuture, Expected, Facts, Fate, Key, Reading, Trouble, Version,
    Versioned, Written,
};
use leasehold::env::Env;
use leasehold_conformance::Virtual;

/// What a [`Store`] does that a store should not do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lie {
    /// Writes are done whatever their condition.
    NoConditions,
    /// It looks, and then it writes: others come between.
    LooksThenWrites,
    /// Every read shows the state before the newest.
    OldReads,
    /// Reads come from a cache that misses every tenth write.
    CachedReads,
    /// After a deletion, versions are counted from one again.
    VersionsComeBack,
    /// Every second write is done and told as refused: something sends it twice.
    Repeats,
    /// A deletion is done whatever its condition.
    BlindDelete,
    /// Nobody may delete.
    NoDelete,
    /// Its clock is two hours behind.
    WrongClock,
    /// It tells ages in the wrong unit.
    WrongAges,
    /// It takes one write a second under each name, and asks for patience otherwise.
    Limited,
    /// Each answer takes nine seconds.
    Slow,
}

/// The store.
#[derive(Debug)]
pub(super) struct Store {
    env: Arc<Virtual>,
    lie: Lie,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    by_key: BTreeMap<Key, Place>,
    writes: u64,
}

/// What is known of one name.
#[derive(Debug, Default)]
struct Place {
    now: Option<State>,
    before: Option<State>,
    writes: u64,
}

#[derive(Clone, Debug)]
struct State {
    bytes: Vec<u8>,
    version: Version,
    landed: Duration,
}

impl Place {
    fn state(&self) -> Expected {
        let version = self.now.as_ref().map(|now| now.version.clone());
        version.map_or(Expected::Absent, Expected::Version)
    }
}

impl Store {
    pub(super) fn new(env: Arc<Virtual>, lie: Lie) -> Store {
        Store { env, lie, places: Mutex::default() }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().expect("no panic")
    }

    fn at<T>(&self, key: &Key, look: impl FnOnce(&mut Place) -> T) -> T {
        look(self.places().by_key.entry(key.clone()).or_default())
    }

    async fn answer(&self) {
        if self.lie == Lie::Slow {
            self.env.sleep(Duration::from_secs(9)).await;
        }
    }

    fn put(&self, key: &Key, bytes: &[u8]) -> (Version, u64) {
        let mut places = self.places();
        places.writes += 1;
        let all = places.writes;
        let place = places.by_key.entry(key.clone()).or_default();
        place.writes += 1;
        let number = if self.lie == Lie::VersionsComeBack { place.writes } else { all };
        let version = Version::new(number.to_string());
        let (bytes, landed) = (bytes.to_vec(), self.env.elapsed());
        place.before = place.now.replace(State { bytes, version: version.clone(), landed });
        (version, place.writes)
    }
}

impl Backend for Store {
    fn facts(&self) -> Facts {
        let limited = self.lie == Lie::Limited;
        Facts {
            least_write_interval: Duration::from_secs(u64::from(limited)),
            clock_uncertainty: Duration::ZERO,
            least_poll: Duration::from_secs(1),
            notifies: false,
        }
    }

    fn url(&self) -> String {
        format!("liar://{:?}", self.lie)
    }

    fn locate(&self, key: &Key) -> String {
        format!("liar://{key}")
    }

    fn read<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Reading, BackendError>> {
        Box::pin(async move {
            self.answer().await;
            let state = self.at(key, |place| match self.lie {
                Lie::OldReads => place.before.clone(),
                Lie::CachedReads if place.writes % 10 == 9 => place.before.clone(),
                _ => place.now.clone(),
            });
            let has_clock = matches!(self.lie, Lie::WrongClock | Lie::WrongAges);
            let unit = if self.lie == Lie::WrongAges { 1_000 } else { 1 };
            let record = state.map(|State { bytes, version, landed }| {
                let age = has_clock.then(|| self.env.since(landed) * unit);
                Versioned { bytes, version, age, orphaned: false }
            });
            let unix_ms = has_clock.then(|| self.env.now().unix_ms - 7_200_000);
            Ok(Reading { record, unix_ms })
        })
    }

    fn write<'a>(
        &'a self,
        key: &'a Key,
        expected: &'a Expected,
        bytes: &'a [u8],
    ) -> BoxFuture<'a, Result<Written, BackendError>> {
        Box::pin(async move {
            self.answer().await;
            let landed = self.at(key, |place| place.now.as_ref().map(|now| now.landed));
            let is_early = landed.is_some_and(|at| self.env.since(at) < Duration::from_secs(1));
            if self.lie == Lie::Limited && is_early {
                let fate = Fate::Throttled { retry_after: None };
                let message = "too many writes".into();
                return Err(BackendError { fate, trouble: Trouble::Unavailable, message });
            }
            let holds = self.at(key, |place| place.state() == *expected);
            if !holds && self.lie != Lie::NoConditions {
                return Ok(Written::Conflict(None));
            }
            if self.lie == Lie::LooksThenWrites {
                tokio::task::yield_now().await;
            }
            let (version, writes) = self.put(key, bytes);
            if self.lie == Lie::Repeats && writes % 2 == 0 {
                return Ok(Written::Conflict(None));
            }
            Ok(Written::Applied(version))
        })
    }

    fn delete<'a>(
        &'a self,
        key: &'a Key,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            self.answer().await;
            if self.lie == Lie::NoDelete {
                return Err(BackendError::not_sent(Trouble::Denied, "nobody may delete"));
            }
            Ok(self.at(key, |place| {
                let holds = place.state() == Expected::Version(version.clone());
                let is_done = place.now.is_some() && (holds || self.lie == Lie::BlindDelete);
                if is_done {
                    place.before = place.now.take();
                    place.writes = 0;
                }
                is_done
            }))
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Key>, BackendError>> {
        Box::pin(async move {
            let places = self.places();
            let there = places.by_key.iter().filter(|(_, place)| place.now.is_some());
            let names = there.map(|(key, _)| key.clone());
            Ok(names.filter(|key| key.as_str().starts_with(prefix)).collect())
        })
    }

    fn admin(&self) -> Option<&dyn Admin> {
        Some(self)
    }
}

impl Admin for Store {
    fn prices(&self) -> Option<Prices> {
        Some(Prices { million_reads: 40, million_writes: 500, source: "a price list" })
    }

    fn rights(&self) -> BoxFuture<'_, Result<Vec<Right>, BackendError>> {
        let right = |name, is_held| Right {
            name,
            needed: "to remove locks",
            is_optional: true,
            is_held: Some(is_held),
            role: "roles/admin",
        };
        let rights = match self.lie {
            // Found by its name in the test: the only line about rights.
            Lie::NoDelete => vec![right("delete", false)],
            _ => vec![right("get", true), right("delete", true)],
        };
        Box::pin(async move { Ok(rights) })
    }
}
