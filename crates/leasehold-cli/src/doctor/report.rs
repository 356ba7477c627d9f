//! What the doctor says: a line for each check, and the verdict.

use leasehold::core::backend::Trouble;
use serde::Serialize;

use super::plan::Plan;
use super::probe::Stopped;
use crate::exit::Exit;
use crate::show::{clean, print};
use crate::{columns, times};

/// What a check found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mark {
    /// It is as a lock needs it.
    Ok,
    /// It is not as it should be, and a lock can live with that.
    Warn,
    /// No lock may rest on this.
    Fail,
    /// A fact, neither good nor bad.
    Note,
}

/// What a check found, and the fact that shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Finding {
    pub(super) mark: Mark,
    pub(super) fact: String,
}

pub(super) fn ok(fact: impl Into<String>) -> Finding {
    Finding { mark: Mark::Ok, fact: fact.into() }
}

pub(super) fn warn(fact: impl Into<String>) -> Finding {
    Finding { mark: Mark::Warn, fact: fact.into() }
}

pub(super) fn fail(fact: impl Into<String>) -> Finding {
    Finding { mark: Mark::Fail, fact: fact.into() }
}

pub(super) fn note(fact: impl Into<String>) -> Finding {
    Finding { mark: Mark::Note, fact: fact.into() }
}

/// The lines so far. For a person each is printed as it comes: on a store that takes one write a second
/// the whole takes a while.
#[derive(Debug)]
pub(super) struct Report {
    lines: Vec<(&'static str, Finding)>,
    /// Why it ended before its end.
    stopped: Option<Stopped>,
    /// What the store has answered in place of an answer: it is told once.
    errors: Vec<String>,
    /// What in the store's settings breaks locks.
    breaking: Vec<String>,
    /// The width of the screen; `None` for a program, which gets all at the end.
    width: Option<usize>,
}

impl Report {
    pub(super) fn new(width: Option<usize>) -> Report {
        Report { lines: vec![], stopped: None, errors: vec![], breaking: vec![], width }
    }

    /// Adds what a check found. One that could not be made stops the exam.
    pub(super) fn add(
        &mut self,
        check: &'static str,
        found: Result<Finding, Stopped>,
    ) -> Result<(), Stopped> {
        match found {
            Ok(finding) => {
                self.tell(check, finding);
                Ok(())
            }
            Err(stopped) => {
                self.tell(check, fail(stopped.message.clone()));
                self.once(&stopped.message);
                self.stopped = Some(stopped.clone());
                Err(stopped)
            }
        }
    }

    /// Adds a finding.
    pub(super) fn tell(&mut self, check: &'static str, finding: Finding) {
        if let Some(width) = self.width {
            print(&line(check, &finding, width));
        }
        self.lines.push((check, finding));
    }

    /// What went wrong, where it was not told before; a page of somebody's proxy is not repeated.
    pub(super) fn once(&mut self, message: &str) -> String {
        let (head, error) = parts(message);
        if self.errors.iter().any(|told| told == error) {
            return format!("{head}the same answer as above");
        }
        self.errors.push(error.to_owned());
        message.to_owned()
    }

    /// Adds a setting that breaks locks.
    pub(super) fn tell_breaking(&mut self, fact: String) {
        self.breaking.push(fact.clone());
        self.tell("settings", warn(fact));
    }

    /// A line of its own, for a person.
    pub(super) fn say(&self, text: &str) {
        if let Some(width) = self.width {
            print(&wrapped(&clean(text), width, 0));
        }
    }

    /// What the store is convicted of, in order. That it could not be asked is no conviction.
    pub(super) fn convictions(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let asked = self.lines.iter().filter(|(_, finding)| {
            self.stopped.as_ref().is_none_or(|stopped| stopped.message != finding.fact)
        });
        let failed = asked.filter(|(_, finding)| finding.mark == Mark::Fail);
        failed.map(|(check, finding)| (*check, finding.fact.as_str()))
    }

