//! The story of one world, for a person: who did what when, in columns.

use std::fmt;

/// One line of it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Line {
    time: u64,
    who: String,
    what: String,
    then: String,
}

/// What happened, line by line. Empty unless the world was told to keep it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Trace(Vec<Line>);

impl Trace {
    /// `who` did `what`; `then` is the state afterwards, where it matters.
    pub(crate) fn tell(&mut self, time: u64, who: &str, what: String, then: String) {
        self.0.push(Line { time, who: who.to_owned(), what, then });
    }

    /// How many lines.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was told.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Where the last column begins, unless the one before is longer.
const WIDTH: usize = 64;

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|line| line.who.chars().count()).max().unwrap_or(0);
        for Line { time, who, what, then } in &self.0 {
            let (s, ms, us) = (time / 1_000_000, time / 1000 % 1000, time % 1000);
            write!(f, "{s:>4}.{ms:03}_{us:03}  {who:names$}  ")?;
            if then.is_empty() {
                writeln!(f, "{what}")?;
            } else {
                writeln!(f, "{what:WIDTH$}  {then}")?;
            }
        }
        Ok(())
    }
}
