//! The short searches: every interleaving within their bounds, and the number of states that each has.

use leasehold_model::forms::{LONG, SHORT, TOO_MUCH_DRIFT};
use leasehold_model::{Bounds, check, check_on};

/// Anything that can go wrong within the bounds goes wrong somewhere in the space, which is explored
/// to its end. The number of states is pinned: whoever changes the protocol sees that it changes.
#[test]
fn no_schedule_breaks_a_promise() {
    for form in SHORT {
        let outcome = check(&form.bounds);
        let name = form.name;
        if let Some(trace) = &outcome.violation {
            panic!("{name}:\n{trace}");
        }
        for fact in form.sometimes {
            let happens = outcome.facts[*fact as usize] > 0;
            assert!(happens, "{name}: it never happens that {}", fact.words());
        }
        assert_eq!(outcome.states, form.states, "{name}: the number of states changed");
    }
}

/// A clock falls behind by more than the margin covers. If that went well, the searches with drift
/// would show nothing.
#[test]
fn more_drift_than_the_margin_covers_is_seen() {
    let outcome = check(&TOO_MUCH_DRIFT);
    let trace = outcome.violation.expect("the margin covers more than it can");
    let told = trace.to_string();
    assert!(told.contains("clock stands still"), "{told}");
    assert_eq!(trace.steps.len(), 16, "there is a shorter schedule, or none as short:\n{told}");
}

/// What a search finds must not depend on the machine.
#[test]
fn the_number_of_threads_changes_nothing() {
    let bounds = Bounds { crashes: true, ..Bounds::CALM };
    let (one, three) = (check_on(1, &bounds), check_on(3, &bounds));
    assert_eq!((one.states, one.steps, one.depth), (three.states, three.steps, three.depth));
}

/// The names of the searches are what one asks for on the command line.
#[test]
fn every_search_has_a_name_of_its_own() {
    let mut names: Vec<_> = SHORT.iter().chain(LONG).map(|form| form.name).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}
