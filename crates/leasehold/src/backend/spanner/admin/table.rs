//! The table: how it is made, and what of one that is there is good or bad for locks.

use leasehold_core::admin::{Step, StepState};
use leasehold_core::backend::{Key, MAX_RECORD_BYTES};

use crate::backend::spanner::SpannerBackend;

impl SpannerBackend {
    /// The statement that makes the table.
    pub(super) fn definition(&self) -> String {
        format!(
            "CREATE TABLE {} (name STRING(256) NOT NULL, version INT64 NOT NULL, record BYTES(MAX) \
             NOT NULL, written TIMESTAMP NOT NULL OPTIONS (allow_commit_timestamp = true)) PRIMARY \
             KEY (name, version)",
            self.place.table
        )
    }

    /// The statement that made our table, in one line and without quotes.
    pub(super) fn table_in(&self, statements: &[String]) -> Option<String> {
        let start = format!("create table {} (", self.place.table.to_lowercase());
        statements.iter().map(|statement| plain(statement)).find(|plain| plain.starts_with(&start))
    }

    /// What of a table, and of the other statements about it, is good or bad for locks.
    pub(super) fn examined(&self, definition: &str, statements: &[String]) -> Vec<Step> {
        let table = &self.place.table;
        let mut wrong = other_table(definition);
        if !wrong.is_empty() {
            wrong.push(format!(
                "choose another with ?table=NAME, or make it anew: {}",
                self.definition()
            ));
        }
        let state = match wrong.is_empty() {
            true => StepState::Found,
            false => StepState::Wrong(format!("it is another table: {}", wrong.join("; "))),
        };
        let policy = definition.contains("row deletion policy").then(|| {
            format!(
                "Spanner deletes rows of it by their age, and with them the locks: `ALTER TABLE \
                 {table} DROP ROW DELETION POLICY`"
            )
        });
        let mut steps = vec![
            Step { what: format!("the table {table}"), state },
            Step {
                what: "no row deletion policy".into(),
                state: policy.map_or(StepState::Found, StepState::Wrong),
            },
        ];
        if let Some(index) = self.unique_index(statements) {
            let why =
                format!("a name has two rows, and the index allows one: `DROP INDEX {index}`");
            let what = format!("the unique index {index}");
            steps.push(Step { what, state: StepState::Wrong(why) });
        }
        steps
    }

    /// A unique index that refuses rows of ours: any that lacks one of the key's two columns.
    fn unique_index(&self, statements: &[String]) -> Option<String> {
        let of_ours = format!(" on {} (", self.place.table.to_lowercase());
        statements.iter().map(|statement| plain(statement)).find_map(|statement| {
            let (head, columns) = statement.split_once(&of_ours)?;
            let name = head.strip_prefix("create unique ")?.split(' ').next_back()?;
            let columns = columns.split_once(" )").map_or(columns, |(columns, _)| columns);
            let names: Vec<&str> =
                columns.split(',').filter_map(|c| c.split_whitespace().next()).collect();
            (!["name", "version"].iter().all(|key| names.contains(key))).then(|| name.to_owned())
        })
    }
}

