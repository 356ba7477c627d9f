//! When the next request may go out, for the sake of the store and of the others who use it.

use std::time::Duration;

use super::{Lease, Phase, Standing};
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
            wait *= 1 << (self.failures.saturating_sub(1)).min(8);
        }
        let wait = wait.min(self.settings.ttl / 4);
        (!wait.is_zero()).then(|| wait + deadline::jitter(wait / 4, ids()))
    }

    /// What a process that has just released waits longer than the limit before it takes the lock
    /// again. It knows of the release before all others, and would always come first.
    pub(super) fn courtesy(&self) -> Duration {
        match self.remembered {
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
        let least = self.settings.facts.least_write_interval + self.courtesy();
        least.saturating_sub(self.has_stood(now))
    }

    /// How long the newest state has stood, at the least.
    pub(super) fn has_stood(&self, now: Moment) -> Duration {
        self.stood.as_ref().map_or(Duration::ZERO, |s| s.least + now.shortest_since(s.at))
    }
}
