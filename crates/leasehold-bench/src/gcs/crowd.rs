//! gcslock's own test as a workload: clients that start together, each wants the lock and holds it 5 ms.
//!
//! A *section* begins when the call that acquires has returned to the client, and ends when the client
//! calls what releases. The *gap* between two sections is the time in which nobody had it though all who
//! are left wanted it: the release, the noticing, the taking. The same for both sides.

use std::time::Duration;

use leasehold::env::{Env, Host};
use leasehold::{ErrorKind, Mutex};
use leasehold_servers::gcs::{Fake, Seen, When};
use leasehold_servers::proxy::{Mode, Proxy};
use tokio::task::JoinSet;

use super::gcslock::Gcslock;
use crate::{Any, now, percentile};

/// What both sides are given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crowd {
    pub(crate) clients: usize,
    /// How often each client wants it, one time straight after the other.
    pub(crate) turns: usize,
    /// How long it is held.
    pub(crate) section: Duration,
    /// What the network adds in each direction.
    pub(crate) delay: Duration,
    /// The server's least time between two writes or deletions.
    pub(crate) limit: Option<Duration>,
    /// When to stop watching.
    pub(crate) patience: Duration,
}

/// Whose algorithm.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    Gcslock,
    /// Ours, with these options in the URL and this ttl.
    Leasehold(&'static str, Duration),
}

/// One client's having it.
#[derive(Debug, Clone, Copy)]
struct Turn {
    client: usize,
    wanted: Duration,
    begin: Duration,
    end: Duration,
    released: Duration,
    was_lost: bool,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// From the common start to the last release, or to the end of patience.
    pub(crate) total: Duration,
    /// The gaps, in order. Where patience ended, the last one is still open.
    pub(crate) gaps: Vec<Duration>,
    /// The longest that a client waited for one turn, by client.
    pub(crate) worst_waits: Vec<Duration>,
    /// How many turns went to the client that had had the one before.
    pub(crate) again: usize,
    pub(crate) turns: usize,
    pub(crate) turns_wanted: usize,
    pub(crate) lost: usize,
    seen: Vec<Seen>,
}

enum Rival {
    Gcslock(Gcslock),
    Leasehold(Mutex),
}

impl Crowd {
    /// Lets one side do it, on a fresh server.
    pub(crate) async fn run(self, side: Side) -> Result<Outcome, Any> {
        let fake = Fake::start();
        fake.make_bucket("bench");
        fake.limit_writes(self.limit);
        // It keeps each connection's bytes back by themselves: clients do not wait for one another.
        let proxy = Proxy::start(fake.address());
        proxy.set(Mode::Delay(self.delay));
        let server = if self.delay.is_zero() { fake.address() } else { proxy.address() };
        let mut rivals = vec![];
        for _ in 0..self.clients {
            rivals.push(Rival::new(side, &format!("http://{server}")).await?);
        }
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let start = now();
        for (client, rival) in rivals.into_iter().enumerate() {
            let tell = tell.clone();
            tasks.spawn(async move {
                for _ in 0..self.turns {
                    if tell.send(rival.turn(client, self.section).await).is_err() {
                        return;
                    }
                }
            });
        }
        drop(tell);
        let mut turns = vec![];
        let over = Host.sleep(self.patience);
        tokio::pin!(over);
        loop {
            tokio::select! {
                came = told.recv() => {
                    let Some(turn) = came else { break };
                    turns.push(turn?);
                }
                () = &mut over => break,
            }
        }
        // Whoever waits still is left to it before anything is counted.
        tasks.shutdown().await;
        self.outcome(start, turns, fake.seen())
    }

    fn outcome(
        self,
        start: Duration,
        mut turns: Vec<Turn>,
        seen: Vec<Seen>,
    ) -> Result<Outcome, Any> {
        turns.sort_by_key(|turn| turn.begin);
        let mut gaps = vec![];
        for pair in turns.windows(2) {
            let gap = pair[1].begin.checked_sub(pair[0].end).ok_or("two were in at once")?;
            gaps.push(gap);
        }
        let turns_wanted = self.clients * self.turns;
        let last = turns.last();
        let is_complete = turns.len() == turns_wanted;
        let end = match last {
            Some(last) if is_complete => last.released,
            _ => start + self.patience,
        };
        if !is_complete {
            gaps.push(end.saturating_sub(last.map_or(start, |last| last.end)));
        }
        Ok(Outcome {
            total: end.saturating_sub(start),
            gaps,
            worst_waits: (0..self.clients)
                .map(|c| self.worst_wait(c, &turns, start, end))
                .collect(),
            again: turns.windows(2).filter(|pair| pair[0].client == pair[1].client).count(),
            turns: turns.len(),
            turns_wanted,
            lost: turns.iter().filter(|turn| turn.was_lost).count(),
            seen,
        })
    }
}