    pub(super) fn answer(&self) -> Vec<CheckAnswer<'_>> {
        let lines = self.lines.iter().map(|(check, Finding { mark, fact })| CheckAnswer {
            check,
            result: *mark,
            fact,
        });
        lines.collect()
    }
}

/// A check for a program.
#[derive(Serialize)]
pub(super) struct CheckAnswer<'a> {
    check: &'a str,
    result: Mark,
    fact: &'a str,
}

/// What was tried, if it is said, and what the store made of it.
fn parts(message: &str) -> (&str, &str) {
    match message.find(": ") {
        Some(at) if message.starts_with("cannot ") => message.split_at(at + 2),
        _ => ("", message),
    }
}

/// Where the facts begin.
const INDENT: usize = 20;

fn line(check: &str, finding: &Finding, width: usize) -> String {
    let word = match finding.mark {
        Mark::Ok => "ok",
        Mark::Warn => "warn",
        Mark::Fail => "FAIL",
        Mark::Note => "-",
    };
    let head = format!("{word:<4}  {check:<12}  ");
    wrapped(&format!("{head}{}", clean(&finding.fact)), width, INDENT)
}

/// Breaks a text at blanks into lines of at most `width` columns, as far as its words let it.
fn wrapped(text: &str, width: usize, indent: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split_inclusive(' ') {
        if column > indent && column + columns::width(word.trim_end()) > width {
            out.truncate(out.trim_end().len());
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        }
        out.push_str(word);
        column += columns::width(word);
    }
    out.push('\n');
    out
}

/// What it comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Verdict {
    pub(super) exit: Exit,
    pub(super) text: String,
}

impl Verdict {
    /// What the store is convicted of counts more than that it fell silent later.
    pub(super) fn of(report: &Report, url: &str, plan: Plan) -> Verdict {
        let mut convictions = report.convictions();
        if let Some((_, fact)) = convictions.next() {
            let more: Vec<&str> = convictions.map(|(check, _)| check).collect();
            let more = match &more[..] {
                [] => String::new(),
                more => format!(" Failed as well: {}.", more.join(", ")),
            };
            let text = format!("{url} must NOT be used for locks: {fact}.{more}");
            return Verdict { exit: Exit::Unfit, text };
        }
        if let Some(stopped) = &report.stopped {
            // What the store refuses to everybody, its settings may explain.
            if let (Trouble::Invalid, [first, ..]) = (stopped.trouble, &report.breaking[..]) {
                let text = format!("{url} must NOT be used for locks: {first}.");
                return Verdict { exit: Exit::Unfit, text };
            }
            let what = match parts(&stopped.message) {
                ("", message) => message.to_owned(),
                (tried, _) => format!("{}, as said above", tried.trim_end_matches(": ")),
            };
            let next = next(stopped.trouble);
            return Verdict {
                exit: Exit::of_error(stopped.trouble.into(), 0),
                text: format!("{url} could not be proven: {what}. {next}"),
            };
        }
        let (least, ttl) = (times::show(plan.ttl_least), times::show(plan.ttl));
        let text = format!(
            "{url} may be used for locks, with a ttl of {least} or more. Recommended: {ttl}."
        );
        Verdict { exit: Exit::Done, text }
    }
}

/// What to do next.
fn next(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Unavailable => "See that the store runs and can be reached, then run this again.",
        Trouble::Denied => "Get the rights that are lacking, then run this again.",
        Trouble::Invalid => "Correct the URL, or let `leasehold init` make the store.",
        Trouble::Corrupt => "Something else writes there: look at it, or use another place.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Somebody reads it on a narrow terminal: no word is torn, and the facts stay in their column.
    #[test]
    fn long_facts_stay_in_their_column() {
        let finding = warn("one two three four five six");
        let shown = line("clock", &finding, 35);
        assert_eq!(shown, "warn  clock         one two three\n                    four five six\n");
        assert!(shown.lines().all(|line| line.len() <= 35), "{shown}");
        // What has no blank is not cut: a path must be copied.
        let path = "x".repeat(90);
        assert!(line("read", &ok(path.as_str()), 40).contains(&path));
    }
}
