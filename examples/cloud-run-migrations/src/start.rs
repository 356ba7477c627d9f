//! What happens before the service serves.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use leasehold::{Ran, Section};

use crate::migrations::{self, Step};
use crate::rehearsal::{self, Run};
use crate::{Error, variable};

/// Migrates, once for all instances that start with the same migrations: one does it, the others wait
/// for it and go on.
///
/// An error is a reason not to serve.
pub(crate) async fn migrate_once(database: &Path) -> Result<(), Error> {
    let client = leasehold::connect(&variable("LEASEHOLD_BACKEND", "file:///tmp/locks")).await?;
    let mut once =
        client.once(variable("LOCK", "schema")).keyed(migrations::key()).with_timeout(PATIENCE);
    if let Ok(revision) = std::env::var("K_REVISION") {
        // All hosts of Cloud Run have the same name; the revision says more.
        once = once.with_label(format!("{revision}, process {}", std::process::id()));
    }
    let ran = once.run(async |section: Arc<Section>| {
        let run = Run { attempt: section.attempt(), is_resumed: section.resumed().is_some() };
        let before = section.resumed().map(|token| format!(", resuming what {token} began"));
        let before = before.unwrap_or_default();
        println!("migrating: attempt {}, token {}{before}", run.attempt, section.token());
        apply_all(database, run).await
    });
    match ran.await? {
        Ran::Now(()) => println!("migrated"),
        Ran::Before(done) => println!("migrated before: {done}"),
        Ran::NotNeeded => println!("nothing to migrate"),
        // This release was overtaken before its turn. Its migrations are part of the newer one's.
        Ran::Outdated(newer) => println!("left to a newer release: {newer}"),
        Ran::GaveUp(failed) => {
            return Err(format!("the migrations do not work: {failed}").into());
        }
    }
    has_all(database).await
}

/// The lock's record says what was done, the database what there is. They differ if a backup was
/// restored, or while a newer release is still at it: then the old schema must not be served.
async fn has_all(database: &Path) -> Result<(), Error> {
    match pending(database).await?.first() {
        None => Ok(()),
        Some(step) => Err(format!(
            "{} is not in the database, and it is not our turn to apply it: a newer release is at \
             it, or the database was restored; then `leasehold reset schema --reason ..` helps",
            step.name
        )
        .into()),
    }
}

async fn pending(database: &Path) -> Result<Vec<Step>, Error> {
    let database = database.to_owned();
    tokio::task::spawn_blocking(move || migrations::pending(&database)).await?
}

/// Longer than the migrations take, and shorter than Cloud Run waits for us, so that the log says why.
const PATIENCE: Duration = Duration::from_secs(230);

/// Migrates, with no lock around it: that is the matter of the caller, such as `leasehold once`.
pub(crate) async fn migrate(database: &Path) -> Result<(), Error> {
    let attempt = variable("LEASEHOLD_ATTEMPT", "1").parse()?;
    let is_resumed = std::env::var_os("LEASEHOLD_RESUMED").is_some();
    println!("migrating: attempt {attempt}");
    apply_all(database, Run { attempt, is_resumed }).await
}

/// Applies what is missing, one by one. The run after a crash goes on where that one was: each
/// migration is in the database together with the row that says so, or not at all.
async fn apply_all(database: &Path, run: Run) -> Result<(), Error> {
    for step in pending(database).await? {
        // When the lock is lost we get no further than this line. The step that is under way then is in
        // one transaction with its row, which the successor's row would make fail.
        let database = database.to_owned();
        let work = move || {
            rehearsal::before(&step, run)?;
            migrations::apply(&database, &step)?;
            println!("applied {}", step.name);
            Ok::<(), Error>(())
        };
        tokio::task::spawn_blocking(work).await??;
    }
    Ok(())
}
