//! Of the target `acquisition`: the outcome of `once`, and what a write may make of it.

use leasehold_core::once::Completion;
use leasehold_core::record::{Ending, FencingToken, Outcome, Progress, Record};
use serde_json::Map;

use crate::any::Input;

/// A made-up outcome in this state.
pub(super) fn outcome(token: FencingToken, state: &str) -> Outcome {
    let ending = Ending {
        token,
        by: "other".into(),
        unix_ms: 1,
        code: None,
        text: String::new(),
        extra: Map::new(),
    };
    Outcome {
        key: "k".into(),
        state: match state {
            "done" => Progress::Done,
            "failed" => Progress::Failed,
            _ => Progress::Started,
        },
        token,
        resumes: None,
        failures: u64::from(state == "failed"),
        ending: Some(ending),
        checkpoint: None,
        earlier: vec![],
        extra: Map::new(),
    }
}

/// What is done or has failed twice is not begun again, and an end is recorded as what it is, over our
/// own run. With each record comes whether it names us.
pub(super) fn check(
    (before, was_ours): (Option<&Record>, bool),
    (after, is_ours): (&Record, bool),
    said: Option<&Input>,
) {
    let state = |r: &Record| r.outcome.as_ref().map(|o| (o.state, o.failures));
    let (was, is) = (before.and_then(state), state(after));
    if was == is {
        return;
    }
    let failures = was.map_or(0, |(_, n)| n);
    match (is, said) {
        (Some((Progress::Done, _)), Some(Input::End(Completion::Done(_)))) => assert!(was_ours),
        (Some((Progress::Failed, n)), Some(Input::End(Completion::Failed(_)))) => {
            assert!(was_ours && n == failures + 1);
        }
        // What did not begin is undone.
        (_, None | Some(Input::Undo)) if was_ours => assert!(after.holder().is_none()),
        (Some((Progress::Started, _)), _) if is_ours => {
            assert!(!matches!(was, Some((Progress::Done, _))), "done, and begun again");
            assert!(failures < 2, "given up, and begun again");
        }
        other => panic!("{was:?} becomes {other:?}"),
    }
}
