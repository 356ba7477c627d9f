//! A mutex in one page: `cargo run --example mutex`, in two terminals at once.

use std::io::{BufRead, stdin};
use std::time::Duration;

use leasehold::{Attempt, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "file:///tmp/leasehold-example".into());
    let client = leasehold::connect(&url).await?;
    let mutex = client.mutex("example").with_ttl(Duration::from_secs(10));

    if let Attempt::Held(holder) = mutex.try_acquire().await? {
        println!("waiting: held by {holder}");
    }
    let guard = mutex.acquire().await?;
    println!("held, token {}; it is given back when you press Enter", guard.token());

    // The lock is renewed by a thread of its own while this one waits for the keyboard.
    stdin().lock().lines().next();
    if guard.is_held() { guard.release().await } else { Err(guard.lost().await) }
}
