//! The plan: who asks for what, and who is hurt when and how. All of it comes from the seed.

use crate::dice::Dice;

/// What the plan depends on.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) seed: u64,
    pub(crate) slots: usize,
    pub(crate) names: usize,
    pub(crate) ttls_ms: Vec<u64>,
    pub(crate) can_freeze: bool,
    pub(crate) namespaces: usize,
}

/// How long one waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Forever,
    No,
    Ms(u64),
}

/// What one `leasehold run` is asked for, and what its command does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    /// How long the slot is empty before.
    pub(crate) pause_ms: u64,
    pub(crate) name: usize,
    pub(crate) ttl_ms: u64,
    pub(crate) wait: Wait,
    pub(crate) work_ms: u64,
    pub(crate) exit: u8,
    /// The command has a child in a session of its own.
    pub(crate) family: bool,
    /// The command is deaf to SIGTERM and SIGINT.
    pub(crate) stubborn: bool,
}

/// Whom a hurt hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The `leasehold run`.
    Main,
    Keeper,
    Child,
    /// These two and whatever the child started.
    All,
    /// Those who watch over the child, which runs on.
    MainAndKeeper,
}

impl Target {
    /// For a person.
    pub(crate) fn shown(self) -> &'static str {
        match self {
            Target::Main => "leasehold",
            Target::Keeper => "keeper",
            Target::Child => "command",
            Target::All => "all of it",
            Target::MainAndKeeper => "leasehold and keeper",
        }
    }
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Kill(Target),
    Stop(Target, u64),
    Term(Target),
    Int(Target),
    Break,
    Freeze(u64),
    /// One namespace, or all.
    Cut(Option<usize>, u64),
}

/// One hurt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hurt {
    /// How long after the one before.
    pub(crate) pause_ms: u64,
    /// The holder of this name, if there is one.
    pub(crate) holder_of: Option<usize>,
    /// Otherwise whoever is in this slot.
    pub(crate) slot: usize,
    pub(crate) act: Act,
}

const ASKS: u64 = 1;
const HURTS: u64 = 2;

impl Ask {
    /// For the journal.
    pub(crate) fn shown(&self) -> String {
        let wait = match self.wait {
            Wait::Forever => "for ever".to_owned(),
            Wait::No => "not at all".to_owned(),
            Wait::Ms(ms) => format!("{ms} ms"),
        };
        let Ask { name, ttl_ms, work_ms, exit, .. } = self;
        let family = if self.family { ", with a child" } else { "" };
        let deaf = if self.stubborn { ", deaf to SIGTERM and SIGINT" } else { "" };
        format!(
            "name {name}, ttl {ttl_ms} ms, waits {wait}, works {work_ms} ms and ends with \
             {exit}{family}{deaf}"
        )
    }
}

impl Hurt {
    /// For a person.
    fn shown(&self) -> String {
        let whom = match (self.act, self.holder_of) {
            (Act::Freeze(_) | Act::Cut(..), _) => String::new(),
            (_, Some(name)) => {
                format!(" of the holder of name {name}, or else of slot {}", self.slot)
            }
            (_, None) => format!(" of slot {}", self.slot),
        };
        format!("{} ms later: {:?}{whom}", self.pause_ms, self.act)
    }
}

impl Terms {
    /// The lock that a slot wants.
    pub(crate) fn name_of(&self, slot: usize) -> usize {
        slot % self.names
    }

    /// The first two slots of each name wait for as long as it takes, so that there is always somebody
    /// to take a free lock.
    fn is_patient(&self, slot: usize) -> bool {
        slot < 2 * self.names
    }

    pub(crate) fn ttl_ms_most(&self) -> u64 {
        self.ttls_ms.iter().copied().max().unwrap_or(1)
    }

    fn ttl_ms_least(&self) -> u64 {
        self.ttls_ms.iter().copied().min().unwrap_or(1)
    }

    /// The nth run of a slot.
    pub(crate) fn ask(&self, slot: usize, nth: u64) -> Ask {
        let mut dice = Dice::new(self.seed, ASKS + ((slot as u64) << 8), nth);
        let ttl_ms = self.ttls_ms[dice.place(self.ttls_ms.len())];
        let work_ms = match dice.percent(30) {
            // Longer than a lease, so that it has to be renewed, and goes on if nobody ends it.
            true => dice.between(ttl_ms / 2, ttl_ms * 4),
            false => dice.between(5, 300),
        };
        let wait = match dice.between(0, 9) {
            _ if self.is_patient(slot) => Wait::Forever,
            0..=1 => Wait::No,
            2..=4 => Wait::Ms(dice.between(0, ttl_ms * 2)),
            _ => Wait::Forever,
        };
        Ask {
            pause_ms: if wait == Wait::Forever { dice.between(0, 150) } else { 300 },
            name: self.name_of(slot),
            ttl_ms,
            wait,
            work_ms,
            exit: [0, 0, 1, 3, 42][dice.place(5)],
            family: dice.percent(30),
            stubborn: dice.percent(20),
        }
    }

