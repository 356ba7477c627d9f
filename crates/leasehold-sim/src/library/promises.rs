//! What must always hold in a world of the library, as its users see it.

use crate::violation::Promise;

macro_rules! promises {
    ($($name:ident $called:literal $says:literal,)+) => {
        $(#[doc = $says] pub const $name: Promise = Promise { name: $called, says: $says };)+

        /// All of them.
        pub const ALL: &[Promise] = &[$($name,)+];
    };
}

promises! {
    ONE_GUARD "one-guard" "at most one guard of a name says that it is held at the same true time",
    GRANT_IS_HELD "grant-is-held" "a guard that is handed out is held at that moment",
    TOKENS_RISE "tokens-rise" "the token of a guard is above that of every guard before",
    RECORD_RISES "record-rises" "no write lowers the token of a record, and no holder shares one",
    FENCE "fence" "a resource that checks tokens takes each token from one holder only",
    LOST_IN_TIME "lost-in-time" "a user is told of a loss by the deadline, if the host runs",
    LOST_IS_FINAL "lost-is-final" "a guard whose loss was told never says again that it is held",
    SECTION_IS_HELD "section-is-held" "a section's result counts only if it was held to its end",
    RELEASED_IS_FREE "released-is-free" "after a confirmed release nobody stands there by that id",
    NO_GHOST "no-ghost" "when all is over, nothing is held by anybody who is gone",
    CALLS_END "calls-end" "a call returns within its time limit, and without one within a bound",
    ALL_END "all-end" "without faults every acquire, release and close returns",
    HANDED_ON "handed-on" "without faults a free lock passes to a waiter within the stated bound",
    DRIVER_LIVES "driver-lives" "the driver stops only when its last user has gone",
    BOUNDED_WORK "bounded-work" "the requests of a client in a world stay below the stated bound",
}
