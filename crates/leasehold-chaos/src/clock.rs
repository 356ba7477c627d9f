//! The one clock of the host by which everything is written down, and the only place that waits.
#![expect(clippy::disallowed_methods, reason = "a harness beside the library has no `Env`")]

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A reading of `CLOCK_MONOTONIC`, in nanoseconds.
pub(crate) type Time = u64;

/// Now.
pub(crate) fn now() -> Time {
    let time = clock_gettime(ClockId::Monotonic);
    let span = Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    );
    nanos(span)
}

/// A seed for those who gave none.
pub(crate) fn seed() -> u64 {
    let time = clock_gettime(ClockId::Realtime);
    (time.tv_sec.unsigned_abs() ^ time.tv_nsec.unsigned_abs() << 12) % 1_000_000
}

pub(crate) fn pause(span: Duration) {
    std::thread::sleep(span);
}

pub(crate) fn nanos(span: Duration) -> Time {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) fn millis(ms: u64) -> Time {
    ms * 1_000_000
}

/// A time, for people: seconds since the clock began.
pub(crate) fn shown(time: Time) -> String {
    format!("{:.4}", seconds(time))
}

/// For figures, not for comparing.
#[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
pub(crate) fn seconds(time: Time) -> f64 {
    time as f64 / 1e9
}
