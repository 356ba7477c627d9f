//! The clocks of Linux.

use std::time::Duration;

use leasehold_core::deadline::Moment;
use rustix::time::{ClockId, Timespec, clock_gettime};

pub(super) use super::unix::{as_file, node, user};

/// Now: `CLOCK_BOOTTIME` counts suspension, `CLOCK_MONOTONIC` does not.
pub(super) fn moment() -> Moment {
    Moment { boot: clock(ClockId::Boottime), mono: clock(ClockId::Monotonic) }
}

fn clock(id: ClockId) -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(id);
    Duration::new(u64::try_from(tv_sec).unwrap_or(0), u32::try_from(tv_nsec).unwrap_or(0))
}
