//! One host's clocks, which run at their own rate, jump, and stop in their own ways.

use std::time::Duration;

use leasehold_core::deadline::{self, Moment, Now};

use crate::chance::Chance;
use crate::plan;

/// How a host stands still.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    /// The process stands, the clocks run.
    Freeze,
    /// The host sleeps: one of the clocks counts it.
    Suspend,
    /// The virtual machine stands: no steady clock counts it, only the wall clock jumps.
    Pause,
}

/// One host.
pub(crate) struct Host {
    /// Its clocks' rate, in millionths of true time.
    rate: u64,
    start: u64,
    wall_ms: u64,
    /// True time that no steady clock has counted.
    pub(crate) hidden: u64,
    /// True time that only one of them has counted.
    asleep: u64,
    pub(crate) stopped: Option<(Stop, u64)>,
}

impl Host {
    /// `wild`: its clocks are off by more than the protocol assumes.
    pub(crate) fn draw(chance: &mut Chance, wild: bool) -> Host {
        let (rate, beyond) = (plan::rate(chance), chance.from(667_000, 1_333_001));
        Host {
            rate: if wild { beyond } else { rate },
            start: chance.from(0, 1 << 40),
            wall_ms: chance.from(1 << 40, 1 << 41),
            hidden: 0,
            asleep: 0,
            stopped: None,
        }
    }

    /// Its clocks' rate, as a part of true time.
    pub(crate) fn rate(&self) -> String {
        format!("{}.{:03}", self.rate / 1_000_000, self.rate / 1000 % 1000)
    }

    pub(crate) fn moment(&self, time: u64) -> Moment {
        let still = self.stopped.map_or(0, |(_, since)| time - since);
        let (mut hidden, mut asleep) = (self.hidden, self.asleep);
        match self.stopped {
            Some((Stop::Pause, _)) => hidden += still,
            Some((Stop::Suspend, _)) => asleep += still,
            _ => {}
        }
        let local = |t: u64| Duration::from_micros(self.start + t * self.rate / 1_000_000);
        Moment { boot: local(time - hidden), mono: local(time - hidden - asleep) }
    }

    pub(crate) fn now(&self, time: u64) -> Now {
        Now { moment: self.moment(time), unix_ms: self.wall_ms + time / 1000 }
    }

    /// The true time that this span of its own takes.
    pub(crate) fn takes(&self, span: Duration) -> u64 {
        let span = u64::try_from(span.as_micros()).unwrap_or(u64::MAX >> 20);
        span.saturating_mul(1_000_000) / self.rate + 1
    }

    /// Somebody sets the wall clock.
    pub(crate) fn wall_jumps(&mut self, by_ms: i64) {
        self.wall_ms = self.wall_ms.saturating_add_signed(by_ms);
    }

    pub(crate) fn go_on(&mut self, time: u64) -> Option<Stop> {
        let (stop, since) = self.stopped.take()?;
        match stop {
            Stop::Pause => self.hidden += time - since,
            Stop::Suspend => self.asleep += time - since,
            Stop::Freeze => {}
        }
        Some(stop)
    }

    /// Whether a pause that no steady clock counts is on.
    pub(crate) fn is_paused(&self) -> bool {
        matches!(self.stopped, Some((Stop::Pause, _)))
    }
}

/// The driver's rule: whether the wall clock ran so far ahead of the steady ones between two looks
/// that the host may have been paused unseen.
pub(crate) fn is_suspicious(looked_at: Now, now: Now, ttl: Duration) -> bool {
    let wall = Duration::from_millis(now.unix_ms.saturating_sub(looked_at.unix_ms));
    let steady = now.moment.longest_since(looked_at.moment);
    wall > steady + deadline::suspicious_jump(ttl)
}
