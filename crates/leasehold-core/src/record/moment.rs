//! Moments of a record as the standard library's type.
//!
//! They are a wall clock's, for people: nothing in the protocol is decided by them.
#![expect(
    clippy::disallowed_types,
    reason = "it is told to the user, and nothing is decided by it"
)]

use std::time::{Duration, SystemTime};

use super::{Ending, Past};

/// The last millisecond of the year 9999, the last one that a date is written for.
const LAST_UNIX_MS: u64 = 253_402_300_799_999;

/// A moment in Unix milliseconds, as the standard library's type: at the latest the end of the year
/// 9999, because not every system has later ones.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use leasehold_core::record::system_time;
///
/// assert_eq!(system_time(1_500), UNIX_EPOCH + Duration::from_millis(1_500));
/// assert_eq!(system_time(u64::MAX), system_time(253_402_300_799_999));
/// ```
pub fn system_time(unix_ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(unix_ms.min(LAST_UNIX_MS))
}

impl Past {
    /// When it ended: [`unix_ms`](Past::unix_ms) as [`system_time`] gives it, by the wall clock of the
    /// process that wrote it. For people: another host's clock may be wrong.
    ///
    /// ```
    /// # use std::time::{Duration, UNIX_EPOCH};
    /// # fn show(past: &leasehold_core::record::Past) {
    /// let ago = UNIX_EPOCH.elapsed().unwrap_or_default()
    ///     .saturating_sub(past.at().duration_since(UNIX_EPOCH).unwrap_or_default());
    /// println!("{} let go {} s ago", past.label.escape_debug(), ago.as_secs());
    /// # }
    /// ```
    pub fn at(&self) -> SystemTime {
        system_time(self.unix_ms)
    }
}

impl Ending {
    /// When the run ended: [`unix_ms`](Ending::unix_ms) as [`system_time`] gives it, by its own wall
    /// clock. For people.
    ///
    /// ```
    /// # use leasehold_core::record::{Ending, Outcome};
    /// fn newer<'a>(a: &'a Ending, b: &'a Ending) -> &'a Ending {
    ///     if a.at() >= b.at() { a } else { b }
    /// }
    /// ```
    pub fn at(&self) -> SystemTime {
        system_time(self.unix_ms)
    }
}
