//! A web service that migrates its database at start, once for all of its instances, and then serves.
//!
//! `cloud-run-migrations` does both; with `migrate` or `serve` it does one half, for `leasehold once` as
//! the entry point. The environment: `DATABASE` (a file of SQLite), `PORT`, `LEASEHOLD_BACKEND`, and
//! `LOCK`, the name of the lock.

mod database;
mod migrations;
mod rehearsal;
mod server;
mod start;

use std::path::PathBuf;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

/// What goes wrong is only for people here.
type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let database = PathBuf::from(variable("DATABASE", "orders.db"));
    let work = async {
        match std::env::args().nth(1).as_deref() {
            None => {
                start::migrate_once(&database).await?;
                server::serve(&database).await
            }
            Some("migrate") => start::migrate(&database).await,
            Some("serve") => server::serve(&database).await,
            Some(other) => Err(format!("{other:?}: there are `migrate` and `serve`").into()),
        }
    };
    let result = tokio::select! {
        result = work => result,
        result = terminated() => result,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cloud-run-migrations: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Ends the process when Cloud Run asks for it, with SIGTERM: the first process of a container is not
/// ended by a signal that it does not expect. A migration that is under way is rolled back by the
/// database, and the next run begins with it.
async fn terminated() -> Result<(), Error> {
    signal(SignalKind::terminate())?.recv().await;
    // At once: a migration that went on after its lock was given back would be worse than none.
    std::process::exit(143);
}

/// A variable of the environment; set to nothing is as good as not set.
fn variable(name: &str, default: &str) -> String {
    std::env::var(name).ok().filter(|text| !text.is_empty()).unwrap_or_else(|| default.to_owned())
}
