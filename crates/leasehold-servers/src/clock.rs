//! The clocks of the servers. They are hosts of their own, so the tests' virtual time is not theirs.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a server answers with the real time, and depends on no `Env`"
)]

use std::time::{Duration, Instant, SystemTime};

/// When a server started, to count from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start(Instant);

impl Start {
    pub(crate) fn now() -> Start {
        Start(Instant::now())
    }

    /// The time since then.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// The wall clock, since the start of 1970.
pub(crate) fn unix() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// A time since the start of 1970 as HTTP writes it, to the second.
pub(crate) fn http_date(unix: Duration) -> String {
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + unix)
}

/// A time since the start of 1970 as Google's JSON writes it, to the second.
pub(crate) fn rfc3339(unix: Duration) -> String {
    let seconds = i64::try_from(unix.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX).to_string()
}

/// Returns after `span`.
pub(crate) async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}

/// What `work` comes to, or `None` when it takes longer than `limit`.
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, work).await.ok()
}
