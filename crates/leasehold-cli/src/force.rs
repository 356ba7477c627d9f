//! `leasehold break`: take a lock away by force.

use std::fmt::Write;
use std::time::Duration;

use leasehold::Forced;
use leasehold::env::{Env, Host};
use serde::Serialize;

use crate::answer::Store;
use crate::cli::Break;
use crate::exit::{Exit, Failure, NOT_ACQUIRED};
use crate::show::{clean, clock, print, rfc3339};
use crate::{near, place, status, times};

/// The whole command.
pub(crate) async fn force(options: Break, backend: Option<&str>) -> Result<Exit, Failure> {
    if options.reason.trim().is_empty() {
        return Err(Failure::usage("a reason is needed: the holder will ask"));
    }
    let client = place::connect(backend).await?;
    let mut force = client.force(&*options.name, &*options.reason);
    if let Some(token) = options.token {
        force = force.only_token(token);
    }
    if let Some(holder) = options.holder {
        force = force.only_holder(holder);
    }
    if options.newer {
        force = force.even_newer();
    }
    let forced = force.release().await?;
    let names_one = options.token.is_some() || options.holder.is_some();
    let store = Store::of(&client, backend);
    let may_run = may_run(&forced);
    let near = match forced {
        Forced::Absent => near::names(&client, &options.name).await,
        _ => vec![],
    };
    let exit = match forced {
        Forced::Changed { .. } | Forced::Gone { .. } => Exit::NotAcquired(NOT_ACQUIRED),
        Forced::Absent if names_one => Exit::NotAcquired(NOT_ACQUIRED),
        // `Forced` may grow.
        _ => Exit::Done,
    };
    print(&match options.output.json {
        true => store.json(Answer {
            name: &options.name,
            forced: &forced,
            did_you_mean: &near,
            may_run_for_ms: may_run.map(|(span, _)| span.as_millis()),
            may_run_until: may_run.and_then(|(_, unix_ms)| rfc3339(unix_ms)),
            may_run_until_unix_ms: may_run.map(|(_, unix_ms)| unix_ms),
        }),
        false => format!("{}{}", store.line(), lines(&options.name, &forced, &near, may_run)),
    });
    Ok(exit)
}

/// For a program.
#[derive(Serialize)]
struct Answer<'a> {
    name: &'a str,
    #[serde(flatten)]
    forced: &'a Forced,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    did_you_mean: &'a [String],
    may_run_for_ms: Option<u128>,
    may_run_until: Option<String>,
    may_run_until_unix_ms: Option<u64>,
}

/// For how long and until when what the holder does may go on: to the end of its lease, by which its
/// command has ended. None where nothing can.
fn may_run(forced: &Forced) -> Option<(Duration, u64)> {
    let Forced::Released { holder, .. } = forced else { return None };
    let left = holder.expires_in.unwrap_or(holder.ttl);
    let until = Host.now().unix_ms.saturating_add(u64::try_from(left.as_millis()).ok()?);
    (!left.is_zero()).then_some((left, until))
}

/// For a person.
fn lines(name: &str, forced: &Forced, near: &[String], may_run: Option<(Duration, u64)>) -> String {
    let text = match forced {
        Forced::Released { holder, token } => {
            let (label, held_for) = (&holder.label, times::show(holder.held_for));
            format!("{name:?} was taken from {label}, for {held_for}; its token is now {token}")
        }
        Forced::Repaired { token } => {
            format!("the record of {name:?} was replaced by a free one; its token is now {token}")
        }
        Forced::Changed { now } => format!(
            "nothing was done: {name:?} is held by another, with token {} and id {}: {now}",
            now.token, now.id
        ),
        Forced::Gone { token, past } => {
            let past = past.as_ref().map(|past| format!(", {}", status::before(past)));
            let past = past.unwrap_or_default();
            format!("nothing was done: {name:?} is free, and its token is {token}{past}")
        }
        Forced::Absent => {
            format!("nothing was done: {name:?} was never used{}", near::question(near))
        }
        _ => format!("nobody held {name:?}"),
    };
    let mut lines = format!("{}\n", clean(&text));
    if let Some((span, until)) = may_run {
        let (span, until) = (times::show(span), clock(until));
        // Writing to a string cannot fail.
        let _ = writeln!(
            lines,
            "its command may still run until {until}, beside the next holder: its lease ends in \
             {span} at most, unless it hears of this earlier"
        );
    }
    lines
}
