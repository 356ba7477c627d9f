//! Time limits, on a clock that the test moves by hand.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use leasehold::backend::memory::MemoryBackend;
use leasehold::core::backend::{
    Backend, BackendError, BoxFuture, Expected, Facts, Key, Reading, Version, Written,
};
use leasehold::core::deadline::{Moment, Now};
use leasehold::env::Env;
use leasehold::{Attempt, Client, ErrorKind, State};
use tokio::sync::{Semaphore, oneshot};

/// A host whose clocks stand until they are moved.
#[derive(Debug, Default)]
struct ByHand(Mutex<Clock>);

#[derive(Debug, Default)]
struct Clock {
    now: Duration,
    timers: Vec<(Duration, oneshot::Sender<()>)>,
    ids: u128,
}

impl ByHand {
    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn advance(&self, span: Duration) {
        let mut clock = self.clock();
        clock.now += span;
        let now = clock.now;
        for (_, timer) in clock.timers.extract_if(.., |(due, _)| *due <= now) {
            // Nobody may be listening any more.
            let _ = timer.send(());
        }
    }
}

impl Env for ByHand {
    fn now(&self) -> Now {
        let now = self.clock().now;
        let unix_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        Now { moment: Moment { boot: now, mono: now }, unix_ms }
    }

    fn unique(&self) -> u128 {
        let mut clock = self.clock();
        clock.ids += 1;
        clock.ids
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        let (timer, rings) = oneshot::channel();
        let mut clock = self.clock();
        let due = clock.now + span;
        clock.timers.push((due, timer));
        Box::pin(async { drop(rings.await) })
    }

    fn run(&self, driver: BoxFuture<'static, ()>) -> std::io::Result<()> {
        drop(tokio::spawn(driver));
        Ok(())
    }
}

/// A store that does the first write without a word, and every later one when it is let.
#[derive(Debug)]
struct Silent {
    store: Arc<MemoryBackend>,
    writes: AtomicU64,
    lets: Semaphore,
}

impl Backend for Silent {
    fn facts(&self) -> Facts {
        self.store.facts()
    }

    fn url(&self) -> String {
        self.store.url()
    }

    fn locate(&self, key: &Key) -> String {
        self.store.locate(key)
    }

    fn read<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Reading, BackendError>> {
        self.store.read(key)
    }

    fn write<'a>(
        &'a self,
        key: &'a Key,
        expected: &'a Expected,
        bytes: &'a [u8],
    ) -> BoxFuture<'a, Result<Written, BackendError>> {
        Box::pin(async move {
            if self.writes.fetch_add(1, Ordering::SeqCst) == 0 {
                self.store.write(key, expected, bytes).await?;
                std::future::pending::<()>().await;
            }
            let _let = self.lets.acquire().await;
            self.store.write(key, expected, bytes).await
        })
    }

    fn delete<'a>(
        &'a self,
        key: &'a Key,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        self.store.delete(key, version)
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Key>, BackendError>> {
        self.store.list(prefix)
    }
}

/// Lets every other task do all that it can.
async fn others() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// A lock is granted, but the task that waits for it gets to run only when its lease is over, and by
/// then another has it. It waits once more, for what is left of its time limit: not for all of it
/// again. The simulator found that it did (`--world library`).
#[tokio::test]
async fn a_grant_that_came_too_late_does_not_begin_the_time_limit_anew() {
    let host = Arc::new(ByHand::default());
    let store = Arc::new(MemoryBackend::default());
    let client = || Client::with_env(store.clone(), host.clone()).unwrap();
    let (ours, other) = (client(), client());
    let mutex = ours.mutex("lock").with_ttl(Duration::from_secs(1));
    let mutex = mutex.with_timeout(Duration::from_secs(2));
    let mut acquire = pin!(mutex.acquire());
    assert!(poll(acquire.as_mut()).is_pending());
    others().await;

    host.advance(Duration::from_millis(1900));
    drop(other.force_release("lock", "its holder does not move").await.unwrap());
    let long = other.mutex("lock").with_ttl(Duration::from_hours(1));
    let Attempt::Acquired(guard) = long.try_acquire().await.unwrap() else { panic!("not free") };
    assert!(poll(acquire.as_mut()).is_pending());
    others().await;

    host.advance(Duration::from_millis(200));
    others().await;
    let Poll::Ready(Err(late)) = poll(acquire.as_mut()) else { panic!("it still waits") };
    assert_eq!(late.kind(), ErrorKind::Timeout, "{late}");
    drop(guard);
}

/// The time limit ends while the write that takes the lock is on its way, and the write lands. Nobody
/// has the lock then, but its record says so until it is freed again: a program that closes its client
/// and ends must not leave it behind. The simulator found that it could (`--world library`).
#[tokio::test]
async fn closing_waits_for_what_a_time_limit_left_under_way() {
    let host = Arc::new(ByHand::default());
    let store = Arc::new(MemoryBackend::default());
    let (writes, lets) = (AtomicU64::default(), Semaphore::new(0));
    let silent = Arc::new(Silent { store: store.clone(), writes, lets });
    let client = Client::with_env(silent.clone(), host.clone()).unwrap();
    let other = Client::with_env(store, host.clone()).unwrap();
    let mutex = client.mutex("lock").with_ttl(Duration::from_secs(1));
    let mutex = mutex.with_timeout(Duration::from_millis(100));
    let mut acquire = pin!(mutex.acquire());
    assert!(poll(acquire.as_mut()).is_pending());
    others().await;

    host.advance(Duration::from_millis(101));
    others().await;
    let Poll::Ready(Err(late)) = poll(acquire.as_mut()) else { panic!("it still waits") };
    assert_eq!(late.kind(), ErrorKind::Timeout, "{late}");
    assert_eq!(other.status("lock").await.unwrap().state, State::Held);
    let mut close = pin!(client.clone().close());
    assert!(poll(close.as_mut()).is_pending(), "it did not wait");

    silent.lets.add_permits(9);
    others().await;
    assert!(poll(close.as_mut()).is_ready());
    assert_eq!(other.status("lock").await.unwrap().state, State::Free);
}
