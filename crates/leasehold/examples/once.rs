//! Ten tasks want the same thing done. One does it, in two runs, because the first fails half-way; the
//! others wait and are told the result.
//!
//! `cargo run -p leasehold --example once`, or with the URL of a store, in several terminals at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use leasehold::{Error, Ran};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory://".into());
    let client = leasehold::connect(&url).await?;
    let failed = Arc::new(AtomicBool::new(false));
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..10 {
        let once = client.once("example/schema").keyed("v1").with_label(format!("task {n}"));
        let once = once.with_backoff(Duration::from_millis(100));
        let failed = Arc::clone(&failed);
        tasks.spawn(async move {
            let ran = once.run(async |section| {
                let from = section.checkpoint().map_or(0, |done| done[0]);
                println!("task {n} begins after part {from}, with token {}", section.token());
                for part in from + 1..=4 {
                    if part == 3 && !failed.swap(true, Ordering::SeqCst) {
                        return Err("no room for part 3".to_owned());
                    }
                    section.save(&[part]).await.map_err(|e| e.to_string())?;
                }
                section.set_result("4 parts");
                Ok(())
            });
            (n, ran.await)
        });
    }
    while let Some(Ok((n, ran))) = tasks.join_next().await {
        match ran? {
            Ran::Now(()) => println!("task {n} did it"),
            Ran::Before(done) => println!("task {n} need not: {done}, {}", done.text),
            other => println!("task {n}: {other:?}"),
        }
    }
    client.close().await;
    Ok(())
}
