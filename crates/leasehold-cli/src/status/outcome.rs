//! How far a `once` has come, in words.

use leasehold::core::record::{Ending, Outcome, Progress};
use leasehold::env::{Env, Host};

use crate::show::date;
use crate::times;

/// `done by alice@web-1:4711 at 2026-11-25 01:00:00 +0000 (3m ago), exit code 0`.
pub(crate) fn sentence(outcome: &Outcome, is_held: bool) -> String {
    let word = outcome.word(is_held);
    match (outcome.state, &outcome.ending) {
        (Progress::Done | Progress::Failed, Some(ending)) => format!("{word}{}", how(ending)),
        _ => word.to_owned(),
    }
}

fn how(ending: &Ending) -> String {
    let ago = Host.now().unix_ms.saturating_sub(ending.unix_ms);
    let ago = times::show(std::time::Duration::from_millis(ago));
    let code = ending.code.map(|code| format!(", exit code {code}")).unwrap_or_default();
    format!(" by {} at {} ({ago} ago){code}", ending.by, date(ending.unix_ms))
}

/// What a person who asks about one name is told beside the state: titles and values.
pub(crate) fn lines(outcome: &Outcome) -> Vec<(&'static str, String)> {
    let mut lines = vec![];
    if !outcome.key.is_empty() {
        lines.push(("key", outcome.key.clone()));
    }
    let runs = match outcome.state {
        Progress::Failed => outcome.failures,
        Progress::Started | Progress::Done => outcome.failures.saturating_add(1),
    };
    lines.push(("attempts", format!("{runs} ({} failed)", outcome.failures)));
    if let (Progress::Started, Some(token)) = (outcome.state, outcome.resumes) {
        lines.push(("resumes", format!("token {token}")));
    }
    if let Some(checkpoint) = &outcome.checkpoint {
        lines.push(("checkpoint", format!("{} bytes", checkpoint.0.len())));
    }
    if let Some(ending) = &outcome.ending {
        match outcome.state {
            Progress::Done => lines.extend(text("result", ending)),
            Progress::Failed => lines.extend(text("error", ending)),
            // That of an attempt before.
            Progress::Started => {
                lines.push(("failed", format!("last{}", how(ending))));
                lines.extend(text("error", ending));
            }
        }
    }
    if !outcome.earlier.is_empty() {
        let keys: Vec<&str> = outcome.earlier.iter().take(3).map(|it| &*it.key).collect();
        let more = outcome.earlier.len() - keys.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        lines.push(("earlier", format!("{}{more}", keys.join(", "))));
    }
    lines
}

fn text(title: &'static str, ending: &Ending) -> Vec<(&'static str, String)> {
    let titles = std::iter::once(title).chain(std::iter::repeat(""));
    titles.zip(ending.text.lines().map(str::to_owned)).collect()
}
