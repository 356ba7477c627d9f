//! Whether a linearizable register can have answered like that: a search that seldom has a choice.
//!
//! # The register
//!
//! A history is linearizable if every operation can be given one moment between its call and its
//! answer so that, in the order of these moments, each answer is what a register gives that does
//! one thing at a time. An operation of unknown outcome may have its moment at any time after its
//! call, or never; a read of unknown outcome says nothing.
//!
//! # Why the search is complete
//!
//! It goes through calls and answers as they happened, and keeps a set of *worlds*: the state that
//! is current, and which of the steps that are under way have taken effect. Each operation becomes a
//! *look* (read, refusal) or a *move* (write, delete). The rules are three:
//!
//! 1. A look takes effect at the first moment after its call at which the state fits it.
//! 2. A move takes effect only when an answer needs it: at the answer of a step that has not taken
//!    effect yet, each world is replaced by all those that moves under way lead to, up to the first
//!    at which it has. None: the history contradicts itself here.
//! 3. A state other than *absent* never comes back, so it is left only when all that must happen in
//!    it was called, and only by the move that is known to have landed on it, if there is one.
//!
//! Take any order of the operations that is right, and the moment of an answer. The operations that
//! come before it in that order, up to its own, form a prefix; all of them were called. Rule 2 takes
//! the moves of some such prefix, in its order: all orders are tried, and what comes after the
//! prefix in the right order can come later here too, because it was not answered yet. Putting a
//! look earlier (1) changes no state, and so no other answer. Rule 3 drops only worlds in which
//! something can no longer be answered. So a history that has a right order keeps at least one world
//! to its end; and a world at the end is a right order. The tests hold this against a search
//! through all orders.
//!
//! # Why it takes linear time
//!
//! Every write that landed names its predecessor, and no version comes back. So from a version there
//! is one way on, the chain is known, and there is one world. Choices are left where the record was
//! deleted and several creates are under way, and where what nobody saw may explain a refusal. Both
//! are bounded by how many ask at the same time, not by the length of the history; a world that is no
//! better than another is dropped.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt;
use std::time::Duration;

use leasehold_core::backend::Key;

use super::compile::{ABSENT, Compiled, Effect, State, Step, UNSEEN};
use super::{History, Operation, Told};

/// What a refusal of a write or delete says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusals {
    /// It had no effect. So it is directly at a backend, which makes one attempt for each call.
    Prove,
    /// Nothing about the outcome: it may be the answer to a second copy of a request whose first
    /// copy landed. So it is behind a network, and what the protocol assumes.
    MayBeOfASecondCopy,
}

/// What a history contained, so that one that proves nothing can be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Calls.
    pub operations: usize,
    /// States that somebody was told of.
    pub versions: usize,
    /// Writes and deletes that landed, and whose caller was told so.
    pub landed: usize,
    /// Writes and deletes that were refused.
    pub refused: usize,
    /// Calls that nobody knows the outcome of.
    pub unknown: usize,
}

/// Answers that no linearizable register gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contradiction {
    /// What is wrong, as far as it can be said without reading the operations.
    pub why: &'static str,
    /// The answers that contradict each other, as few as are needed, and the writes that made the
    /// states they name.
    pub operations: Vec<Operation>,
}

impl History {
    /// Whether a linearizable register can have answered like this, under each name, if nothing was
    /// stored there before.
    ///
    /// Every write must have other bytes than all others had, as the protocol's have. A write that
    /// is repeated unseen is tolerated as long as it can land only once.
    pub fn check(&self, refusals: Refusals) -> Result<Summary, Contradiction> {
        let all = self.operations();
        let mut keys: Vec<&Key> = all.iter().map(|operation| &operation.key).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut versions = 0;
        for key in keys {
            let operations: Vec<_> = all.iter().filter(|o| o.key == *key).collect();
            versions += check(&operations, refusals)?;
        }
        let count = |is: fn(&Operation) -> bool| all.iter().filter(|o| is(o)).count();
        Ok(Summary {
            operations: all.len(),
            versions,
            landed: count(|o| matches!(o.told, Some((_, Told::Landed(_))))),
            refused: count(|o| matches!(o.told, Some((_, Told::Refused(_))))),
            unknown: count(|o| o.told.is_none()),
        })
    }
}

