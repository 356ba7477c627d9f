//! Virtual time: hours pass in milliseconds, and nothing depends on how busy the machine is.
#![expect(
    clippy::disallowed_methods,
    reason = "this is an `Env`, the door that the others are told to use"
)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use leasehold::env::Env;
use leasehold_core::backend::BoxFuture;
use leasehold_core::deadline::{Moment, Now};
use tokio::time::Instant;

/// One host on virtual time: an [`Env`] on tokio's paused clock, whose clocks can be made to jump.
///
/// Use it in a runtime that was built with `start_paused`, for example in a
/// `#[tokio::test(start_paused = true)]`. The driver then is a task of that runtime, and time jumps
/// to the next thing that is waited for whenever nothing else is to be done. The same host number
/// gives the same random numbers again; give clients that meet different ones.
#[derive(Debug)]
pub struct Virtual {
    start: Instant,
    host: u64,
    drawn: AtomicU64,
    jumps: Mutex<Jumps>,
}

#[derive(Debug, Default)]
struct Jumps {
    suspended: Duration,
    wall_ms: i64,
}

/// What the wall clock says when a virtual host starts: some day in 2023.
const EPOCH_MS: u64 = 1_700_000_000_000;

impl Virtual {
    /// Host number `host`, starting now. Panics outside a runtime.
    pub fn new(host: u64) -> Virtual {
        Virtual::at(Instant::now(), host)
    }

    /// Another host, which started with this one: their clocks agree until they are made to jump.
    pub fn another(&self, host: u64) -> Virtual {
        Virtual::at(self.start, host)
    }

    fn at(start: Instant, host: u64) -> Virtual {
        Virtual { start, host, drawn: AtomicU64::new(1), jumps: Mutex::default() }
    }

    /// The host was suspended for `span`: `CLOCK_BOOTTIME` and the wall clock are ahead by it, and
    /// `CLOCK_MONOTONIC` and all timers know nothing of it.
    pub fn suspend(&self, span: Duration) {
        self.jump(|jumps| jumps.suspended += span);
        self.step_wall(i64::try_from(span.as_millis()).unwrap_or(i64::MAX));
    }

    /// Somebody set the wall clock, forward or back; or a hypervisor paused the machine in a way
    /// that only the wall clock shows.
    pub fn step_wall(&self, by_ms: i64) {
        self.jump(|jumps| jumps.wall_ms = jumps.wall_ms.saturating_add(by_ms));
    }

    /// How long this host has run, on its steady clock that does not count suspension.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// How long ago this host had run for `before`.
    pub fn since(&self, before: Duration) -> Duration {
        self.elapsed().saturating_sub(before)
    }

    fn jump<T>(&self, jump: impl FnOnce(&mut Jumps) -> T) -> T {
        jump(&mut self.jumps.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Env for Virtual {
    fn now(&self) -> Now {
        let mono = self.start.elapsed();
        let (suspended, wall_ms) = self.jump(|jumps| (jumps.suspended, jumps.wall_ms));
        let steady_ms = u64::try_from(mono.as_millis()).unwrap_or(u64::MAX);
        let unix_ms = (EPOCH_MS + steady_ms).saturating_add_signed(wall_ms);
        Now { moment: Moment { boot: mono + suspended, mono }, unix_ms }
    }

    fn unique(&self) -> u128 {
        let drawn = u128::from(self.drawn.fetch_add(1, Ordering::Relaxed));
        // Spread by a multiplication with an odd number, which maps no two numbers to one. Jitter is
        // taken from the low bits, on which the host must tell too, or all hosts act as one.
        let number = (u128::from(self.host) << 64) | drawn;
        let spread = number.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        spread ^ (spread >> 64)
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(span))
    }

    fn run(&self, driver: BoxFuture<'static, ()>) -> std::io::Result<()> {
        tokio::spawn(driver);
        Ok(())
    }
}
