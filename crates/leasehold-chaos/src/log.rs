//! The commands' own log, one file for each name: who was inside when, written by those inside.
//!
//! Each line is one write at the end of the file, so that whoever is killed leaves whole lines.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::clock::{self, Time};

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    /// The command begins.
    Begin,
    /// It still runs.
    Alive,
    /// It begins although a process of that run is alive.
    Beside(u64),
    /// The shared resource refused its token, because it knew this higher one.
    Refused(u64),
    /// It ends by itself, with this code.
    End(u8),
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) at: Time,
    pub(crate) run: u64,
    pub(crate) pid: u32,
    /// Missing where the program gave none.
    pub(crate) token: Option<u64>,
    pub(crate) holder: String,
    pub(crate) word: Word,
}

impl Line {
    /// The line with its line feed.
    fn encode(&self) -> String {
        let token = self.token.map_or_else(|| "-".to_owned(), |token| token.to_string());
        let word = match &self.word {
            Word::Begin => "begin".to_owned(),
            Word::Alive => "alive".to_owned(),
            Word::Beside(run) => format!("beside {run}"),
            Word::Refused(by) => format!("refused {by}"),
            Word::End(code) => format!("end {code}"),
        };
        format!("{} {} {} {token} {} {word}\n", self.at, self.run, self.pid, self.holder)
    }

    /// Reads a line without its line feed.
    pub(crate) fn decode(line: &str) -> Option<Line> {
        let words: Vec<&str> = line.split(' ').collect();
        let [at, run, pid, token, holder, word, rest @ ..] = words.as_slice() else { return None };
        let word = match (*word, rest) {
            ("begin", []) => Word::Begin,
            ("alive", []) => Word::Alive,
            ("beside", [run]) => Word::Beside(run.parse().ok()?),
            ("refused", [by]) => Word::Refused(by.parse().ok()?),
            ("end", [code]) => Word::End(code.parse().ok()?),
            _ => return None,
        };
        let token = if *token == "-" { None } else { Some(token.parse().ok()?) };
        let (at, run, pid) = (at.parse().ok()?, run.parse().ok()?, pid.parse().ok()?);
        Some(Line { at, run, pid, token, holder: (*holder).to_owned(), word })
    }
}

/// Where the log of a name is.
pub(crate) fn path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.log"))
}

/// One process's end of the log.
pub(crate) struct Log {
    file: File,
    run: u64,
    token: Option<u64>,
    holder: String,
}

impl Log {
    /// The log of a name, for the process of a command of ours, which finds the token and the holder
    /// in its environment.
    pub(crate) fn open(dir: &Path, name: &str, run: u64) -> io::Result<Log> {
        let file = OpenOptions::new().append(true).create(true).open(path(dir, name))?;
        let given = |name| std::env::var(name).ok();
        let token = given("LEASEHOLD_TOKEN").and_then(|token| token.parse().ok());
        let holder = given("LEASEHOLD_HOLDER").filter(|holder| !holder.contains([' ', '\n']));
        Ok(Log { file, run, token, holder: holder.unwrap_or_else(|| "-".into()) })
    }

    pub(crate) fn token(&self) -> Option<u64> {
        self.token
    }

    pub(crate) fn holder(&self) -> &str {
        &self.holder
    }

    /// Writes what is true now.
    pub(crate) fn say(&self, word: Word) -> io::Result<()> {
        self.say_at(clock::now(), word)
    }

    /// Writes what was true at that time.
    pub(crate) fn say_at(&self, at: Time, word: Word) -> io::Result<()> {
        let (run, token, holder) = (self.run, self.token, self.holder.clone());
        let line = Line { at, run, pid: std::process::id(), token, holder, word }.encode();
        // One call: in pieces, a kill could come in between.
        match (&self.file).write(line.as_bytes())? {
            n if n == line.len() => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_are_written() {
        let words = [Word::Begin, Word::Alive, Word::Beside(3), Word::Refused(9), Word::End(42)];
        for (word, token) in words.into_iter().zip([None, Some(1), Some(2), Some(3), Some(4)]) {
            let line = Line { at: 1, run: 2, pid: 3, token, holder: "ab".into(), word };
            assert_eq!(Line::decode(line.encode().trim_end()), Some(line));
        }
        for wrong in ["", "1 2 3 4 ab", "1 2 3 4 ab begun", "1 2 3 x ab begin", "1 2 3 4 ab end"] {
            assert_eq!(Line::decode(wrong), None, "{wrong}");
        }
    }
}
