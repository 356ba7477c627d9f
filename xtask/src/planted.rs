//! `cargo xtask planted`: plants every wrong variant of the protocol, lets the simulator and the model
//! checker find it, and prints who found what, as the table of `docs/proof.md`.

use std::process::{Command, Stdio};

use crate::sh::{self, Result, cargo};

/// A test program that must find what is planted, with what the cells say that it prints.
type Finder = (&'static str, &'static str, &'static str);

const PROTOCOL: [Finder; 2] = [
    ("leasehold-sim", "planted", "what is wrong | simulator: first seed; failing | promise broken"),
    ("leasehold-model", "planted", "model checker: states; steps | what it shows"),
];

const LIBRARY: [Finder; 1] =
    [("leasehold-sim", "planted_library", "what is wrong | first seed | promise broken")];

/// What makes a failing world smaller needs one that fails.
const SHRINKER: (&str, &str) = ("leasehold-sim", "shrink");

/// How a finder's lines begin: the bug's name follows, and then the cells.
const MARK: &str = "planted: ";

/// Every test of planted bugs.
pub(crate) fn tests() -> impl Iterator<Item = Command> {
    let finders = PROTOCOL.into_iter().chain(LIBRARY).map(|(package, test, _)| (package, test));
    finders.chain([SHRINKER]).map(|(package, test)| command(package, test))
}

fn command(package: &str, test: &str) -> Command {
    cargo(&["test", "--package", package, "--features", "planted", "--test", test, "--"])
}

/// The lints of what is compiled only with the feature.
pub(crate) fn lints() -> Result {
    let mut command = cargo(&["clippy", "--all-targets", "--features", "planted", "--locked"]);
    for package in ["leasehold-core", "leasehold", "leasehold-sim", "leasehold-model"] {
        command.args(["--package", package]);
    }
    sh::run(command.args(["--", "-D", "warnings"]))
}

/// Prints a table of the protocol's bugs and one of the library's. An error if a finder missed
/// something.
pub(crate) fn run() -> Result {
    let mut failed = vec![];
    for finders in [&PROTOCOL[..], &LIBRARY[..]] {
        let mut table = Table::default();
        for (package, test, heads) in finders {
            let mut command = command(package, test);
            command.arg("--nocapture").stdout(Stdio::piped()).stderr(Stdio::inherit());
            let output = command.output().map_err(|e| format!("{}: {e}", sh::shown(&command)))?;
            table.add(heads, &String::from_utf8_lossy(&output.stdout));
            if !output.status.success() {
                failed.push(sh::shown(&command));
            }
        }
        println!("{}", table.shown());
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

/// One row for each bug; each finder adds its cells.
#[derive(Default)]
struct Table {
    heads: Vec<String>,
    rows: Vec<(String, Vec<String>)>,
}

impl Table {
    fn add(&mut self, heads: &str, said: &str) {
        let before = self.heads.len();
        self.heads.extend(heads.split('|').map(|head| head.trim().to_owned()));
        for line in said.lines().filter_map(|line| line.strip_prefix(MARK)) {
            let mut cells = line.split('|').map(|cell| cell.trim().to_owned());
            let name = cells.next().unwrap_or_default();
            let at = self.rows.iter().position(|row| row.0 == name).unwrap_or_else(|| {
                self.rows.push((name, vec![String::new(); before]));
                self.rows.len() - 1
            });
            self.rows[at].1.extend(cells);
        }
        for row in &mut self.rows {
            row.1.resize(self.heads.len(), String::new());
        }
    }

    fn shown(&self) -> String {
        let row = |name: &str, cells: &[String]| format!("| {name} | {} |\n", cells.join(" | "));
        let rule = vec!["---".to_owned(); self.heads.len()];
        let heads = [row("planted bug", &self.heads), row("---", &rule)].concat();
        self.rows.iter().fold(heads, |text, (name, cells)| text + &row(&format!("`{name}`"), cells))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two finders; each found a bug that the other does not know, and its cells stay in their place.
    #[test]
    fn what_the_finders_found_is_one_table() {
        let mut table = Table::default();
        table.add("seed | promise", "noise\nplanted: A | 7 | p\nplanted: B | 8 | q\n");
        table.add("states", "planted: B | 900\nplanted: C | 30\ntest result: ok\n");
        let lines = [
            "| planted bug | seed | promise | states |",
            "| --- | --- | --- | --- |",
            "| `A` | 7 | p |  |",
            "| `B` | 8 | q | 900 |",
            "| `C` |  |  | 30 |\n",
        ];
        assert_eq!(table.shown(), lines.join("\n"));
    }
}
