//! What happened somewhere in a search: each "never" is worth as much as the "sometimes" beside it.
//! How often is for people only: of worlds that are alike, not all have the same past.

macro_rules! facts {
    ($(#[doc = $words:literal] $name:ident),+ $(,)?) => {
        /// Something that must happen somewhere, or the search has shown nothing of it.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Fact { $(#[doc = $words] $name),+ }

        impl Fact {
            /// All of them.
            pub const ALL: &[Fact] = &[$(Fact::$name),+];

            /// In words.
            pub fn words(self) -> &'static str {
                match self { $(Fact::$name => $words.trim_ascii()),+ }
            }
        }
    };
}

facts! {
    /// a lock is granted by the answer to the write
    Granted,
    /// a lock is granted by reading back
    GrantedByReading,
    /// a lease is renewed
    Renewed,
    /// a renewal is settled by reading back
    RenewedByReading,
    /// a lock is released
    Released,
    /// a release finds that nothing is held
    ReleasedNothing,
    /// a release is given up
    ReleaseGivenUp,
    /// a lease runs out on its holder
    Expired,
    /// a holder reads that it was forced out or taken over
    LossNoticed,
    /// a lease is taken over
    TakenOver,
    /// an acquisition that was given up is written over the lease that it wanted to take over
    TakenOverByGivingUp,
    /// one acquisition comes to hold twice
    SecondLease,
    /// a write lands after its sender gave it up
    LateWriteLands,
    /// a write of a dead process lands
    DeadWriteLands,
    /// a write is refused although its first copy landed
    DoubleRefused,
    /// a write is throttled although it lands
    ThrottledAndLanded,
    /// a write is refused because another came first
    RaceLost,
    /// a suspicion is raised while a lock is held
    Suspected,
    /// a holder is forced out
    Forced,
    /// somebody who only looked finds the lock free
    FoundFree,
    /// an answer arrives that is outdated
    OutdatedAnswer,
    /// a run resumes one that was interrupted or had failed
    Resumed,
    /// somebody inherits what another has done
    Inherited,
    /// somebody is told that it has failed for good
    GaveUp,
    /// the end of a run is recorded after its lease ran out
    RecordedAfterLoss,
    /// the end of a run is recorded by a write that its sender gave up, or learned by reading
    RecordedByReading,
    /// the end of a run meets the run of another
    Superseded,
    /// a run that did not begin leaves what was before
    Undone,
}

/// A set of facts, or how often each was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Facts(u32);

impl Facts {
    /// Adds one.
    pub(crate) fn note(&mut self, fact: Fact) {
        self.0 |= 1 << fact as u32;
    }

    /// Whether it is in.
    pub fn has(self, fact: Fact) -> bool {
        self.0 & (1 << fact as u32) != 0
    }
}
