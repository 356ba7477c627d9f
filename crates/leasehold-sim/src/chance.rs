//! Chance: every draw of a world comes from its seed and from what it is drawn for.

/// The generator "`SplitMix64`": small, seeded, good enough.
pub(crate) struct Chance(u64);

const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Chance {
    /// The stream of one thing in the world of `seed`. Streams of their own keep worlds alike: what
    /// one client meets does not depend on what was drawn for another, so that a fault can be taken
    /// out of a failing world and the rest of it stays.
    pub(crate) fn of(seed: u64, thing: u64) -> Chance {
        Chance(mixed(seed.wrapping_mul(STEP) ^ mixed(thing.wrapping_add(STEP))))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mixed(self.0)
    }

    /// From `least` up to and without `end`.
    pub(crate) fn from(&mut self, least: u64, end: u64) -> u64 {
        least + self.next() % end.saturating_sub(least).max(1)
    }

    /// One of `count` things.
    pub(crate) fn pick(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % (count.max(1) as u64)).unwrap_or_default()
    }

    /// True in so many of a thousand cases.
    pub(crate) fn permille(&mut self, n: u64) -> bool {
        self.next() % 1000 < n
    }

    pub(crate) fn id(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }
}
