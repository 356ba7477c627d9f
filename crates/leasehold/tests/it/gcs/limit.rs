//! One write a second for each object, which is Google's limit: turns come at about the pace that it
//! allows, nobody starves, no renewal is lost, and a thousand waiters do not stampede.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use leasehold::Client;
use leasehold::backend::memory::MemoryBackend;
use leasehold::env::{Env, Host};
use leasehold_conformance::Virtual;
use leasehold_core::backend::{
    Backend, BackendError, BoxFuture, Expected, Facts, Fate, Key, Reading, Trouble, Version,
    Written,
};
use leasehold_servers::gcs::{Fake, When};
use tokio::task::JoinSet;

const SECOND: Duration = Duration::from_secs(1);

/// A bucket as Google describes it, on virtual time: an answer takes 60 ms, an object may be written once
/// a second, and ages are told in whole seconds.
#[derive(Debug)]
struct Bucket {
    objects: MemoryBackend,
    clock: Virtual,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    written: HashMap<Key, Duration>,
    reads: u64,
    writes: u64,
    landed: u64,
    throttled: u64,
}

impl Bucket {
    fn new() -> Arc<Bucket> {
        let objects = MemoryBackend::default();
        Arc::new(Bucket { objects, clock: Virtual::new(0), log: Mutex::default() })
    }

    fn log<T>(&self, look: impl FnOnce(&mut Log) -> T) -> T {
        look(&mut self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A client on a host of its own.
    fn client(self: &Arc<Bucket>, host: u64) -> Client {
        let env = Arc::new(self.clock.another(host));
        Client::with_env(Arc::clone(self) as Arc<dyn Backend>, env).expect("a client")
    }

    async fn travel(&self) {
        self.clock.sleep(Duration::from_millis(30)).await;
    }
}

impl Backend for Bucket {
    fn facts(&self) -> Facts {
        Facts {
            least_write_interval: SECOND,
            clock_uncertainty: SECOND * 2,
            least_poll: SECOND,
            notifies: false,
        }
    }

    fn url(&self) -> String {
        "bucket:".into()
    }

    fn locate(&self, key: &Key) -> String {
        key.to_string()
    }

    fn read<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Reading, BackendError>> {
        Box::pin(async move {
            self.travel().await;
            let mut reading = self.objects.read(key).await?;
            let written = self.log(|log| {
                log.reads += 1;
                log.written.get(key).copied()
            });
            if let (Some(record), Some(written)) = (&mut reading.record, written) {
                let whole = self.clock.elapsed().as_secs() - written.as_secs();
                record.age = Some(Duration::from_secs(whole));
            }
            self.travel().await;
            Ok(reading)
        })
    }

    fn write<'a>(
        &'a self,
        key: &'a Key,
        expected: &'a Expected,
        bytes: &'a [u8],
    ) -> BoxFuture<'a, Result<Written, BackendError>> {
        Box::pin(async move {
            self.travel().await;
            let now = self.clock.elapsed();
            let too_soon = self.log(|log| {
                log.writes += 1;
                log.written.get(key).is_some_and(|last| now < *last + SECOND)
            });
            let written = match too_soon {
                true => {
                    self.log(|log| log.throttled += 1);
                    let fate = Fate::Throttled { retry_after: None };
                    let message = "one write a second".to_owned();
                    Err(BackendError { fate, trouble: Trouble::Unavailable, message })
                }
                false => self.objects.write(key, expected, bytes).await,
            };
            if let Ok(Written::Applied(_)) = written {
                self.log(|log| {
                    log.landed += 1;
                    log.written.insert(key.clone(), now);
                });
            }
            self.travel().await;
            written
        })
    }

    fn delete<'a>(
        &'a self,
        key: &'a Key,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        self.objects.delete(key, version)
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Key>, BackendError>> {
        self.objects.list(prefix)
    }
}

/// Clients take one turn each, after a holder who kept them waiting. Gives what the turns came to: how
/// long they took together, and what was written for them.
async fn turns(clients: u64, waited: Duration, turns: u64) -> (Duration, Log, Log) {
    let bucket = Bucket::new();
    let first = bucket.client(1);
    let guard = first.mutex("x").acquire().await.expect("the lock");
    let mut waiting = JoinSet::new();
    for host in 0..clients {
        let client = bucket.client(host + 2);
        waiting.spawn(async move {
            let guard = client.mutex("x").acquire().await.expect("the lock");
            Host.sleep(Duration::from_millis(5)).await;
            assert!(guard.is_held());
            guard.release().await.expect("released");
        });
    }
    Host.sleep(waited).await;
    assert!(guard.is_held(), "no renewal is lost to waiters");
    let idle = bucket.log(std::mem::take);
    let last = idle.written.clone();
    bucket.log(|log| log.written = last);
    let before = bucket.clock.elapsed();
    guard.release().await.expect("released");
    for _ in 0..turns {
        waiting.join_next().await.expect("a client").expect("no panic");
    }
    let took = bucket.clock.since(before);
    (took, idle, bucket.log(std::mem::take))
}

