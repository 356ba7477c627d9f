//! What a model checker must see of an acquisition to tell whether two of them will behave alike, and
//! the few things that it may forget. Compiled only with the feature `inspect`.

use std::time::Duration;

use super::{Lease, Phase, ToTheEnd};
use crate::deadline::{Deadline, Moment};
use crate::once::Completion;
use crate::record::{FencingToken, HolderId, Outcome, Record, WriteId};

use super::message::Seen;

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

/// A write whose outcome is not proven.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Open {
    /// Its id.
    pub id: WriteId,
    /// When it was sent.
    pub sent: Moment,
    /// Whether that was after the last suspicion.
    pub clean: bool,
    /// The number of the checkpoint that it saves.
    pub saves: Option<u64>,
}

/// The holder that is being watched for a sign of life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Watched {
    /// Its token.
    pub token: FencingToken,
    /// Its id.
    pub holder: HolderId,
    /// Its renewal count.
    pub renewals: u64,
    /// Since when these three have been seen.
    pub since: Moment,
}

/// Everything that the future of an acquisition depends on, but for its settings and for what
/// [`Lease::forget_pace`] forgets.
#[derive(Debug)]
pub struct View<'a> {
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
    pub watched: Option<Watched>,
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
    /// What stood in the record before a run began.
    pub replaced: Option<&'a Outcome>,
    /// The token of the run.
    pub run: Option<FencingToken>,
    /// The checkpoint that is to be saved.
    pub unsaved: Option<&'a (u64, Vec<u8>)>,
    /// How the run ended.
    pub completion: Option<&'a Completion>,
}

impl Lease {
    /// What its future depends on.
    pub fn view(&self) -> View<'_> {
        // Every field by name, so that a new one does not compile before somebody has asked
        // whether the checker must see it.
        let Lease {
            settings: _, // the same for the whole life
            holder,
            phase,
            seen,
            stood: _, // paces writes, and runs after failures: the checker has no such waits
            remembered: _, // the same
            first_look: _, // the same
            open: _,  // see `open`
            age,
            orphaned,
            unix_ms: _, // dates the first record only; the checker's clocks all say the same
            sighting,
            unchanged: _, // paces looks
            highest,
            must_read,
            outstanding,
            requests: _, // only numbers the next request
            pause,
            suspect,
            failures: _,      // paces retries, see `forget_pace`
            failing_since: _, // see `forget_pace`
            stale,
            conflicts,
            polite,
            replaced,
            run,
            unsaved,
            completion,
        } = self;
        View {
            holder: *holder,
            stage: stage(phase),
            seen: seen.as_ref(),
            age: *age,
            orphaned: *orphaned,
            watched: sighting.as_ref().map(|s| Watched {
                token: s.token,
                holder: s.holder,
                renewals: s.renewals,
                since: s.since,
            }),
            highest: *highest,
            must_read: *must_read,
            outstanding: outstanding.as_ref().map(|o| (o.number, o.writes.as_ref())),
            asked: pause.filter(|_| outstanding.is_some()).map(|(since, _)| since),
            suspect: *suspect,
            stale: *stale,
            conflicts: *conflicts,
            polite: *polite,
            replaced: replaced.as_ref(),
            run: *run,
            unsaved: unsaved.as_ref(),
            completion: completion.as_ref(),
        }
    }

    /// The writes conditioned on the newest state that is known, oldest first.
    pub fn open(&self) -> impl ExactSizeIterator<Item = Open> {
        self.open.iter().map(|a| Open { id: a.id, sent: a.sent, clean: a.clean, saves: a.saves })
    }

    /// Where it stands.
    pub fn stage(&self) -> Stage {
        stage(&self.phase)
    }

    /// Whether a request waits for its answer.
    pub fn awaits_answer(&self) -> bool {
        self.outstanding.is_some()
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
        if self.outstanding.is_none() {
            self.pause = None;
        }
        self.failures = 0;
        self.failing_since = None;
        self.conflicts = self.conflicts.min(1);
        if let Phase::Releasing { since, .. } = &mut self.phase {
            *since = now;
        }
    }

    /// Makes a release that has begun be so old that the next step gives it up.
    pub fn tire(&mut self, now: Moment) {
        let ttl = self.release_patience();
        if let Phase::Releasing { since, .. } = &mut self.phase {
            let back = |t: Duration| t.checked_sub(ttl).unwrap_or_default();
            *since = Moment { boot: back(now.boot), mono: back(now.mono) };
        }
    }

    /// Takes back a read that was sent and has not reached the store. The next wake-up sends it
    /// again: reading is the first thing that is done while a read is due, the time of sending a
    /// read is kept nowhere, and so nothing but the time of sending can differ.
    pub fn unsend_read(&mut self) {
        self.outstanding.take_if(|o| o.writes.is_none());
    }
}

fn stage(phase: &Phase) -> Stage {
    match *phase {
        Phase::New => Stage::New,
        Phase::Acquiring { look, .. } => Stage::Acquiring { look },
        Phase::Held(deadline) => Stage::Held(deadline),
        Phase::Lost => Stage::Lost,
        Phase::Releasing { held, .. } => Stage::Releasing { held },
        Phase::Ended => Stage::Ended,
    }
}
