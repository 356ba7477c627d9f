//! When a waiter may take the lock: what the newest record means, and since when its holder has given
//! no sign of life.

use std::time::Duration;

use super::{Failure, Lease, Sighting};
use crate::deadline::{self, Moment, Now};
use crate::once::Settled;
use crate::record::{BadRecord, FencingToken, Kind};

/// What a waiter makes of the newest record.
pub(super) enum Verdict {
    /// Write ourselves into it.
    Take,
    /// It names us already, by a write whose reply came too late to count.
    Refresh,
    /// Another holds, for about this long unless it renews.
    Wait(Duration),
    /// It can never be had.
    Never(Failure),
    /// There is nothing to run.
    Settled(Settled),
    /// The last run failed, and the next may begin after this long.
    BackOff(Duration),
}

impl Lease {
    /// Notes since when the holder has given no sign of life.
    pub(super) fn sight(&mut self, now: Moment) {
        planted!(PatienceFromRequest: let now = self.pause.map_or(now, |(asked, _)| asked));
        let record = self.seen.as_ref().and_then(|s| s.record.as_ref());
        let shown = record.and_then(|r| {
            let holder = r.holder()?;
            Some(Sighting {
                token: r.token,
                holder: holder.id,
                renewals: holder.renewals,
                since: now,
            })
        });
        let sign = |s: &Sighting| (s.token, s.holder, s.renewals);
        planted!(RenewalUnseen: let sign = |s: &Sighting| (s.token, s.holder, 0));
        planted!(SecondLeaseUnseen: let sign =
            |s: &Sighting| (FencingToken(0), s.holder, s.renewals));
        self.sighting = shown.map(|new| match self.sighting.take() {
            Some(old) if sign(&old) == sign(&new) => old,
            _ => new,
        });
    }

    /// What the newest record means for a waiter, now.
    pub(super) fn judge(&self, now: Now) -> Verdict {
        if self.highest.is_some_and(FencingToken::is_last) && !self.is_ours() {
            return Verdict::Never(Failure::Unreadable(BadRecord::Spent));
        }
        let Some(record) = self.seen.as_ref().and_then(|s| s.record.as_ref()) else {
            return Verdict::Take;
        };
        let kind = if self.settings.once.is_some() { Kind::Once } else { Kind::Mutex };
        // Whether somebody is at work can be asked of both kinds.
        let is_asked = record.kind == Kind::Once && self.only_looks();
        if record.kind != kind && !is_asked {
            return Verdict::Never(Failure::WrongKind(record.kind));
        }
        if let Some(once) = &self.settings.once
            && let Some(verdict) = self.judge_outcome(record, once, now)
        {
            return verdict;
        }
        let now = now.moment;
        let Some(holder) = record.holder() else { return Verdict::Take };
        if holder.id == self.holder {
            return Verdict::Refresh;
        }
        planted!(OwnerIsHost: if self.is_ours() { return Verdict::Refresh; });
        planted!(DelayIgnoredForDead: if self.orphaned { return Verdict::Take; });
        if self.orphaned && holder.takeover_delay_ms == 0 {
            return Verdict::Take;
        }
        let (ttl, delay) = (holder.ttl(), holder.takeover_delay());
        planted!(OwnTtl: let ttl = self.settings.ttl);
        let by_sight = self.sighting.as_ref().map_or(Duration::MAX, |s| {
            deadline::takeover_due(ttl, delay).saturating_sub(now.shortest_since(s.since))
        });
        let by_age = self.age.map_or(Duration::MAX, |age| {
            let uncertainty = self.settings.facts.clock_uncertainty;
            deadline::takeover_age(ttl, delay, uncertainty).saturating_sub(age)
        });
        planted!(TakeoverAtFirstSight: let by_age = self.age.map_or(Duration::ZERO, |_| by_age));
        match by_sight.min(by_age) {
            Duration::ZERO => Verdict::Take,
            left => Verdict::Wait(left),
        }
    }
}
