//! Shows that the model checker finds what is wrong: each wrong variant of the protocol that lies
//! within what it models must break a promise there.

use std::time::Duration;

use leasehold_core::planted::{Bug, plant};
use leasehold_model::{Bounds, check, check_on};

/// The most worlds that a search may need until it shows a bug.
const BUDGET: u64 = 250_000;

/// What must be able to happen for the bug to show. An error says what the checker does not model;
/// such a bug is the simulator's.
fn bounds(bug: Bug) -> Result<Bounds, &'static str> {
    let calm = Bounds::CALM;
    Ok(match bug {
        Bug::NoMargin => Bounds { ttl: Duration::from_secs(5), drift: Some(5), ..calm },
        Bug::ReadIsRenewal | Bug::UnknownIsFailure | Bug::UnknownIsSuccess | Bug::LandedByName => {
            Bounds { losses: true, tells: true, ..calm }
        }
        Bug::SecondLeaseUnseen | Bug::PatienceFromRequest => {
            Bounds { never_sent: true, tells: true, ..calm }
        }
        Bug::ThrottledIsFailure | Bug::EarlierWritesForgotten => {
            Bounds { throttles: true, never_sent: true, writes: 2, ..calm }
        }
        Bug::ConflictIsFailure => Bounds { doubles: true, ..calm },
        Bug::OwnerIsProcess => Bounds { memory: true, ..calm },
        Bug::RenewsAnother | Bug::ForceKeepsToken => Bounds { forces: true, ..calm },
        Bug::SleepNotCounted | Bug::PatienceCountsSleep => return Err("one steady clock a host"),
        Bug::SuspicionIgnored | Bug::SuspicionSettledByAny | Bug::GrantDespitePause => {
            Bounds { suspicions: true, ..calm }
        }
        Bug::AgeByWallClock => return Err("no wall clocks"),
        Bug::OwnTtl | Bug::DelayIgnored | Bug::DelayIgnoredForDead => {
            return Err("one ttl, without a takeover delay");
        }
        Bug::AgeBelievedExactly => return Err("an age is exact"),
        Bug::AbsenceTrusted | Bug::DeletionIgnored | Bug::TokenReused => {
            return Err("nobody deletes");
        }
        Bug::LossUntold | Bug::SurrendersAtTrouble => return Err("nobody hears of a loss"),
        Bug::OldKeyForgotten => return Err("one key"),
        Bug::CheckpointForgotten | Bug::SavedWhenSent => return Err("nothing is saved"),
        Bug::BackOffIgnored => return Err("no wait after a failure"),
        Bug::FailuresForgotten | Bug::FailureDenied => {
            Bounds { losses: true, once: Some(2), ..calm }
        }
        Bug::UnknownDoneIsFailed => Bounds { losses: true, once: Some(1), ..calm },
        Bug::DoneIgnored
        | Bug::SupersededIsDone
        | Bug::NeverGivesUp
        | Bug::ResumedUntold
        | Bug::InterruptedIsFailed
        | Bug::CompletesAnother
        | Bug::WithdrawnStaysBegun => Bounds { once: Some(1), ..calm },
        Bug::OneWriteId => return Err("ids of writes are taken to be their own"),
        Bug::WakeupLost | Bug::HintsTrusted => return Err("any client may wake at any time"),
        _ => calm,
    })
}

/// A checker that exhausts a space of worlds says nothing if the promises that it checks cannot be
/// broken there. Here each is broken, in the production code itself, and the shortest schedule
/// that shows it must be found; without a bug there must be none.
#[test]
fn every_planted_bug_has_a_schedule() {
    let (mut missed, mut spaces) = (vec![], vec![]);
    for &bug in Bug::ALL {
        let name = bug.name();
        let bounds = match bounds(bug) {
            Ok(bounds) => bounds,
            Err(why) => {
                println!("planted: {name} | not modelled: {why} | -");
                continue;
            }
        };
        // The spaces of `once` are large, and searched to their ends elsewhere.
        if bounds.once.is_none() && !spaces.contains(&bounds) {
            spaces.push(bounds);
        }
        plant(Some(bug));
        // With a bug, worlds that are taken for alike need not be quite alike: on one thread it is
        // always the same one of them that is looked at.
        let found = check_on(1, &bounds);
        match &found.violation {
            Some(trace) if found.states <= BUDGET => {
                let (states, steps) = (found.states, trace.steps.len());
                println!("planted: {name} | {states}; {steps} | {}", trace.broken);
            }
            _ => missed.push(bug),
        }
    }
    plant(None);
    assert!(missed.is_empty(), "not found: {missed:?}");
    let mut states = 0;
    for bounds in &spaces {
        let found = check(bounds);
        assert!(found.violation.is_none(), "without a bug: {:?}", found.violation);
        states += found.states;
    }
    println!("planted: none | {states}, all there are; none | -");
}
