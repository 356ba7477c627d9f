//! What is promised, each by its name. The numbers of the bounds are in `waiting.rs`.

use crate::violation::Promise;

macro_rules! promises {
    ($($promise:ident $name:literal $says:literal,)+) => {
        $(#[doc = $says] pub const $promise: Promise = Promise { name: $name, says: $says };)+

        /// Every promise that this world checks.
        pub const ALL: &[Promise] = &[$($promise,)+];
    };
}

promises! {
    ONE_BELIEVER "one-believer"
        "no two clients believe that they hold at the same true time",
    RIGHTFUL_BELIEF "rightful-belief"
        "who believes stands in the record, by a write of its own sent within the span of belief",
    TOLD_FIRST "told-first"
        "nobody holds before being told so, or after being told of the loss",
    TOLD_OF_LOSS "told-of-loss"
        "a holder whose time is over is told so by its next step, and no other is",
    OWN_ID "own-id"
        "every write carries an id of its own",
    TOKENS_RISE "tokens-rise"
        "tokens rise strictly at every change of holder and never go back",
    FENCED "fenced-resource"
        "a resource that refuses lower tokens never accepts a write of an earlier holder",
    DUE_TAKEOVER "due-takeover"
        "a lease is written over when it is over, by the clocks of its holder and of the writer",
    OWN_RELEASE "own-release"
        "a release frees the releaser's own lease and no other that may still be believed in",
    RELEASE_STANDS "release-stands"
        "a lease that was released comes back by no late write",
    NO_GHOST "no-ghost"
        "a cancelled acquisition leaves no holder behind that nobody waits for",
    LIVE_RENEWAL "live-renewal"
        "a renewal is by the holder itself and shows a waiter a sign of life",
    FAIR_WAIT "bounded-wait"
        "once the faults are over, a lock that is free or whose holder is dead goes to somebody \
         who asks for it, within the bound",
    NO_SLEEPER "no-sleeper"
        "while anything is awaited a wake is armed, and nobody waits for ever for a notification",
    BOUNDED_WORK "bounded-work"
        "one request at a time, and so many in a second at most",
    DONE_ONCE "done-once"
        "what is done, or was replaced by a later key, is not run again unless it was reset, \
         deleted, or grew too old",
    GIVES_UP "gives-up"
        "no run begins before the wait after a failure is over, or after so many failures",
    RESUMES "resumes"
        "a run begins with all that is known of the runs before, and is told so",
    AS_SAID "recorded-as-said"
        "a record says of a run what its runner said, and of other runs what it said before",
    TOLD_TRULY "told-truly"
        "who is told that something is done, failed, saved or not recorded is told the truth",
    SAME_RECORD "same-record"
        "a record that is written reads back as the same",
}
