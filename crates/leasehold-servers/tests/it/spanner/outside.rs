//! Another's opinion: one conversation with Google's emulator and with the fake, and where the two differ.
//!
//! The differences are listed, so that a reader knows what a test against the emulator can say, and so that
//! a new version of it, or a change of the fake, that differs elsewhere is noticed.

use leasehold_servers::spanner::{Fake, outside};

use super::talk::converse;
use crate::outside::skipped;

/// What was asked, what the fake said, and what Google's emulator 1.5 said where that is another thing. Of a
/// refusal, its first sentence.
///
/// It does its long operations at once, makes plain sessions, and has words of its own for rows.
const CONVERSATION: [(&str, &str, Option<&str>); 58] = [
    ("get no instance", "NotFound: Instance not found: ../ID +ResourceInfo", None),
    ("create a database in no instance", "NotFound: Instance not found: ../ID +ResourceInfo", None),
    ("create an instance", "done false", Some("Instance")),
    ("the instance, in the end", "Instance", None),
    ("create it again", "AlreadyExists: Instance already exists: ../ID", None),
    (
        "ask for the tables of no database",
        "NotFound: Database not found: ../ID/databases/dd +ResourceInfo",
        None,
    ),
    ("create a database", "done false", Some("Database")),
    ("the database, in the end", "Database", None),
    ("create that again", "AlreadyExists: Database already exists: ../ID/databases/dd", None),
    ("get the database", "state 2", None),
    ("create a table", "done false", Some("Empty")),
    ("the change, in the end", "Empty", None),
    ("create that table again", "FailedPrecondition: Duplicate name in schema: t", None),
    ("create what is no table", "InvalidArgument: Error parsing Spanner DDL statement", None),
    ("delete old rows", "done false", Some("Empty")),
    ("the change, in the end", "Empty", None),
    ("drop no table", "NotFound: Table not found: u", None),
    ("ask for the tables", "CREATE TABLE t (..), ROW DELETION POLICY (..", None),
    ("make a session", "multiplexed true", Some("multiplexed false")),
    ("get it", "multiplexed true", Some("multiplexed false")),
    ("delete it", "InvalidArgument: Cannot delete multiplexed session", Some("deleted")),
    ("make a session in nothing", "NotFound: Instance not found: ../i +ResourceInfo", None),
    (
        "get another",
        "NotFound: Session not found: ../ID/databases/dd/sessions/x +ResourceInfo",
        None,
    ),
    ("insert", "done", None),
    (
        "insert again",
        "AlreadyExists: Row [a,1] in table t already exists",
        Some(r#"AlreadyExists: Table t: Row {String("a")"#),
    ),
    (
        "update what is not there",
        "NotFound: Row [a,7] in table t is missing",
        Some(r#"NotFound: Table t: Row {String("a")"#),
    ),
    ("take the next step", "done", None),
    (
        "take it again",
        "NotFound: Row [a,1] in table t is missing",
        Some(r#"NotFound: Table t: Row {String("a")"#),
    ),
    ("delete, insert and update one", "done", None),
    ("delete what is not there", "done", None),
    ("replace and overwrite", "done", None),
    ("read all", "a 0 NULL, a 2 NULL, r 1 AAEC, r 2 NULL", None),
    ("insert more", "done", None),
    ("read [m, m]", "1 m, 2 m", None),
    ("read (m, n]", "-1 mm, 3 n", None),
    ("read [m, n)", "1 m, 2 m, -1 mm", None),
    ("read [m 2, n)", "2 m, -1 mm", None),
    ("read (m 1, mm -1]", "2 m, -1 mm", None),
    ("read [n, m]", "", None),
    ("delete [m, n)", "done", None),
    ("read what is left", "n, r, r", None),
    ("half a key", "FailedPrecondition: A new row in table t", None),
    (
        "a column too few",
        "InvalidArgument: Mutation column and value size mismatch: Found: 2 columns and 1 values",
        None,
    ),
    ("no such column", "NotFound: Column not found in table t: odd", None),
    ("a column twice", "InvalidArgument: Multiple values for column name", None),
    ("no number", "FailedPrecondition: Could not parse 1.5 as an integer", None),
    (
        "too long",
        "FailedPrecondition: New value exceeds the maximum size limit for this column: t.name",
        None,
    ),
    ("no bytes", "FailedPrecondition: Could not parse ? as BYTES", None),
    ("no time", "FailedPrecondition: Could not parse yesterday as a TIMESTAMP", None),
    ("a future time", "FailedPrecondition: Cannot write timestamps in the future", None),
    (
        "the commit's time where it cannot be",
        "FailedPrecondition: Cannot write commit timestamp",
        None,
    ),
    (
        "text for a flag",
        "FailedPrecondition: Could not parse true as BOOL",
        Some(r#"FailedPrecondition: Could not parse string_value: "true""#),
    ),
    ("half a key to delete", "FailedPrecondition: Wrong number of key parts for t", None),
    ("no such table", "NotFound: Table not found: nowhere", None),
    ("read no such table", "NotFound: Table not found: nowhere", None),
    ("read no such column", "NotFound: Column not found in table t: odd", None),
    (
        "no name of a session",
        "NotFound: Session not found: x +ResourceInfo",
        Some("InvalidArgument: Invalid project uri: x"),
    ),
    (
        "no such session",
        "NotFound: Session not found: ../ID/databases/dd/sessions/x +ResourceInfo",
        None,
    ),
];

/// The fake says what the list has.
#[test]
fn the_fake_differs_as_listed() {
    let said = converse(Fake::start().address());
    for ((asked, answer), (listed, fake, _)) in said.iter().zip(CONVERSATION) {
        assert_eq!((*asked, answer.as_str()), (listed, fake));
    }
    assert_eq!(said.len(), CONVERSATION.len());
}

/// The emulator says the same, but for what the list has.
#[test]
fn the_emulator_differs_as_listed() {
    let server = match outside() {
        Ok(server) => server,
        Err(why) => return skipped(&why),
    };
    let address = server.strip_prefix("http://").and_then(|address| address.parse().ok());
    let said = converse(address.unwrap_or_else(|| panic!("not http://IP:PORT: {server}")));
    for ((asked, answer), (listed, fake, there)) in said.iter().zip(CONVERSATION) {
        assert_eq!((*asked, answer.as_str()), (listed, there.unwrap_or(fake)));
    }
    assert_eq!(said.len(), CONVERSATION.len());
}