/// What keeps a table from taking our rows, one sentence for each.
fn other_table(definition: &str) -> Vec<String> {
    let (columns, rest) = columns_of(definition);
    let column = |name: &str| columns.iter().find_map(|c| c.strip_prefix(name)?.strip_prefix(' '));
    let mut wrong = vec![];
    let mut check = |name: &str, needed: &str, is_fine: &dyn Fn(&str) -> bool| {
        let made_by_spanner = |column: &str| column.contains(" as (");
        match column(name) {
            None => wrong.push(format!("it lacks {name} {needed}")),
            Some(column) if made_by_spanner(column) => {
                wrong.push(format!(
                    "{name} is a column that Spanner computes, it has to be {needed}"
                ));
            }
            Some(column) if !is_fine(column) => {
                wrong.push(format!("{name} is {column}, it has to be {needed}"));
            }
            Some(_) => {}
        }
    };
    check("name", "STRING(256)", &|column| has_room(column, "string", Key::MAX_BYTES));
    check("version", "INT64 NOT NULL", &|column| column.starts_with("int64 not null"));
    check("record", "BYTES(MAX)", &|column| has_room(column, "bytes", MAX_RECORD_BYTES));
    check("written", "TIMESTAMP NOT NULL OPTIONS (allow_commit_timestamp = true)", &|column| {
        column.starts_with("timestamp not null") && column.contains("allow_commit_timestamp = true")
    });
    let key = rest.strip_prefix("primary key ( ").and_then(|rest| rest.split_once(" )"));
    let key: Vec<&str> = key.map_or_else(Vec::new, |(key, _)| {
        key.split(',').filter_map(|part| part.split_whitespace().next()).collect()
    });
    if key != ["name", "version"] {
        wrong.push("it lacks PRIMARY KEY ( name, version )".into());
    }
    if rest.contains("interleave in parent") {
        wrong.push("each of its rows needs one in another table (INTERLEAVE IN PARENT)".into());
    }
    for column in &columns {
        let name = column.split(' ').next().unwrap_or_default();
        if !["name", "version", "record", "written"].contains(&name) && has_to_be_given(column) {
            wrong.push(format!("{name} is a further column that is NOT NULL without a DEFAULT"));
        }
    }
    wrong
}

/// Whether a column is of this type and takes so many bytes or letters.
fn has_room(column: &str, kind: &str, least: usize) -> bool {
    let size = column.strip_prefix(kind).and_then(|rest| rest.strip_prefix(" ( "));
    let size = size.and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    size == "max" || size.parse::<usize>().is_ok_and(|size| size >= least)
}

/// Whether a row cannot be inserted without a value in this column.
fn has_to_be_given(column: &str) -> bool {
    let fills = [" default ", " as (", " generated ", " auto_increment"];
    column.contains(" not null") && !fills.iter().any(|fill| column.contains(fill))
}