/// Checks what concerns one key, and counts the versions.
fn check(operations: &[&Operation], refusals: Refusals) -> Result<usize, Contradiction> {
    let contradiction = |why, mut numbers: Vec<usize>| {
        numbers.sort_by_key(|number| (operations[*number].called, *number));
        numbers.dedup();
        Contradiction { why, operations: numbers.iter().map(|n| operations[*n].clone()).collect() }
    };
    let compiled =
        Compiled::new(operations, refusals).map_err(|(why, clash)| contradiction(why, clash))?;
    // Whether these answers can be true, whatever became of the others.
    let can_be = |believed: &[usize]| {
        let believed: HashSet<usize> = believed.iter().copied().collect();
        Search::new(compiled.steps(operations, refusals, |number| believed.contains(&number))).run()
    };
    let mut answered: Vec<_> = (0..operations.len())
        .filter_map(|number| operations[number].told.as_ref().map(|(at, _)| (*at, number)))
        .collect();
    answered.sort_unstable();
    let answered: Vec<_> = answered.into_iter().map(|(_, number)| number).collect();
    if can_be(&answered) {
        return Ok(compiled.versions());
    }
    let mut numbers = fewest(&answered, can_be);
    numbers.extend(compiled.makers(operations, &numbers));
    Err(contradiction("these answers cannot all be true, in no order", numbers))
}

/// As few of these answers as still cannot be true: without any one of them the others can be.
fn fewest(answered: &[usize], can_be: impl Fn(&[usize]) -> bool) -> Vec<usize> {
    // Up to where it goes well, and from there back to where it goes wrong. The rest is small.
    let ends: Vec<usize> = (1..=answered.len()).collect();
    let end = 1 + ends.partition_point(|end| can_be(&answered[..*end]));
    let mut size = 32;
    while size < end && can_be(&answered[end - size..end]) {
        size *= 4;
    }
    let mut kept = answered[end.saturating_sub(size)..end].to_vec();
    let mut part = kept.len();
    while part > 0 {
        let mut start = 0;
        while start < kept.len() {
            let mut fewer = kept.clone();
            fewer.drain(start..kept.len().min(start + part));
            if can_be(&fewer) {
                start += part;
            } else {
                kept = fewer;
            }
        }
        part /= 2;
    }
    kept
}

/// One way in which it may have been so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct World {
    at: State,
    /// The looks under way that have taken effect.
    looked: BTreeSet<usize>,
    /// The moves under way that must take effect, and have.
    moved: BTreeSet<usize>,
    /// What may happen once or never, and did.
    spent: BTreeSet<Once>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Once {
    Operation(usize),
    State(State),
}

impl World {
    /// Whether all that can happen from `other` on can happen from here. A look is only a duty, and
    /// what is spent is only a loss; but a move that has yet to be made is both a duty and a chance.
    fn is_as_good_as(&self, other: &World) -> bool {
        self.at == other.at
            && self.moved == other.moved
            && self.looked.is_superset(&other.looked)
            && self.spent.is_subset(&other.spent)
    }

    fn has(&self, step: usize) -> bool {
        self.looked.contains(&step) || self.moved.contains(&step)
    }
}

struct Search {
    steps: Vec<Step>,
    /// The looks under way.
    looks: Vec<usize>,
    /// The moves under way, by where they start.
    moves: HashMap<State, Vec<usize>>,
    /// The only moves that may leave a state, because they are known to have landed on it.
    exits: HashMap<State, Vec<usize>>,
    /// How many looks will yet be called that need a state.
    expected: HashMap<State, usize>,
    worlds: Vec<World>,
}

impl Search {
    fn new(steps: Vec<Step>) -> Search {
        let mut exits: HashMap<State, Vec<usize>> = HashMap::new();
        let mut expected = HashMap::new();
        for (number, step) in steps.iter().enumerate() {
            match step.effect {
                Effect::Move { from, .. } if step.answered.is_some() && from != ABSENT => {
                    exits.entry(from).or_default().push(number);
                }
                Effect::Look { is: Some(is), .. } if is != ABSENT => {
                    *expected.entry(is).or_default() += 1;
                }
                _ => {}
            }
        }
        let (looks, moves, worlds) = (vec![], HashMap::new(), vec![World::default()]);
        Search { steps, looks, moves, exits, expected, worlds }
    }

