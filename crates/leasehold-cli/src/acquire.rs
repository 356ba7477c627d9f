//! Asking for a lock, as `run` and `acquire` do.

use std::time::Duration;

use leasehold::env::{Env, Host};
use leasehold::{Attempt, Client, Error, ErrorKind, Guard, HeldBy};

use crate::cli::Wanted;
use crate::exit::{Exit, Failure};
use crate::label::label;
use crate::show::date;
use crate::waiting::{self, Shown};
use crate::{nested, place, times};

/// How long the store may take to hear that we want nothing any more.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// Waits for the lock as long as was asked for. Dropping the future gives it up; [`close`] then
/// waits until the store knows.
pub(crate) async fn acquire(
    client: &Client,
    name: &str,
    wanted: &Wanted,
) -> Result<Guard, Failure> {
    let (report, reports) = waiting::channel();
    let mut mutex = client.mutex(name).with_ttl(wanted.ttl()).on_wait(report);
    let label = wanted.label.clone().unwrap_or_else(|| label(None));
    wanted.voice.detail(|| {
        let ttl = times::show(wanted.ttl());
        format!("asking for {name:?} at {} as {label}, ttl {ttl}", client.url())
    });
    mutex = mutex.with_label(label);
    if let Some(wait) = wanted.wait {
        mutex = mutex.with_timeout(wait);
    }
    let conflict = wanted.conflict_exit_code;
    let mut shown = Shown::new(name, wanted.voice, wanted.is_a_try());
    let got = match wanted.no_wait {
        false => shown.during(mutex.acquire(), reports).await?,
        true => match mutex.try_acquire().await {
            Ok(Attempt::Acquired(guard)) => Ok(guard),
            Ok(Attempt::Held(holder)) => {
                let message = refused(name, &client.url(), &holder);
                return Err(Failure::new(Exit::NotAcquired(conflict), message));
            }
            Err(error) => Err(error),
        },
    };
    let guard = got.map_err(|error| {
        let more = how_to_see(&error, name, &client.url());
        Failure::new(Exit::of_error(error.kind(), conflict), format!("{error}{more}"))
    })?;
    let token =
        if wanted.voice.verbose { format!(" with token {}", guard.token()) } else { String::new() };
    shown.done(&format!("acquired {name:?}{token}"));
    Ok(guard)
}

/// Who holds it, since when, until when, where that is, and what to do next.
fn refused(name: &str, url: &str, holder: &HeldBy) -> String {
    let (label, since) = (&holder.label, date(holder.since_unix_ms));
    let held_for = times::show(holder.held_for);
    let until = match holder.expires_in {
        Some(left) => format!("its lease ends in {} unless renewed", times::show(left)),
        None => format!("its lease ends {} after its last renewal", times::show(holder.ttl)),
    };
    let more = to_see_more(name, url);
    let own = if nested::is_above(holder.id) { " (this runs under it)" } else { "" };
    format!("{name:?} at {url} is held by {label}{own} since {since} ({held_for}); {until}; {more}")
}

/// What to type next, where a wait was too short; nothing for other errors.
pub(crate) fn how_to_see(error: &Error, name: &str, url: &str) -> String {
    match error.kind() {
        ErrorKind::Timeout => format!("; {}", to_see_more(name, url)),
        _ => String::new(),
    }
}

fn to_see_more(name: &str, url: &str) -> String {
    let store =
        if place::is_typed() { format!(" --backend {}", quoted(url)) } else { String::new() };
    format!("to see more: leasehold status {}{store}", quoted(name))
}

/// A word for a shell, in quotes where it needs them.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:".contains(c);
    match word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// Waits until the store has heard all that we have to say, within reason.
pub(crate) async fn close(client: Client) {
    tokio::select! {
        () = client.close() => {}
        () = Host.sleep(CLOSE_PATIENCE) => {}
    }
}
