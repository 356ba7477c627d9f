//! The figures on a bucket, and gcslock's workload. Every server is one on this host; a network like that
//! to a real bucket is 25 ms in each direction here.

mod bucket;
mod crowd;
mod gcslock;

use std::time::Duration;

use tokio::task::JoinSet;

use crate::{Any, percentile};
use crowd::{Crowd, Outcome, Side};

/// What the network adds in each direction where it adds something.
const DELAY: Duration = Duration::from_millis(25);

/// Google's least time between two writes of one object, and the ttl that goes with it.
const LIMIT: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(10);

/// Ours without Google's limit on writes. 10 ms between two looks is gcslock's first sleep, and the least
/// that the option takes.
const QUICK: &str = "&write-interval=0s&poll-interval=10ms";
const LEISURELY: &str = "&write-interval=0s&poll-interval=100ms";
const UNLIMITED: &str = "&write-interval=0s";

/// gcslock's own test.
const CROWD: Crowd = Crowd {
    clients: 10,
    turns: 1,
    section: Duration::from_millis(5),
    delay: Duration::ZERO,
    limit: None,
    patience: Duration::from_mins(2),
};

/// Measures all of it or one part.
pub(crate) async fn run(part: Option<&str>) -> Result<(), Any> {
    let is_meant = |name| part.is_none_or(|part| part == name);
    if !["crowd", "limited", "turns", "bucket"].into_iter().any(is_meant) {
        return Err("the parts of gcs are crowd, limited, turns and bucket".into());
    }
    if is_meant("crowd") {
        unlimited().await?;
    }
    if is_meant("bucket") {
        bucket::run().await?;
    }
    if is_meant("turns") {
        turns().await?;
    }
    if is_meant("limited") {
        limited().await?;
    }
    Ok(())
}

/// Without a limit on writes: as gcslock's own test would be on an emulator.
async fn unlimited() -> Result<(), Any> {
    let near = CROWD;
    for (what, crowd) in [
        ("10 clients, once each", near),
        ("50 clients, once each", Crowd { clients: 50, ..near }),
        (
            "10 clients, once each, the network 25 ms in each direction",
            Crowd { delay: DELAY, ..near },
        ),
    ] {
        println!("\ngcslock's workload without a limit on writes: {what}, medians of 5 runs");
        crowd::head();
        for (name, side) in [
            ("gcslock", Side::Gcslock),
            ("ours, poll-interval=10ms", Side::Leasehold(QUICK, leasehold::TTL_DEFAULT)),
            ("ours, poll-interval=100ms", Side::Leasehold(LEISURELY, leasehold::TTL_DEFAULT)),
            (
                "ours, poll-interval=1s (default)",
                Side::Leasehold(UNLIMITED, leasehold::TTL_DEFAULT),
            ),
        ] {
            let mut outcomes = vec![];
            // What did not end in time would not another time either.
            while outcomes.len() < 5 && outcomes.iter().all(Outcome::is_complete) {
                outcomes.push(crowd.run(side).await?);
            }
            crowd::row(name, &outcomes);
        }
    }
    Ok(())
}

/// With Google's limit. All runs at once, each with a server of its own: they mostly sleep.
async fn limited() -> Result<(), Any> {
    let near = Crowd { limit: Some(LIMIT), patience: Duration::from_mins(12), ..CROWD };
    let far = Crowd { delay: DELAY, ..near };
    println!("\ngcslock's workload, one write or deletion a second: 10 clients, once each, 2 runs");
    crowd::head();
    let ours = Side::Leasehold("", TTL);
    let rows = [
        ("gcslock", near, Side::Gcslock),
        ("ours, default options, ttl 10 s", near, ours),
        ("gcslock, 25 ms in each direction", far, Side::Gcslock),
        ("ours, the same", far, ours),
    ];
    for (name, outcomes) in at_once(&rows, 2).await? {
        crowd::row(name, &outcomes);
    }
    Ok(())
}

/// Clients that want it again and again, with Google's limit.
async fn turns() -> Result<(), Any> {
    let near = Crowd { turns: 3, limit: Some(LIMIT), patience: Duration::from_mins(5), ..CROWD };
    let far = Crowd { delay: DELAY, ..near };
    let two = Crowd { clients: 2, turns: 15, ..near };
    let long = Crowd { section: Duration::from_secs(4), ..far };
    println!(
        "\n10 clients, 3 turns each, one write or deletion a second, 2 runs, ours with default \
         options and ttl 10 s. Ideal: 2 s a turn, or what it is held and 1 s where that is more."
    );
    crowd::head_of(&[
        "",
        "total",
        "a turn",
        "to the same client again",
        "worst wait, by client: least",
        "median",
        "greatest",
        "lost",
        "renewals",
        "412",
        "429",
    ]);
    let ours = Side::Leasehold("", TTL);
    let rows = [
        ("ours, held 5 ms", near, ours),
        ("ours, held 5 ms, 25 ms in each direction", far, ours),
        ("ours, held 4 s, 25 ms in each direction", long, ours),
        ("ours, held 5 ms, 2 clients, 15 turns each", two, ours),
        ("gcslock, held 5 ms", near, Side::Gcslock),
        ("gcslock, held 5 ms, 25 ms in each direction", far, Side::Gcslock),
    ];
    for (name, outcomes) in at_once(&rows, 2).await? {
        for outcome in outcomes {
            turns_row(name, outcome);
        }
    }
    Ok(())
}

fn turns_row(name: &str, mut outcome: Outcome) {
    let turns = outcome.turns.max(1);
    let each = outcome.total / u32::try_from(turns).unwrap_or(u32::MAX);
    let [least, median, greatest] =
        [0, 50, 100].map(|percent| percentile(&mut outcome.worst_waits, percent));
    print!("| {name} | {:.1?}{} | {each:.2?} ", outcome.total, outcome.unfinished());
    print!("| {} of {} | {least:.1?} | {median:.1?} | {greatest:.1?} ", outcome.again, turns - 1);
    println!(
        "| {} | {} | {} | {} |",
        outcome.lost,
        outcome.renewals(),
        outcome.answered(412),
        outcome.answered(429),
    );
}

type Row = (&'static str, Crowd, Side);

/// Runs every row `times` times, everything at once.
async fn at_once(rows: &[Row], times: usize) -> Result<Vec<(&'static str, Vec<Outcome>)>, Any> {
    let mut running = JoinSet::new();
    for (number, (_, crowd, side)) in rows.iter().copied().enumerate() {
        for _ in 0..times {
            running.spawn(async move { (number, crowd.run(side).await) });
        }
    }
    let mut outcomes: Vec<_> = rows.iter().map(|(name, ..)| (*name, vec![])).collect();
    while let Some(done) = running.join_next().await {
        let (number, outcome) = done?;
        outcomes[number].1.push(outcome?);
    }
    Ok(outcomes)
}