    /// Goes through calls and answers: whether a world is left in the end.
    fn run(mut self) -> bool {
        let mut events: Vec<(Duration, bool, usize)> = vec![];
        for (number, step) in self.steps.iter().enumerate() {
            events.push((step.called, false, number));
            events.extend(step.answered.map(|answered| (answered, true, number)));
        }
        // At the same moment calls come first: whatever can have overlapped did.
        events.sort_unstable();
        events.into_iter().all(|(_, is_answer, step)| {
            if is_answer {
                self.answer(step);
            } else {
                self.call(step);
            }
            !self.worlds.is_empty()
        })
    }

    fn call(&mut self, number: usize) {
        match self.steps[number].effect {
            Effect::Move { from, .. } => self.moves.entry(from).or_default().push(number),
            effect @ Effect::Look { is, .. } => {
                self.looks.push(number);
                for world in self.worlds.iter_mut().filter(|world| effect.fits(world.at)) {
                    world.looked.insert(number);
                }
                if let Some(expected) = is.and_then(|is| self.expected.get_mut(&is)) {
                    *expected -= 1;
                }
            }
        }
    }

    fn answer(&mut self, number: usize) {
        let mut worlds: Vec<World> = vec![];
        for world in &self.worlds {
            for mut next in self.reach(world, number) {
                next.looked.remove(&number);
                next.moved.remove(&number);
                add(&mut worlds, next);
            }
        }
        self.worlds = worlds;
        match self.steps[number].effect {
            Effect::Look { .. } => self.looks.retain(|look| *look != number),
            Effect::Move { from, .. } => {
                self.moves.entry(from).or_default().retain(|step| *step != number);
            }
        }
    }

    /// The worlds that `world` can become by moves under way, and in which `wanted` has just taken
    /// effect.
    fn reach(&self, world: &World, wanted: usize) -> Vec<World> {
        let (mut found, mut seen) = (vec![], HashMap::from([(world.at, vec![world.clone()])]));
        let mut next = VecDeque::from([world.clone()]);
        while let Some(world) = next.pop_front() {
            if world.has(wanted) {
                add(&mut found, world);
                continue;
            }
            for &number in self.moves.get(&world.at).into_iter().flatten() {
                let Some(world) = self.go(&world, number) else { continue };
                let seen = seen.entry(world.at).or_default();
                if !seen.iter().any(|seen| seen.is_as_good_as(&world)) {
                    seen.push(world.clone());
                    next.push_back(world);
                }
            }
        }
        found
    }

    /// What `world` becomes by this move, if it can be made.
    fn go(&self, world: &World, number: usize) -> Option<World> {
        let step = self.steps[number];
        let Effect::Move { from, to } = step.effect else { return None };
        let is_awaited = self.expected.get(&from).is_some_and(|looks| *looks > 0);
        let is_exit = self.exits.get(&from).is_none_or(|exits| exits[..] == [number]);
        if is_awaited || !is_exit || world.has(number) {
            return None;
        }
        let mut world = world.clone();
        world.at = to;
        if step.answered.is_some() {
            world.moved.insert(number);
        } else {
            let mut spend = |once| world.spent.insert(once);
            let is_new = (from != ABSENT || spend(Once::Operation(step.operation)))
                && (to == ABSENT || to == UNSEEN || spend(Once::State(to)));
            if !is_new {
                return None;
            }
        }
        for &look in &self.looks {
            if self.steps[look].effect.fits(to) {
                world.looked.insert(look);
            }
        }
        Some(world)
    }
}

/// Adds a world, unless there is one that is as good.
fn add(worlds: &mut Vec<World>, world: World) {
    if !worlds.iter().any(|other| other.is_as_good_as(&world)) {
        worlds.retain(|other| !world.is_as_good_as(other));
        worlds.push(world);
    }
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "no linearizable register answers like this: {}", self.why)?;
        let start = self.operations.iter().map(|operation| operation.called).min();
        let start = start.unwrap_or_default();
        for operation in &self.operations {
            writeln!(f, "  {}", operation.since(start))?;
        }
        write!(f, "(at: microseconds from the first of these calls, to the answer)")
    }
}

impl std::error::Error for Contradiction {}
