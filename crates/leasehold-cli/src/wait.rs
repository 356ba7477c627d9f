//! `leasehold wait`: wait until a lock is free, without taking it.

use std::time::Duration;

use leasehold::env::{Env, Host};
use leasehold::{Client, Error, ErrorKind, State};
use serde::Serialize;

use crate::answer::Store;
use crate::cli::{Wait, time};
use crate::exit::{Exit, Failure, NOT_ACQUIRED};
use crate::signals::Signals;
use crate::waiting::{self, Shown};
use crate::{near, place, show};

/// How long a look may take at a lock that is free already.
const LOOK_PATIENCE: Duration = Duration::from_secs(2);

/// For a program.
#[derive(Serialize)]
struct Answer<'a> {
    name: &'a str,
    /// Whether it was free at the end.
    free: bool,
    state: State,
    waited_ms: u64,
}

/// The whole command.
pub(crate) async fn wait(mut options: Wait, backend: Option<&str>) -> Result<Exit, Failure> {
    if options.wait.is_none() {
        options.wait = time("LEASEHOLD_WAIT")?;
    }
    let mut signals = Signals::listen(true)
        .map_err(|e| Failure::new(Exit::NotExecutable, format!("cannot listen to signals: {e}")))?;
    let client = tokio::select! {
        biased;
        signal = signals.ending() => return Ok(signal.exit()),
        client = place::connect(backend) => client?,
    };
    let began = Host.now().moment;
    let store = Store::of(&client, backend);
    let waited = tokio::select! {
        biased;
        signal = signals.ending() => return Ok(signal.exit()),
        waited = until_free(&client, &store, &options) => waited,
    };
    let state = match waited {
        Ok(state) => state,
        Err(Refused::By(error)) if error.kind() == ErrorKind::Timeout => {
            show::say(&error.to_string());
            State::Held
        }
        Err(Refused::By(error)) => return Err(error.into()),
        Err(Refused::Above(failure)) => return Err(failure),
    };
    let free = state != State::Held;
    if options.output.json {
        let waited = Host.now().moment.longest_since(began).as_millis();
        let waited_ms = u64::try_from(waited).unwrap_or(u64::MAX);
        show::print(&store.json(Answer { name: &options.name, free, state, waited_ms }));
    }
    Ok(if free { Exit::Done } else { Exit::NotAcquired(NOT_ACQUIRED) })
}

/// Why a wait ended before the lock was free.
enum Refused {
    By(Error),
    /// We run under it.
    Above(Failure),
}

async fn until_free(client: &Client, store: &Store, options: &Wait) -> Result<State, Refused> {
    let (name, voice) = (&options.name, options.voice);
    let (report, reports) = waiting::channel();
    let mut mutex = client.mutex(&**name).on_wait(report);
    if let Some(wait) = options.wait {
        mutex = mutex.with_timeout(wait);
    }
    let mut shown = Shown::new(name, voice, options.wait == Some(Duration::ZERO));
    let waited = shown.during(mutex.wait_until_free(), reports).await;
    waited.map_err(Refused::Above)?.map_err(Refused::By)?;
    shown.done(&format!("{name:?} is free"));
    // A name that was never used is free, and perhaps mistyped.
    let status = tokio::select! {
        status = client.status(name) => status,
        () = Host.sleep(LOOK_PATIENCE) => return Ok(State::Free),
    };
    if status.is_ok_and(|status| status.state == State::Absent) {
        let near = near::question(&near::names(client, name).await);
        voice.tell(&format!("{name:?} at {} was never used, so it is free{near}", store.url()));
        return Ok(State::Absent);
    }
    Ok(State::Free)
}
