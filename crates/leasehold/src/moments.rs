//! Moments as the standard library's type, beside the fields in Unix milliseconds.
//!
//! They are a wall clock's, for people: nothing in the library is decided by them.
#![expect(
    clippy::disallowed_types,
    reason = "it is told to the user, and nothing is decided by it"
)]

use std::time::SystemTime;

use leasehold_core::record::system_time;

use crate::holder::HeldBy;
use crate::once::{Done, Failed};

impl HeldBy {
    /// Since when it holds, by its own wall clock: [`since_unix_ms`](HeldBy::since_unix_ms), at the
    /// latest the end of the year 9999. For people: its clock may be wrong, and
    /// [`held_for`](HeldBy::held_for) is the difference to ours.
    ///
    /// ```
    /// use std::time::{Duration, UNIX_EPOCH};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), leasehold::Error> {
    /// let client = leasehold::connect("memory://").await?;
    /// let _guard = client.mutex("deploy").acquire().await?;
    /// let holder = client.status("deploy").await?.holder.expect("it is held");
    /// assert_eq!(holder.since(), UNIX_EPOCH + Duration::from_millis(holder.since_unix_ms));
    /// # Ok(())
    /// # }
    /// ```
    pub fn since(&self) -> SystemTime {
        system_time(self.since_unix_ms)
    }
}

impl Done {
    /// When it was done, by the wall clock of the run: [`at_unix_ms`](Done::at_unix_ms), at the latest
    /// the end of the year 9999. `None` if that is not known any more: a later key came since.
    ///
    /// ```
    /// use leasehold::Ran;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), leasehold::Error> {
    /// let client = leasehold::connect("memory://").await?;
    /// let once = client.once("schema").keyed("v42");
    /// let ran = once.run(async |_| Ok::<_, String>(())).await?;
    /// assert!(matches!(ran, Ran::Now(())));
    /// if let Ran::Before(done) = once.run(async |_| Ok::<_, String>(())).await? {
    ///     assert!(done.at().is_some());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn at(&self) -> Option<SystemTime> {
        known(self.at_unix_ms)
    }
}

impl Failed {
    /// When the last run failed, by its wall clock: [`at_unix_ms`](Failed::at_unix_ms), at the latest the
    /// end of the year 9999. `None` if the record does not say.
    ///
    /// ```
    /// use leasehold::Ran;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), leasehold::Error> {
    /// let client = leasehold::connect("memory://").await?;
    /// let once = client.once("schema").with_max_attempts(1);
    /// if let Ran::GaveUp(failed) = once.run(async |_| Err::<(), _>("no such table")).await? {
    ///     assert!(failed.at().is_some());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn at(&self) -> Option<SystemTime> {
        known(self.at_unix_ms)
    }
}

/// A moment whose absence is told as 0.
fn known(unix_ms: u64) -> Option<SystemTime> {
    (unix_ms != 0).then(|| system_time(unix_ms))
}
