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

use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use leasehold_core::backend::BoxFuture;
use leasehold_core::deadline::{Moment, Now};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Where a client gets time, randomness and its threads from.
pub trait Env: fmt::Debug + Send + Sync + 'static {
    /// The clocks.
    fn now(&self) -> Now;

    /// 128 random bits: an id that nobody else has, and the source of jitter.
    fn unique(&self) -> u128;

    /// Returns after `span`, by a clock that may not count suspension. Whoever waits for a deadline
    /// looks at [`Env::now`] again afterwards.
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()>;

    /// Runs `driver` to its end, apart from the caller: no task, no runtime and no panic of the
    /// caller's stops it.
    fn run(&self, driver: BoxFuture<'static, ()>) -> std::io::Result<()>;
}

/// The host that this process runs on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Host;

impl Env for Host {
    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now {
            moment: Moment { boot: clock(ClockId::Boottime), mono: clock(ClockId::Monotonic) },
            unix_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
        }
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

    /// A thread of its own with a runtime of its own: a user's runtime that is blocked, busy or
    /// shutting down holds up no renewal and loses no release.
    fn run(&self, driver: BoxFuture<'static, ()>) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("leasehold".into()).spawn(move || {
            runtime.block_on(driver);
            // A request that hangs in a blocking thread must not hold up the end.
            runtime.shutdown_background();
        })?;
        Ok(())
    }
}

fn clock(id: ClockId) -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(id);
    Duration::new(u64::try_from(tv_sec).unwrap_or(0), u32::try_from(tv_nsec).unwrap_or(0))
}

/// Who this process is, for people: `user@host:pid`.
pub fn host_label() -> String {
    let uname = rustix::system::uname();
    format!("{}@{}:{}", user(), uname.nodename().to_string_lossy(), std::process::id())
}

/// Our user's name: from `/etc/passwd`, because the environment of cron, of a pod and of a CI job has
/// none and that of `su` another's. Where it stands in a directory on the network it is taken from the
/// environment: asking that could take as long as the network likes.
fn user() -> &'static str {
    static USER: OnceLock<String> = OnceLock::new();
    USER.get_or_init(|| {
        let uid = rustix::process::geteuid().as_raw().to_string();
        let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
        let passwd = String::from_utf8_lossy(&passwd);
        let is_ours = |line: &&str| line.split(':').nth(2) == Some(&uid);
        let name = passwd.lines().find(is_ours).and_then(|line| line.split(':').next());
        let name = name.filter(|name| !name.is_empty()).map(str::to_owned);
        let told = |name| std::env::var(name).ok().filter(|name| !name.is_empty());
        name.or_else(|| told("USER"))
            .or_else(|| told("LOGNAME"))
            .unwrap_or_else(|| format!("uid-{uid}"))
    })
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
