//! `leasehold status` and `leasehold list`: who holds what.

use std::fmt::Write;

use leasehold::core::record::{Ended, Past};
use leasehold::{HeldBy, State, Status};
use serde::Serialize;

use crate::answer::Store;
use crate::cli::{self, SortBy};
use crate::columns;
use crate::exit::{Exit, Failure, NOT_ACQUIRED};
use crate::show::{clean, date, print};
use crate::{near, place, show, times};

pub(crate) mod outcome;

/// What a program is told of one name.
#[derive(Serialize)]
pub(crate) struct Answer<'a> {
    #[serde(flatten)]
    status: &'a Status,
    /// Of a name that was never used: those most like it.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    did_you_mean: &'a [String],
}

impl<'a> Answer<'a> {
    pub(crate) fn new(status: &'a Status, near: &'a [String]) -> Answer<'a> {
        Answer { status, did_you_mean: near }
    }
}

/// `leasehold status NAME`.
pub(crate) async fn status(options: cli::Status, backend: Option<&str>) -> Result<Exit, Failure> {
    let client = place::connect(backend).await?;
    let status = client.status(&options.name).await?;
    let near = match status.state {
        State::Absent => near::names(&client, &options.name).await,
        _ => vec![],
    };
    let store = Store::of(&client, backend);
    print(&match options.output.json {
        true => store.json(Answer::new(&status, &near)),
        false => format!("{}{}", store.line(), lines(&status, &near)),
    });
    Ok(Exit::Done)
}

/// `leasehold list [PREFIX]`.
pub(crate) async fn list(options: cli::List, backend: Option<&str>) -> Result<Exit, Failure> {
    let client = place::connect(backend).await?;
    let mut all = client.list(&options.prefix).await?;
    // What could not be read may be held.
    all.retain(|it| !options.held || it.holder.is_some() || it.error.is_some());
    sort(&mut all, options.sort);
    let store = Store::of(&client, backend);
    print(&match options.output.json {
        true => {
            let answers = all.iter().map(|status| store.answer(Answer::new(status, &[])));
            show::json(&answers.collect::<Vec<_>>())
        }
        false => format!("{}{}", store.line(), table(&all)),
    });
    let errors: Vec<_> = all.iter().filter_map(|status| status.error.as_ref()).collect();
    let exits = errors.iter().map(|error| Exit::of_error(error.kind(), NOT_ACQUIRED));
    let Some(exit) = exits.max_by_key(|exit| exit.code()) else { return Ok(Exit::Done) };
    let (unread, names) = (errors.len(), all.len());
    Err(Failure::new(exit, format!("{unread} of {names} names could not be read; see their rows")))
}

fn sort(all: &mut [Status], by: SortBy) {
    let held_since = |it: &Status| it.holder.as_ref().map_or(u64::MAX, |h| h.since_unix_ms);
    match by {
        SortBy::Name => {}
        SortBy::State => all.sort_by_key(|it| std::cmp::Reverse(it.state)),
        SortBy::Since => all.sort_by_key(held_since),
        SortBy::Token => all.sort_by_key(|it| it.token),
    }
}

/// For a person who asks about one lock.
pub(crate) fn lines(status: &Status, near: &[String]) -> String {
    let mut out = String::new();
    let mut line = |title: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{title:<11}{}", clean(value));
    };
    line("name", &status.name);
    line(
        "state",
        &match (&status.outcome, status.state) {
            (Some(it), state) => outcome::sentence(it, state == State::Held),
            (None, State::Absent) => format!("never used{}", near::question(near)),
            (None, state) => state.to_string(),
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

/// Who held before, and how that ended.
pub(crate) fn before(past: &Past) -> String {
    let who = if past.label.is_empty() { "an unknown holder" } else { &past.label };
    let when = date(past.unix_ms);
    match past.ended {
        Ended::Released => format!("{who}, released {when}"),
        Ended::TakenOver => format!("{who}, its lease ran out and was taken over {when}"),
        Ended::Forced | Ended::Reset => {
            let what = if past.ended == Ended::Reset { "reset" } else { "broken" };
            let by = past.by.as_deref().unwrap_or("an unknown person");
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
        let why = status.problem.as_ref();
        [
            clean(&status.name),
            status.summary(),
            status.token.map(|token| token.to_string()).unwrap_or_default(),
            holder.map(|holder| times::show(holder.held_for)).unwrap_or_default(),
            clean(holder.map(|holder| &holder.label).or(why).map_or("", String::as_str)),
        ]
    }));
    columns::table(&rows)
}
