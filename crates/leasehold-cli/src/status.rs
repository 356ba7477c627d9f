//! `leasehold status` and `leasehold list`: who holds what.

use std::fmt::Write;

use leasehold::core::record::{Ended, Past};
use leasehold::{HeldBy, State, Status};
use serde_json::{Value, json};

use crate::cli;
use crate::exit::{Exit, Failure};
use crate::show::{clean, date, print, rfc3339};
use crate::{place, show, times};

pub(crate) mod outcome;

/// `leasehold status NAME`.
pub(crate) async fn status(options: cli::Status, backend: Option<&str>) -> Result<Exit, Failure> {
    let client = place::connect(backend).await?;
    let status = client.status(&options.name).await?;
    print(&match options.output.json {
        true => show::json(&as_json(&status)),
        false => lines(&status),
    });
    Ok(Exit::Done)
}

/// `leasehold list [PREFIX]`.
pub(crate) async fn list(options: cli::List, backend: Option<&str>) -> Result<Exit, Failure> {
    let client = place::connect(backend).await?;
    let all = client.list(&options.prefix).await?;
    print(&match options.output.json {
        true => show::json(&all.iter().map(as_json).collect::<Value>()),
        false => table(&all),
    });
    Ok(Exit::Done)
}

/// In a word: of what is done once, how far it has come; otherwise whether it is held.
fn summary(status: &Status) -> &'static str {
    match &status.outcome {
        Some(it) => outcome::word(it, status.state == State::Held),
        None => word(status.state),
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Absent => "absent",
        State::Free => "free",
        State::Held => "held",
        State::Expired => "expired",
        // `State` may grow, and what is not known cannot be used.
        _ => "unreadable",
    }
}

/// For a person who asks about one lock.
pub(crate) fn lines(status: &Status) -> String {
    let mut out = String::new();
    let mut line = |title: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{title:<11}{}", clean(value));
    };
    line("name", &status.name);
    line(
        "state",
        &match &status.outcome {
            Some(it) => outcome::sentence(it, status.state == State::Held),
            None => word(status.state).into(),
        },
    );
    for (title, value) in status.outcome.iter().flat_map(outcome::lines) {
        line(title, &value);
    }
    if let Some(problem) = &status.problem {
        line("problem", problem);
    }
    if let Some(holder) = &status.holder {
        line("held by", &holder.label);
        line("since", &since(holder));
        line("lease", &lease(status.state, holder));
        line("id", &holder.id.to_string());
    }
    if let Some(token) = status.token {
        line("token", &token.to_string());
    }
    if let Some(past) = &status.past {
        line("before", &before(past));
    }
    line("where", &status.location);
    out
}

fn since(holder: &HeldBy) -> String {
    format!("{} ({} ago)", date(holder.since_unix_ms), times::show(holder.held_for))
}

fn lease(state: State, holder: &HeldBy) -> String {
    let ends = match (state, holder.expires_in) {
        (State::Expired, _) => "over: the next one takes it".into(),
        (_, Some(left)) => format!("ends in {} unless renewed", times::show(left)),
        (_, None) => "ends when it is not renewed for that long".into(),
    };
    let ttl = times::show(holder.ttl);
    format!("{ends} (ttl {ttl}, renewed {} times)", holder.renewals)
}

pub(crate) fn before(past: &Past) -> String {
    let who = if past.label.is_empty() { "somebody" } else { &past.label };
    let when = date(past.unix_ms);
    match past.ended {
        Ended::Released => format!("{who}, released {when}"),
        Ended::TakenOver => format!("{who}, its lease ran out and was taken over {when}"),
        Ended::Forced | Ended::Reset => {
            let what = if past.ended == Ended::Reset { "reset" } else { "broken" };
            let by = past.by.as_deref().unwrap_or("somebody");
            let reason = past.reason.as_deref().unwrap_or("no reason given");
            format!("{who}, {what} by {by} {when}: {reason}")
        }
    }
}

/// For a person who asks about all.
pub(crate) fn table(all: &[Status]) -> String {
    let mut rows = vec![["NAME", "STATE", "TOKEN", "FOR", "HELD BY"].map(str::to_owned)];
    rows.extend(all.iter().map(|status| {
        let holder = status.holder.as_ref();
        [
            clean(&status.name),
            summary(status).into(),
            status.token.map(|token| token.to_string()).unwrap_or_default(),
            holder.map(|holder| times::show(holder.held_for)).unwrap_or_default(),
            holder.map(|holder| clean(&holder.label)).unwrap_or_default(),
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths = [0, 1, 2, 3, 4].map(|column| width(column).unwrap_or(0));
    let mut out = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        out += cells.collect::<Vec<_>>().join("  ").trim_end();
        out.push('\n');
    }
    out
}

/// For programs.
pub(crate) fn as_json(status: &Status) -> Value {
    json!({
        "name": status.name,
        "state": word(status.state),
        "kind": status.kind.map(|kind| kind.to_string()),
        "token": status.token.map(|token| token.0),
        "holder": status.holder.as_ref().map(holder_json),
        "past": status.past.as_ref().map(past_json),
        "once": status.outcome.as_ref().map(|it| {
            outcome::outcome_json(it, status.state == State::Held)
        }),
        "problem": status.problem,
        "location": status.location,
    })
}

/// A holder for programs.
pub(crate) fn holder_json(holder: &HeldBy) -> Value {
    json!({
        "id": holder.id.to_string(),
        "label": holder.label,
        "token": holder.token.0,
        "since": rfc3339(holder.since_unix_ms),
        "since_unix_ms": holder.since_unix_ms,
        "ttl_ms": millis(holder.ttl),
        "renewals": holder.renewals,
        "expires_in_ms": holder.expires_in.map(millis),
    })
}

fn past_json(past: &Past) -> Value {
    json!({
        "id": past.id.map(|id| id.to_string()),
        "label": past.label,
        "ended": past.ended,
        "at": rfc3339(past.unix_ms),
        "at_unix_ms": past.unix_ms,
        "by": past.by,
        "reason": past.reason,
    })
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
