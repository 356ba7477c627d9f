//! Where an acquisition stands, and when time ends that by itself.

use std::time::Duration;

use super::waiter::Waiter;
use crate::deadline::{Deadline, Moment};

/// Where an acquisition stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    New,
    /// Waiting, or only looking.
    Acquiring(Waiter),
    Held(Deadline),
    /// Lost, and not released yet by the user.
    Lost,
    Releasing {
        since: Moment,
        /// Whether it was held until the user let go.
        held: ToTheEnd,
    },
    Ended,
}

/// Whether the lock was held until the user let go.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ToTheEnd {
    /// It was.
    Held,
    /// It was in doubt then. Our own release proves it if it lands: the record named us until then, so
    /// nobody came in between.
    Doubted,
    /// It was lost before, or never held.
    NotHeld,
}

impl Phase {
    /// What is left of it before time ends it; `None` if time does not. A release is tried for `patience`.
    pub(super) fn left(&self, patience: Duration, now: Moment) -> Option<Duration> {
        match *self {
            Phase::Held(deadline) => Some(deadline.left(now)),
            Phase::Acquiring(waiter) => waiter.left(now),
            Phase::Releasing { since, .. } => {
                Some(patience.saturating_sub(now.longest_since(since)))
            }
            Phase::New | Phase::Lost | Phase::Ended => None,
        }
    }

    /// Whether it waits for something.
    pub(super) fn is_awake(&self) -> bool {
        !matches!(self, Phase::New | Phase::Lost | Phase::Ended)
    }

    /// Whether it was held until now, if it is let go of now.
    pub(super) fn held(&self, is_doubted: bool) -> ToTheEnd {
        match self {
            Phase::Held(_) if is_doubted => ToTheEnd::Doubted,
            Phase::Held(_) => ToTheEnd::Held,
            _ => ToTheEnd::NotHeld,
        }
    }
}
