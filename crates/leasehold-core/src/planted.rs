//! Wrong variants of the protocol, one switch each, so that the tests can show that they would be
//! caught. Compiled only with the feature `planted`, which no production build has.
//!
//! The sites are the lines that begin with `planted!`: a reader of the protocol may skip them. All but
//! one bug at a time would hide each other, so only one can be planted.

use std::time::Duration;

use crate::backend::{Expected, Version};
use crate::lease::Request;
use crate::record::Holder;

/// Makes the enum `Bug` of the wrong variants that its documentation tells, one of which can be
/// planted in a process. The library has a list of its own.
#[macro_export]
macro_rules! bugs {
    ($(#[doc = $wrong:literal] $name:ident),+ $(,)?) => {
        /// What is wrong in one variant.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Bug {
            $(#[doc = $wrong] $name,)+
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Bug] = &[$(Bug::$name),+];

            /// What is wrong, in one sentence.
            pub fn wrong(self) -> &'static str {
                match self { $(Bug::$name => $wrong.trim_ascii(),)+ }
            }

            /// Its name, for command lines and tables.
            pub fn name(self) -> &'static str {
                match self { $(Bug::$name => stringify!($name),)+ }
            }

            /// The one that is planted now.
            pub fn planted() -> Option<Bug> {
                Bug::ALL.iter().copied().find(|bug| is_planted(*bug))
            }

            /// The bug of this name.
            pub fn named(name: &str) -> Option<Bug> {
                Bug::ALL.iter().copied().find(|bug| bug.name().eq_ignore_ascii_case(name))
            }
        }

        // Process-wide, because the model checker has threads.
        static PLANTED: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

        /// Plants a bug in everything of this process, or none.
        pub fn plant(bug: Option<Bug>) {
            PLANTED.store(bug.map_or(0, |bug| bug as u8 + 1), std::sync::atomic::Ordering::SeqCst);
        }

        /// Whether this bug is planted.
        pub fn is_planted(bug: Bug) -> bool {
            PLANTED.load(std::sync::atomic::Ordering::Relaxed) == bug as u8 + 1
        }
    };
}

