//! From what was told to what must have happened: the steps that a search puts in order.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use leasehold_core::backend::{Expected, Version};

use super::check::Refusals;
use super::{Asked, Operation, Seen, Told};

/// A state of the record, numbered.
pub(super) type State = usize;

/// Nothing is stored. The one state that can come back.
pub(super) const ABSENT: State = 0;

/// What a write of unknown outcome made, if nobody ever saw it. Nobody can name it, so it is the
/// last.
pub(super) const UNSEEN: State = 1;

/// Something that takes effect at one moment after it was called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Step {
    pub(super) operation: usize,
    pub(super) called: Duration,
    /// Until when it must have taken effect. `None`: it may never do.
    pub(super) answered: Option<Duration>,
    pub(super) effect: Effect,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// The state is this one, where one is named, and is not that one, where one is named.
    Look { is: Option<State>, is_not: Option<State> },
    /// The state changes from one to another.
    Move { from: State, to: State },
}

impl Effect {
    /// Whether this changes nothing and fits `state`.
    pub(super) fn fits(self, state: State) -> bool {
        match self {
            Effect::Look { is, is_not } => is.is_none_or(|is| is == state) && is_not != Some(state),
            Effect::Move { .. } => false,
        }
    }
}

/// Two answers that no register gives, whatever the order.
pub(super) type Clash = (&'static str, Vec<usize>);

/// What a history says before anything is put in order.
pub(super) struct Compiled {
    states: HashMap<Version, State>,
    /// What each version stands for, where somebody was told.
    contents: HashMap<Version, Vec<u8>>,
    /// The versions that no answered write made, by their bytes: one of unknown outcome must have.
    unowned: HashMap<Vec<u8>, Vec<State>>,
}

impl Compiled {
    pub(super) fn new(operations: &[&Operation], refusals: Refusals) -> Result<Compiled, Clash> {
        let mut compiled =
            Compiled { states: HashMap::new(), contents: HashMap::new(), unowned: HashMap::new() };
        let mut makers: HashMap<Version, usize> = HashMap::new();
        let mut witnesses: HashMap<Version, usize> = HashMap::new();
        for (number, operation) in operations.iter().enumerate() {
            for version in named(operation) {
                let next = compiled.states.len() + UNSEEN + 1;
                compiled.states.entry(version.clone()).or_insert(next);
            }
            let Some(seen) = shown(operation) else { continue };
            let first = *witnesses.entry(seen.version.clone()).or_insert(number);
            let content = compiled.contents.entry(seen.version.clone());
            if *content.or_insert_with(|| seen.bytes.clone()) != seen.bytes {
                return Err(("one version stands for two contents", vec![first, number]));
            }
            if is_landed(operation) && makers.insert(seen.version.clone(), number).is_some() {
                return Err(("two writes made the same version", vec![first, number]));
            }
        }
        compiled.own(operations, refusals, &makers)?;
        Ok(compiled)
    }

    /// Finds the versions that a write of unknown outcome must have made.
    fn own(
        &mut self,
        operations: &[&Operation],
        refusals: Refusals,
        makers: &HashMap<Version, usize>,
    ) -> Result<(), Clash> {
        let may_have = operations.iter().filter(|o| may_have_landed_unseen(o, refusals));
        let possible: HashSet<&Vec<u8>> = may_have.filter_map(|o| bytes(o)).collect();
        for (number, operation) in operations.iter().enumerate() {
            let Some(seen) = shown(operation) else { continue };
            if makers.contains_key(&seen.version) {
                continue;
            }
            if !possible.contains(&seen.bytes) {
                let same = |n: &usize| bytes(operations[*n]) == Some(&seen.bytes);
                let mut involved: Vec<_> = (0..operations.len()).filter(same).collect();
                involved.push(number);
                return Err(("a state is shown that no write can have made", involved));
            }
            let state = self.states[&seen.version];
            let states = self.unowned.entry(seen.bytes).or_default();
            if !states.contains(&state) {
                states.push(state);
            }
        }
        Ok(())
    }

    /// How many versions were told.
    pub(super) fn versions(&self) -> usize {
        self.contents.len()
    }

    /// The steps of a history. Of an operation that is not `believed` nothing is taken from the
    /// answer but that it may have done what it was told to have done.
    pub(super) fn steps(
        &self,
        operations: &[&Operation],
        refusals: Refusals,
        believed: impl Fn(usize) -> bool,
    ) -> Vec<Step> {
        let mut steps = vec![];
        // Of several writes on one state that can only have made what nobody saw, the first will do.
        let mut unseen: HashMap<State, Step> = HashMap::new();
        for (number, operation) in operations.iter().enumerate() {
            let called = operation.called;
            let step = |answered, effect| Step { operation: number, called, answered, effect };
            let told = operation.told.as_ref().map(|(at, told)| (*at, told));
            let from = from(&operation.asked).map(|from| self.state(&from));
            match told {
                Some((at, Told::Shown(seen) | Told::Refused(seen))) if believed(number) => {
                    let is = match seen {
                        Some(seen) => Some(self.states[&seen.version]),
                        None if from.is_none() => Some(ABSENT),
                        None => None,
                    };
                    steps.push(step(Some(at), Effect::Look { is, is_not: from }));
                }
                _ => {}
            }
            match (told, from) {
                (Some((at, Told::Landed(to))), Some(from)) => {
                    let effect = Effect::Move { from, to: self.state(to) };
                    steps.push(step(Some(at).filter(|_| believed(number)), effect));
                }
                (_, Some(from)) if may_have_landed_unseen(operation, refusals) => {
                    let Some(bytes) = bytes(operation) else {
                        steps.push(step(None, Effect::Move { from, to: ABSENT }));
                        continue;
                    };
                    let last = step(None, Effect::Move { from, to: UNSEEN });
                    if let Some(states) = self.unowned.get(bytes) {
                        let moves = states.iter().map(|&to| Effect::Move { from, to });
                        steps.extend(moves.map(|effect| step(None, effect)));
                        steps.push(last);
                        continue;
                    }
                    let first = unseen.entry(from).or_insert(last);
                    if last.called < first.called {
                        *first = last;
                    }
                }
                _ => {}
            }
        }
        steps.extend(unseen.into_values());
        steps
    }

    /// The writes that made the states which these operations name.
    pub(super) fn makers(&self, operations: &[&Operation], numbers: &[usize]) -> Vec<usize> {
        let versions = numbers.iter().flat_map(|number| named(operations[*number]));
        let contents: Vec<_> = versions.filter_map(|v| self.contents.get(&v)).collect();
        let is_maker = |n: &usize| bytes(operations[*n]).is_some_and(|b| contents.contains(&b));
        (0..operations.len()).filter(is_maker).collect()
    }

    fn state(&self, state: &Expected) -> State {
        match state {
            Expected::Absent => ABSENT,
            Expected::Version(version) => self.states[version],
        }
    }
}

fn is_landed(operation: &Operation) -> bool {
    matches!(operation.told, Some((_, Told::Landed(_))))
}

/// Whether it is a write or delete that may have landed without an answer that says so.
fn may_have_landed_unseen(operation: &Operation, refusals: Refusals) -> bool {
    match &operation.told {
        None => operation.asked != Asked::Read,
        Some((_, Told::Refused(_))) => refusals == Refusals::MayBeOfASecondCopy,
        Some(_) => false,
    }
}

/// The state that it is conditioned on, if it can change anything.
fn from(asked: &Asked) -> Option<Expected> {
    match asked {
        Asked::Read => None,
        Asked::Write { expected, .. } => Some(expected.clone()),
        Asked::Delete { version } => Some(Expected::Version(version.clone())),
    }
}

/// The versions that it names, in question and answer.
fn named(operation: &Operation) -> impl Iterator<Item = Version> {
    let of = |state| match state {
        Some(Expected::Version(version)) => Some(version),
        _ => None,
    };
    let told = match &operation.told {
        Some((_, Told::Landed(state))) => Some(state.clone()),
        Some((_, Told::Shown(seen) | Told::Refused(seen))) => {
            seen.as_ref().map(|seen| Expected::Version(seen.version.clone()))
        }
        Some((_, Told::NotSent)) | None => None,
    };
    of(from(&operation.asked)).into_iter().chain(of(told))
}

fn bytes(operation: &Operation) -> Option<&Vec<u8>> {
    match &operation.asked {
        Asked::Write { bytes, .. } => Some(bytes),
        Asked::Read | Asked::Delete { .. } => None,
    }
}

/// A version and its bytes, where an answer tells both.
fn shown(operation: &Operation) -> Option<Seen> {
    match (&operation.told.as_ref()?.1, &operation.asked) {
        (Told::Shown(seen) | Told::Refused(seen), _) => seen.clone(),
        (Told::Landed(Expected::Version(version)), Asked::Write { bytes, .. }) => {
            Some(Seen { version: version.clone(), bytes: bytes.clone() })
        }
        _ => None,
    }
}
