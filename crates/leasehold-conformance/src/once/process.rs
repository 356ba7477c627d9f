//! Cases with second processes, which race, are killed, or are frozen while they run it.

use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use leasehold::env::{Env, Host};
use leasehold::{Client, Ran, Section};
use tokio::task::JoinSet;

use super::{begun, found_done};
use crate::Fixture;
use crate::process::{COUNTER, Scratch, Second, say};
use crate::setup::{Setup, millis, soon};

/// How many clients each process has, and how many tasks each of them.
const CLIENTS: usize = 3;
const TASKS: usize = 4;

/// A second process that runs it, saves what it is told to save, and ends it when it is told to. Like
/// the one that holds a mutex it waits with its thread blocked.
pub(crate) async fn run(client: &Client, ttl: Duration) {
    let mut section = Some(begun(&client.once("x").with_ttl(ttl)).await);
    say(&format!("begun {}", section.as_ref().map_or(0, |s| s.token().0)));
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("text");
        match line.split_once(' ') {
            Some(("save", what)) => {
                let section = section.as_ref().expect("it runs");
                section.save(what.as_bytes()).await.expect("saved");
                say("saved");
            }
            Some(("done", result)) => {
                let section = section.take().expect("it runs");
                section.set_result(result);
                let ended = section.done(Some(0)).await;
                say(&format!("ended {:?}", ended.map_err(|error| error.kind())));
            }
            _ => panic!("no order {line:?}"),
        }
    }
}

/// A second process whose clients all want it done. Whoever runs it writes a line into a file.
pub(crate) async fn compete(fixture: &'static dyn Fixture, url: &str, file: &Path) {
    let mut clients = vec![];
    for _ in 0..CLIENTS {
        clients.push(Client::new(fixture.open(url).await).expect("a client"));
    }
    say("ready");
    std::io::stdin().lock().lines().next().expect("an order").expect("text");
    for told in race(&clients, file).await {
        say(&format!("told {told}"));
    }
    say("told end");
}

/// What each task was told.
async fn race(clients: &[Client], file: &Path) -> Vec<String> {
    let mut tasks = JoinSet::new();
    for task in 0..CLIENTS * TASKS {
        let (once, file) = (clients[task % CLIENTS].once("x").keyed("v1"), Arc::<Path>::from(file));
        tasks.spawn(async move {
            let ran = once.run(async |section| write_line(&section, &file).await).await;
            match ran.unwrap_or_else(|e| panic!("{e}")) {
                Ran::Now(token) => format!("now {token} written"),
                Ran::Before(done) => format!("before {} {}", done.token, done.text),
                other => panic!("{other:?}"),
            }
        });
    }
    tasks.join_all().await
}

async fn write_line(section: &Section, file: &Path) -> Result<String, std::io::Error> {
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file)?;
    file.write_all(format!("{}\n", section.token()).as_bytes())?;
    // A moment in which others would do it too if they could.
    Host.sleep(millis(100)).await;
    section.set_result("written");
    Ok(section.token().to_string())
}

/// Three processes and this one, with a dozen tasks each, want one line written. There is one line, one
/// task that wrote it, and all others were told of that one.
pub(crate) async fn runs_in_one(s: &Setup) {
    let file = Scratch::new();
    let path = file.0.to_str().expect("a path of ours").to_owned();
    let more = [(COUNTER, path)];
    let mut seconds: Vec<_> = (0..3).map(|_| Second::start(s, "once", &more)).collect();
    for second in &mut seconds {
        second.hear("ready").await;
    }
    for second in &mut seconds {
        second.order("go").await;
    }
    let clients = [s.client().await, s.client().await, s.client().await];
    let mut all = race(&clients, &file.0).await;
    for second in &mut seconds {
        loop {
            let told = second.hear("told").await;
            if told == "end" {
                break;
            }
            all.push(told);
        }
    }
    let lines = std::fs::read_to_string(&file.0).expect("the line");
    let token = lines.strip_suffix('\n').expect("a whole line");
    assert_eq!(token.lines().count(), 1, "written more than once: {lines:?}");
    let (now, before) = (format!("now {token} written"), format!("before {token} written"));
    assert_eq!(all.len(), 4 * CLIENTS * TASKS);
    assert_eq!(all.iter().filter(|told| **told == now).count(), 1, "{all:?}");
    assert_eq!(all.iter().filter(|told| **told == before).count(), all.len() - 1, "{all:?}");
}

/// The process that runs it is killed while another waits. The other resumes it, with the dead run's
/// token and what it saved last; and then it is done for all.
pub(crate) async fn killed_runner_is_resumed(s: &Setup) {
    let client = s.client().await;
    let (mut second, token) = running(s).await;
    for what in ["row 1", "row 2"] {
        second.order(&format!("save {what}")).await;
        second.hear("saved").await;
    }
    let once = client.once("x").with_ttl(s.short_ttl());
    let waiting = once.clone();
    let waiter = tokio::spawn(async move { begun(&waiting).await });
    // Longer than the lease, so that the second has to renew to be safe.
    crate::setup::pass(s.short_ttl() * 3 / 2).await;
    assert!(!waiter.is_finished(), "taken from a living runner");
    second.child.kill().await.expect("killed");
    let section = soon("the waiter", waiter).await.expect("no panic");
    assert_eq!(section.resumed().map(|t| t.0), Some(token));
    assert_eq!((section.attempt(), section.checkpoint()), (1, Some(&b"row 2"[..])));
    let token = section.token();
    section.done(None).await.expect("recorded");
    assert_eq!(found_done(&once).await.token, token);
}

/// The process that runs it is frozen for longer than its lease, and another resumes it. The frozen one
/// goes on, and says *done*: that is refused, whether the other runs, has been interrupted, or has done
/// it.
pub(crate) async fn frozen_runner_is_superseded(s: &Setup) {
    let once = s.client().await.once("x").with_ttl(s.short_ttl());
    for stage in ["running", "interrupted", "done"] {
        let (mut second, token) = running(s).await;
        second.freeze().await;
        let section = soon("the next", begun(&once)).await;
        assert_eq!(section.resumed().map(|t| t.0), Some(token));
        section.set_result("in time");
        let running = match stage {
            "running" => Some(section),
            "interrupted" => section.interrupted().await.map(|()| None).expect("let go"),
            _ => section.done(None).await.map(|()| None).expect("recorded"),
        };
        second.order("done too late").await;
        second.thaw();
        assert_eq!(second.hear("ended").await, "Err(Superseded)", "{stage}");
        if let Some(section) = running {
            assert!(section.is_held(), "it was touched");
            section.interrupted().await.expect("let go");
        }
    }
    assert_eq!(found_done(&once).await.text, "in time");
}

/// A process that runs it, and its token.
async fn running(s: &Setup) -> (Second, u64) {
    let mut second = Second::start(s, "run", &[]);
    let token = second.hear("begun").await.parse().expect("a token");
    (second, token)
}
