//! `leasehold demo`: many processes want one thing done, and one of them does it.

mod account;
mod client;
mod process;

pub(crate) use client::{COMMAND, main};

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use leasehold::env::{Env, Host};

use self::account::{Account, Round};
use self::process::Process;
use crate::cli::Demo;
use crate::exit::{Exit, Failure};
use crate::{place, show};

/// The whole command.
pub(crate) async fn demo(options: Demo, backend: Option<&str>) -> Result<Exit, Failure> {
    let url = place::url(backend)?;
    let client = place::connect(Some(&url)).await?;
    if client.url().starts_with("memory:") {
        return Err(Failure::usage(format!(
            "{} is the memory of one process, and a demo has several: name one they share, \
             or none for files",
            client.url()
        )));
    }
    // Nobody has used this name before, so that nothing of an earlier demo is in the way.
    let name = format!("demo/{:032x}", Host.unique());
    let lines = Lines::new(&name, options.output.as_deref())?;
    // A place that cannot be written to is told before anybody has raced for it.
    lines.count(0)?;
    client.status(&name).await?;
    let mut processes = vec![];
    for number in 1..=options.processes {
        processes.push(Process::start(number, &url, &name, &lines.path, &options)?);
    }
    for process in &mut processes {
        process.ready().await?;
    }
    let mut account = Account::new(&client.url(), &name, &options);
    account.begin();
    for number in 1..=options.rounds {
        for process in &mut processes {
            process.order(number).await;
        }
        let mut round = Round::new(number);
        for process in &mut processes {
            round.hear(process.number, process.round(options.clients).await);
        }
        round.lines = lines.count(number)?;
        // One that is not as promised is enough, and what follows it proves nothing.
        if !account.add(round) {
            break;
        }
    }
    client.close().await;
    Ok(if account.end() { Exit::Done } else { Exit::Unfit })
}

/// The file that the winners write to.
struct Lines {
    name: String,
    path: PathBuf,
    /// Removed in the end, if it is ours.
    dir: Option<PathBuf>,
}

impl Lines {
    fn new(name: &str, output: Option<&Path>) -> Result<Lines, Failure> {
        let name = name.to_owned();
        if let Some(path) = output {
            return Ok(Lines { name, path: path.to_owned(), dir: None });
        }
        let dir = std::env::temp_dir().join(name.replace('/', "-"));
        let cannot = |e| Failure::new(Exit::Denied, format!("cannot make {}: {e}", dir.display()));
        fs::create_dir(&dir).map_err(cannot)?;
        Ok(Lines { name, path: dir.join("lines"), dir: Some(dir) })
    }

    /// How many lines of this round there are.
    fn count(&self, round: u32) -> Result<usize, Failure> {
        let cannot = |what, e: std::io::Error| {
            let path = self.path.display();
            Failure::new(Exit::Denied, format!("cannot {what} the lines in {path}: {e}"))
        };
        let opened = OpenOptions::new().append(true).create(true).open(&self.path);
        opened.map_err(|e| cannot("write", e))?;
        // What else is in the file may be anything.
        let bytes = fs::read(&self.path).map_err(|e| cannot("read", e))?;
        let text = String::from_utf8_lossy(&bytes);
        let start = line_start(&self.name, round);
        Ok(text.lines().filter(|line| line.starts_with(&start)).count())
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if let Some(dir) = &self.dir {
            let _ = fs::remove_dir_all(dir);
        }
    }
}

/// How the line of a round begins.
fn line_start(name: &str, round: u32) -> String {
    format!("{name}, round {round}: ")
}

/// A moment by the one clock that all processes of this host share, which never goes back.
fn now_ns() -> u64 {
    u64::try_from(Host.now().moment.mono.as_nanos()).unwrap_or(u64::MAX)
}

/// Prints a line for a person.
fn tell(text: &str) {
    show::print(&format!("{text}\n"));
}
