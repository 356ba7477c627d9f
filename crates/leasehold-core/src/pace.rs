//! Part of a machine: when the next request may go out, for the sake of the store and of the others who
//! use it. All of it is politeness; no promise rests on it.

use std::time::Duration;

use crate::backend::{Expected, Facts};
use crate::deadline::{self, Moment, Poll};
use crate::record::FencingToken;
use crate::register::Seen;

/// How long a state had stood at a moment, at the least. It serves a store's limit on writes and the wait
/// after a failed run, and decides nothing about a lease.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// The state.
    pub state: Expected,
    /// The moment.
    pub at: Moment,
    /// How long it had stood then.
    pub least: Duration,
}

impl Standing {
    /// A state that is seen for the first time.
    fn begun(state: &Expected, now: Moment) -> Standing {
        Standing { state: state.clone(), at: now, least: Duration::ZERO }
    }
}

/// A source of fresh random numbers.
pub type Ids<'a> = dyn FnMut() -> u128 + 'a;

/// What paces one acquisition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pace {
    facts: Facts,
    ttl: Duration,
    /// Nothing is sent before this long after that moment.
    pause: Option<(Moment, Duration)>,
    /// Failures in a row, and since when.
    failures: u32,
    failing_since: Option<Moment>,
    /// Races lost in a row, and whether the wait that politeness asks for after them is over.
    conflicts: u32,
    polite: bool,
    /// Since when the newest token has been seen.
    unchanged: Option<(FencingToken, Moment)>,
    /// How long the newest state has stood.
    stood: Option<Standing>,
    /// Whether the newest state is only remembered, from an earlier acquisition of this process that
    /// released it.
    remembered: bool,
    /// Whether it is what our first look showed: we have not waited for it.
    first_look: bool,
}

impl Pace {
    /// Nothing has been sent. `stood` is from before, and `remembered` whether the newest state is.
    pub fn new(facts: Facts, ttl: Duration, stood: Option<Standing>, remembered: bool) -> Pace {
        Pace {
            facts,
            ttl,
            pause: None,
            failures: 0,
            failing_since: None,
            conflicts: 0,
            polite: false,
            unchanged: None,
            stood,
            remembered,
            first_look: false,
        }
    }

    /// The moment since which nothing is sent, and for how long.
    pub fn pause(&self) -> Option<(Moment, Duration)> {
        self.pause
    }

    /// What is left of the pause.
    pub fn pause_left(&self, now: Moment) -> Option<Duration> {
        let (since, span) = self.pause?;
        // The earlier of two answers is the safe one here: waking too early only means looking.
        span.checked_sub(now.longest_since(since)).filter(|left| !left.is_zero())
    }

    /// Sends nothing for so long.
    pub fn rest(&mut self, now: Moment, span: Duration) {
        self.pause = Some((now, span));
    }

    /// Ends the pause.
    pub fn go(&mut self) {
        self.pause = None;
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Races lost in a row.
    pub fn conflicts(&self) -> u32 {
        self.conflicts
    }

    /// Whether the wait after lost races is over.
    pub fn is_polite(&self) -> bool {
        self.polite
    }

    /// How long the newest state has stood, to be handed on.
    pub fn stood(&self) -> Option<&Standing> {
        self.stood.as_ref()
    }

    /// A state is the newest one now, and the register knew none before if it is the `first`.
    pub fn see(&mut self, seen: &Seen, first: bool, now: Moment) {
        self.remembered = false;
        self.first_look = first;
        let token = seen.token();
        if let Some(token) = token.filter(|new| self.unchanged.is_none_or(|(old, _)| old != *new)) {
            self.unchanged = Some((token, now));
        }
        if self.stood.as_ref().is_none_or(|stood| stood.state != seen.state) {
            self.stood = Some(Standing::begun(&seen.state, now));
        }
    }

    /// What the store's clock says of how long a state has stood counts if it is more than we saw.
    pub fn hear_age(&mut self, age: Option<Duration>, now: Moment) {
        let Some(age) = age else { return };
        let least = age.saturating_sub(self.facts.clock_uncertainty);
        let seen = self.has_stood(now);
        if let Some(stood) = &mut self.stood {
            *stood = Standing { state: stood.state.clone(), at: now, least: least.max(seen) };
        }
    }

    /// How long the newest state has stood, at the least.
    pub fn has_stood(&self, now: Moment) -> Duration {
        self.stood
            .as_ref()
            .map_or(Duration::ZERO, |s| s.least.saturating_add(now.shortest_since(s.at)))
    }

    /// How much longer than the limit a process waits before it takes a lock that it has just released,
    /// or, if it `waits`, finds just released at its first look. It knows of the release as soon as the
    /// waiters or sooner, and a loop of such processes would always come first. A lock that was released
    /// longer ago has no waiters.
    pub fn courtesy(&self, waits: bool) -> Duration {
        match self.remembered || self.first_look && waits {
            true => self.facts.least_write_interval,
            false => Duration::ZERO,
        }
    }

    /// How long the newest state has to stand before the store's limit and `courtesy` allow a write.
    pub fn too_early(&self, courtesy: Duration, now: Moment) -> Duration {
        if self.stood.is_none() {
            return Duration::ZERO;
        }
        let least = self.facts.least_write_interval.saturating_add(courtesy);
        least.saturating_sub(self.has_stood(now))
    }

    /// The store answers, and its answers are good.
    pub fn recovered(&mut self) {
        self.failures = 0;
        self.failing_since = None;
    }

    /// Counts begin again for something new that is to be written.
    pub fn turn(&mut self) {
        self.pause = None;
        self.failures = 0;
        self.conflicts = 0;
    }

    /// A write landed and was what we wanted: no race is lost any more.
    pub fn won(&mut self) {
        self.conflicts = 0;
    }

    /// A request came to nothing: rests, and gives how long the store has failed. A store that asked for
    /// patience is left alone for not shorter than it said or than its limit on writes, but short enough
    /// for a deadline. Without a lease (`is_waiter`) that doubles every time, so that what the store can
    /// take is left to renewals and releases.
    pub fn failed(
        &mut self,
        asked: Option<Option<Duration>>,
        is_waiter: bool,
        now: Moment,
        ids: &mut Ids<'_>,
    ) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let since = *self.failing_since.get_or_insert(now);
        let wait = asked.and_then(|asked| self.patience_asked(asked, is_waiter, ids));
        let wait = wait
            .unwrap_or_else(|| deadline::jitter(deadline::backoff(self.failures, self.ttl), ids()));
        self.pause = Some((now, wait));
        now.longest_since(since)
    }

