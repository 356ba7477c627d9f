//! Who has a lock, as shown to people and handed to programs.

use std::fmt;
use std::time::Duration;

use leasehold_core::record::{FencingToken, Holder, HolderId};

/// The holder of a lock, as seen at one moment.
///
/// Its `Display` is the sentence part that errors use: `alice@web-1:4711, for 3m 20s`. The label is
/// what the holder said of itself: a claim, which may contain anything. Escape it before it reaches
/// a terminal.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct HeldBy {
    /// Fresh for every acquisition.
    pub id: HolderId,
    /// Host, process and user, for people.
    pub label: String,
    /// The fencing token it was given.
    pub token: FencingToken,
    /// How long its lease lasts unrenewed.
    pub ttl: Duration,
    /// How often it has renewed.
    pub renewals: u64,
    /// Since when, by its own wall clock, as Unix milliseconds.
    pub since_unix_ms: u64,
    /// For how long, by comparing its wall clock with ours: roughly right, and for people only.
    pub held_for: Duration,
    /// When the lease ends unless it is renewed. `None` where one look cannot tell: the store has no
    /// clock of its own, so a waiter has to watch for a whole ttl.
    pub expires_in: Option<Duration>,
}

impl HeldBy {
    pub(crate) fn new(
        holder: &Holder,
        token: FencingToken,
        now_unix_ms: u64,
        expires_in: Option<Duration>,
    ) -> HeldBy {
        HeldBy {
            id: holder.id,
            label: holder.label.clone(),
            token,
            ttl: holder.ttl(),
            renewals: holder.renewals,
            since_unix_ms: holder.acquired_unix_ms,
            held_for: Duration::from_millis(now_unix_ms.saturating_sub(holder.acquired_unix_ms)),
            expires_in,
        }
    }
}

impl fmt::Display for HeldBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Escaped, because errors are printed to terminals.
        for c in self.label.chars() {
            if c.is_control() || leasehold_core::backend::is_invisible(c) {
                write!(f, "{}", c.escape_unicode())?;
            } else {
                write!(f, "{c}")?;
            }
        }
        write!(f, ", for {}", Span(self.held_for))?;
        if let Some(left) = self.expires_in {
            write!(f, ", lease ends in {} unless renewed", Span(left))?;
        }
        Ok(())
    }
}

/// A duration for people: `0.3s`, `12s`, `3m 20s`, `5h 2m`.
pub(crate) struct Span(pub(crate) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, tenths) = (self.0.as_secs(), self.0.subsec_millis() / 100);
        match secs {
            0..=9 if tenths > 0 => write!(f, "{secs}.{tenths}s"),
            0..=59 => write!(f, "{secs}s"),
            60..=3599 => write!(f, "{}m {}s", secs / 60, secs % 60),
            3600..=86_399 => write!(f, "{}h {}m", secs / 3600, secs % 3600 / 60),
            _ => write!(f, "{}d {}h", secs / 86_400, secs % 86_400 / 3600),
        }
    }
}
