//! From a world in which a promise broke to a smaller one in which the same promise breaks.

use std::collections::BTreeSet;

use crate::campaign::Explore;
use crate::fault::{Fault, Faults, Options, Strike};
use crate::violation::Violation;

/// More clients than any world has.
const CLIENTS_MOST: usize = 64;

/// What it came to.
#[derive(Debug)]
pub struct Shrunk {
    /// The same promise, broken in a smaller world, with its trace.
    pub violation: Box<Violation>,
    /// How many worlds were tried.
    pub tried: u64,
}

/// Looks for the smallest world. At most `most` worlds are tried. `None` if the violation cannot be
/// seen again.
pub fn shrink<T>(explore: Explore<T>, found: &Violation, most: u64) -> Option<Shrunk> {
    let mut search =
        Search { explore, promise: found.promise.name, seed: found.seed, tried: 0, most };
    let mut best = search.breaks(&Options { told: true, ..found.options.clone() })?;
    loop {
        let before = size(&best);
        search.sooner_calm(&mut best);
        search.without_kinds(&mut best);
        search.fewer_clients(&mut best);
        search.single_faults(&mut best);
        if size(&best) == before || search.tried >= search.most {
            return Some(Shrunk { violation: best, tried: search.tried });
        }
    }
}

/// What "smaller" means: fewer faults, then fewer clients, then a shorter story.
fn size(violation: &Violation) -> (usize, usize, u64) {
    let clients = violation.options.clients.as_ref().map_or(usize::MAX, BTreeSet::len);
    (violation.strikes.len(), clients, violation.time)
}

struct Search<T> {
    explore: Explore<T>,
    promise: &'static str,
    seed: u64,
    tried: u64,
    most: u64,
}

impl<T> Search<T> {
    /// The violation under these options, if it is of the same promise.
    fn breaks(&mut self, options: &Options) -> Option<Box<Violation>> {
        if self.tried >= self.most {
            return None;
        }
        self.tried += 1;
        let violation = (self.explore)(self.seed, options).err()?;
        (violation.promise.name == self.promise).then_some(violation)
    }

    /// Takes the change if the promise still breaks in a world that is no bigger.
    fn try_it(&mut self, best: &mut Box<Violation>, change: impl Fn(&mut Options)) -> bool {
        let mut options = best.options.clone();
        change(&mut options);
        let smaller = self.breaks(&options).filter(|new| size(new) <= size(best));
        let found = smaller.is_some();
        if let Some(new) = smaller {
            *best = new;
        }
        found
    }

    fn without_kinds(&mut self, best: &mut Box<Violation>) {
        for kind in Fault::ALL {
            if best.strikes.iter().any(|s| s.fault == *kind) {
                self.try_it(best, |options| options.without.set(*kind, true));
            }
        }
    }

    fn fewer_clients(&mut self, best: &mut Box<Violation>) {
        let all = best.options.clients.clone().unwrap_or_else(|| (0..CLIENTS_MOST).collect());
        for client in &all {
            self.try_it(best, |options| {
                options.clients.get_or_insert_with(|| all.clone()).remove(client);
            });
        }
    }

    /// For what is only seen when the faults are over: the sooner they are, the shorter the story.
    fn sooner_calm(&mut self, best: &mut Box<Violation>) {
        let (mut at, mut time) = (best.time / 2, best.time);
        while self.try_it(best, |options| options.calm_at = Some(at)) && best.time < time {
            (at, time) = (at / 2, best.time);
        }
    }

    /// Delta debugging: leaves out a half of the faults, then quarters, down to single ones.
    fn single_faults(&mut self, best: &mut Box<Violation>) {
        let all: BTreeSet<Strike> = best.strikes.iter().copied().collect();
        if !self.try_it(best, |options| options.only = Some(all.clone())) {
            return;
        }
        let mut chunk = best.strikes.len().div_ceil(2);
        while chunk > 0 {
            let mut from = 0;
            while from < best.strikes.len() {
                let mut rest: Vec<Strike> = best.strikes.clone();
                // From the latest, which fewest others depend on.
                rest.reverse();
                rest.drain(from..(from + chunk).min(rest.len()));
                let rest: BTreeSet<Strike> = rest.into_iter().collect();
                if !self.try_it(best, |options| options.only = Some(rest.clone())) {
                    from += chunk;
                }
            }
            chunk /= 2;
        }
        // What is listed and does not strike any more is noise, as are kinds that are not listed.
        let all: BTreeSet<Strike> = best.strikes.iter().copied().collect();
        self.try_it(best, |options| {
            options.only = Some(all.clone());
            options.without = Faults::default();
        });
    }
}
