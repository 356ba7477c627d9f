//! One of the processes that race: a few clients, which begin when they are told to.

use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use leasehold::env::{Env, Host};
use leasehold::{Client, Error, Ran, Section};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{line_start, now_ns};
use crate::exit::{Exit, Failure};
use crate::{place, show};

/// The hidden subcommand.
pub(crate) const COMMAND: &str = "__demo";

/// The whole process. It ends when the one that started it does, because then nobody orders a round.
pub(crate) async fn main(words: impl Iterator<Item = OsString>) -> Result<Exit, Failure> {
    let words: Vec<OsString> = words.collect();
    let [path, rest @ ..] = &words[..] else { return Err(not_for_people()) };
    let rest: Vec<_> = rest.iter().filter_map(|word| word.to_str()).collect();
    let [name, number, clients, span_ms] = rest[..] else { return Err(not_for_people()) };
    let count: u32 = clients.parse().map_err(|_| not_for_people())?;
    let span = Duration::from_millis(span_ms.parse().map_err(|_| not_for_people())?);
    // Not among the words, which every user of the host can read.
    let url = leasehold::url_from_env()?;
    let mut clients = vec![];
    for _ in 0..count {
        clients.push(place::connect(url.as_deref()).await?);
    }
    say(&json!("ready"));
    for order in std::io::stdin().lock().lines() {
        let Some(round) = order.ok().and_then(|order| order.parse().ok()) else { break };
        let mut racing = JoinSet::new();
        for (client, n) in clients.iter().zip(1_u32..) {
            let racer = Racer {
                client: client.clone(),
                name: name.to_owned(),
                path: path.into(),
                label: format!("process {number}, client {n}"),
                round,
                span,
            };
            racing.spawn(async move { racer.race(n).await });
        }
        while let Some(told) = racing.join_next().await {
            say(&told.unwrap_or_else(|error| json!({ "error": error.to_string() })));
        }
    }
    for client in clients {
        client.close().await;
    }
    Ok(Exit::Done)
}

fn not_for_people() -> Failure {
    Failure::usage("this is for `leasehold demo` to start")
}

fn say(value: &Value) {
    // `Display` of a value is one line.
    show::print(&format!("{value}\n"));
}

struct Racer {
    client: Client,
    name: String,
    path: PathBuf,
    label: String,
    round: u32,
    span: Duration,
}

impl Racer {
    /// Races, and says what it was told and when.
    async fn race(&self, number: u32) -> Value {
        let ended = Arc::new(AtomicU64::new(0));
        let once = self.client.once(&*self.name).keyed(self.round.to_string());
        let once = once.with_label(&*self.label).with_max_attempts(1);
        let ran = once
            .run(async |section| {
                let wrote = self.write_line(&section).await;
                ended.store(now_ns(), Ordering::Relaxed);
                wrote
            })
            .await;
        let back = now_ns();
        let told = self.told(ran);
        json!({
            "client": number,
            "told": told.0,
            "by": told.1,
            "line": told.2,
            "ended_ns": ended.load(Ordering::Relaxed),
            "back_ns": back,
        })
    }

    /// In a word, by whom, and with which result.
    fn told(&self, ran: Result<Ran<String>, Error>) -> (&'static str, String, String) {
        match ran {
            Ok(Ran::Now(line)) => ("won", self.label.clone(), line),
            Ok(Ran::Before(done)) => ("inherited", done.by, done.text),
            Ok(Ran::GaveUp(failed)) => ("error", failed.by.clone(), failed.to_string()),
            Ok(other) => ("error", String::new(), format!("{other:?}")),
            Err(error) => ("error", String::new(), error.to_string()),
        }
    }

    /// A run of `once`.
    async fn write_line(&self, section: &Section) -> Result<String, String> {
        let (start, token) = (line_start(&self.name, self.round), section.token());
        let line = format!("{start}written by {}, token {token}", self.label);
        append(&self.path, &line).map_err(|e| format!("{}: {e}", self.path.display()))?;
        Host.sleep(self.span).await;
        section.set_result(line.as_str());
        Ok(line)
    }
}

/// Appends a line in one write, so that two cannot mix.
fn append(path: &Path, line: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(format!("{line}\n").as_bytes())
}
