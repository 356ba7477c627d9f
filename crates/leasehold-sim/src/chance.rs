//! Chance, and what a seed draws from it before its world begins.

use std::time::Duration;

use leasehold_core::backend::Facts;
use leasehold_core::lease::Settings;

/// The generator "`SplitMix64`": small, seeded, good enough.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From `least` up to and without `end`.
    pub(crate) fn from(&mut self, least: u64, end: u64) -> u64 {
        least + self.next() % (end - least).max(1)
    }

    /// True in so many of a thousand cases.
    pub(crate) fn permille(&mut self, n: u64) -> bool {
        self.next() % 1000 < n
    }

    pub(crate) fn id(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }
}

/// The kinds of faults of one seed. Each is on in half of the seeds, so that none hides another.
pub(crate) struct Plan {
    /// How often, of a thousand messages.
    pub(crate) lost: u64,
    pub(crate) slow: u64,
    pub(crate) doubled: u64,
    pub(crate) throttled: u64,
    pub(crate) not_sent: u64,
    /// How often, of a thousand acquisitions.
    pub(crate) cancelled: u64,
    /// Which faults of hosts and operators there are.
    pub(crate) crashes: bool,
    pub(crate) freezes: bool,
    pub(crate) suspends: bool,
    pub(crate) pauses: bool,
    pub(crate) forces: bool,
    pub(crate) deletes: bool,
    /// What the store can do.
    pub(crate) clock: bool,
    pub(crate) tells: bool,
    pub(crate) orphans: bool,
    pub(crate) notifies: bool,
    /// By how much the store's clock is off in its rate, in millionths.
    pub(crate) store_rate: u64,
    /// The longest ttl of the seed, in microseconds.
    pub(crate) ttl_most: u64,
    pub(crate) clients: Vec<Settings>,
}

/// By how much an age may be wrong, in microseconds.
pub(crate) const UNCERTAINTY: u64 = 100_000;

/// Within 10 % of true time, at one of the ends half of the time.
pub(crate) fn rate(chance: &mut Chance) -> u64 {
    match chance.from(0, 4) {
        0 => 900_000,
        1 => 1_100_000,
        _ => chance.from(900_000, 1_100_001),
    }
}

impl Plan {
    pub(crate) fn draw(chance: &mut Chance) -> Plan {
        let clock = chance.permille(500);
        let notifies = chance.permille(300);
        let facts = Facts {
            least_write_interval: Duration::from_millis(if chance.permille(200) { 50 } else { 0 }),
            clock_uncertainty: Duration::from_micros(UNCERTAINTY),
            least_poll: Duration::from_millis(chance.from(20, 60)),
            notifies,
        };
        let count = chance.from(2, 5);
        let clients: Vec<Settings> = (0..count)
            .map(|n| Settings {
                ttl: Duration::from_millis(chance.from(500, 2000)),
                takeover_delay: Duration::from_millis(if chance.permille(150) {
                    chance.from(1, 500)
                } else {
                    0
                }),
                label: format!("client {n}"),
                facts,
            })
            .collect();
        let ttl_most = clients.iter().map(|s| s.ttl.as_micros()).max().unwrap_or_default();
        let mut often = |n| if chance.permille(500) { n } else { 0 };
        let [lost, slow, doubled, throttled, not_sent, cancelled] =
            [150, 100, 150, 100, 50, 300].map(&mut often);
        Plan {
            lost,
            slow,
            doubled,
            throttled,
            not_sent,
            cancelled,
            crashes: chance.permille(500),
            freezes: chance.permille(500),
            suspends: chance.permille(300),
            pauses: chance.permille(300),
            forces: chance.permille(200),
            // Without a clock of the store's own, tokens after a deletion are as good as the hosts'
            // clocks, and these hosts' are arbitrary.
            deletes: clock && chance.permille(400),
            clock,
            tells: chance.permille(500),
            orphans: chance.permille(250),
            notifies,
            store_rate: rate(chance),
            ttl_most: u64::try_from(ttl_most).unwrap(),
            clients,
        }
    }
}
