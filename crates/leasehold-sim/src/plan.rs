//! What a seed draws before its world begins: the faults, the store, the clients.

use std::collections::BTreeSet;
use std::time::Duration;

use leasehold_core::backend::Facts;
use leasehold_core::lease::Settings;

use crate::chance::Chance;
use crate::fault::{Fault, Faults, Options};

/// By how much an age may be wrong, in microseconds.
pub(crate) const UNCERTAINTY: u64 = 100_000;

/// The store's Unix time at the beginning.
pub(crate) const EPOCH_MS: u64 = 1_700_000_000_000;

/// Streams of chance that are no fault's.
pub(crate) const PLAN: u64 = 1 << 63;
pub(crate) const HOST: u64 = PLAN + (1 << 32);
pub(crate) const LIFE: u64 = PLAN + (1 << 60);
pub(crate) const ACCIDENT: u64 = PLAN + (1 << 61);
pub(crate) const STORE: u64 = PLAN + (1 << 62);
pub(crate) const ONCE: u64 = PLAN + (1 << 59);

/// The key and limits of `once`, in the worlds about it. Times in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OncePlan {
    /// How long a key is the newest one.
    pub(crate) period: u64,
    pub(crate) max_attempts: u64,
    /// The wait after the first failure.
    pub(crate) backoff: u64,
    pub(crate) valid_for: Option<u64>,
}

impl OncePlan {
    /// Of a stream of its own, so that the worlds of mutexes are what they would be without it.
    fn draw(seed: u64, ttl_most: u64, clock: bool) -> Option<OncePlan> {
        let mut chance = Chance::of(seed, ONCE);
        if !chance.permille(200) {
            return None;
        }
        // The wall clocks of these hosts are arbitrary.
        let ages = chance.permille(200) && clock;
        Some(OncePlan {
            period: chance.from(ttl_most / 2, ttl_most * 4),
            max_attempts: chance.from(1, 4),
            backoff: chance.from(1, 200) * 1000,
            valid_for: ages.then(|| chance.from(ttl_most / 2, ttl_most * 2)),
        })
    }
}

/// One seed's world.
pub(crate) struct Plan {
    pub(crate) on: Faults,
    /// Whether the store tells ages and the time.
    pub(crate) clock: bool,
    /// Whether a refused write is told who won.
    pub(crate) tells: bool,
    /// Whether the store knows which writers have ended.
    pub(crate) orphans: bool,
    pub(crate) notifies: bool,
    /// Whether a version is a hash of the bytes, as S3's is.
    pub(crate) hashes: bool,
    /// Whether a deletion leaves a marker, so that nothing conditioned on "absent" lands later.
    pub(crate) marks: bool,
    /// The store's clock, in millionths of true time.
    pub(crate) store_rate: u64,
    /// The longest ttl of the seed, in microseconds.
    pub(crate) ttl_most: u64,
    pub(crate) clients: Vec<Settings>,
    pub(crate) once: Option<OncePlan>,
    /// The only clients that do anything, if the world is to have bystanders.
    players: Option<BTreeSet<usize>>,
}

/// Within 10 % of true time, at one of the ends half of the time.
pub(crate) fn rate(chance: &mut Chance) -> u64 {
    match chance.from(0, 4) {
        0 => 900_000,
        1 => 1_100_000,
        _ => chance.from(900_000, 1_100_001),
    }
}

/// Most worlds are small, because small worlds find more.
fn crowd(chance: &mut Chance) -> u64 {
    match chance.from(0, 100) {
        0 => chance.from(13, 41),
        1..=5 => chance.from(5, 13),
        _ => chance.from(2, 5),
    }
}

impl Plan {
    pub(crate) fn draw(seed: u64, options: &Options) -> Plan {
        let mut chance = Chance::of(seed, PLAN);
        let mut on = Faults::default();
        for fault in Fault::ALL {
            // Beyond the assumed bound the protocol promises less, so that most worlds stay within.
            let often = if *fault == Fault::WildClock { 125 } else { 500 };
            on.set(*fault, chance.permille(often));
        }
        let clock = chance.permille(500);
        let notifies = chance.permille(300);
        let (tells, orphans) = (chance.permille(500), chance.permille(250));
        let (hashes, marks) = (chance.permille(250), chance.permille(300));
        // Without a clock of the store's own, tokens after a deletion are as good as the hosts' wall
        // clocks, and these hosts' are arbitrary.
        on.set(Fault::Delete, clock && on.has(Fault::Delete));
        for fault in [Fault::LostHint, Fault::FalseHint] {
            on.set(fault, notifies && on.has(fault));
        }
        let facts = Facts {
            least_write_interval: Duration::from_millis(if chance.permille(200) { 50 } else { 0 }),
            clock_uncertainty: Duration::from_micros(UNCERTAINTY),
            least_poll: Duration::from_millis(chance.from(20, 60)),
            notifies,
        };
        let store_rate = rate(&mut chance);
        let count = crowd(&mut chance);
        let clients: Vec<Settings> = (0..count).map(|n| settings(&mut chance, n, facts)).collect();
        let ttl_most = clients.iter().map(|s| s.ttl.as_micros()).max().unwrap_or_default();
        let ttl_most = u64::try_from(ttl_most).unwrap_or(u64::MAX);
        Plan {
            once: OncePlan::draw(seed, ttl_most, clock),
            on,
            clock,
            tells,
            orphans,
            notifies,
            hashes,
            marks,
            store_rate,
            ttl_most,
            clients,
            players: options.clients.clone(),
        }
    }

    pub(crate) fn players(&self) -> Vec<usize> {
        (0..self.clients.len()).filter(|who| self.plays(*who)).collect()
    }

    /// Whether this client does anything in this world.
    pub(crate) fn plays(&self, who: usize) -> bool {
        self.players.as_ref().is_none_or(|players| players.contains(&who))
    }
}

fn settings(chance: &mut Chance, n: u64, facts: Facts) -> Settings {
    let ttl = Duration::from_millis(chance.from(500, 2000));
    let delayed = chance.permille(150);
    let delay = chance.from(1, 500);
    Settings {
        ttl,
        takeover_delay: Duration::from_millis(if delayed { delay } else { 0 }),
        label: format!("client {n}"),
        facts,
    }
}
