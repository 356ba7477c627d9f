//! Being woken by the kernel when a directory changes or a writer ends.
//!
//! One inotify instance and one task serve all waiters of a backend, because the kernel grants a
//! user few instances (128 by default). The task owns everything and subscribers talk to it by
//! messages, so that none of them ever waits for a disk, not even when it is dropped.
//!
//! It is a task of the runtime that asked first, the driver's, and not a thread: a wake-up from a
//! foreign thread would be the one thing here that a test on virtual time cannot wait for.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::backend::file::targets::Targets;
use crate::env::blocking;

/// The way to the watching task.
#[derive(Debug)]
pub(in crate::backend::file) struct Watcher {
    orders: mpsc::UnboundedSender<Order>,
    last: AtomicU64,
}

enum Order {
    Subscribe { id: u64, targets: Targets, wakes: Wakes, done: oneshot::Sender<bool> },
    Unsubscribe { id: u64 },
}

#[derive(Clone, Default)]
struct Wakes {
    directory: Arc<Notify>,
    writer: Arc<Notify>,
}

/// A waiter's place; given up when dropped.
pub(in crate::backend::file) struct Subscription {
    id: u64,
    wakes: Wakes,
    orders: mpsc::UnboundedSender<Order>,
}

impl Subscription {
    /// Returns after something happened in the directory.
    pub(in crate::backend::file) async fn directory(&self) {
        self.wakes.directory.notified().await;
    }

    /// Returns after somebody closed the writer's liveness file.
    pub(in crate::backend::file) async fn writer(&self) {
        self.wakes.writer.notified().await;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::Unsubscribe { id: self.id });
    }
}

impl Watcher {
    /// Starts the task on the caller's runtime; it ends when the value is dropped, or with the
    /// runtime. `None` where the kernel has no more instances to give.
    pub(in crate::backend::file) fn start() -> Option<Watcher> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
        let (orders, inbox) = mpsc::unbounded_channel();
        tokio::spawn(serve(Arc::new(fd), inbox));
        Some(Watcher { orders, last: AtomicU64::new(0) })
    }

    /// Whether the task has ended, with its runtime.
    pub(in crate::backend::file) fn has_ended(&self) -> bool {
        self.orders.is_closed()
    }

    /// Starts watching. When this returns, nothing that happens from now on is missed. `None` where
    /// it cannot be watched.
    pub(in crate::backend::file) async fn subscribe(
        &self,
        targets: Targets,
    ) -> Option<Subscription> {
        let id = self.last.fetch_add(1, Ordering::Relaxed);
        let subscription =
            Subscription { id, wakes: Wakes::default(), orders: self.orders.clone() };
        let wakes = subscription.wakes.clone();
        let (done, answer) = oneshot::channel();
        self.orders.send(Order::Subscribe { id, targets, wakes, done }).ok()?;
        answer.await.ok()?.then_some(subscription)
    }
}

async fn serve(fd: Arc<OwnedFd>, mut inbox: mpsc::UnboundedReceiver<Order>) {
    #[allow(
        deprecated,
        reason = "its successor, from tokio 1.54 on, is an unsafe function; what that asks of its \
                  caller is given here: an owned descriptor that nobody replaces or closes"
    )]
    let registered = AsyncFd::new(fd);
    // Where it fails, every subscription is answered by the dropped inbox: not watched.
    let Ok(fd) = registered else { return };
    let mut watches = Watches { fd, watched: HashMap::new(), subscribers: HashMap::new() };
    loop {
        tokio::select! {
            order = inbox.recv() => match order {
                Some(Order::Subscribe { id, targets, wakes, done }) => {
                    let _ = done.send(watches.subscribe(id, targets, wakes).await.is_some());
                }
                Some(Order::Unsubscribe { id }) => watches.unsubscribe(id),
                None => break,
            },
            ready = watches.fd.readable() => {
                let Ok(mut ready) = ready else { return };
                ready.clear_ready();
                watches.dispatch();
            }
        }
    }
    // The kernel takes some milliseconds to close an instance.
    let fd = watches.fd.into_inner();
    blocking(move || drop(fd)).await;
}

struct Watches {
    fd: AsyncFd<Arc<OwnedFd>>,
    /// Whom a watch wakes. The kernel has one watch for a file or directory, however often it is
    /// asked for.
    watched: HashMap<i32, HashMap<u64, Arc<Notify>>>,
    /// Which watches a subscriber has.
    subscribers: HashMap<u64, Vec<i32>>,
}

impl Watches {
    async fn subscribe(&mut self, id: u64, targets: Targets, wakes: Wakes) -> Option<()> {
        let fd = Arc::clone(self.fd.get_ref());
        // Finding the paths may ask the disk.
        let (directory, writer) = blocking(move || watch(&fd, &targets)).await?;
        let directory = directory.map(|watch| (watch, wakes.directory));
        let writer = writer.map(|watch| (watch, wakes.writer));
        let complete = directory.is_some();
        for (watch, wake) in directory.into_iter().chain(writer) {
            self.watched.entry(watch).or_default().insert(id, wake);
            self.subscribers.entry(id).or_default().push(watch);
        }
        if !complete {
            self.unsubscribe(id);
        }
        complete.then_some(())
    }

    fn unsubscribe(&mut self, id: u64) {
        for watch in self.subscribers.remove(&id).unwrap_or_default() {
            let Some(woken) = self.watched.get_mut(&watch) else { continue };
            woken.remove(&id);
            if woken.is_empty() {
                self.watched.remove(&watch);
                let _ = inotify::remove_watch(self.fd.get_ref(), watch);
            }
        }
    }

    /// Wakes whom the pending events concern.
    fn dispatch(&mut self) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(self.fd.get_ref(), &mut buffer);
        loop {
            match events.next() {
                Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => {
                    self.watched.values().flat_map(HashMap::values).for_each(|w| w.notify_one());
                }
                Ok(event) => {
                    let watch = event.wd();
                    let ended = event.events().contains(ReadFlags::IGNORED);
                    let woken = self.watched.get(&watch).into_iter().flat_map(HashMap::values);
                    woken.for_each(|wake| wake.notify_one());
                    if ended {
                        self.watched.remove(&watch);
                    }
                }
                Err(Errno::INTR) => {}
                // Nothing more for now. Any other error is a lost hint: waiters poll.
                Err(_) => return,
            }
        }
    }
}

/// Watches the directory and the writer's file; without the latter, its end is found by polling.
fn watch(fd: &OwnedFd, targets: &Targets) -> (Option<i32>, Option<i32>) {
    // A head that moves is a file moved here; so is a new key's directory, seen from above.
    let moves = WatchFlags::MOVED_TO | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
    let moves = moves | WatchFlags::ONLYDIR | WatchFlags::DONT_FOLLOW;
    // The directory of all locks is made in its place.
    let moves = if targets.is_above { moves | WatchFlags::CREATE } else { moves };
    // The last process that has the file open for writing closes it when it ends.
    let closed = WatchFlags::CLOSE_WRITE | WatchFlags::DONT_FOLLOW;
    let directory = inotify::add_watch(fd, &targets.directory, moves).ok();
    let writer = targets.writer.as_ref();
    (directory, writer.and_then(|path| inotify::add_watch(fd, path, closed).ok()))
}