/// Ten clients, each 5 ms inside. A turn is two writes, so it takes two seconds at the least.
#[tokio::test(start_paused = true)]
async fn ten_clients_take_turns_at_the_pace_of_the_limit() {
    let (took, _, log) = turns(10, Duration::from_secs(20), 10).await;
    assert!(took < SECOND * 40, "{took:?} for what takes 20 s at best");
    // One is the release before the first turn.
    assert_eq!(log.landed, 21);
    assert!(log.writes <= 40 && log.throttled <= 10, "{log:?}");
}

/// Clients that ask again as soon as they have released. Whoever released knows of it before all others,
/// and kept the lock for itself: 28 of 29 turns went to one of two. Now everybody gets turns.
#[tokio::test(start_paused = true)]
async fn who_asks_again_at_once_starves_nobody() {
    for clients in [2_u64, 10] {
        let bucket = Bucket::new();
        let order = Arc::new(Mutex::new(vec![]));
        let mut taking = JoinSet::new();
        for host in 0..clients {
            let (client, order) = (bucket.client(host + 1), Arc::clone(&order));
            taking.spawn(async move {
                for _ in 0..10 {
                    let guard = client.mutex("x").acquire().await.expect("the lock");
                    order.lock().unwrap_or_else(PoisonError::into_inner).push(host);
                    Host.sleep(Duration::from_millis(5)).await;
                    guard.release().await.expect("released");
                }
            });
        }
        taking.join_all().await;
        let order = order.lock().unwrap_or_else(PoisonError::into_inner);
        // While all still want turns: the last ones are alone.
        let busy = &order[..order.len() / 2];
        let again = busy.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!(again <= busy.len() / 2, "{clients} clients: {order:?}");
        for host in 0..clients {
            assert!(busy.contains(&host), "{host} of {clients} had no turn: {order:?}");
        }
        let took = bucket.clock.elapsed();
        assert!(took < SECOND * 50 * u32::try_from(clients).expect("few"), "{took:?}");
    }
}

/// A thousand wait for one object. They read, each less and less often, and write nothing; when it is
/// free, some of those who saw it first write. (Before writes were paced, all of them did: 20,000 for 20
/// turns.)
#[tokio::test(start_paused = true)]
async fn a_thousand_waiters_stay_polite() {
    let minutes = 10;
    let (took, idle, log) = turns(1_000, Duration::from_mins(minutes), 20).await;
    let renewals = minutes * 60 / 10;
    assert!(idle.writes <= renewals + 2, "{} writes by one holder", idle.writes);
    // A look each ten seconds, and more in the first minutes.
    assert!(idle.reads < 1_000 * 10 * 60 / 7, "{} reads", idle.reads);
    assert!(log.writes <= 20 * 12, "{} writes for 20 turns", log.writes);
    assert!(took < SECOND * 80, "{took:?} for what takes 40 s at best");
}

/// The same over HTTP, four times as fast, on a server that keeps the limit: six clients wait for a
/// holder and then take turns. No renewal is refused, and everybody gets a turn.
#[tokio::test]
async fn a_server_that_keeps_the_limit_is_served() {
    let interval = Duration::from_millis(250);
    let server = Fake::start();
    server.make_bucket("acme");
    server.limit_writes(Some(interval));
    let url =
        format!("gs://acme?endpoint={}&write-interval=250ms&poll-interval=50ms", server.endpoint());
    let ttl = interval * 10;
    let first = leasehold::connect(&url).await.expect("a client");
    let guard = first.mutex("x").with_ttl(ttl).acquire().await.expect("the lock");
    let mut waiting = JoinSet::new();
    for _ in 0..6 {
        let client = leasehold::connect(&url).await.expect("a client");
        waiting.spawn(async move {
            let guard = client.mutex("x").with_ttl(ttl).acquire().await.expect("the lock");
            assert!(guard.is_held());
            guard.release().await.expect("released");
        });
    }
    // Straight after a write the store refuses another; who breaks a lock is patient too.
    let other = first.mutex("y").with_ttl(ttl).acquire().await.expect("the lock");
    let forced = first.force_release("y", "a test").await.expect("it is broken");
    assert!(matches!(forced, leasehold::Forced::Released { .. }), "{forced:?}");
    other.lost().await;
    // Some renewals: no waiter has written anything.
    let before = server.seen().iter().filter(|s| s.when == When::Overwrite).count();
    server.until_done(When::Overwrite, before + 5).await;
    assert!(guard.is_held());
    let is_ours = |s: &leasehold_servers::gcs::Seen| s.when == When::Overwrite && s.object == "x";
    let writes = || server.seen().into_iter().filter(is_ours);
    assert!(writes().all(|seen| seen.status == Some(200)), "{:?}", server.seen());
    let renewals = writes().count();
    guard.release().await.expect("released");
    waiting.join_all().await;
    let landed = writes().filter(|seen| seen.status == Some(200)).count();
    assert!(landed >= renewals + 1 + 12, "{landed} of {}", writes().count());
}
