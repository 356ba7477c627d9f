//! Asking for a lock, as `run` and `acquire` do.

use std::time::Duration;

use leasehold::env::{Env, Host};
use leasehold::{Attempt, Client, Guard};

use crate::cli::Wanted;
use crate::exit::{Exit, Failure};
use crate::waiting;

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
    if let Some(label) = &wanted.label {
        mutex = mutex.with_label(label.clone());
    }
    if let Some(wait) = wanted.wait {
        mutex = mutex.with_timeout(wait);
    }
    let conflict = wanted.conflict_exit_code;
    let got = match wanted.no_wait {
        false => waiting::shown(name, mutex.acquire(), reports).await,
        true => match mutex.try_acquire().await {
            Ok(Attempt::Acquired(guard)) => Ok(guard),
            Ok(Attempt::Held(holder)) => {
                let message = format!("{name:?} is held by {holder}");
                return Err(Failure::new(Exit::NotAcquired(conflict), message));
            }
            Err(error) => Err(error),
        },
    };
    got.map_err(|error| Failure::new(Exit::of_error(error.kind(), conflict), error.to_string()))
}

/// Waits until the store has heard all that we have to say, within reason.
pub(crate) async fn close(client: Client) {
    tokio::select! {
        () = client.close() => {}
        () = Host.sleep(CLOSE_PATIENCE) => {}
    }
}
