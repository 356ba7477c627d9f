//! What one acquisition hands to the next.

use crate::deadline::Moment;
use crate::pace::Standing;
use crate::record::FencingToken;
use crate::register::Seen;
use crate::silence::Sighting;

/// What one acquisition can hand to the next of the same process on the same key.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    pub(crate) seen: Option<Seen>,
    pub(crate) highest: Option<FencingToken>,
    pub(crate) watch: Watch,
}

impl Memory {
    /// Knows, beside what it knows itself, what another process of this host has seen. Its moments must
    /// be of the same clocks: those of another host, or of another boot, mean nothing here.
    #[must_use]
    pub fn and(mut self, watch: Watch, now: Moment) -> Memory {
        let Watch { sighting, stood } = watch;
        let is_past = |at: Moment| at.boot <= now.boot && at.mono <= now.mono;
        let sighting = sighting.filter(|sighting| is_past(sighting.since));
        self.watch.sighting = self.watch.sighting.or(sighting);
        self.watch.stood = self.watch.stood.or(stood.filter(|stood| is_past(stood.at)));
        self
    }
}

#[cfg(feature = "planted")]
impl Memory {
    /// The id under which the process last held, as far as the record remembers it.
    pub(crate) fn id_before(&self, label: &str) -> Option<crate::record::HolderId> {
        let past = self.seen.as_ref()?.record.as_ref()?.past.as_ref()?;
        past.id.filter(|_| past.label == label)
    }
}

/// What is known of a record because it was looked at for some time. The next to look goes on from
/// there if it finds the same, and begins anew if it does not.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Watch {
    /// Its holder.
    pub sighting: Option<Sighting>,
    /// Its state.
    pub stood: Option<Standing>,
}
