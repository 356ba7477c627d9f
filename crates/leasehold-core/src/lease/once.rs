//! What is different for something that is to be done once: when there is nothing to run, what a run
//! saves, and how its end is recorded.

use std::time::Duration;

use super::takeover::Verdict;
use super::{Attempt, Event, Lease, Output, Patience, Phase, Release};
use crate::deadline::{self, Moment, Now, Poll};
use crate::once::{self, Completion, Once, Settled};
use crate::record::{Ended, Progress, Record};

impl Lease {
    /// Whether the record says that there is nothing to run, or nothing yet. `None`: go by the holder.
    pub(super) fn judge_outcome(&self, record: &Record, once: &Once, now: Now) -> Option<Verdict> {
        let outcome = record.outcome.as_ref()?;
        planted!(DoneIgnored: return None);
        if outcome.key != once.key {
            let earlier = outcome.earlier.iter().find(|e| e.key == once.key)?;
            return Some(Verdict::Settled(match earlier.done {
                Some(token) => Settled::Done { token, ending: None },
                None => Settled::Outdated { newest: outcome.key.clone() },
            }));
        }
        match outcome.state {
            Progress::Started => None,
            Progress::Done if self.is_stale_outcome(record, once, now) => None,
            Progress::Done => {
                let ending = outcome.ending.clone();
                Some(Verdict::Settled(Settled::Done { token: outcome.token, ending }))
            }
            Progress::Failed if outcome.failures >= once.max_attempts => {
                let (failures, ending) = (outcome.failures, outcome.ending.clone());
                planted!(NeverGivesUp: return None);
                Some(Verdict::Settled(Settled::Failed { failures, ending }))
            }
            Progress::Failed => {
                let due = deadline::retry_after(outcome.failures, once.backoff);
                let left = due.saturating_sub(self.has_stood(now.moment));
                planted!(BackOffIgnored: return None);
                (!left.is_zero()).then_some(Verdict::BackOff(left))
            }
        }
    }

    /// Whether a completion is too old to count. By the store's clock, where it tells an age, and by
    /// wall clocks otherwise: it decides only whether something is done again, never who holds.
    fn is_stale_outcome(&self, record: &Record, once: &Once, now: Now) -> bool {
        let (Some(valid_for), Some(outcome)) = (once.valid_for, &record.outcome) else {
            return false;
        };
        // The store tells the age of the record. A later token says that somebody has written it
        // since, who began and withdrew, or broke it.
        let age = self.age.filter(|_| record.token == outcome.token).unwrap_or_else(|| {
            let done = outcome.ending.as_ref().map_or(0, |e| e.unix_ms);
            Duration::from_millis(now.unix_ms.saturating_sub(done))
        });
        age >= valid_for
    }

    /// Whether the newest known record says that the last run of what is wanted failed.
    pub fn has_failed(&self) -> bool {
        let seen = self.seen.as_ref().and_then(|s| s.record.as_ref()?.outcome.as_ref());
        let wanted = self.settings.once.as_ref().map(|once| &once.key);
        seen.is_some_and(|o| o.state == Progress::Failed && Some(&o.key) == wanted)
    }

    /// Looks again when the next run may begin, and before that, because another may have begun one.
    pub(super) fn wait_to_retry(
        &mut self,
        left: Duration,
        now: Moment,
        ids: &mut dyn FnMut() -> u128,
        out: &mut Vec<Output>,
    ) {
        let Phase::Acquiring { patience, since, .. } = self.phase else { return };
        if patience == Patience::Try {
            return self.refuse(now, out);
        }
        let outcome = self.seen.as_ref().and_then(|s| s.record.as_ref()?.outcome.as_ref());
        let Some(outcome) = outcome else { return };
        let (failures, ending) = (outcome.failures, outcome.ending.clone());
        let poll = Poll {
            least: self.settings.facts.least_poll,
            notifies: self.settings.facts.notifies,
            waited: now.longest_since(since),
            unchanged: self.unchanged.map_or(Duration::ZERO, |(_, seen)| now.longest_since(seen)),
            ttl: self.settings.ttl,
            to_expiry: left,
        };
        self.pause = Some((now, poll.sleep(ids())));
        self.must_read = true;
        self.polite = false;
        out.push(Output::Event(Event::BackingOff { failures, ending, left }));
    }

    pub(super) fn save(&mut self, number: u64, bytes: Vec<u8>) {
        if matches!(self.phase, Phase::Held(_)) {
            self.unsaved = Some((number, bytes));
            // A renewal that is not due yet is no reason to wait; trouble with the store is.
            if self.failures == 0 && self.outstanding.is_none() {
                self.pause = None;
            }
        }
    }

    /// A write of ours landed; perhaps it saved something.
    pub(super) fn saved(&mut self, attempt: &Attempt, out: &mut Vec<Output>) {
        let Some(number) = attempt.saves else { return };
        self.unsaved.take_if(|(newest, _)| *newest == number);
        out.push(Output::Event(Event::Saved(number)));
    }

    /// The run has ended, and that is to be recorded.
    pub(super) fn complete(&mut self, completion: Completion, now: Moment, out: &mut Vec<Output>) {
        if matches!(self.phase, Phase::Held(_) | Phase::Lost) && self.settings.once.is_some() {
            self.unsaved = None;
            self.completion = Some(completion);
        }
        self.give_up(now, out);
    }

    /// Puts into the record by which we let go what is to stay of the run.
    pub(super) fn conclude(&self, record: &mut Record, now: Now) {
        if self.settings.once.is_none() {
            return;
        }
        match (&self.completion, self.run) {
            // No run began: it is as if we had never come.
            (None, None) | (Some(Completion::Withdrawn), _) => {
                planted!(WithdrawnStaysBegun: return);
                // What is seen may be the state before our acquiring, and then it is so already.
                let before =
                    if self.is_ours() { self.replaced.clone() } else { record.outcome.take() };
                once::withdraw(record, before);
            }
            // Interrupted: the next one resumes it.
            (None, Some(_)) => once::fit(record),
            (Some(completion), _) => {
                once::complete(record, completion, &self.settings.label, now.unix_ms);
            }
        }
    }

    /// What became of a completion, where the record is not ours any more.
    pub(super) fn completed(&self, record: Option<&Record>, completion: &Completion) -> Release {
        planted!(SupersededIsDone: return Release::Freed);
        let Some(record) = record else { return Release::NotHeld };
        // Whoever came next wrote how we ended, and we ended by the write that recorded it or not.
        if let Some(past) = record.past.as_ref().filter(|p| p.id == Some(self.holder)) {
            let let_go = past.ended == Ended::Released;
            return if let_go { Release::Freed } else { Release::NotHeld };
        }
        let once = self.settings.once.as_ref().zip(self.run);
        let is_recorded = once
            .is_some_and(|(once, token)| once::is_recorded(record, &once.key, token, completion));
        planted!(FailureDenied: if !is_recorded { return Release::NotHeld; });
        match completion {
            _ if is_recorded => Release::Freed,
            // Of the failures before the last end a record keeps no more than the number.
            Completion::Failed(_) if record.outcome.is_some() => Release::Unconfirmed,
            _ => Release::NotHeld,
        }
    }

    /// How long it is tried to let go.
    pub(super) fn release_patience(&self) -> Duration {
        match &self.completion {
            Some(Completion::Done(_) | Completion::Failed(_)) => {
                deadline::completion_patience(self.settings.ttl)
            }
            Some(Completion::Withdrawn) | None => self.settings.ttl,
        }
    }
}
