//! Seeded randomness: a stream for each thing that is drawn, so that one does not depend on how often
//! another was drawn.

/// A stream of random numbers (`splitmix64`).
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The stream of one thing under a seed.
    pub(crate) fn new(seed: u64, thing: u64, nth: u64) -> Dice {
        let mut dice = Dice(seed);
        for part in [thing, nth] {
            dice = Dice(dice.next() ^ part.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        }
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From `least` to `most`, both included.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most.saturating_sub(least) + 1)
    }

    /// A place in a list of so many.
    pub(crate) fn place(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count.max(1) as u64).unwrap_or_default()
    }

    /// True that many times in a hundred.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    /// One of these, by weight.
    pub(crate) fn weighed<T: Copy>(&mut self, all: &[(u64, T)]) -> Option<T> {
        let sum: u64 = all.iter().map(|(weight, _)| weight).sum();
        let mut left = self.next() % sum.max(1);
        for (weight, one) in all {
            if left < *weight {
                return Some(*one);
            }
            left -= weight;
        }
        None
    }
}
