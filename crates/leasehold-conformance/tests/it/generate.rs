//! Small histories by chance: of an honest register, and then with some of the answers bent.

use std::time::Duration;

use leasehold_conformance::{Asked, History, Operation, Seen, Told};
use leasehold_core::backend::{Expected, Key, Version};

/// Numbers by chance: the same seed gives the same again.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// A number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) >> 33).expect("31 bits") % n
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// How histories are to be.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) operations: usize,
    /// How long an operation may take, where one is called each time.
    pub(crate) longest: usize,
    /// How many of ten writes have the bytes of another.
    pub(crate) alike: usize,
    /// How many of ten operations are deletes.
    pub(crate) deletes: usize,
    /// How many answers are bent at most.
    pub(crate) bent: usize,
}

/// A history by chance.
pub(crate) fn history(chance: &mut Chance, shape: Shape) -> History {
    let mut operations = honest(chance, shape);
    for _ in 0..chance.below(shape.bent + 1) {
        bend(chance, &mut operations);
    }
    operations.into_iter().collect()
}

/// Operations that take effect in the order in which they are made here, each at a moment of its
/// own that it is somewhere around.
fn honest(chance: &mut Chance, shape: Shape) -> Vec<Operation> {
    let mut now: Option<Seen> = None;
    let mut known = vec![Expected::Absent];
    let mut written: Vec<Vec<u8>> = vec![];
    let mut operations = vec![];
    for number in 0..shape.operations {
        let current =
            now.as_ref().map_or(Expected::Absent, |s| Expected::Version(s.version.clone()));
        let expected = if chance.below(3) > 0 { &current } else { chance.pick(&known) };
        let version = Version::new(format!("v{number}"));
        let kind = chance.below(10);
        let shows = |chance: &mut Chance| now.clone().filter(|_| chance.below(2) == 0);
        let (asked, told) = match expected {
            Expected::Version(version) if kind < shape.deletes => {
                let asked = Asked::Delete { version: version.clone() };
                if *expected == current {
                    now = None;
                    (asked, Told::Landed(Expected::Absent))
                } else {
                    (asked, Told::Refused(None))
                }
            }
            expected if kind < 7 => {
                let mut bytes = format!("b{number}").into_bytes();
                if !written.is_empty() && chance.below(10) < shape.alike {
                    bytes.clone_from(chance.pick(&written));
                }
                written.push(bytes.clone());
                let asked = Asked::Write { expected: expected.clone(), bytes: bytes.clone() };
                if *expected == current {
                    now = Some(Seen { version: version.clone(), bytes });
                    (asked, Told::Landed(Expected::Version(version)))
                } else {
                    (asked, Told::Refused(shows(chance)))
                }
            }
            _ => (Asked::Read, Told::Shown(now.clone())),
        };
        if let Some(seen) = &now {
            known.push(Expected::Version(seen.version.clone()));
        }
        let at = 10 * (number + shape.longest);
        let span = 10 * shape.longest;
        let (called, answered) = (at - chance.below(span), at + 1 + chance.below(span));
        let told = (chance.below(6) > 0).then(|| (micros(answered), told));
        let (client, key) = (format!("client {number}"), Key::new("x").expect("a name"));
        operations.push(Operation { client, key, asked, called: micros(called), told });
    }
    operations
}

fn micros(n: usize) -> Duration {
    Duration::from_micros(u64::try_from(n).expect("small"))
}

/// Changes something about one operation, so that it may or may not be right any more.
fn bend(chance: &mut Chance, operations: &mut [Operation]) {
    let others: Vec<Operation> = operations.to_vec();
    let seen: Vec<Seen> = others
        .iter()
        .filter_map(|other| match (&other.told.as_ref()?.1, &other.asked) {
            (Told::Shown(seen) | Told::Refused(seen), _) => seen.clone(),
            (Told::Landed(Expected::Version(version)), Asked::Write { bytes, .. }) => {
                Some(Seen { version: version.clone(), bytes: bytes.clone() })
            }
            _ => None,
        })
        .collect();
    let operation = &mut operations[chance.below(others.len())];
    let Some((at, told)) = &mut operation.told else {
        operation.called = chance.pick(&others).called;
        return;
    };
    let some = if seen.is_empty() { None } else { Some(chance.pick(&seen).clone()) };
    match chance.below(4) {
        0 => {
            let span = at.saturating_sub(operation.called);
            operation.called = chance.pick(&others).called;
            *at = operation.called + span;
        }
        1 => *at = operation.called + at.saturating_sub(operation.called) / 8,
        2 => {
            *told = match (&operation.asked, &told) {
                (Asked::Read, _) => Told::Shown(some.filter(|_| chance.below(3) > 0)),
                (_, Told::Landed(_)) => Told::Refused(None),
                (Asked::Write { .. }, _) => {
                    let version = some.map_or(Version::new("v"), |seen| seen.version);
                    let fresh = Version::new(format!("{} again", version.as_str()));
                    let is_fresh = chance.below(3) > 0;
                    Told::Landed(Expected::Version(if is_fresh { fresh } else { version }))
                }
                (Asked::Delete { .. }, _) => Told::Landed(Expected::Absent),
            }
        }
        _ => {
            if let Asked::Write { expected, .. } = &mut operation.asked {
                let version = some.map(|seen| Expected::Version(seen.version));
                *expected = version.unwrap_or(Expected::Absent);
            }
        }
    }
}
