//! The driver and the user's code are apart: what hangs on one side does not hold up the other, and a
//! fork has no driver at all.

use std::future::pending;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use leasehold::backend::memory::MemoryBackend;
use leasehold::core::backend::BoxFuture;
use leasehold::core::deadline::Now;
use leasehold::env::{Env, Host};
use leasehold::{Begun, Client, ErrorKind, Forced};
use leasehold_conformance::Faulty;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

const TTL: Duration = Duration::from_millis(300);

/// A program writes to a terminal that takes nothing any more while it waits for a lock, and holds
/// another one meanwhile. The other one is renewed as if nothing were.
#[tokio::test]
async fn a_callback_that_blocks_holds_up_no_other_lock() {
    let store = Arc::new(MemoryBackend::default());
    let (ours, others) = (Client::new(store.clone()).unwrap(), Client::new(store).unwrap());
    let _theirs = others.mutex("theirs").acquire().await.unwrap();
    let guard = ours.mutex("ours").with_ttl(TTL).acquire().await.unwrap();
    let (blocks, blocked) = oneshot::channel();
    let (unblock, unblocks) = mpsc::channel::<()>();
    let script = Mutex::new((Some(blocks), unblocks));
    let mutex = ours.mutex("theirs").on_wait(move |_| {
        let (blocks, unblocks) = &mut *script.lock().unwrap();
        if let Some(blocks) = blocks.take() {
            blocks.send(()).unwrap();
            let _ = unblocks.recv();
        }
    });
    let (ends, ended) = oneshot::channel();
    let wait = async move {
        let mutex = mutex.with_timeout(Duration::from_millis(1));
        ends.send(mutex.acquire().await.unwrap_err().kind()).unwrap();
    };
    Host.run(Box::pin(wait)).unwrap();
    blocked.await.unwrap();

    let mut renewals = guard.renewals();
    for _ in 0..3 {
        assert!(renewals.next().await.is_some(), "{}", guard.lost().await);
    }
    drop(unblock);
    assert_eq!(ended.await.unwrap(), ErrorKind::Timeout);
    guard.release().await.unwrap();
}

/// A store whose code blocks the driver's thread. Nothing is renewed then, and the driver cannot say so;
/// the sections end at their deadlines all the same, and a task that waits for the loss hears of it, on an
/// executor that has no timers.
#[test]
fn a_driver_that_hangs_holds_up_no_end() {
    let store = Arc::new(Faulty::new(Arc::new(MemoryBackend::default())));
    let client = Client::new(store.clone()).unwrap();
    let (unblock, unblocks) = mpsc::channel::<()>();
    let unblocks = Mutex::new(unblocks);
    let begun = Arc::new(AtomicU32::new(0));
    let all = Arc::clone(&begun);
    store.when(move |_| {
        if all.load(Ordering::Relaxed) == 2 {
            let _ = unblocks.lock().unwrap().recv();
        }
        None
    });
    let runtime = Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let guard = client.mutex("guarded").with_ttl(TTL).acquire().await.unwrap();
        let mut renewals = guard.renewals();
        let mutex = client.mutex("section").with_ttl(TTL);
        let once = client.once("once").with_ttl(TTL);
        let (section, done) = tokio::join!(
            mutex.run(async |_| {
                begun.fetch_add(1, Ordering::Relaxed);
                pending::<()>().await;
            }),
            once.run(async |_| {
                begun.fetch_add(1, Ordering::Relaxed);
                pending::<Result<(), String>>().await
            }),
        );
        for ended in [section.unwrap_err(), done.unwrap_err(), guard.lost().await] {
            assert_eq!(ended.kind(), ErrorKind::Lost, "{ended}");
            assert!(ended.to_string().contains("could not be renewed in time"), "{ended}");
        }
        assert!(!guard.is_held());
        assert_eq!(renewals.next().await, None);
        assert_eq!(guard.release().await.unwrap_err().kind(), ErrorKind::Lost);
        drop(unblock);
        client.close().await;
    });
}