impl Crowd {
    /// The longest that this client waited, for a turn that it did not get too.
    fn worst_wait(self, client: usize, turns: &[Turn], start: Duration, end: Duration) -> Duration {
        let own = || turns.iter().filter(|turn| turn.client == client);
        let waits = own().map(|turn| turn.begin.saturating_sub(turn.wanted));
        let since = own().map(|turn| turn.released).max().unwrap_or(start);
        let open = (own().count() < self.turns).then(|| end.saturating_sub(since));
        waits.chain(open).max().unwrap_or_default()
    }
}

impl Rival {
    async fn new(side: Side, endpoint: &str) -> Result<Rival, Any> {
        Ok(match side {
            Side::Gcslock => Rival::Gcslock(Gcslock::new(endpoint, "bench", "lock")?),
            Side::Leasehold(options, ttl) => {
                let url = format!("gs://bench?endpoint={endpoint}{options}");
                let client = leasehold::connect(&url).await?;
                Rival::Leasehold(client.mutex("lock").with_ttl(ttl))
            }
        })
    }

    /// Wants it, has it, gives it back.
    async fn turn(&self, client: usize, section: Duration) -> Result<Turn, leasehold::Error> {
        let wanted = now();
        let (begin, end);
        let mut was_lost = false;
        match self {
            Rival::Gcslock(lock) => {
                lock.lock().await;
                begin = now();
                Host.sleep(section).await;
                end = now();
                lock.unlock().await;
            }
            Rival::Leasehold(mutex) => {
                let guard = mutex.acquire().await?;
                begin = now();
                Host.sleep(section).await;
                end = now();
                match guard.release().await {
                    Err(e) if e.kind() == ErrorKind::Lost => was_lost = true,
                    released => released?,
                }
            }
        }
        Ok(Turn { client, wanted, begin, end, released: now(), was_lost })
    }
}

impl Outcome {
    pub(crate) fn is_complete(&self) -> bool {
        self.turns == self.turns_wanted
    }

    /// What to say of a total that is none.
    pub(crate) fn unfinished(&self) -> String {
        match self.is_complete() {
            true => String::new(),
            false => format!(", **not over: {} of {} turns**", self.turns, self.turns_wanted),
        }
    }

    /// The time in which nobody had it.
    pub(crate) fn wasted(&self) -> Duration {
        self.gaps.iter().sum()
    }

    /// How many requests of these kinds there were.
    pub(crate) fn requests(&self, kinds: &[When]) -> usize {
        self.seen.iter().filter(|seen| kinds.contains(&seen.when)).count()
    }

    /// How many writes were neither an acquisition nor a release: ours only.
    pub(crate) fn renewals(&self) -> usize {
        let written = self.seen.iter().filter(|seen| {
            matches!(seen.when, When::Create | When::Overwrite) && seen.outcome == Some(200)
        });
        written.count().saturating_sub(2 * self.turns)
    }

    /// How many requests were answered with this status.
    pub(crate) fn answered(&self, status: u16) -> usize {
        self.seen.iter().filter(|seen| seen.status == Some(status)).count()
    }
}

/// The head of the table of [`row`]s.
pub(crate) fn head() {
    let columns = [
        "",
        "total",
        "nobody had it",
        "gap p50",
        "p99",
        "worst",
        "reads",
        "writes",
        "deletes",
        "412",
        "429",
    ];
    head_of(&columns);
}

/// The head of any table.
pub(crate) fn head_of(columns: &[&str]) {
    println!("\n| {} |\n|{}", columns.join(" | "), " --- |".repeat(columns.len()));
}

/// One side's line: the median of the totals with the least and the greatest, gaps of all runs together, and
/// requests of one run on average.
pub(crate) fn row(name: &str, outcomes: &[Outcome]) {
    let mut totals: Vec<Duration> = outcomes.iter().map(|o| o.total).collect();
    let mut wasted: Vec<Duration> = outcomes.iter().map(Outcome::wasted).collect();
    let mut gaps: Vec<Duration> = outcomes.iter().flat_map(|o| o.gaps.clone()).collect();
    let total = percentile(&mut totals, 50);
    let range = match outcomes.len() {
        0 | 1 => String::new(),
        _ => format!(" ({:.2?} to {:.2?})", totals[0], totals[totals.len() - 1]),
    };
    let unfinished = outcomes.iter().map(Outcome::unfinished).collect::<String>();
    let mean = |count: fn(&Outcome) -> usize| {
        let sum: usize = outcomes.iter().map(count).sum();
        (sum + outcomes.len() / 2) / outcomes.len().max(1)
    };
    let wasted = percentile(&mut wasted, 50);
    let [p50, p99, worst] = [50, 99, 100].map(|percent| percentile(&mut gaps, percent));
    print!("| {name} | {total:.2?}{range}{unfinished} | {wasted:.2?} ");
    println!(
        "| {p50:.1?} | {p99:.1?} | {worst:.1?} | {} | {} | {} | {} | {} |",
        mean(|o| o.requests(&[When::Read])),
        mean(|o| o.requests(&[When::Create, When::Overwrite])),
        mean(|o| o.requests(&[When::Delete])),
        mean(|o| o.answered(412)),
        mean(|o| o.answered(429)),
    );
}
