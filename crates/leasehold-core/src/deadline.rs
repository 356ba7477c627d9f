//! The rules of time: when a holder must stop, when a waiter may start, and every margin between.
//!
//! No two hosts' clocks are compared. A holder counts from the moment it *sent* a write, a waiter
//! from the moment it *received* a reply, each on its own steady clock. With clock rates within
//! `1 ± rho` of true time, a holder that sent at true time `t` stops at the latest at
//! `t + (ttl - m) / (1 - rho)`, and a waiter that first saw the result after `t` starts at the
//! earliest at `t + ttl / (1 + rho)`. So nobody overlaps if `m >= ttl * 2 rho / (1 + rho)`.
//! `docs/protocol.md` has the proof and the table of real clocks.

use std::time::Duration;

/// A reading of a host's two steady clocks. Only differences mean anything, and only between
/// readings of one host.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Moment {
    /// A clock that counts suspension (`CLOCK_BOOTTIME`).
    pub boot: Duration,
    /// A clock that may not (`CLOCK_MONOTONIC`).
    pub mono: Duration,
}

impl Moment {
    /// The longest time that can have passed since `earlier`: what a holder counts.
    pub fn longest_since(self, earlier: Moment) -> Duration {
        planted!(SleepNotCounted: return self.mono.saturating_sub(earlier.mono));
        self.boot.saturating_sub(earlier.boot).max(self.mono.saturating_sub(earlier.mono))
    }

    /// The shortest time that can have passed since `earlier`: what a waiter counts.
    pub fn shortest_since(self, earlier: Moment) -> Duration {
        planted!(PatienceCountsSleep: return self.boot.saturating_sub(earlier.boot));
        self.boot.saturating_sub(earlier.boot).min(self.mono.saturating_sub(earlier.mono))
    }
}

/// What the clocks of one host say now.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Now {
    /// The steady clocks, which decide.
    pub moment: Moment,
    /// The wall clock as Unix milliseconds, which decides nothing: it dates records for people and
    /// the first token of a record in a store that has no clock.
    pub unix_ms: u64,
}

/// The shortest ttl that is accepted. Below it, scheduling on a busy host costs the lease.
pub const TTL_MIN: Duration = Duration::from_millis(100);

/// The longest ttl that is accepted: a dead holder's lock should not outlive a day.
pub const TTL_MAX: Duration = Duration::from_hours(24);

/// The ttl where nobody says otherwise.
pub const TTL_DEFAULT: Duration = Duration::from_secs(30);

/// The longest takeover delay, as in Chubby and Consul: one minute.
pub const TAKEOVER_DELAY_MAX: Duration = Duration::from_mins(1);

/// The shortest ttl that a backend can serve: renewals come at a third of the ttl and one of them
/// may have to be repeated more than once, so ten writes must fit into a ttl.
pub fn ttl_min(least_write_interval: Duration) -> Duration {
    TTL_MIN.max(least_write_interval.saturating_mul(10))
}

/// The part of the ttl by which a holder stops early: a fifth.
///
/// `m >= ttl * 2 rho / (1 + rho)` with rho = 11.1 % on both hosts gives 20 %. NTP daemons slew a
/// clock by 8.3 % by default (chrony's `maxslewrate`) and the kernel by 10 % at most.
pub fn margin(ttl: Duration) -> Duration {
    ttl / 5
}

/// How long after a write was sent its sender may believe to hold by it.
pub fn belief(ttl: Duration) -> Duration {
    planted!(NoMargin: return ttl);
    ttl.saturating_sub(margin(ttl))
}

/// How long after the last confirmed write was sent the next renewal is due: a third of the ttl,
/// which leaves room for two failures before [`belief`] ends.
pub fn renewal_due(ttl: Duration) -> Duration {
    ttl / 3
}

/// How far the wall clock may run ahead of the steady clocks between two looks before a holder
/// suspects that its host was paused in a way that no steady clock counted: a quarter of the margin,
/// but no less than a tenth of a second, by which wall clocks are stepped in daily life.
pub fn suspicious_jump(ttl: Duration) -> Duration {
    (margin(ttl) / 4).max(Duration::from_millis(100))
}

/// How long one request may take, with `left` to go: a third, so that two more can follow.
pub fn request_timeout(left: Duration) -> Duration {
    (left / 3).clamp(Duration::from_millis(20), Duration::from_secs(10))
}

/// Until when a holder may believe: a comparison with the clock, never a flag.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Deadline {
    /// When the last confirmed write was sent.
    pub sent: Moment,
    /// How long it is good for.
    pub span: Duration,
}

impl Deadline {
    /// The deadline that a write sent at `sent` gives its sender, once it is known to have landed.
    pub fn of_write(sent: Moment, ttl: Duration) -> Deadline {
        Deadline { sent, span: belief(ttl) }
    }