bugs! {
    /// A holder's deadline counts from the reply to its write, not from the sending.
    DeadlineFromReply,
    /// A holder believes for the whole ttl: no margin for clocks that run differently.
    NoMargin,
    /// A renewal that is confirmed after the deadline brings the lost lock back.
    RenewedAfterDeadline,
    /// A holder believes until somebody tells it otherwise.
    NoDeadline,
    /// Whether the lock is held is a flag that a timer clears, not a comparison with the clock.
    HeldIsAFlag,
    /// A holder whose time is over is not told so, and a late renewal gives the time back.
    LossUntold,
    /// A holder gives the lock up at the first trouble with the store.
    SurrendersAtTrouble,
    /// A read that shows the holder its own name counts as a renewal.
    ReadIsRenewal,
    /// A holder counts time on a clock that stands still while its host sleeps.
    SleepNotCounted,
    /// A holder that has cause to suspect its clocks goes on believing.
    SuspicionIgnored,
    /// A suspicion is settled by a renewal that was sent before it.
    SuspicionSettledByAny,
    /// A lock is granted by a write that was sent before the host was paused.
    GrantDespitePause,

    /// A waiter's patience counts from its request, not from the reply that first showed the holder.
    PatienceFromRequest,
    /// A waiter counts the time its own host slept against the holder.
    PatienceCountsSleep,
    /// A record whose age nobody told is taken for an old one, and taken over at first sight.
    TakeoverAtFirstSight,
    /// A waiter takes the age of a lease from the wall clocks of two hosts.
    AgeByWallClock,
    /// A waiter goes by its own ttl, not by the one in the record.
    OwnTtl,
    /// The takeover delay in the record is ignored.
    DelayIgnored,
    /// The takeover delay is ignored where the holder's process is known to have died.
    DelayIgnoredForDead,
    /// The store's word on an age is believed without an allowance for its error.
    AgeBelievedExactly,
    /// A waiter does not see that a holder renewed.
    RenewalUnseen,
    /// A waiter takes the second lease of one acquisition for the first.
    SecondLeaseUnseen,
    /// A renewal writes the very bytes that stand there already.
    RenewalUnchanged,
    /// A renewal writes a new write id, but the same renewal count.
    RenewalShowsNoLife,

    /// A write without an answer is taken as failed.
    UnknownIsFailure,
    /// A write without an answer is taken as done.
    UnknownIsSuccess,
    /// A write that was answered with "too many requests" is taken as failed.
    ThrottledIsFailure,
    /// A write that was answered with a conflict is taken as failed.
    ConflictIsFailure,
    /// A release that was answered with a conflict is taken as done.
    ConflictIsReleased,
    /// A read that still shows the old state is taken as proof that a write on its way is dead.
    UnchangedIsProof,
    /// Only the id of the newest write is remembered.
    EarlierWritesForgotten,
    /// All writes of one acquisition carry the same write id.
    OneWriteId,
    /// A write counts as landed if the record names its sender, whichever write put it there.
    LandedByName,
    /// A cancelled acquisition ends without a thought for its write in flight.
    CancelForgetsWrite,
    /// A record that was absent once is made without looking again.
    AbsenceTrusted,

    /// The holder is told by its host: any acquisition with the same label is taken for one's own.
    OwnerIsHost,
    /// The holder is told by its process: an acquisition uses the id of the one before it again.
    OwnerIsProcess,
    /// A holder renews whatever lease stands in the record.
    RenewsAnother,
    /// A release frees whatever lease stands in the record.
    ReleasesAnother,
    /// A release is written without a condition.
    BlindRelease,
    /// A takeover is written without a condition.
    BlindTakeover,
    /// A holder that finds its record deleted goes on holding.
    DeletionIgnored,

    /// A takeover does not raise the token.
    TokenNotRaised,
    /// A release does not keep the token.
    TokenLostAtRelease,
    /// The token of a record that was deleted starts again at one.
    TokenReused,
    /// Forcing a holder out does not raise the token.
    ForceKeepsToken,

    /// `once`: a completion is not looked at, and it runs again.
    DoneIgnored,
    /// `once`: a completion that meets somebody else's record counts as recorded.
    SupersededIsDone,
    /// `once`: a key that a later one replaced is forgotten.
    OldKeyForgotten,
    /// `once`: a new run forgets how many have failed.
    FailuresForgotten,
    /// `once`: nobody gives up, however many runs have failed.
    NeverGivesUp,
    /// `once`: a run that resumes does not find what was saved.
    CheckpointForgotten,
    /// `once`: a run is not told that one before it began and did not complete.
    ResumedUntold,
    /// `once`: an interrupted run counts as one that failed.
    InterruptedIsFailed,
    /// `once`: the next run begins without a wait after a failure.
    BackOffIgnored,
    /// `once`: a completion without an answer is recorded as a failure.
    UnknownDoneIsFailed,
    /// `once`: a completion is written over whatever run stands in the record.
    CompletesAnother,
    /// `once`: a failure that others have written over counts as not recorded.
    FailureDenied,
    /// `once`: a run that did not begin is left in the record as one that did.
    WithdrawnStaysBegun,
    /// `once`: a checkpoint counts as saved when it is sent.
    SavedWhenSent,

    /// A pause of no length arms no wake-up.
    WakeupLost,
    /// A waiter relies on the store's notifications alone.
    HintsTrusted,
}

/// The condition that every state meets. The contract has no such thing; simulated stores honour it
/// where bugs can be planted.
pub fn is_anything(expected: &Expected) -> bool {
    matches!(expected, Expected::Version(version) if version.as_str() == "*")
}

/// A takeover, or else a release, without its condition.
pub(crate) fn blind(request: Request, takes: bool) -> Request {
    match request {
        Request::Write(_, record) if record.holder().map(|h| h.renewals) == takes.then_some(0) => {
            Request::Write(Expected::Version(Version::new("*")), record)
        }
        other => other,
    }
}

/// The age of a lease that is said to have been renewed at each third of its ttl, by the clock of its
/// holder, as the wall clock of another host has it.
pub(crate) fn age_by_wall(holder: Option<&Holder>, unix_ms: u64) -> Option<Duration> {
    let holder = holder?;
    let renewed = holder.acquired_unix_ms + holder.renewals * holder.ttl_ms / 3;
    Some(Duration::from_millis(unix_ms.saturating_sub(renewed)))
}
