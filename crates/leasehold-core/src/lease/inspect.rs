//! What a model checker must see of an acquisition to tell whether two of them will behave alike, and
//! the few things that it may forget. Compiled only with the feature `inspect`.

use std::time::Duration;

use super::entry::{Ending, Entry};
use super::{Lease, Phase, ToTheEnd};
use crate::deadline::{Deadline, Moment};
use crate::link::Link;
use crate::primitive::Primitive;
use crate::record::{FencingToken, HolderId, Record};

use crate::register::{Attempt, Seen};
use crate::silence::Sighting;

/// Where an acquisition stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Not begun.
    New,
    /// Waiting, or only looking.
    Acquiring {
        /// Only to learn that it is free.
        look: bool,
    },
    /// Held until then.
    Held(Deadline),
    /// Lost, and not let go of by the user.
    Lost,
    /// Letting go.
    Releasing {
        /// Whether it was held until then.
        held: ToTheEnd,
    },
    /// Over.
    Ended,
}

/// Everything that the future of an acquisition depends on, but for its settings and for what
/// [`Lease::forget_pace`] forgets.
#[derive(Debug)]
pub struct View<'a, P: Primitive> {
    /// Who acquires.
    pub holder: HolderId,
    /// Where it stands.
    pub stage: Stage,
    /// The newest state that is known.
    pub seen: Option<&'a Seen>,
    /// What the store said of its age.
    pub age: Option<Duration>,
    /// What the store said of its writer.
    pub orphaned: bool,
    /// Who is watched.
    pub watched: Option<&'a Sighting>,
    /// The highest token seen.
    pub highest: Option<FencingToken>,
    /// Whether a read comes next.
    pub must_read: bool,
    /// The number of the request that waits for its answer, and what it writes.
    pub outstanding: Option<(u64, Option<&'a Record>)>,
    /// When the pause began that goes on beside an outstanding request. None does in a right core.
    pub asked: Option<Moment>,
    /// Whether holding is in doubt.
    pub suspect: bool,
    /// Whether the store's last answer was older than an earlier one.
    pub stale: bool,
    /// Races lost in a row.
    pub conflicts: u32,
    /// Whether the wait that politeness asks for after them is over.
    pub polite: bool,
    /// What entering replaced.
    pub replaced: &'a P::Replaced,
    /// The token, once the lock was granted.
    pub granted: Option<FencingToken>,
    /// What is asked of the record.
    pub ask: Option<&'a (u64, P::Ask)>,
    /// How it ends, where the record is to say it.
    pub end: Option<&'a P::End>,
    /// Whether it ends as if it had never held.
    pub undoes: bool,
}

impl<P: Primitive> Lease<P> {
    /// What its future depends on.
    pub fn view(&self) -> View<'_, P> {
        // Every field by name, so that a new one does not compile before somebody has asked
        // whether the checker must see it.
        let Lease { entry, phase, suspect } = self;
        let Entry {
            settings: _,  // the same for the whole life
            primitive: _, // the same
            id,
            link,
            replaced,
            granted,
            ask,
            ending,
        } = entry;
        let Link { register, silence, pace, .. } = link;
        let told = register.told();
        let outstanding = register.outstanding();
        View {
            holder: *id,
            stage: stage(phase),
            seen: register.newest(),
            age: told.age,
            orphaned: told.orphaned,
            watched: silence.sighting(),
            highest: register.highest(),
            must_read: register.must_read(),
            outstanding: outstanding.map(|o| (o.number, o.writes.as_ref())),
            asked: pace.pause().filter(|_| outstanding.is_some()).map(|(since, _)| since),
            suspect: *suspect,
            stale: register.is_stale(),
            conflicts: pace.conflicts(),
            polite: pace.is_polite(),
            replaced,
            granted: *granted,
            ask: ask.as_ref(),
            end: match ending {
                Some(Ending::Recorded(end)) => Some(end),
                Some(Ending::Undone) | None => None,
            },
            undoes: matches!(ending, Some(Ending::Undone)),
        }
    }

    /// The writes conditioned on the newest state that is known, oldest first.
    pub fn open(&self) -> &[Attempt] {
        self.entry.link.register.open()
    }

    /// Where it stands.
    pub fn stage(&self) -> Stage {
        stage(&self.phase)
    }

    /// Whether a request waits for its answer.
    pub fn awaits_answer(&self) -> bool {
        self.entry.link.register.outstanding().is_some()
    }

    /// Forgets what only sets the pace, so that anything may happen at any later time:
    ///
    /// * A pause ends whenever the next wake-up comes. A checker that may delay every wake-up as
    ///   long as it likes then has all the schedules with pauses, and some more.
    /// * The count of failures sets the length of a pause and hides hints: without it, again, more
    ///   can happen, not less.
    /// * A ttl of failures makes a waiter give up. So does a user who cancels, in the same state and
    ///   by the same writes, and the checker lets them cancel at any time.
    /// * Having let go, it gives up after a ttl, or four. The checker makes that happen at any time,
    ///   by [`tire`](Lease::tire), so the time that has passed need not be known.
    /// * More than one race lost in a row changes pauses only, unless the store limits its writes.
    pub fn forget_pace(&mut self, now: Moment) {
        let is_awaited = self.awaits_answer();
        self.entry.link.pace.forget(is_awaited);
        if let Phase::Releasing { since, .. } = &mut self.phase {
            *since = now;
        }
    }

    /// Makes a release that has begun be so old that the next step gives it up.
    pub fn tire(&mut self, now: Moment) {
        let ttl = self.entry.patience();
        if let Phase::Releasing { since, .. } = &mut self.phase {
            let back = |t: Duration| t.checked_sub(ttl).unwrap_or_default();
            *since = Moment { boot: back(now.boot), mono: back(now.mono) };
        }
    }

    /// Takes back a read that was sent and has not reached the store. The next wake-up sends it
    /// again: reading is the first thing that is done while a read is due, the time of sending a
    /// read is kept nowhere, and so nothing but the time of sending can differ.
    pub fn unsend_read(&mut self) {
        self.entry.link.register.unsend_read();
    }
}

fn stage(phase: &Phase) -> Stage {
    match *phase {
        Phase::New => Stage::New,
        Phase::Acquiring(waiter) => Stage::Acquiring { look: waiter.look },
        Phase::Held(deadline) => Stage::Held(deadline),
        Phase::Lost => Stage::Lost,
        Phase::Releasing { held, .. } => Stage::Releasing { held },
        Phase::Ended => Stage::Ended,
    }
}