    /// What is left, zero when it is over.
    pub fn left(self, now: Moment) -> Duration {
        self.span.saturating_sub(now.longest_since(self.sent))
    }

    /// Whether it is over.
    pub fn is_past(self, now: Moment) -> bool {
        planted!(NoDeadline: return false);
        self.left(now).is_zero()
    }
}

/// How long a waiter must have seen the same holder at the same renewal count.
pub fn takeover_due(ttl: Duration, takeover_delay: Duration) -> Duration {
    planted!(DelayIgnored: return ttl);
    ttl.saturating_add(takeover_delay)
}

/// The age at which the backend's own clock says that a lease is over.
///
/// Age is counted on one clock, the backend's, from the moment the write landed, which is after it
/// was sent. So the holder's margin covers the difference in rate, and only the error of the age
/// itself is added.
pub fn takeover_age(ttl: Duration, takeover_delay: Duration, uncertainty: Duration) -> Duration {
    planted!(AgeBelievedExactly: return takeover_due(ttl, takeover_delay));
    takeover_due(ttl, takeover_delay).saturating_add(uncertainty)
}

/// How a waiter plans its next look.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Poll {
    /// The least time between two looks, by the backend.
    pub least: Duration,
    /// Whether the backend wakes waiters, so that looking is only the safety net.
    pub notifies: bool,
    /// How long it has waited.
    pub waited: Duration,
    /// How long it has seen this holder have it.
    pub unchanged: Duration,
    /// The holder's ttl.
    pub ttl: Duration,
    /// When the lease ends unless renewed.
    pub to_expiry: Duration,
}

impl Poll {
    /// How long to sleep before the next look.
    ///
    /// It starts at the least the backend asks for and grows with the time that nothing changed (an
    /// eighth of it), so that a short wait is answered quickly and a long one is cheap, up to a third
    /// of the holder's ttl and [`POLL_STEPS`] times the least. Where holders change, it grows with the
    /// time waited (a thirty-second of it): slowly, because who looks more rarely than newcomers is
    /// passed by them, and still, because a crowd that waits for long must look less often. Where the
    /// backend wakes waiters it starts at the top. The last sleep ends at the expiry.
    pub fn sleep(self, random: u128) -> Duration {
        let most = (self.ttl / 3).min(self.least.saturating_mul(POLL_STEPS)).max(self.least);
        let grown = (self.unchanged / 8).max(self.waited / 32);
        let pace = if self.notifies { most } else { grown.clamp(self.least, most) };
        let last = self.to_expiry.saturating_add(jitter(self.least / 2, random >> 32));
        jitter(pace, random).min(last).max(Duration::from_millis(1))
    }
}

/// The longest sleep between two looks, in units of the shortest.
pub const POLL_STEPS: u32 = 100;

/// How long to wait after the `n`-th failure in a row (from 1), before jitter: doubling from 25 ms
/// to one second, and never more than a tenth of the ttl, so that several tries fit before a
/// deadline.
pub fn backoff(n: u32, ttl: Duration) -> Duration {
    let doubled = Duration::from_millis(25) * 2u32.saturating_pow(n.saturating_sub(1).min(10));
    doubled.min(Duration::from_secs(1)).min(ttl / 10)
}

/// The longest wait between two runs of something that fails, unless the first one is longer.
pub const RETRY_MAX: Duration = Duration::from_mins(1);

/// How long after the `n`-th failed run (from 1) the next may begin: `first`, doubled with every
/// further failure up to [`RETRY_MAX`].
pub fn retry_after(n: u64, first: Duration) -> Duration {
    let doublings = u32::try_from(n.saturating_sub(1).min(20)).unwrap_or_default();
    first.saturating_mul(1 << doublings).min(RETRY_MAX.max(first))
}

/// How long one change by a person (break, reset, delete) is tried. A person waits for the answer, so it
/// is short; and it is long enough to win the race against a holder that renews, and to outlast a short
/// failure of the store.
pub const EDIT_PATIENCE: Duration = Duration::from_secs(10);

/// How long the recording of a completion is tried: four ttls. It is longer than a release, because
/// what is not recorded is done again; nothing depends on its being short, because it is recorded only
/// on a record that nobody else has touched.
pub fn completion_patience(ttl: Duration) -> Duration {
    ttl.saturating_mul(4)
}

/// Spreads `span` evenly over `[span / 2, span * 3 / 2)` by a random number, so that clients that
/// started together do not stay together.
pub fn jitter(span: Duration, random: u128) -> Duration {
    (span / 2).saturating_add(part(span, random))
}

/// A random part of `span`. However long it is: spans come from records, replies and options.
pub fn part(span: Duration, random: u128) -> Duration {
    let parts = u32::try_from(random % 1024).unwrap_or_default();
    span.checked_mul(parts).map_or_else(|| span / 1024 * parts, |all| all / 1024)
}