/// A service has a task of its own for each lock that it may lose, apart from the work that has the guard.
/// The task hears of a loss although the client is gone, and of the end of a guard; it does not keep the
/// lock, and while the lock is held it hears nothing.
#[tokio::test]
async fn a_task_of_its_own_hears_of_the_loss() {
    let store = Arc::new(MemoryBackend::default());
    let (ours, others) = (Client::new(store.clone()).unwrap(), Client::new(store).unwrap());
    let guard = ours.mutex("x").with_ttl(TTL).acquire().await.unwrap();
    drop(ours);
    let mut early = Box::pin(guard.lost_owned());
    assert!(early.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let task = tokio::spawn(guard.lost_owned());
    let forced = others.force("x", "it hangs").release().await.unwrap();
    assert!(matches!(forced, Forced::Released { .. }), "{forced:?}");
    let lost = task.await.unwrap();
    assert_eq!(lost.kind(), ErrorKind::Lost, "{lost}");
    assert!(lost.to_string().contains("it hangs"), "{lost}");
    assert_eq!((early.await, guard.lost().await), (lost.clone(), lost));

    let guard = others.mutex("x").acquire().await.unwrap();
    let task = tokio::spawn(guard.lost_owned());
    guard.release().await.unwrap();
    assert_eq!(task.await.unwrap().kind(), ErrorKind::Lost);
    let guard = others.mutex("x").acquire().await.unwrap();
    let task = tokio::spawn(guard.lost_owned());
    drop(guard);
    assert_eq!(task.await.unwrap().kind(), ErrorKind::Lost);
    assert!(others.mutex("x").acquire().await.unwrap().is_held());
}

/// A host that says when a process is a fork.
#[derive(Debug)]
struct Forks {
    process: AtomicU32,
}

impl Env for Forks {
    fn now(&self) -> Now {
        Host.now()
    }

    fn unique(&self) -> u128 {
        Host.unique()
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        Host.sleep(span)
    }

    fn process(&self) -> u32 {
        self.process.load(Ordering::Relaxed)
    }

    fn run(&self, driver: BoxFuture<'static, ()>) -> std::io::Result<()> {
        Host.run(driver)
    }
}

/// A process forks, as a server before its workers do. The child has no driver, and must not touch the
/// locks of its parent. Every call ends at the first poll, and nothing is sent.
#[tokio::test]
async fn a_fork_is_told_so_by_every_call() {
    let store = Arc::new(Faulty::new(Arc::new(MemoryBackend::default())));
    let host = Arc::new(Forks { process: AtomicU32::new(1) });
    let client = Client::with_env(store.clone(), host.clone()).unwrap();
    let guard = client.mutex("lock").acquire().await.unwrap();
    let kept = client.mutex("kept").acquire().await.unwrap();
    let Begun::Section(section) = client.once("once").begin().await.unwrap() else { panic!() };
    let Begun::Section(other) = client.once("other").begin().await.unwrap() else { panic!() };
    let mut renewals = guard.renewals();
    let before = store.counts();
    host.process.store(2, Ordering::Relaxed);

    let (mutex, once) = (client.mutex("new"), client.once("new"));
    let calls: [(&str, BoxFuture<'_, Result<String, leasehold::Error>>); 13] = [
        ("acquire", Box::pin(async { mutex.acquire().await.map(|_| String::new()) })),
        ("try", Box::pin(async { mutex.try_acquire().await.map(|_| String::new()) })),
        ("wait", Box::pin(async { mutex.wait_until_free().await.map(|()| String::new()) })),
        ("run", Box::pin(async { mutex.run(async |_| String::new()).await })),
        ("once", Box::pin(async { once.begin().await.map(|_| String::new()) })),
        ("status", Box::pin(async { client.status("lock").await.map(|_| String::new()) })),
        ("list", Box::pin(async { client.list("").await.map(|_| String::new()) })),
        (
            "break",
            Box::pin(async { client.force_release("lock", "").await.map(|_| String::new()) }),
        ),
        ("reset", Box::pin(async { client.reset("once", "").await.map(|_| String::new()) })),
        ("lost", Box::pin(async { Err(guard.lost().await) })),
        ("release", Box::pin(async { kept.release().await.map(|()| String::new()) })),
        ("save", Box::pin(async { section.save(b"half").await.map(|()| String::new()) })),
        ("done", Box::pin(async { other.done(None).await.map(|()| String::new()) })),
    ];
    for (name, call) in calls {
        let polled = pin!(call).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Err(error)) = polled else { panic!("{name}: {polled:?}") };
        assert!(error.to_string().contains("fork of process 1"), "{name}: {error}");
    }
    assert!(!guard.is_held());
    assert_eq!(renewals.next().await, None);
    client.clone().close().await;
    drop(guard);
    drop(section);
    assert_eq!(store.counts(), before);
}