    /// The nth hurt.
    pub(crate) fn hurt(&self, nth: u64) -> Hurt {
        let mut dice = Dice::new(self.seed, HURTS, nth);
        let act = self.act(&mut dice);
        let slot = dice.place(self.slots);
        // Whoever holds is few among many, and more can go wrong there.
        let holder_of = dice.percent(70).then(|| self.name_of(slot));
        // Sometimes two in one moment.
        let pause_ms = if dice.percent(20) { dice.between(0, 20) } else { dice.between(20, 450) };
        Hurt { pause_ms, holder_of, slot, act }
    }

    fn act(&self, dice: &mut Dice) -> Act {
        let to_store = if self.can_freeze { 5 } else { 0 };
        let to_links = if self.namespaces > 0 { 8 } else { 0 };
        let span = self.span(dice);
        let one = (self.namespaces > 0 && dice.percent(70)).then(|| dice.place(self.namespaces));
        let all = [
            (22, Act::Kill(Target::Main)),
            (8, Act::Kill(Target::Keeper)),
            (8, Act::Kill(Target::Child)),
            (4, Act::Kill(Target::All)),
            (20, Act::Stop(Target::Main, span)),
            (8, Act::Stop(Target::Keeper, span)),
            (8, Act::Stop(Target::Child, span)),
            (5, Act::Stop(Target::All, span)),
            (3, Act::Stop(Target::MainAndKeeper, span)),
            (6, Act::Term(Target::Main)),
            (3, Act::Int(Target::Main)),
            (2, Act::Term(Target::Child)),
            (4, Act::Break),
            (to_store, Act::Freeze(span)),
            (to_links, Act::Cut(one, span)),
        ];
        dice.weighed(&all).unwrap_or(Act::Break)
    }

    /// Some are shorter than every ttl, more are longer than every one.
    fn span(&self, dice: &mut Dice) -> u64 {
        match dice.percent(40) {
            true => dice.between(10, self.ttl_ms_least() * 2 / 3),
            false => dice.between(self.ttl_ms_most() * 21 / 20, self.span_ms_most()),
        }
    }

    /// The longest time for which anything is stopped.
    pub(crate) fn span_ms_most(&self) -> u64 {
        self.ttl_ms_most() * 7 / 4
    }

    /// The first lines of the plan.
    pub(crate) fn shown(&self) -> String {
        let asks =
            (0..self.slots).map(|slot| format!("slot {slot}: {}\n", self.ask(slot, 0).shown()));
        let hurts = (0..100).map(|nth| format!("hurt {nth}: {}\n", self.hurt(nth).shown()));
        asks.chain(hurts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(seed: u64) -> Terms {
        let ttls_ms = vec![2_000, 3_000];
        Terms { seed, slots: 12, names: 3, ttls_ms, can_freeze: true, namespaces: 3 }
    }

    /// Somebody repeats a run by its seed: the same is planned. With another seed it is not.
    #[test]
    fn a_seed_is_a_plan() {
        assert_eq!(terms(7).shown(), terms(7).shown());
        assert_ne!(terms(7).shown(), terms(8).shown());
    }

    /// A kind of hurt that is never drawn tests nothing.
    #[test]
    fn every_kind_of_hurt_is_drawn() {
        let kind = |act| match act {
            Act::Kill(target) => (0, target as usize),
            Act::Stop(target, ms) => (if ms > 3_000 { 1 } else { 2 }, target as usize),
            Act::Term(target) => (3, target as usize),
            Act::Int(_) => (4, 0),
            Act::Break => (5, 0),
            Act::Freeze(ms) => (6, usize::from(ms > 3_000)),
            Act::Cut(one, ms) => (7, usize::from(ms > 3_000) + 2 * usize::from(one.is_none())),
        };
        let mut kinds: Vec<_> = (0..5_000).map(|nth| kind(terms(1).hurt(nth).act)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), 4 + 2 * 5 + 2 + 1 + 1 + 2 + 4, "{kinds:?}");
    }
}