/// The columns of a definition, without its constraints, and what stands behind them.
fn columns_of(definition: &str) -> (Vec<&str>, &str) {
    let inner = definition.split_once('(').map_or("", |(_, inner)| inner);
    let (mut columns, mut depth, mut start, mut quote) = (vec![], 0_usize, 0, None);
    for (at, c) in inner.char_indices() {
        if let Some(open) = quote {
            quote = Some(open).filter(|open| *open != c);
            continue;
        }
        match c {
            '\'' | '"' => quote = Some(c),
            '(' => depth += 1,
            ')' if depth == 0 => {
                columns.push(inner[start..at].trim());
                columns.retain(|column| is_column(column));
                return (columns, inner[at + 1..].trim());
            }
            ')' => depth -= 1,
            ',' if depth == 0 => {
                columns.push(inner[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    (columns, "")
}

fn is_column(part: &str) -> bool {
    let first = part.split(' ').next().unwrap_or_default();
    !matches!(first, "" | "constraint" | "foreign" | "check" | "synonym")
}

/// A statement in one line, in small letters, without quotes around names, and with a space around each
/// bracket and behind each comma.
fn plain(statement: &str) -> String {
    let spaced = statement.replace('`', "").replace('(', " ( ").replace(')', " ) ");
    let spaced = spaced.replace(',', " , ").to_lowercase();
    let words: Vec<&str> = spaced.split_whitespace().collect();
    words.join(" ").replace(" ,", ",")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOGLE: &str = "CREATE TABLE l (\n  name STRING(256) NOT NULL,\n  version INT64 NOT \
                          NULL,\n  record BYTES(MAX) NOT NULL,\n  written TIMESTAMP NOT NULL \
                          OPTIONS (\n    allow_commit_timestamp = true\n  ),\n) PRIMARY KEY(name, \
                          version)";

    /// What is wrong with a database of these statements, beside another table.
    fn wrong(statements: &[&str]) -> String {
        let backend = SpannerBackend::open("acme/main/locks?table=l").expect("a backend");
        let mut all = vec!["CREATE TABLE l2 (a INT64) PRIMARY KEY(a)".to_owned()];
        all.extend(statements.iter().map(|&statement| statement.to_owned()));
        let definition = backend.table_in(&all).expect("our table");
        let steps = backend.examined(&definition, &all).into_iter();
        let wrong = steps.filter_map(|step| match step.state {
            StepState::Wrong(why) => Some(why),
            _ => None,
        });
        wrong.collect::<Vec<_>>().join("\n")
    }

    /// A server tells the definition in its own way, and somebody has added what does no harm.
    #[test]
    fn a_table_that_takes_our_rows_is_let_through() {
        let ours = SpannerBackend::open("acme/main/locks?table=l").expect("a backend").definition();
        let more = |column: &str| GOOGLE.replace("\n)", &format!("\n  {column},\n)"));
        for good in [
            GOOGLE.to_owned(),
            ours,
            GOOGLE.replace("TABLE l", "TABLE `l`").replace("name", "`name`"),
            GOOGLE.replace("STRING(256)", "STRING(MAX)").replace("BYTES(MAX)", "BYTES(16384)"),
            GOOGLE.replace("STRING(256)", "STRING(200)").replace(", version)", ", version DESC)"),
            more("note STRING(9)"),
            more("made TIMESTAMP NOT NULL DEFAULT (CURRENT_TIMESTAMP())"),
            more("kind STRING(9) NOT NULL DEFAULT ('a, (b')"),
            more("shard INT64 NOT NULL AS (MOD(version, 4)) STORED"),
            more("n INT64 NOT NULL GENERATED BY DEFAULT AS IDENTITY (BIT_REVERSED_POSITIVE)"),
            more("CONSTRAINT some CHECK(name IS NOT NULL)"),
        ] {
            assert_eq!(wrong(&[&good]), "", "{good}");
        }
        for harmless in [
            "CREATE CHANGE STREAM all FOR l",
            "CREATE INDEX by_time ON l(written)",
            "CREATE UNIQUE INDEX again ON l(version, name)",
            "CREATE UNIQUE INDEX other ON l2(a)",
            "CREATE ROLE locker",
        ] {
            assert_eq!(wrong(&[GOOGLE, harmless]), "", "{harmless}");
        }
    }

    /// What is lacking, too small, in the way or deletes is seen, with its name.
    #[test]
    fn a_table_that_refuses_our_rows_is_told() {
        for (from, to, words) in [
            ("KEY(name, version)", "KEY(name)", "PRIMARY KEY ( name, version )"),
            ("KEY(name, version)", "KEY(version, name)", "PRIMARY KEY ( name, version )"),
            ("version INT64 NOT NULL", "version INT64", "version is int64, it has to be INT64"),
            ("STRING(256)", "STRING(16)", "name is string ( 16 ) not null, it has to be STRING"),
            ("STRING(256)", "INT64", "name is int64"),
            ("BYTES(MAX)", "BYTES(1024)", "record is bytes ( 1024 ) not null, it has to be BYTES"),
            ("BYTES(MAX)", "STRING(MAX)", "record is string"),
            ("  record BYTES(MAX) NOT NULL,\n", "", "it lacks record BYTES(MAX)"),
            ("BYTES(MAX) NOT NULL", "BYTES(MAX) AS (b) STORED", "record is a column that Spanner"),
            (" OPTIONS (\n    allow_commit_timestamp = true\n  )", "", "allow_commit_timestamp"),
            ("\n)", "\n  owner STRING(9) NOT NULL\n)", "owner is a further column"),
            (
                "KEY(name, version)",
                "KEY(name, version),\n  INTERLEAVE IN PARENT l2 ON DELETE CASCADE",
                "INTERLEAVE IN PARENT",
            ),
            (
                "KEY(name, version)",
                "KEY(name, version), ROW DELETION POLICY (OLDER_THAN(written, INTERVAL 9 DAY))",
                "DROP ROW DELETION POLICY",
            ),
        ] {
            let why = wrong(&[&GOOGLE.replace(from, to)]);
            assert!(why.contains(words), "{to}: {why}");
        }
        let why = wrong(&[GOOGLE, "CREATE UNIQUE NULL_FILTERED INDEX one ON l (name)"]);
        assert!(why.contains("DROP INDEX one"), "{why}");
    }
}
