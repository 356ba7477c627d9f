//! The only door to the clock, to randomness, to threads and to sleeping.
//!
//! Everything in this library that would differ between two runs comes through [`Env`], so that the
//! same driver runs on a real host, on virtual time in a test, and in a simulator where every client
//! has a clock of its own. `clippy.toml` refuses the direct ways everywhere else.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this file is what the others are told to use instead"
)]

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, SystemTime};
use std::{fmt, io, mem, process, thread};

use leasehold_core::backend::BoxFuture;
use leasehold_core::deadline::Now;
use tokio::io::AsyncWrite;
use tokio::runtime::{Builder, Handle, Runtime};

use self::os::{as_file, moment, node, user};

/// What the operating system decides: the two steady clocks, and who this process is.
#[cfg_attr(target_os = "linux", path = "env/linux.rs")]
#[cfg_attr(target_os = "macos", path = "env/macos.rs")]
#[cfg_attr(windows, path = "env/windows.rs")]
mod os;
#[cfg(unix)]
#[path = "env/unix.rs"]
mod unix;

/// Where a client gets time, randomness and its threads from.
pub trait Env: fmt::Debug + Send + Sync + 'static {
    /// The clocks.
    fn now(&self) -> Now;

    /// 128 random bits: an id that nobody else has, and the source of jitter.
    fn unique(&self) -> u128;

    /// Returns after `span`, by a clock that may not count suspension. A caller that waits for a deadline
    /// looks at [`Env::now`] again afterwards.
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()>;

    /// As [`sleep`](Env::sleep), for the caller's side: on any executor, and whatever becomes of the
    /// driver. By it a section ends at its deadline though the driver hangs.
    fn alarm(&self, span: Duration) -> BoxFuture<'static, ()> {
        self.sleep(span)
    }

    /// Which process this is. A client is of no use in another one: a fork has none of its threads.
    fn process(&self) -> u32 {
        process::id()
    }

    /// Runs `driver` to its end, apart from the caller: no task, no runtime and no panic of the
    /// caller's stops it. Whatever it needs later, threads above all, is there when this returns.
    fn run(&self, driver: BoxFuture<'static, ()>) -> io::Result<()>;
}

/// The host that this process runs on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Host;

impl Env for Host {
    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { moment: moment(), unix_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX) }
    }

    fn unique(&self) -> u128 {
        let mut bytes = [0; 16];
        // The kernel's generator fails only where there is none, and then no id would be safe.
        getrandom::fill(&mut bytes).expect("the operating system gives random numbers");
        u128::from_le_bytes(bytes)
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(span))
    }

    fn alarm(&self, span: Duration) -> BoxFuture<'static, ()> {
        match timer() {
            // The thread of the timer lets it pass; any executor may wait for it.
            Ok(timer) => {
                let _entered = timer.enter();
                Box::pin(tokio::time::sleep(span))
            }
            // `run` has made it, so this is a host that never ran a driver.
            Err(_) => Box::pin(pending()),
        }
    }

    /// A thread of its own with a runtime of its own: a user's runtime that is blocked, busy or
    /// shutting down holds up no renewal and loses no release.
    fn run(&self, driver: BoxFuture<'static, ()>) -> io::Result<()> {
        timer()?;
        apart("leasehold", runtime, move |runtime| {
            runtime.block_on(driver);
            // A request that hangs in a blocking thread must not hold up the end.
            runtime.shutdown_background();
        })?;
        Ok(())
    }
}

/// Makes a runtime on a thread of its own, and hands it to `work` there. What cannot be made is an error
/// here; no runtime is dropped on the caller's thread, where that may not be allowed.
fn apart(
    name: &str,
    make: impl FnOnce() -> io::Result<Runtime> + Send + 'static,
    work: impl FnOnce(Runtime) + Send + 'static,
) -> io::Result<Handle> {
    let (tell, told) = mpsc::channel();
    thread::Builder::new().name(name.into()).spawn(move || match make() {
        Ok(runtime) => {
            let _ = tell.send(Ok(runtime.handle().clone()));
            work(runtime);
        }
        Err(error) => drop(tell.send(Err(error))),
    })?;
    told.recv().unwrap_or_else(|_| Err(io::Error::other("the thread has ended")))
}

/// The timer of all callers of this process: a thread that is made with the first client, and kept.
fn timer() -> io::Result<Handle> {
    static TIMER: Mutex<Option<(u32, Handle)>> = Mutex::new(None);
    let mut timer = TIMER.lock().unwrap_or_else(PoisonError::into_inner);
    let process = process::id();
    if let Some((of, handle)) = &*timer
        && *of == process
    {
        return Ok(handle.clone());
    }
    let make = || Builder::new_current_thread().enable_time().build();
    let handle = apart("leasehold-time", make, |runtime| runtime.block_on(pending::<()>()))?;
    // After a fork, the one before is a memory of another process, and not to be touched.
    mem::forget(timer.replace((process, handle.clone())));
    Ok(handle)
}

/// At most this many threads for what blocks: files, and the names of hosts.
const BLOCKING_THREADS_MAX: usize = 64;

/// A runtime with a thread for what blocks, made now and kept, because a renewal may need it at a time
/// when the process may not have another. The driver's; and for a program that calls a backend itself.
pub fn runtime() -> io::Result<Runtime> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_keep_alive(Duration::from_hours(24 * 365 * 100))
        .thread_name("leasehold-io")
        .build()?;
    // Where the first thread cannot be made, tokio panics, but for one thing: writing to a file. Once
    // it has one, work that gets no thread of its own waits for it.
    let (_reader, writer) = io::pipe()?;
    let mut file = tokio::fs::File::from_std(as_file(writer));
    runtime.block_on(async {
        poll_fn(|cx| Pin::new(&mut file).poll_write(cx, b".")).await.map_err(|_| {
            let why = "this process may not have another thread";
            io::Error::new(io::ErrorKind::WouldBlock, why)
        })?;
        poll_fn(|cx| Pin::new(&mut file).poll_flush(cx)).await
    })?;
    Ok(runtime)
}

/// Who this process is, for people: `user@host:pid`.
pub fn host_label() -> String {
    format!("{}@{}:{}", user(), node(), std::process::id())
}

/// Runs blocking file work beside the driver, on the driver's runtime.
///
/// Dropping the future does not stop the work: a write may land after its caller gave up, which is
/// what [`Fate::Unknown`](leasehold_core::backend::Fate::Unknown) means.
#[cfg(feature = "file")]
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}
