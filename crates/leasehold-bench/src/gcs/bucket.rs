//! What a lock in a bucket costs in time: one client alone, from hand to hand, after a death.

use std::time::Duration;

use leasehold::env::{Env, Host};
use leasehold::{Client, Guard};
use leasehold_servers::gcs::{Fake, outside};
use leasehold_servers::proxy::{Mode, Proxy};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::{DELAY, LIMIT, QUICK, TTL};
use crate::{Any, Doomed, now, show};

/// A bucket behind a network.
#[derive(Debug)]
struct Bucket {
    name: String,
    proxy: Proxy,
    /// The server, where it is ours.
    fake: Option<Fake>,
}

impl Bucket {
    /// One on a fake of its own.
    fn on_fake(limit: Option<Duration>) -> Bucket {
        let fake = Fake::start();
        fake.make_bucket("bench");
        fake.limit_writes(limit);
        let proxy = Proxy::start(fake.address());
        proxy.set(Mode::Delay(DELAY));
        Bucket { name: "bench".to_owned(), proxy, fake: Some(fake) }
    }

    /// A new one on somebody else's server at `http://HOST:PORT`.
    async fn on(server: &str) -> Result<Bucket, Any> {
        let name = format!("bench-{:x}", Host.unique());
        let client = reqwest::Client::builder().no_proxy().build()?;
        let about = format!(r#"{{"name":"{name}"}}"#);
        let make = client.post(format!("{server}/storage/v1/b?project=bench")).body(about);
        make.header("content-type", "application/json").send().await?.error_for_status()?;
        let proxy = Proxy::start(server.trim_start_matches("http://").parse()?);
        proxy.set(Mode::Delay(DELAY));
        Ok(Bucket { name, proxy, fake: None })
    }

    fn url(&self, options: &str) -> String {
        format!("gs://{}?endpoint=http://{}{options}", self.name, self.proxy.address())
    }

    async fn client(&self, options: &str) -> Result<Client, Any> {
        Ok(leasehold::connect(&self.url(options)).await?)
    }

    fn requests(&self) -> usize {
        self.fake.as_ref().map_or(0, |fake| fake.seen().len())
    }
}

/// Where the buckets are.
#[derive(Debug, Clone)]
enum Server {
    Fake,
    Outside(String),
}

impl Server {
    async fn bucket(&self, limit: Option<Duration>) -> Result<Bucket, Any> {
        match self {
            Server::Fake => Ok(Bucket::on_fake(limit)),
            Server::Outside(address) => Bucket::on(address).await,
        }
    }
}

/// Measures on the fake, and on a fake-gcs-server where there is one.
pub(crate) async fn run() -> Result<(), Any> {
    println!("\na bucket on the in-tree server, the network {DELAY:?} in each direction");
    measure(&Server::Fake).await?;
    match outside() {
        Ok(address) => {
            println!("\na bucket on fake-gcs-server, the network {DELAY:?} in each direction");
            measure(&Server::Outside(address)).await
        }
        Err(why) => {
            println!("\nnot measured: {why}");
            Ok(())
        }
    }
}

async fn measure(server: &Server) -> Result<(), Any> {
    alone(server).await?;
    hand_overs(server).await?;
    takeovers(server).await
}

/// One client, nobody else.
async fn alone(server: &Server) -> Result<(), Any> {
    let bucket = server.bucket(None).await?;
    let client = bucket.client(QUICK).await?;
    let (mut cold, mut warm, mut releases, mut pairs) = (vec![], vec![], vec![], vec![]);
    let mut requests = [0; 3];
    for n in 0..100 {
        let mutex = client.mutex(format!("alone-{n}"));
        for spans in [&mut cold, &mut warm] {
            let sent = bucket.requests();
            let began = now();
            let guard = mutex.acquire().await?;
            let got = now();
            let asked = bucket.requests();
            guard.release().await?;
            let freed = now();
            requests[usize::from(!pairs.len().is_multiple_of(2))] += asked - sent;
            requests[2] += bucket.requests() - asked;
            spans.push(got.saturating_sub(began));
            releases.push(freed.saturating_sub(got));
            pairs.push(freed.saturating_sub(began));
        }
    }
    show("acquire, a name new to the client", cold);
    show("acquire, a name that it released before", warm);
    show("release", releases);
    show("acquire and release, both kinds", pairs);
    if bucket.fake.is_some() {
        println!("  requests of 100 cold acquires, 100 warm ones, 200 releases: {requests:?}");
    }
    let bucket = server.bucket(Some(LIMIT)).await?;
    let client = bucket.client("").await?;
    let mut pairs = vec![];
    for n in 0..20 {
        let began = now();
        client.mutex(format!("limited-{n}")).acquire().await?.release().await?;
        pairs.push(now().saturating_sub(began));
    }
    show("acquire and release, one write a second", pairs);
    Ok(())
}

/// From the call that releases to the next client's having it. All kinds at once: they mostly sleep.
async fn hand_overs(server: &Server) -> Result<(), Any> {
    let mut running = JoinSet::new();
    let kinds = [
        ("default options", "", Some(LIMIT)),
        ("poll-interval=100ms", "&poll-interval=100ms", Some(LIMIT)),
        ("the same, no write limit", super::LEISURELY, None),
    ];
    for (what, options, limit) in kinds {
        for clients in [2, 10] {
            let server = server.clone();
            running.spawn(async move {
                let bucket = server.bucket(limit).await?;
                let spans = hand_over(&bucket, options, clients, 40).await?;
                Ok::<_, Any>((format!("hand-over, {clients} clients, {what}"), spans))
            });
        }
    }
    let mut all = vec![];
    while let Some(done) = running.join_next().await {
        all.push(done??);
    }
    all.sort();
    for (what, spans) in all {
        show(&what, spans);
    }
    Ok(())
}

/// Whoever released comes back when the next one has it. It is held two seconds, give or take one, so that
/// the looks of the waiters are not in step with the release.
async fn hand_over(
    bucket: &Bucket,
    options: &str,
    clients: usize,
    rounds: usize,
) -> Result<Vec<Duration>, Any> {
    let (tell, mut told) = unbounded_channel();
    let mut all = vec![];
    for _ in 0..clients {
        let client = bucket.client(options).await?;
        wait_in_line(&client, &tell);
        all.push(client);
    }
    let mut spans = vec![];
    let mut before: Option<(Client, Duration)> = None;
    while spans.len() < rounds {
        let Some(acquired) = told.recv().await else { break };
        let (client, guard, got): (Client, Guard, Duration) = acquired?;
        if let Some((client, released)) = before.take() {
            spans.push(got.saturating_sub(released));
            wait_in_line(&client, &tell);
        }
        Host.sleep(spread(Duration::from_secs(1), Duration::from_secs(2))).await;
        before = Some((client, now()));
        guard.release().await?;
    }
    Ok(spans)
}

type Acquired = Result<(Client, Guard, Duration), leasehold::Error>;

fn wait_in_line(client: &Client, tell: &UnboundedSender<Acquired>) {
    let (client, tell) = (client.clone(), tell.clone());
    tokio::spawn(async move {
        let acquired = client.mutex("line").with_ttl(TTL).acquire().await;
        let got = now();
        // Nobody listens when enough was measured; the guard's drop releases then.
        let _ = tell.send(acquired.map(|guard| (client, guard, got)));
    });
}

/// From the kill of a holder with a ttl of 10 s to the next client's having it.
async fn takeovers(server: &Server) -> Result<(), Any> {
    let bucket = server.bucket(Some(LIMIT)).await?;
    for (what, comes_late) in [("who waits", false), ("who comes a second later", true)] {
        let mut running = JoinSet::new();
        for n in 0..10 {
            let name = format!("dead-{comes_late}-{n}");
            let mut holder = Doomed::start(&bucket.url(""), &name, TTL)?;
            let client = bucket.client("").await?;
            running.spawn(async move {
                let mutex = client.mutex(name).with_ttl(TTL);
                let early = (!comes_late).then(|| {
                    tokio::spawn({
                        let mutex = mutex.clone();
                        async move { (mutex.acquire().await, now()) }
                    })
                });
                // Anywhere between two of its renewals.
                Host.sleep(spread(TTL / 3, TTL / 3)).await;
                let killed = now();
                holder.kill()?;
                let (guard, got) = match early {
                    Some(waiter) => waiter.await?,
                    None => {
                        Host.sleep(Duration::from_secs(1)).await;
                        (mutex.acquire().await, now())
                    }
                };
                guard?.release().await?;
                Ok::<_, Any>(got.saturating_sub(killed))
            });
        }
        let mut spans = vec![];
        while let Some(span) = running.join_next().await {
            spans.push(span??);
        }
        show(&format!("takeover after kill -9, ttl {TTL:?}, by {what}"), spans);
    }
    Ok(())
}

/// A time between `least` and `least + more`, evenly.
fn spread(least: Duration, more: Duration) -> Duration {
    let parts = u32::try_from(Host.unique() % 1024).unwrap_or_default();
    least + more * parts / 1024
}
