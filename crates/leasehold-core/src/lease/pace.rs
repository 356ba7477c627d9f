//! When the next request may go out, for the sake of the store and of the others who use it.

use std::time::Duration;

use super::{Lease, Patience, Phase, Standing};
use crate::backend::Expected;
use crate::deadline::{self, Moment};

impl Standing {
    /// A state that is seen for the first time.
    pub(super) fn begun(state: &Expected, now: Moment) -> Standing {
        Standing { state: state.clone(), at: now, least: Duration::ZERO }
    }
}

impl Lease {
    /// How long to leave a store alone that asked for patience: not shorter than it said or than its
    /// limit on writes, but short enough for a deadline. Whoever holds nothing doubles it every time,
    /// so that what the store can take is left to renewals and releases.
    pub(super) fn patience_asked(
        &self,
        asked: Option<Duration>,
        ids: &mut dyn FnMut() -> u128,
    ) -> Option<Duration> {
        let least = self.settings.facts.least_write_interval;
        let mut wait = asked.unwrap_or_default().max(least);
        if matches!(self.phase, Phase::Acquiring { .. }) {
            // What a store asks for may be any number.
            wait = wait.saturating_mul(1 << (self.failures.saturating_sub(1)).min(8));
        }
        let wait = wait.min(self.settings.ttl / 4);
        (!wait.is_zero()).then(|| wait.saturating_add(deadline::jitter(wait / 4, ids())))
    }

    /// How much longer than the limit a process waits before it takes a lock that it has just released, or
    /// finds just released at its first look. It knows of the release as soon as the waiters or sooner, and
    /// a loop of such processes would always come first. A lock that was released longer ago has no waiters.
    pub(super) fn courtesy(&self) -> Duration {
        let Phase::Acquiring { patience, look: false, .. } = self.phase else {
            return Duration::ZERO;
        };
        // Who does not wait has no turn to give away; what is to be done once has its turn once.
        let newcomer = self.first_look && patience != Patience::Try && self.settings.once.is_none();
        match self.remembered || newcomer {
            true => self.settings.facts.least_write_interval,
            false => Duration::ZERO,
        }
    }

    /// What the store's clock says of how long a state has stood counts if it is more than we saw.
    pub(super) fn hear_age(&mut self, now: Moment) {
        let Some(age) = self.age else { return };
        let least = age.saturating_sub(self.settings.facts.clock_uncertainty);
        let seen = self.has_stood(now);
        if let Some(stood) = &mut self.stood {
            *stood = Standing { state: stood.state.clone(), at: now, least: least.max(seen) };
        }
    }

    /// How long the newest state has to stand before the store's limit allows another write.
    pub(super) fn too_early(&self, now: Moment) -> Duration {
        if self.stood.is_none() || self.seen.is_none() || self.is_absent() {
            return Duration::ZERO;
        }
        let least = self.settings.facts.least_write_interval.saturating_add(self.courtesy());
        least.saturating_sub(self.has_stood(now))
    }

    /// How long the newest state has stood, at the least.
    pub(super) fn has_stood(&self, now: Moment) -> Duration {
        self.stood
            .as_ref()
            .map_or(Duration::ZERO, |s| s.least.saturating_add(now.shortest_since(s.at)))
    }
}
