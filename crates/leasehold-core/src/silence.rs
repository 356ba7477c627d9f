//! Part of a machine: since when a holder shows no sign of life, and what is left of its lease.
//!
//! A waiter's patience counts from the moment the reply that first showed the holder was *received*.

use std::time::Duration;

use crate::backend::Facts;
use crate::deadline::{self, Moment};
use crate::record::{FencingToken, Holder, HolderId, Record};
use crate::register::Told;

/// What is left of a lease, as far as one look can tell: zero if it may be taken over, `None` where the
/// store neither tells an age nor proves that the writer has ended.
pub fn at_one_look(holder: &Holder, told: &Told, facts: &Facts) -> Option<Duration> {
    let (ttl, delay) = (holder.ttl(), holder.takeover_delay());
    if told.orphaned && delay.is_zero() {
        return Some(Duration::ZERO);
    }
    let over = deadline::takeover_age(ttl, delay, facts.clock_uncertainty);
    told.age.map(|age| over.saturating_sub(age))
}

/// Since when a holder has been seen without a sign of life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sighting {
    /// One acquisition can come to hold twice, under one holder id: the token tells them apart.
    pub token: FencingToken,
    /// Who.
    pub holder: HolderId,
    /// Every renewal is a sign of life.
    pub renewals: u64,
    /// When the reply was received that was the first to show all this.
    pub since: Moment,
}

/// What is known of the silence of a record's holder.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Silence {
    sighting: Option<Sighting>,
}

impl Silence {
    /// Knows what another process of this host has seen, which counts if our first look shows the same.
    pub fn recalled(sighting: Option<Sighting>) -> Silence {
        Silence { sighting }
    }

    /// The holder that is being watched.
    pub fn sighting(&self) -> Option<&Sighting> {
        self.sighting.as_ref()
    }

    /// A reply received at `now` shows this record.
    pub fn watch(&mut self, record: Option<&Record>, now: Moment) {
        let shown = record.and_then(|record| {
            let Holder { id, renewals, .. } = record.holder()?;
            Some(Sighting { token: record.token, holder: *id, renewals: *renewals, since: now })
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

    /// What is left of the lease of the record's holder: zero when it may be taken over, by its silence or
    /// by the backend's word. The holder's own ttl counts, and never the waiter's.
    pub fn left(&self, holder: &Holder, told: &Told, facts: &Facts, now: Moment) -> Duration {
        planted!(DelayIgnoredForDead: if told.orphaned { return Duration::ZERO; });
        if told.orphaned && holder.takeover_delay_ms == 0 {
            return Duration::ZERO;
        }
        let (ttl, delay) = (holder.ttl(), holder.takeover_delay());
        let by_sight = self.sighting.as_ref().map_or(Duration::MAX, |s| {
            deadline::takeover_due(ttl, delay).saturating_sub(now.shortest_since(s.since))
        });
        let by_age = told.age.map_or(Duration::MAX, |age| {
            let uncertainty = facts.clock_uncertainty;
            deadline::takeover_age(ttl, delay, uncertainty).saturating_sub(age)
        });
        planted!(TakeoverAtFirstSight: let by_age = told.age.map_or(Duration::ZERO, |_| by_age));
        by_sight.min(by_age)
    }
}
