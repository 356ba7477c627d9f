//! Wrong variants of the driver and of what users hold, one switch each, so that the tests can show
//! that they would be caught. Compiled only with the feature `planted`, which no production build has.
//!
//! [`leasehold_core::planted`] has those of the protocol. The sites are the lines that begin with
//! `planted!`: a reader may skip them.

leasehold_core::bugs! {
    /// Whether a guard is held is a flag that the driver sets, not a comparison with the clock.
    GuardIsAFlag,
    /// A guard goes on saying that it is held while its host's clocks are in doubt.
    DoubtIsHeld,
    /// The driver does not compare the wall clock with the steady ones.
    PauseUnseen,
    /// A holder relies on its timers alone, which do not count the time that its host sleeps.
    TimerCountsSleep,
    /// A guard is handed out without a look at whether it is still held.
    GrantUnchecked,
    /// A section's result counts although its lock was lost while it ran.
    SectionUnchecked,
    /// A section that ended while its host's clocks were in doubt counts, and nothing has proven it.
    DoubtUnproven,
    /// No timer runs while a request is under way, so that a hanging one delays the news of a loss.
    LossWaitsForReply,
    /// A request that gets no answer is waited for without an end.
    RequestWithoutTimeout,
    /// An acquire whose future was dropped goes on, and nobody lets go of what it gets.
    CancelLeaksGrant,
    /// Dropping a guard says nothing to the driver.
    DropForgotten,
    /// A release returns before the store has confirmed it.
    ReleaseNotAwaited,
    /// Closing a client does not wait for the releases that are under way.
    CloseReturnsEarly,
    /// Closing a client does not wait for what an acquire left under way when its time was up.
    RefusalUnsettled,
    /// The time spent in the queue of one's own process does not count against the time limit.
    TimeInQueueForgotten,
}
