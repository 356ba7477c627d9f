//! The table: how it is made, and what of one that is there is good or bad for locks.

use leasehold_core::admin::{Step, StepState};

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
        let start = format!("CREATE TABLE {} (", self.place.table).to_lowercase();
        let plain = statements.iter().map(|statement| plain(statement));
        plain.into_iter().find(|statement| statement.to_lowercase().starts_with(&start))
    }

    /// What of a table is good or bad for locks.
    pub(super) fn examined(&self, definition: &str) -> Vec<Step> {
        let table = &self.place.table;
        let lower = definition.to_lowercase();
        let (columns, rest) = lower.split_once(") primary key").unwrap_or((&lower, ""));
        let lacks = [
            (columns, "name string("),
            (columns, "version int64 not null"),
            (columns, "record bytes("),
            (columns, "written timestamp not null options ( allow_commit_timestamp = true )"),
            (rest, "( name, version )"),
        ];
        let lacks: Vec<&str> = lacks
            .into_iter()
            .filter(|(text, part)| !text.contains(&plain(part)))
            .map(|(_, part)| part)
            .collect();
        let state = match lacks.is_empty() {
            true => StepState::Found,
            false => StepState::Wrong(format!(
                "it is another table: it lacks {}. Choose another with ?table=NAME, or make it \
                 anew: {}",
                lacks.join(", "),
                self.definition()
            )),
        };
        let policy = lower.contains("row deletion policy").then(|| {
            format!(
                "Spanner deletes rows of it by their age, and with them the locks: `ALTER TABLE \
                 {table} DROP ROW DELETION POLICY`"
            )
        });
        vec![
            Step { what: format!("the table {table}"), state },
            Step {
                what: "no row deletion policy".into(),
                state: policy.map_or(StepState::Found, StepState::Wrong),
            },
        ]
    }
}

/// A statement in one line, without quotes, and with a space around each bracket and behind each comma.
fn plain(statement: &str) -> String {
    let spaced = statement.replace('`', "").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    words.join(" ").replace(" ,", ",")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server tells the definition in its own way; what is lacking or deletes is seen in all of them.
    #[test]
    fn a_table_is_looked_at() {
        let backend = SpannerBackend::open("acme/main/locks?table=l").expect("a backend");
        let google = "CREATE TABLE l (\n  name STRING(256) NOT NULL,\n  version INT64 NOT NULL,\n  \
                      record BYTES(MAX) NOT NULL,\n  written TIMESTAMP NOT NULL OPTIONS (\n    \
                      allow_commit_timestamp = true\n  ),\n) PRIMARY KEY(name, version)";
        let wrong = |definition: &str| {
            let statements = ["CREATE TABLE l2 (a INT64) PRIMARY KEY(a)".into(), definition.into()];
            let definition = backend.table_in(&statements).expect("our table");
            let steps = backend.examined(&definition).into_iter();
            let wrong = steps.filter_map(|step| match step.state {
                StepState::Wrong(why) => Some(why),
                _ => None,
            });
            wrong.collect::<Vec<_>>().join("\n")
        };
        for good in [google.to_owned(), backend.definition()] {
            assert_eq!(wrong(&good), "", "{good}");
        }
        let quoted = google.replace("TABLE l", "TABLE `l`").replace("name", "`name`");
        assert_eq!(wrong(&quoted), "");
        for (from, to, word) in [
            ("(name, version)", "(name)", "( name, version )"),
            ("version INT64 NOT NULL", "version INT64", "version int64"),
            (" OPTIONS (\n    allow_commit_timestamp = true\n  )", "", "allow_commit_timestamp"),
            (
                "KEY(name, version)",
                "KEY(name, version), ROW DELETION POLICY (OLDER_THAN(written, INTERVAL 9 DAY))",
                "DROP ROW DELETION POLICY",
            ),
        ] {
            let why = wrong(&google.replace(from, to));
            assert!(why.contains(word), "{to}: {why}");
        }
    }
}
