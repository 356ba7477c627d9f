//! What is counted in the world of the library.

use crate::tally::tally;

tally! {
    /// How often each thing happened in worlds of the library.
    Tally {
        grants "guards handed out",
        sections "sections run to their end under the lock",
        sections_stopped "sections dropped because their lock was lost",
        releases "releases confirmed",
        releases_failed "releases that ended in an error",
        releases_abandoned "futures of a release dropped half-way",
        drops "guards dropped",
        timeouts "waits that ended by their time limit",
        refusals "attempts that found another holder",
        failures "acquisitions that ended in an error of the store",
        corrupt "acquisitions refused because of a damaged record",
        cancels "futures of an acquire dropped half-way",
        aborts "tasks of users dropped wherever they were",
        found_free "waits for a free lock that ended so",
        looks "looks at the status",
        lists "lists of all locks",
        closes "clients closed",
        waits_told "times a waiter was told of its wait",
        lost_told "losses that a guard's user was told of",
        lost_late "losses seen after a host had slept",
        suspected "moments at which a guard was doubted",
        second_in_process "acquisitions that queued behind another of their process",
        forced "locks taken away through the library",
        repaired "damaged records replaced through the library",
        deleted "records deleted",
        damaged "records overwritten with something else",
        stale_refused "stale writes refused by the fenced resource",
        stale_unfenced "stale writes that an unfenced resource would have taken",
        late_writes_landed "writes that landed after their caller had given up",
        late_writes_refused "writes refused after their caller had given up",
        throttled_but_landed "writes that landed although their answer asked for patience",
        takeovers "leases of others written over",
        tokens_first "records made anew",
        hints "waiters woken by the store",
        handed_on "locks that passed to a waiter in the calm",
        believed_alone "moments at which exactly one guard was held",
        idle_checks "moments at which a guard existed and none was held",
        drivers_ended "drivers that ended with their last user",
        probes "locks taken at the end by somebody new",
    }
}
