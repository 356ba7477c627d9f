//! The clocks of macOS.

use std::time::Duration;

use leasehold_core::deadline::Moment;
use nix::libc::{CLOCK_MONOTONIC_RAW, CLOCK_UPTIME_RAW};
use nix::time::{ClockId, clock_gettime};

pub(super) use super::unix::{as_file, node, user};

/// Now. The names are misleading: `CLOCK_MONOTONIC_RAW` is `mach_continuous_time` and counts sleep,
/// `CLOCK_UPTIME_RAW` is `mach_absolute_time` and does not. No setting of the wall clock moves either,
/// which cannot be said of `CLOCK_MONOTONIC`.
pub(super) fn moment() -> Moment {
    Moment { boot: clock(CLOCK_MONOTONIC_RAW), mono: clock(CLOCK_UPTIME_RAW) }
}

fn clock(id: nix::libc::clockid_t) -> Duration {
    // Both are there since macOS 10.12, and Rust asks for a later one.
    Duration::from(clock_gettime(ClockId::from_raw(id)).expect("macOS has its two steady clocks"))
}
