//! The figures on files in a directory.

use std::sync::Arc;
use std::time::Duration;

use leasehold::backend::file::FileBackend;
use leasehold::core::backend::{Backend, Expected, Key, Written};
use leasehold::env::{Env, Host};
use leasehold::{Attempt, Client};
use leasehold_conformance::Faulty;
use tokio::task::JoinSet;

use crate::{Any, Doomed, now, show};

/// Measures in a fresh directory under the system's temporary one.
pub(crate) async fn run() -> Result<(), Any> {
    let dir = std::env::temp_dir().join(format!("leasehold-bench-{}", Host.unique()));
    println!("files in {}, on the disk that is there\n", dir.display());
    let measured = measure(&dir.to_string_lossy()).await;
    std::fs::remove_dir_all(&dir)?;
    measured
}

async fn measure(dir: &str) -> Result<(), Any> {
    // First, while no memory was used and freed that would hide what is used.
    waiters(dir, 2000).await?;
    single(dir).await?;
    for rivals in [2, 32, 100] {
        hand_off(dir, rivals).await?;
    }
    takeover(dir, Duration::from_secs(30)).await
}

fn open(dir: &str) -> Result<Arc<dyn Backend>, Any> {
    Ok(Arc::new(FileBackend::open(dir.into(), false)?))
}

/// One client alone: a lock against the two writes that it cannot do without.
async fn single(dir: &str) -> Result<(), Any> {
    let backend = open(dir)?;
    let key = Key::new("raw")?;
    let (mut raw, mut reads) = (vec![], vec![]);
    let mut expected = Expected::Absent;
    for n in 0..1000 {
        let began = now();
        let written = backend.write(&key, &expected, format!("{n:0300}").as_bytes()).await?;
        raw.push(now().saturating_sub(began));
        let Written::Applied(version) = written else { return Err("a rival in a bench".into()) };
        expected = Expected::Version(version);
        let began = now();
        backend.read(&key).await?;
        reads.push(now().saturating_sub(began));
    }
    show("read of a record", reads);
    show("compare-and-swap, durable", raw);
    let client = Client::new(backend)?;
    let mut pairs = vec![];
    for _ in 0..1000 {
        let began = now();
        client.mutex("pair").acquire().await?.release().await?;
        pairs.push(now().saturating_sub(began));
    }
    show("acquire and release, uncontended", pairs);
    Ok(())
}

/// From the moment one asks to release to the moment another has it.
async fn hand_off(dir: &str, rivals: usize) -> Result<(), Any> {
    let rounds = 300 / rivals.min(10);
    let mut clients = vec![];
    for _ in 0..rivals {
        clients.push(Client::new(open(dir)?)?);
    }
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    for client in clients.clone() {
        let tell = tell.clone();
        tasks.spawn(async move {
            loop {
                let Ok(guard) = client.mutex("hand-off").acquire().await else { return };
                let got = now();
                let (go_on, goes_on) = tokio::sync::oneshot::channel();
                if tell.send((got, go_on)).is_err() || goes_on.await.is_err() {
                    return;
                }
                let _ = guard.release().await;
            }
        });
    }
    let mut spans = vec![];
    let mut released: Option<Duration> = None;
    while spans.len() < rounds {
        let Some((got, go_on)) = told.recv().await else { break };
        if let Some(released) = released {
            spans.push(got.saturating_sub(released));
        }
        released = Some(now());
        let _ = go_on.send(());
    }
    show(&format!("hand-off among {rivals} clients"), spans);
    // Nobody may be at the files any more when they are removed.
    drop(told);
    while tasks.join_next().await.is_some() {}
    for client in clients {
        client.close().await;
    }
    Ok(())
}

/// What many tasks that wait for one name cost while nothing happens.
async fn waiters(dir: &str, tasks: usize) -> Result<(), Any> {
    let counting = Arc::new(Faulty::new(open(dir)?));
    let client = Client::new(counting.clone())?;
    // Held by a stranger, so that the first of the crowd has to ask the store.
    let stranger = Client::new(open(dir)?)?;
    let guard = stranger.mutex("crowd").acquire().await?;
    let before = resident()?;
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..tasks {
        let (client, tell) = (client.clone(), tell.clone());
        tokio::spawn(async move {
            if let Ok(guard) = client.mutex("crowd").acquire().await {
                let _ = tell.send(now());
                let _ = guard.release().await;
            }
        });
    }
    let span = Duration::from_secs(20);
    Host.sleep(Duration::from_secs(1)).await;
    let before_span = counting.counts();
    Host.sleep(span).await;
    let counts = counting.counts();
    let reads = u32::try_from(counts.reads - before_span.reads)?;
    let writes = u32::try_from(counts.writes - before_span.writes)?;
    let each = resident()?.saturating_sub(before) * 1024 / tasks as u64;
    println!(
        "{tasks} waiting tasks, ttl 30s: {each} bytes each, {:.2} reads/s, {:.2} writes/s",
        f64::from(reads) / span.as_secs_f64(),
        f64::from(writes) / span.as_secs_f64(),
    );
    let began = now();
    guard.release().await?;
    for _ in 0..tasks {
        told.recv().await;
    }
    let took = now().saturating_sub(began);
    println!("  and all of them in turn: {took:.1?}, {:.1?} each", took / u32::try_from(tasks)?);
    Ok(())
}

/// Resident memory in KiB.
fn resident() -> Result<u64, Any> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}

/// How long the next waiter needs after the holder was killed.
async fn takeover(dir: &str, ttl: Duration) -> Result<(), Any> {
    let client = Client::new(open(dir)?)?;
    let mut spans = vec![];
    for _ in 0..20 {
        let mut holder = Doomed::start(&format!("file://{dir}"), "dead", ttl)?;
        let mutex = client.mutex("dead").with_ttl(ttl);
        if let Attempt::Acquired(_) = mutex.try_acquire().await? {
            return Err("the holder did not hold".into());
        }
        let waiter = tokio::spawn(async move { mutex.acquire().await });
        Host.sleep(Duration::from_millis(50)).await;
        let began = now();
        holder.kill()?;
        let guard = waiter.await??;
        spans.push(now().saturating_sub(began));
        guard.release().await?;
    }
    show(&format!("takeover after kill -9 of a holder with ttl {ttl:?}"), spans);
    Ok(())
}
