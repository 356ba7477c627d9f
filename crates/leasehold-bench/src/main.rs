//! Measures leasehold, and asserts nothing: `cargo xtask bench [files | gcs [PART]]`.
//!
//! Every figure is printed with what it was compared with in the same run.

mod doomed;
mod files;
mod gcs;

use std::time::Duration;

use leasehold::env::{Env, Host};

use doomed::Doomed;

type Any = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Any> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [] => {
            files::run().await?;
            gcs::run(None).await
        }
        ["files"] => files::run().await,
        ["gcs"] => gcs::run(None).await,
        ["gcs", part] => gcs::run(Some(part)).await,
        ["hold", url, name, ttl_ms] => doomed::hold(url, name, ttl_ms).await,
        _ => Err("usage: leasehold-bench [files | gcs [crowd | limited | turns | bucket]]".into()),
    }
}

fn now() -> Duration {
    Host.now().moment.mono
}

/// The value below which `percent` of them are. Zero where there are none.
fn percentile(spans: &mut [Duration], percent: usize) -> Duration {
    spans.sort();
    let last = spans.len().saturating_sub(1);
    spans.get(last * percent / 100).copied().unwrap_or_default()
}

/// Prints the median and the 99th percentile.
fn show(what: &str, mut spans: Vec<Duration>) {
    let (p50, p99) = (percentile(&mut spans, 50), percentile(&mut spans, 99));
    println!("{what:<52} p50 {p50:>10.1?}  p99 {p99:>10.1?}  n {}", spans.len());
}
