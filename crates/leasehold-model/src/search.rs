//! The search: breadth first, every world once, until there is none that is new.
//!
//! A checker of one's own, in two hundred lines, instead of `stateright`: that keeps a copy of every
//! state, renames it before it is compared, and brings a web server and some fifty crates. Here a
//! state that was expanded leaves sixteen bytes behind (its number and that of the state before it,
//! from which the schedule is replayed), worlds are compared by a description that is made on the
//! fly, and the levels of the search make the number of states the same on every machine.
//!
//! Worlds are told apart by 64 bits of a hash. With n states the chance that two differ and are
//! taken for one is about n * n / 2^65: one in a million for eight million.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, PoisonError};
use std::{mem, thread};

use crate::action::Action;
use crate::bounds::Bounds;
use crate::essence::essence;
use crate::fact::{Fact, Facts};
use crate::trace::{self, Trace};
use crate::world::World;

/// What a search found.
#[derive(Debug)]
pub struct Outcome {
    /// How many different worlds there are.
    pub states: u64,
    /// How many steps lead from one of them to one of them.
    pub steps: u64,
    /// The length of the longest among the shortest ways to each world.
    pub depth: usize,
    /// Worlds on the widest level.
    pub widest: usize,
    /// How many steps made each of [`Fact::ALL`] happen.
    pub facts: Vec<u64>,
    /// The shortest way to break a promise, if there is one. The search ends with its level.
    pub violation: Option<Trace>,
}

/// Explores all that can happen within bounds.
pub fn check(bounds: &Bounds) -> Outcome {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    check_on(threads, bounds)
}

/// The same on so many threads.
pub fn check_on(threads: usize, bounds: &Bounds) -> Outcome {
    let first = World::new(bounds);
    let root = essence(&first, bounds);
    let known = Known::new();
    known.add(root, root);
    let mut found = Found::default();
    let mut level = vec![vec![(root, first)]];
    let (mut depth, mut widest) = (0, 1);
    while !level.is_empty() && found.broken.is_none() {
        let queue = Mutex::new(mem::take(&mut level));
        thread::scope(|scope| {
            let works: Vec<_> =
                (0..threads).map(|_| scope.spawn(|| expand(&queue, &known, bounds))).collect();
            for work in works {
                match work.join() {
                    Ok(more) => found.add(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        level = mem::take(&mut found.next);
        let width = level.iter().map(Vec::len).sum();
        widest = widest.max(width);
        depth += usize::from(width > 0);
    }
    let violation =
        found.broken.map(|(_, last, action)| trace::replay(&known.way(root, last), action, bounds));
    Outcome {
        states: known.len(),
        steps: found.steps,
        depth,
        widest,
        facts: found.facts,
        violation,
    }
}

/// Worlds to be expanded, with their numbers.
type Chunk = Vec<(u64, World)>;

/// A chunk is large enough that taking one is rare, and small enough to share the work.
const CHUNK: usize = 256;

#[derive(Default)]
struct Found {
    next: Vec<Chunk>,
    steps: u64,
    facts: Vec<u64>,
    /// The numbers of the broken world and of the one before it, and the step between them.
    broken: Option<(u64, u64, Action)>,
}

impl Found {
    fn add(&mut self, more: Found) {
        self.next.extend(more.next);
        self.steps += more.steps;
        self.facts.resize(Fact::ALL.len(), 0);
        for (all, more) in self.facts.iter_mut().zip(&more.facts) {
            *all += more;
        }
        let first = |b: &(u64, u64, Action)| (b.0, b.1);
        self.broken = [self.broken, more.broken].into_iter().flatten().min_by_key(first);
    }

    fn count(&mut self, facts: Facts) {
        self.steps += 1;
        for (n, fact) in self.facts.iter_mut().zip(Fact::ALL) {
            *n += u64::from(facts.has(*fact));
        }
    }
}

fn expand(queue: &Mutex<Vec<Chunk>>, known: &Known, bounds: &Bounds) -> Found {
    let mut found = Found { facts: vec![0; Fact::ALL.len()], ..Found::default() };
    let mut open = Vec::with_capacity(CHUNK);
    loop {
        let Some(chunk) = queue.lock().unwrap_or_else(PoisonError::into_inner).pop() else { break };
        for (number, world) in chunk {
            for action in world.actions(bounds) {
                let after = world.after(action, bounds);
                found.count(after.facts);
                let next = essence(&after, bounds);
                if after.broken.is_some() {
                    let broken = (next, number, action);
                    found.add(Found { broken: Some(broken), ..Found::default() });
                } else if known.add(next, number) {
                    open.push((next, after));
                    if open.len() == CHUNK {
                        found.next.push(mem::replace(&mut open, Vec::with_capacity(CHUNK)));
                    }
                }
            }
        }
    }
    if !open.is_empty() {
        found.next.push(open);
    }
    found
}

/// The numbers of all worlds met so far, each with that of the world before it.
struct Known {
    shelves: Vec<Mutex<HashMap<u64, u64, BuildHasherDefault<Plain>>>>,
}

impl Known {
    fn new() -> Known {
        Known { shelves: (0..256).map(|_| Mutex::default()).collect() }
    }

    /// True if it is new.
    fn add(&self, number: u64, before: u64) -> bool {
        let place = &self.shelves[(number >> 56) as usize];
        match place.lock().unwrap_or_else(PoisonError::into_inner).entry(number) {
            Entry::Occupied(_) => false,
            Entry::Vacant(free) => {
                free.insert(before);
                true
            }
        }
    }

    fn before(&self, number: u64) -> Option<u64> {
        let place = &self.shelves[(number >> 56) as usize];
        place.lock().unwrap_or_else(PoisonError::into_inner).get(&number).copied()
    }

    fn len(&self) -> u64 {
        let len = |s: &Mutex<HashMap<_, _, _>>| {
            s.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
        };
        self.shelves.iter().map(len).sum()
    }

    /// The numbers on the way from the first world to `last`.
    fn way(&self, root: u64, last: u64) -> Vec<u64> {
        let mut way = vec![last];
        let mut at = last;
        while at != root {
            let Some(before) = self.before(at) else { break };
            way.push(before);
            at = before;
        }
        way.reverse();
        way
    }
}

/// The numbers are hashes already.
#[derive(Default)]
struct Plain(u64);

impl Hasher for Plain {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}
