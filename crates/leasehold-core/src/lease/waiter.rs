//! A waiter: what it makes of the newest record, and what it does about it.

use std::time::Duration;

use super::entry::Entry;
use super::message::{Event, Failure, Output, Patience};
use crate::context::Context;
use crate::deadline::{self, Moment};
use crate::primitive::{Admission, Primitive};

/// How somebody waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Waiter {
    pub(super) patience: Patience,
    pub(super) since: Moment,
    /// Only to learn that it is free, not to take it.
    pub(super) look: bool,
}

/// What comes next for a waiter.
pub(super) enum Next<P: Primitive> {
    /// It has sent a request, or rests.
    Waits,
    /// It does not wait.
    Refused {
        /// Nobody has it, and it is too early.
        rests: bool,
    },
    /// It cannot have it.
    Failed(Failure),
    /// It need not wait any longer.
    Over(Event<P>),
}

impl Waiter {
    /// What is left of its patience; `None` if that does not end.
    pub(super) fn left(self, now: Moment) -> Option<Duration> {
        match self.patience {
            Patience::AtMost(most) => Some(most.saturating_sub(now.longest_since(self.since))),
            Patience::Try | Patience::Forever => None,
        }
    }

    /// For how long it waits for a store that cannot be reached: not for ever, and a try only shortly.
    pub(super) fn bears(self, ttl: Duration) -> Duration {
        if self.patience == Patience::Try { ttl / 6 } else { ttl }
    }

    /// Looks, waits, or writes us into the record.
    pub(super) fn advance<P: Primitive>(
        self,
        entry: &mut Entry<P>,
        cx: &mut Context<'_, Output<P>>,
    ) -> Next<P> {
        planted!(PatienceFromRequest: entry.link.pace.rest(cx.moment(), Duration::ZERO));
        let (now, belief) = (cx.moment(), deadline::belief(entry.settings.ttl));
        let (tries, register) = (self.patience == Patience::Try, &entry.link.register);
        if register.must_read() || register.newest().is_none() {
            cx.send(Some(entry.link.send_read(belief)));
            return Next::Waits;
        }
        match entry.admission(self.look, cx.now) {
            Err(failure) => return Next::Failed(failure),
            Ok(Admission::Answer(answer)) => return Next::Over(Event::Answer(answer)),
            Ok(Admission::Wait(_)) if tries => return Next::Refused { rests: false },
            Ok(Admission::Rest(_)) if tries => return Next::Refused { rests: true },
            Ok(Admission::Wait(left)) => {
                let Some(record) = entry.link.register.record() else { return Next::Waits };
                let Some(holder) = record.holder().cloned() else { return Next::Waits };
                let token = record.token;
                entry.link.poll(left, holder.ttl(), self.since, now, cx.ids);
                cx.tell(Event::Waiting { holder, token, expires_in: left });
            }
            Ok(Admission::Rest(left)) => {
                entry.link.poll(left, entry.settings.ttl, self.since, now, cx.ids);
                cx.tell(Event::Resting(left));
            }
            // It names us already, by a write whose reply came too late to count.
            Ok(Admission::Enter)
                if entry.link.register.holder().is_some_and(|h| entry.is_us(h)) =>
            {
                let sent = entry.renew(self.courtesy(entry), belief, cx.now, cx.ids);
                cx.send(sent);
            }
            Ok(Admission::Enter) if self.look => return Next::Over(Event::Free),
            Ok(Admission::Enter) if entry.link.pace.spreads_out(now, cx.ids) => {
                entry.link.register.read_first();
            }
            Ok(Admission::Enter) => self.enter(entry, cx),
        }
        Next::Waits
    }

    /// Writes us into the record, unless it is too early for that.
    fn enter<P: Primitive>(self, entry: &mut Entry<P>, cx: &mut Context<'_, Output<P>>) {
        let (now, courtesy) = (cx.moment(), self.courtesy(entry));
        let early = entry.link.too_early(courtesy, now);
        if early.is_zero() {
            let sent = entry.enter(cx.now, cx.ids);
            return cx.send(sent);
        }
        // Others wait for the same moment: the first one to see it takes the lock, and the others find
        // that out by looking.
        let room = deadline::part(courtesy, (cx.ids)());
        entry.link.look_again(early.saturating_add(room), now);
    }

    /// How much longer than the store's limit a lock is left to others.
    fn courtesy<P: Primitive>(self, entry: &Entry<P>) -> Duration {
        if self.look {
            return Duration::ZERO;
        }
        // A try has no turn to give away, and neither has what does not come again.
        let waits = self.patience != Patience::Try && entry.primitive.comes_again();
        entry.link.pace.courtesy(waits)
    }
}
