//! What goes into the state machine of an acquisition and what comes out of it.

use std::time::Duration;

use crate::backend::{Expected, Facts, Fate, Trouble};
use crate::deadline::Deadline;
use crate::once::{Completion, Once, Settled};
use crate::record::{BadRecord, Ending, FencingToken, Holder, Kind, Outcome, Past, Record};

/// What an acquisition is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// How long the lease lasts unrenewed.
    pub ttl: Duration,
    /// How long others stay out after an expiry.
    pub takeover_delay: Duration,
    /// Who we are, for people.
    pub label: String,
    /// What the backend says about itself.
    pub facts: Facts,
    /// What is to be done once under the lease. `None`: it is a mutex.
    pub once: Option<Once>,
}

/// How long to wait for a lock that another holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Patience {
    /// Not at all: one look, and the lock only if it is to be had.
    Try,
    /// At most this long.
    AtMost(Duration),
    /// Until it is to be had.
    Forever,
}

/// One state of the record, as the protocol sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// The state, for the next write's condition.
    pub state: Expected,
    /// The record, `None` where nothing is stored.
    pub record: Option<Record>,
}

/// A reply, as the driver hands it in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// The newest state of the record, from a read or from a refused write.
    Read {
        /// The state.
        seen: Seen,
        /// How long it has stood, by the backend's clock.
        age: Option<Duration>,
        /// Whether its writer is proven to have ended.
        orphaned: bool,
        /// The backend's Unix time.
        unix_ms: Option<u64>,
    },
    /// What stands there is not a record that may be used.
    Unreadable(BadRecord),
    /// The write landed, and this is the state now.
    Applied(Expected),
    /// The write's condition did not hold, and the winning state was not told.
    Conflict,
    /// No answer, or one that is none.
    Failed(Fate, Trouble),
}

/// What happens to an acquisition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// Time passed.
    Wake,
    /// The backend hinted that the record may have changed.
    Changed,
    /// The reply to request number `.0`. Replies to earlier requests are ignored.
    Reply(u64, Reply),
    /// Take the lock. Given once, first.
    Acquire(Patience),
    /// Wait until the lock is free, without taking it. Given once, first, instead of `Acquire`.
    Look(Patience),
    /// Give up, whatever the state: stop waiting, or release what is held. May come at any time and
    /// any number of times.
    Release,
    /// The host's clocks suggest that it was paused in a way no steady clock counted.
    Suspect,
    /// Save this checkpoint, number `.0`, with a renewal. It replaces one that is not saved yet.
    Save(u64, Vec<u8>),
    /// The run has ended like this: record it and let go. Only for what is done once. That the lease
    /// is over is no obstacle as long as nobody else has taken it.
    Complete(Completion),
}

/// A request to the backend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Read the newest state.
    Read,
    /// Write the record if the state is still the expected one.
    Write(Expected, Record),
}

/// What the driver has to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Send this request, number `number`, once. It replaces any request before it. If there is no
    /// answer within `timeout`, reply [`Fate::Unknown`].
    Send {
        /// For the reply.
        number: u64,
        /// The request.
        request: Request,
        /// How long to wait for an answer.
        timeout: Duration,
    },
    /// Step again with [`Input::Wake`] after this long, or a little later. Replaces the wake before.
    Wake(Duration),
    /// Tell the user.
    Event(Event),
}

/// What the user is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The lock is ours.
    Granted {
        /// The fencing token.
        token: FencingToken,
        /// Until when, unless renewed.
        deadline: Deadline,
        /// Who held before, and how that ended.
        past: Option<Past>,
        /// How far the thing to be done once has come, this run included.
        outcome: Option<Outcome>,
    },
    /// The lease was renewed.
    Renewed(Deadline),
    /// Whether we hold is doubtful until the next [`Event::Renewed`], and by this deadline it is over
    /// without one. Said again when a renewal of before the doubt moves the deadline.
    Suspected(Deadline),
    /// We hold no longer.
    Lost(Loss),
    /// Somebody else has it, and we wait.
    Waiting {
        /// Who.
        holder: Holder,
        /// Their token.
        token: FencingToken,
        /// When the lease ends unless renewed, as far as is known.
        expires_in: Duration,
    },
    /// It is to be had, and we were only to look.
    Free,
    /// The last run failed, and it is too early for the next one.
    BackingOff {
        /// How many failed.
        failures: u64,
        /// How the last one ended.
        ending: Option<Ending>,
        /// When the next may begin.
        left: Duration,
    },
    /// There is nothing to run.
    Settled(Settled),
    /// The checkpoint of this number is saved.
    Saved(u64),
    /// The backend gave trouble; we try again.
    Trouble(Trouble),
    /// The lock was not to be had in time. `None`: nobody could be asked.
    NotAcquired(Option<(Holder, FencingToken)>),
    /// It can never be had like this.
    Failed(Failure),
    /// The release is settled; nothing follows.
    Released(Release),
}

/// Why a lock is held no longer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Loss {
    /// It could not be renewed in time.
    Expired,
    /// Another took it over.
    TakenOver(Holder),
    /// A person or a program ended it: what the record says of it.
    Ended(Option<Past>),
    /// The record was deleted.
    Gone,
    /// The record was damaged or replaced.
    Unreadable(BadRecord),
}

/// Why a lock cannot be had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The backend refuses or does not answer.
    Backend(Trouble),
    /// What stands there is not a record that may be used.
    Unreadable(BadRecord),
    /// The name is used as something else.
    WrongKind(Kind),
    /// The store keeps answering with older states than it showed before.
    Stale,
}

/// How a release ended, or the recording of a completion.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Release {
    /// The lock was ours and is free now; a completion is recorded.
    Freed,
    /// It was not ours any more, or never was; a completion met somebody else's record, which does not
    /// say it.
    NotHeld,
    /// It could not be said to the backend. The lease ends by itself. A completion may be recorded or
    /// not; of a failure that is so too where others have failed since.
    Unconfirmed,
}
