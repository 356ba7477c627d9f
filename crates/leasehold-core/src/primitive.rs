//! The seam: what one primitive decides, and nothing about time, requests or replies.

use std::fmt::Debug;
use std::time::Duration;

use crate::record::{FencingToken, Holder, Kind, Record};

mod any;

pub use any::Any;

/// A primitive: who may enter beside whom, and what it keeps in the record beside its holders.
///
/// It is a value, with the options of its user in it. Every decision is a function of the record and the
/// [`View`], so that the machines, the drivers and the checkers know no primitive by name.
pub trait Primitive: Clone + Eq + Debug + Send + Sync + 'static {
    /// What a holder can have written into the record while it holds.
    type Ask: Clone + Eq + Debug + Send;
    /// How a holder can end, beside simply releasing.
    type End: Clone + Eq + Debug + Send;
    /// What can end a wait without a lease.
    type Answer: Clone + Eq + Debug + Send;
    /// What entering replaces in the record.
    type Replaced: Clone + Eq + Debug + Default + Send;

    /// What a name is used as.
    fn kind(&self) -> Kind;

    /// What the newest record means for a waiter. It is asked only of a record of this kind.
    fn admit(&self, view: &View<'_>) -> Admission<Self::Answer>;

    /// Puts into `record`, which names a new holder instead of what `before` names, what belongs to it.
    /// What it gives back is put back by [`leave`](Primitive::leave) if the holder never came to hold.
    fn enter(&self, record: &mut Record, before: Option<&Record>) -> Self::Replaced;

    /// Puts what the holder asks for into the record by which it renews.
    fn ask(&self, record: &mut Record, ask: &Self::Ask);

    /// Puts into the record by which a holder leaves what stays of it.
    fn leave(&self, record: &mut Record, exit: &Exit<'_, Self>);

    /// Whether the record proves that the end of the holder with this token was recorded, although others
    /// have written since; `None` if it cannot tell.
    fn recorded(
        &self,
        record: &Record,
        token: Option<FencingToken>,
        end: &Self::End,
    ) -> Option<bool>;

    /// Whether a process that has just released may want it again at once, and so has to give those a
    /// turn that waited.
    fn comes_again(&self) -> bool {
        true
    }

    /// A failure in the place of an end, for the planted bug that takes one for the other.
    #[cfg(feature = "planted")]
    fn as_failed(end: Self::End) -> Self::End {
        end
    }

    /// Whether it can be asked of a record of this kind whether somebody is at work.
    fn looks_at(&self, kind: Kind) -> bool {
        kind == self.kind()
    }
}

/// A record as a waiter sees it now.
#[derive(Debug)]
pub struct View<'a> {
    /// The record.
    pub record: &'a Record,
    /// Its holders but for the one who asks, and what is left of each lease: zero when it may be taken
    /// over.
    pub others: Vec<(&'a Holder, Duration)>,
    /// How long the record has stood, at the least.
    pub stood: Duration,
    /// How long it has stood by the store's clock, where there is one.
    pub age: Option<Duration>,
    /// The waiter's wall clock, as Unix milliseconds. It decides nothing about a lease.
    pub unix_ms: u64,
}

impl View<'_> {
    /// The answer of a primitive with one holder: enter when nobody else has a lease.
    pub fn exclusive<A>(&self) -> Admission<A> {
        let left = self.others.iter().map(|(_, left)| *left).max().unwrap_or_default();
        if left.is_zero() { Admission::Enter } else { Admission::Wait(left) }
    }
}

/// What a record means for a waiter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission<A> {
    /// It may write itself into the record.
    Enter,
    /// Others are in the way, for about this long unless they renew.
    Wait(Duration),
    /// Nobody is in the way, and it is too early by this much.
    Rest(Duration),
    /// There is nothing to wait for.
    Answer(A),
}

/// How a holder leaves.
#[derive(Debug)]
pub struct Exit<'a, P: Primitive> {
    /// How.
    pub how: How<'a, P>,
    /// Who it is, for people.
    pub label: &'a str,
    /// Its wall clock, as Unix milliseconds.
    pub unix_ms: u64,
}

/// How a holder leaves.
#[derive(Debug)]
pub enum How<'a, P: Primitive> {
    /// It held, and releases.
    Released,
    /// It held, and ends like this.
    Ended(&'a P::End),
    /// As if it had never come: it did not come to hold, or takes back that it did. With what its entering
    /// replaced, where the record names it.
    Undone(Option<&'a P::Replaced>),
}
