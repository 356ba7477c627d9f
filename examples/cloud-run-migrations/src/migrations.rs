//! The migrations, which are in the binary: a release has its schema with it.

use std::path::Path;

use refinery::{Migration, Runner, Target};

use crate::{Error, database};

mod embedded {
    refinery::embed_migrations!("migrations");
}

fn runner() -> Runner {
    // Grouped: the migration and the row that says that it was applied are one transaction. Otherwise they
    // are two, and a process that is killed between them leaves a migration that is applied again.
    embedded::migrations::runner().set_grouped(true)
}

/// What is to be done, as the key of "once": it changes with every migration and with nothing else. The
/// checksums are refinery's own, which stay the same from one compiler to the next.
pub(crate) fn key() -> String {
    let runner = runner();
    let mut all: Vec<&Migration> = runner.get_migrations().iter().collect();
    all.sort();
    let fold = |hash: u64, migration: &&Migration| {
        (hash ^ migration.checksum()).wrapping_mul(0x0100_0000_01b3)
    };
    let hash = all.iter().fold(0xcbf2_9ce4_8422_2325, fold);
    let newest = all.last().map_or(0, |migration| migration.version());
    format!("V{newest}-{hash:016x}")
}

/// One migration that the database does not have yet.
#[derive(Clone)]
pub(crate) struct Step {
    version: i32,
    /// Its name, such as `V2__currency`.
    pub(crate) name: String,
    /// Whether there is none after it.
    pub(crate) is_last: bool,
}

/// What the database does not have yet, in the order in which it must get it.
pub(crate) fn pending(path: &Path) -> Result<Vec<Step>, Error> {
    let mut connection = database::open(path)?;
    let runner = runner();
    let has_history: bool = connection.query_row(
        "SELECT count(*) > 0 FROM sqlite_schema WHERE name = 'refinery_schema_history'",
        [],
        |row| row.get(0),
    )?;
    let applied =
        if has_history { runner.get_applied_migrations(&mut connection)? } else { vec![] };
    let mut steps: Vec<Step> = runner
        .get_migrations()
        .iter()
        .filter(|migration| !applied.contains(migration))
        .map(|migration| Step {
            version: migration.version(),
            name: migration.to_string(),
            is_last: false,
        })
        .collect();
    steps.sort_by_key(|step| step.version);
    if let Some(last) = steps.last_mut() {
        last.is_last = true;
    }
    Ok(steps)
}

/// Applies everything up to this step, which is this step if they are taken in order.
pub(crate) fn apply(path: &Path, step: &Step) -> Result<(), Error> {
    let mut connection = database::open(path)?;
    runner().set_target(Target::Version(step.version)).run(&mut connection)?;
    Ok(())
}