    fn patience_asked(
        &self,
        asked: Option<Duration>,
        is_waiter: bool,
        ids: &mut Ids<'_>,
    ) -> Option<Duration> {
        let mut wait = asked.unwrap_or_default().max(self.facts.least_write_interval);
        if is_waiter {
            // What a store asks for may be any number.
            wait = wait.saturating_mul(1 << (self.failures.saturating_sub(1)).min(8));
        }
        let wait = wait.min(self.ttl / 4);
        (!wait.is_zero()).then(|| wait.saturating_add(deadline::jitter(wait / 4, ids())))
    }

    /// A race was lost. After the first one a look follows at once; after more of them, the others get
    /// room. True if the newest state has to be read again after that.
    pub fn lost_race(&mut self, is_waiter: bool, now: Moment, ids: &mut Ids<'_>) -> bool {
        self.conflicts = (self.conflicts + 1).min(8);
        if !is_waiter {
            // A second refusal in a row comes from a store that is out of order.
            if self.conflicts > 1 {
                let wait = deadline::backoff(self.conflicts, self.ttl);
                self.pause = Some((now, deadline::jitter(wait, ids())));
            }
            return false;
        }
        self.polite = false;
        let crowded = self.conflicts > 1 && self.facts.least_write_interval > Duration::ZERO;
        if crowded {
            let room = self.facts.least_write_interval.saturating_mul(self.conflicts);
            self.pause = Some((now, deadline::jitter(room, ids())));
        }
        crowded
    }

    /// Whether a free lock is left alone for a moment, because races for it were lost: spreading out costs
    /// the winner a few milliseconds and saves everybody most of the writes that would fail.
    pub fn spreads_out(&mut self, now: Moment, ids: &mut Ids<'_>) -> bool {
        if self.conflicts == 0 || self.polite {
            return false;
        }
        let room = self.facts.least_poll.saturating_mul(self.conflicts);
        self.polite = true;
        self.pause = Some((now, deadline::part(room, ids())));
        true
    }

    /// Rests until the next look, of a waiter since `began` that has to look again in `left` at the
    /// latest, at a holder with this `ttl`.
    pub fn poll(
        &mut self,
        left: Duration,
        ttl: Duration,
        began: Moment,
        now: Moment,
        ids: &mut Ids<'_>,
    ) {
        let poll = Poll {
            least: self.facts.least_poll,
            notifies: self.facts.notifies,
            waited: now.longest_since(began),
            unchanged: self.unchanged.map_or(Duration::ZERO, |(_, seen)| now.longest_since(seen)),
            ttl,
            to_expiry: left,
        };
        self.pause = Some((now, poll.sleep(ids())));
        planted!(HintsTrusted: if poll.notifies { self.pause = Some((now, deadline::TTL_MAX)); });
        self.polite = false;
    }

    /// Forgets all that only delays, for a checker that may delay every wake-up as long as it likes.
    #[cfg(feature = "inspect")]
    pub(crate) fn forget(&mut self, is_awaited: bool) {
        if !is_awaited {
            self.pause = None;
        }
        self.failures = 0;
        self.failing_since = None;
        self.conflicts = self.conflicts.min(1);
    }
}
