//! The database: one file of SQLite, which stands for the one that a fleet really has.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use crate::Error;

/// Opens the database, and makes an empty one where there is none.
pub(crate) fn open(path: &Path) -> Result<Connection, Error> {
    let connection = Connection::open(path)
        .map_err(|error| format!("cannot open the database {}: {error}", path.display()))?;
    connection.busy_timeout(Duration::from_secs(10))?;
    Ok(connection)
}

/// What `/` shows. It can only be asked of the newest schema.
pub(crate) fn summary(path: &Path) -> Result<String, Error> {
    let (count, cents): (i64, i64) = open(path)?.query_row(
        "SELECT count(*), sum(price) FROM orders WHERE currency = 'EUR'",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(format!("{count} orders, {}.{:02} EUR\n", cents / 100, cents % 100))
}
