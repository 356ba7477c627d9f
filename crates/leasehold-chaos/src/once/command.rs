//! The command that `leasehold once` runs: steps on a resource that refuses lower tokens, each saved when
//! it is done, from where the one before came to.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use crate::clock::{self, Time};
use crate::fence::{Answer, Fence};

/// The name of the resource.
pub(super) const RESOURCE: &str = "once";

/// Ends with this when its token was refused.
const REFUSED: u8 = 97;

/// Ends with this when it cannot save, because the one above it is gone.
const UNSAVED: u8 = 98;

/// Ends with this when the harness itself is broken.
const BROKEN: u8 = 99;

/// What one run of the command is to do.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) dir: PathBuf,
    pub(super) program: PathBuf,
    /// The number of the `leasehold once` above it.
    pub(super) run: usize,
    pub(super) key: String,
    pub(super) steps: u64,
    pub(super) step_ms: u64,
}

/// What one line in the resource's history says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// A run begins: when, as which attempt, with the token of which run before it, and at which step.
    Begin { at: Time, attempt: u64, resumed: Option<u64>, next: u64 },
    /// A step is done, and not yet saved.
    Step(u64),
    /// All is done.
    End,
}

/// One accepted write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) token: u64,
    pub(super) run: usize,
    pub(super) key: String,
    pub(super) word: Word,
}

impl Word {
    fn encode(&self) -> String {
        match self {
            Word::Begin { at, attempt, resumed, next } => {
                format!("begin {at} {attempt} {} {next}", resumed.unwrap_or(0))
            }
            Word::Step(n) => format!("step {n}"),
            Word::End => "end".into(),
        }
    }
}

impl Line {
    /// Reads a line of the history without its line feed.
    pub(super) fn decode(line: &str) -> Option<Line> {
        let words: Vec<&str> = line.split(' ').collect();
        let [token, run, key, word, rest @ ..] = words.as_slice() else { return None };
        let numbers: Option<Vec<u64>> = rest.iter().map(|word| word.parse().ok()).collect();
        let word = match (*word, numbers?.as_slice()) {
            ("begin", [at, attempt, resumed, next]) => {
                let resumed = (*resumed > 0).then_some(*resumed);
                Word::Begin { at: *at, attempt: *attempt, resumed, next: *next }
            }
            ("step", [n]) => Word::Step(*n),
            ("end", []) => Word::End,
            _ => return None,
        };
        let (token, run) = (token.parse().ok()?, run.parse().ok()?);
        Some(Line { token, run, key: (*key).to_owned(), word })
    }
}

impl Task {
    /// The words with which it is started, after our own path.
    pub(super) fn words(&self) -> Vec<String> {
        let paths = [&self.dir, &self.program].map(|path| path.display().to_string());
        let numbers = [self.run as u64, self.steps, self.step_ms].map(|number| number.to_string());
        let mut words = vec!["__once".to_owned()];
        words.extend(paths.into_iter().chain(numbers));
        words.push(self.key.clone());
        words
    }

    fn parse(words: &[&str]) -> Option<Task> {
        let [dir, program, run, steps, step_ms, key] = words else { return None };
        Some(Task {
            dir: PathBuf::from(dir),
            program: PathBuf::from(program),
            run: run.parse().ok()?,
            key: (*key).to_owned(),
            steps: steps.parse().ok()?,
            step_ms: step_ms.parse().ok()?,
        })
    }

    /// True if nothing refused it and all could be saved; otherwise with which code it ends.
    fn work(&self) -> io::Result<Result<(), u8>> {
        let given = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let Some(token) = given("LEASEHOLD_TOKEN") else { return Ok(Err(BROKEN)) };
        let resumed = given("LEASEHOLD_RESUMED");
        let attempt = given("LEASEHOLD_ATTEMPT").unwrap_or(0);
        let fence = Fence::open(&self.dir, RESOURCE)?;
        let write = |word: Word| {
            fence.write(token, &format!("{} {} {}", self.run, self.key, word.encode()))
        };
        let next = match self.saved()? {
            Ok(next) => next,
            Err(code) => return Ok(Err(code)),
        };
        let begin = Word::Begin { at: clock::now(), attempt, resumed, next };
        if write(begin)? != Answer::Accepted {
            return Ok(Err(REFUSED));
        }
        for step in next..=self.steps {
            if write(Word::Step(step))? != Answer::Accepted {
                return Ok(Err(REFUSED));
            }
            clock::pause(Duration::from_millis(self.step_ms));
            if !self.checkpoint(&["set", &(step + 1).to_string()]).status()?.success() {
                return Ok(Err(UNSAVED));
            }
        }
        match write(Word::End)? {
            Answer::Accepted => Ok(Ok(())),
            Answer::Refused(_) => Ok(Err(REFUSED)),
        }
    }

    /// The next step, as the run before saved it.
    fn saved(&self) -> io::Result<Result<u64, u8>> {
        let got = self.checkpoint(&["get"]).stdout(Stdio::piped()).output()?;
        Ok(match got.status.code() {
            Some(0) => String::from_utf8_lossy(&got.stdout).trim().parse().map_err(|_| BROKEN),
            Some(1) => Ok(1),
            _ => Err(UNSAVED),
        })
    }

    fn checkpoint(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("checkpoint").args(words);
        command
    }
}

/// The whole command.
pub(crate) fn main(words: &[&str]) -> ExitCode {
    let Some(task) = Task::parse(words) else { return ExitCode::from(BROKEN) };
    match task.work() {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(code)) => ExitCode::from(code),
        Err(error) => {
            eprintln!("chaos: the command of run {}: {error}", task.run);
            ExitCode::from(BROKEN)
        }
    }
}

/// Reads what the resource has accepted, as far as whole lines go.
pub(super) fn history(dir: &Path) -> (Vec<Line>, usize) {
    let bytes = std::fs::read(crate::fence::history(dir, RESOURCE)).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines: Vec<Option<Line>> = whole.lines().map(Line::decode).collect();
    let unreadable = lines.iter().filter(|line| line.is_none()).count();
    (lines.into_iter().flatten().collect(), unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_are_written() {
        let begin = |resumed| Word::Begin { at: 5, attempt: 1, resumed, next: 3 };
        for word in [begin(None), begin(Some(9)), Word::Step(4), Word::End] {
            let line = Line { token: 7, run: 2, key: "k1".into(), word };
            let text = format!("7 2 k1 {}", line.word.encode());
            assert_eq!(Line::decode(&text), Some(line));
        }
        for wrong in ["", "7 2 k1", "7 2 k1 begin 1", "x 2 k1 end", "7 2 k1 step", "7 2 k1 stop 1"]
        {
            assert_eq!(Line::decode(wrong), None, "{wrong}");
        }
    }
}
