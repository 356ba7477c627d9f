//! The counters of the world of the protocol.

use crate::tally::tally;

tally! {
    /// What happened in worlds of the protocol.
    Count {
        grants "times somebody got the lock",
        grants_by_reading "grants learned by a read, after an unclear write",
        grants_by_the_first_write "grants by the first write, without a read of its own",
        renewals "renewals that were confirmed",
        releases "releases that were confirmed",
        refusals "waiters told that it was not to be had",
        failures "acquisitions that failed by the store",
        found_free "looks that found the lock free",
        expiries "leases lost by the deadline",
        ends_noticed "holders that found another, or nobody, in their place",
        deletions_noticed "holders that found their record gone",
        suspicions "times the wall clock made a host suspect a pause",
        unseen_pauses "pauses that went unsuspected",
        takeovers_by_sight "takeovers after watching for a ttl",
        takeovers_by_age "takeovers by the store's own clock",
        takeovers_of_orphans "takeovers from a process proven dead",
        takeovers_by_giving_up "dead leases freed by a cancelled acquisition",
        second_leases "acquisitions that came to hold twice",
        late_writes_landed "writes that landed after their sender gave up on them",
        late_writes_refused "writes that were refused after their sender gave up on them",
        second_copies_refused_first "second copies refused while the first was still unanswered",
        throttled_but_landed "writes that landed and were answered with a plea for patience",
        answers_out_of_time "answers that came after the next request was sent",
        hints "notifications that somebody cared for",
        acts "writes that the fenced resource accepted",
        stale_acts_refused "writes that it refused",
        stale_acts_unfenced "stale writes that an unfenced resource accepted",
        beliefs_beyond_the_promise "moments with two believers: wild clocks, unseen pauses, breaks",
        confirmed_ends "acquisitions that ended in order, after which nothing of theirs may come",
        cancelled_with_open_writes "of these, cancelled while a write was unclear",
        deaths_in_the_calm "holders that died with the faults over",
        waits_for_the_free "changes of holder measured from a free record, faults over",
        waits_for_the_dead "changes of holder measured from a dead holder's lease, faults over",
        outages_within_a_ttl "outages, cuts and denials shorter than the longest ttl",
        outages_beyond_a_ttl "and longer",
        crowds "worlds of more than twelve clients",
        worlds_of_content_hashes "worlds whose versions are hashes of the bytes",
        worlds_with_markers "worlds whose deletions leave a marker",
        creations_refused_by_a_marker "writes on an absent record that a marker refused",
    }
}
