//! What is said to people about the ends of a run.

use leasehold::env::{Env, Host};
use leasehold::{Done, Failed, Outdated};

use super::plan::Plan;
use crate::show::{date, say};
use crate::times;

/// What it is about: the name, and the key where there is one.
fn what(plan: &Plan) -> String {
    match plan.key.as_str() {
        "" => format!("{:?}", plan.title),
        key => format!("{:?} (key {key})", plan.title),
    }
}

/// ` by alice@web-1:4711 at 2026-11-25 01:00:00 +0000 (3m 20s ago)`, as far as it is known.
fn by_whom(by: &str, unix_ms: u64) -> String {
    let now = Host.now().unix_ms;
    let ago = times::show(std::time::Duration::from_millis(now.saturating_sub(unix_ms)));
    match by {
        "" => String::new(),
        by => format!(" by {by} at {} ({ago} ago)", date(unix_ms)),
    }
}

/// It was done before.
pub(super) fn before(plan: &Plan, done: &Done) -> String {
    let by = match done.by.as_str() {
        "" => ", and a later key has come since".into(),
        by => by_whom(by, done.at_unix_ms),
    };
    let result = done.text.lines().collect::<Vec<_>>().join(" ");
    let result = if result.is_empty() { result } else { format!(": {result}") };
    format!("{} was done before{by}{result}", what(plan))
}

/// It failed for good. Who was there need not be told how.
pub(super) fn gave_up(plan: &Plan, failed: &Failed, is_ours: bool) {
    let times = match failed.attempts {
        1 => "once".into(),
        n => format!("{n} times"),
    };
    let code = failed.code.map(|code| format!(" with exit code {code}")).unwrap_or_default();
    let last = match (is_ours, failed.by.as_str()) {
        (true, _) => ", last here".into(),
        (false, "") => String::new(),
        (false, by) => format!(", last{}{code}", by_whom(by, failed.at_unix_ms)),
    };
    let ends = if is_ours || failed.text.is_empty() { "" } else { "; its error ended so:" };
    say(&format!("{} has failed {times}{last}{ends}", what(plan)));
    if !is_ours {
        for line in failed.text.lines() {
            say(&format!("| {line}"));
        }
    }
    say(&format!(
        "it is not tried again: use another key, or more --max-attempts, or `leasehold reset {} \
         --reason …`",
        plan.name
    ));
}

/// It failed here, and may be tried again.
pub(super) fn failed_here(plan: &Plan, attempt: u64, code: u8) -> String {
    let most = plan.max_attempts;
    format!("{} failed with exit code {code}, attempt {attempt} of {most}", what(plan))
}

/// A later key came first.
pub(super) fn outdated(plan: &Plan, by: &Outdated) -> String {
    format!(
        "{} was never done, and a later key has taken its place: {:?}. It is not run any more, \
         because what came later may build on something else",
        what(plan),
        by.newest
    )
}
