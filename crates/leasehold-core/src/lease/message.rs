//! What goes into the state machine of an acquisition and what comes out of it.

use std::time::Duration;

use crate::backend::{Expected, Facts, Fate, Trouble};
use crate::deadline::Deadline;
use crate::link::Sent;
use crate::primitive::Primitive;
use crate::record::{BadRecord, FencingToken, Holder, Kind, Past, Record};
use crate::register::{Request, Seen};

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
}

/// How long to wait for a lock that another holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Patience {
    /// Not at all: one look, and the lock only if it is free.
    Try,
    /// At most this long.
    AtMost(Duration),
    /// Until it is free.
    Forever,
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
pub enum Input<P: Primitive> {
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
    /// Ask this, number `.0`, of the record with a renewal. It replaces an ask that no write carries yet.
    Ask(u64, P::Ask),
    /// What was done under the lease has ended like this: record it and let go. That the lease is over is
    /// no obstacle as long as nobody else has taken it.
    End(P::End),
    /// Let go as if we had never held.
    Undo,
}

/// What the driver has to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output<P: Primitive> {
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
    Event(Event<P>),
}

impl<P: Primitive> From<Sent> for Output<P> {
    fn from(Sent { number, request, timeout }: Sent) -> Output<P> {
        Output::Send { number, request, timeout }
    }
}

impl<P: Primitive> From<Event<P>> for Output<P> {
    fn from(event: Event<P>) -> Output<P> {
        Output::Event(event)
    }
}

/// What the user is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event<P: Primitive> {
    /// The lock is ours.
    Granted {
        /// The fencing token.
        token: FencingToken,
        /// Until when, unless renewed.
        deadline: Deadline,
        /// The record that says so.
        record: Box<Record>,
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
    /// It is free, and we were only to look.
    Free,
    /// Nobody has it, and it is too early by this much: the newest record says why.
    Resting(Duration),
    /// There is nothing to wait for.
    Answer(P::Answer),
    /// What the ask of this number wanted is in the record.
    Asked(u64),
    /// The backend gave trouble; we try again.
    Trouble(Trouble),
    /// It could not be acquired in time.
    NotAcquired {
        /// Who has it, where that is known.
        rival: Option<(Holder, FencingToken)>,
        /// Whether it is too early, although nobody has it.
        rests: bool,
    },
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

impl Loss {
    /// The loss of a lock whose record, as it is now, does not name its holder.
    pub(super) fn shown_by(record: Option<&Record>) -> Loss {
        match record.map(|r| (r.holder(), &r.past)) {
            None => Loss::Gone,
            Some((Some(other), _)) => Loss::TakenOver(other.clone()),
            Some((None, past)) => Loss::Ended(past.clone()),
        }
    }
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
