//! What a reply proves, and what is to be done next.

use std::time::Duration;

use serde_json::Map;

use super::takeover::Verdict;
use super::{Attempt, Event, Failure, Lease, Loss, Output, Outstanding, Patience, Phase, Release};
use super::{Request, Seen, Standing, ToTheEnd};
use crate::backend::{Fate, Trouble};
use crate::deadline::{self, Deadline, Moment, Now, Poll};
use crate::record::{BadRecord, Ended, FencingToken, Holder, Record, WriteId, bounded};
use crate::{mutex, once};

type Ids<'a> = dyn FnMut() -> u128 + 'a;

impl Lease {
    /// Takes a state as the newest one known.
    pub(super) fn see(&mut self, seen: Seen, now: Moment) {
        let token = seen.record.as_ref().map(|r| r.token);
        self.highest = self.highest.max(token);
        self.remembered = false;
        self.first_look = self.seen.is_none();
        if let Some(token) = token.filter(|new| self.unchanged.is_none_or(|(old, _)| old != *new)) {
            self.unchanged = Some((token, now));
        }
        if self.stood.as_ref().is_none_or(|stood| stood.state != seen.state) {
            self.stood = Some(Standing::begun(&seen.state, now));
        }
        self.seen = Some(seen);
        self.age = None;
        self.orphaned = false;
        self.must_read = false;
    }

    /// A state was read. False if it was refused as older than what was seen before.
    pub(super) fn read(
        &mut self,
        now: Moment,
        seen: Seen,
        was_write: bool,
        ids: &mut Ids<'_>,
        out: &mut Vec<Output>,
    ) -> bool {
        let token = seen.record.as_ref().map(|r| r.token);
        if token.is_some() && token < self.highest {
            // An older state than one seen before: the store broke its promise. It restarts no
            // timer and proves nothing.
            self.stale = true;
            self.must_read = true;
            self.failed(now, Fate::Unknown, Trouble::Unavailable, ids, out);
            return false;
        }
        self.stale = false;
        let unchanged = self.seen.as_ref().is_some_and(|s| s.state == seen.state);
        let ours = seen.record.as_ref().map(|r| r.write);
        self.see(seen, now);
        self.sight(now);
        planted!(ReadIsRenewal: if let (Phase::Held(_), true) = (self.phase, self.is_ours()) {
            self.phase = Phase::Held(Deadline::of_write(now, self.settings.ttl)); });
        if !unchanged {
            // The state that our open writes were conditioned on is gone for ever: one of them made
            // the new state, or all of them are dead.
            let landed = self.open.iter().find(|a| Some(a.id) == ours).cloned();
            planted!(LandedByName: let landed =
                self.open.last().filter(|_| self.is_ours()).cloned());
            self.open.clear();
            if let Some(attempt) = landed {
                self.recovered();
                self.landed(&attempt, now, out);
                return true;
            }
            if was_write {
                self.back_off(now, ids);
            }
        }
        planted!(UnchangedIsProof: self.open.clear());
        // A store that shows nothing and takes no write, such as a full disk, is as good as away.
        if self.open.is_empty() && !self.is_absent() {
            self.recovered();
        }
        self.settle(out);
        true
    }

    /// One of our writes is known to have landed, and `seen` is what it wrote.
    pub(super) fn landed(&mut self, attempt: &Attempt, now: Moment, out: &mut Vec<Output>) {
        self.suspect &= !attempt.clean;
        planted!(SuspicionSettledByAny: self.suspect = false);
        planted!(GrantDespitePause: let attempt = &Attempt { clean: true, ..attempt.clone() });
        let deadline = Deadline::of_write(attempt.sent, self.settings.ttl);
        planted!(DeadlineFromReply: let deadline = Deadline::of_write(now, self.settings.ttl));
        planted!(RenewedAfterDeadline: if self.phase == Phase::Lost {
            self.phase = Phase::Held(deadline); });
        match self.phase {
            Phase::Acquiring { .. } if attempt.clean && !deadline.is_past(now) => {
                let Some(record) = self.seen.as_ref().and_then(|s| s.record.as_ref()) else {
                    return;
                };
                let (token, past) = (record.token, record.past.clone());
                let outcome = record.outcome.clone();
                self.phase = Phase::Held(deadline);
                self.run = Some(token);
                self.conflicts = 0;
                out.push(Output::Event(Event::Granted { token, deadline, past, outcome }));
            }
            Phase::Held(_) => {
                self.phase = Phase::Held(deadline);
                self.conflicts = 0;
                out.push(Output::Event(match self.suspect {
                    true => Event::Suspected(deadline),
                    false => Event::Renewed(deadline),
                }));
                self.saved(attempt, out);
            }
            Phase::Releasing { held, .. } if !self.is_ours() => {
                let freed = held != ToTheEnd::NotHeld || self.completion.is_some();
                self.end(if freed { Release::Freed } else { Release::NotHeld }, out);
            }
            _ => {}
        }
    }

    /// What a newly read state means for somebody who holds, or is letting go.
    fn settle(&mut self, out: &mut Vec<Output>) {
        planted!(DeletionIgnored: if self.is_absent() { return; });
        if self.is_ours() {
            return;
        }
        let record = self.seen.as_ref().and_then(|s| s.record.as_ref());
        match self.phase {
            Phase::Held(_) => {
                let loss = match record {
                    None => Loss::Gone,
                    Some(r) => match r.holder() {
                        Some(other) => Loss::TakenOver(other.clone()),
                        None => Loss::Ended(r.past.clone()),
                    },
                };
                self.lose(loss, out);
            }
            Phase::Releasing { held, .. } if self.open.is_empty() => {
                self.end(self.let_go(held), out);
            }
            _ => {}
        }
    }

    /// What it means for who was letting go that the record is another's.
    fn let_go(&self, held: ToTheEnd) -> Release {
        let record = self.seen.as_ref().and_then(|s| s.record.as_ref());
        if let Some(completion) = &self.completion {
            return self.completed(record, completion);
        }
        let past = record.and_then(|r| r.past.as_ref()).filter(|p| p.id == Some(self.holder));
        let ended = past.map(|p| p.ended);
        let freed = match held {
            // It was held when the user let go. Whether our own release landed before the next holder
            // came or the lease ran out afterwards makes no difference to them; being forced out, or
            // the record's being deleted, does.
            ToTheEnd::Held => {
                record.is_some() && !matches!(ended, Some(Ended::Forced | Ended::Reset))
            }
            // Here it does: only by our own release it is known that nobody came before it.
            ToTheEnd::Doubted => ended == Some(Ended::Released),
            ToTheEnd::NotHeld => false,
        };
        if freed { Release::Freed } else { Release::NotHeld }
    }

    pub(super) fn unreadable(&mut self, bad: BadRecord, now: Moment, out: &mut Vec<Output>) {
        match self.phase {
            Phase::Acquiring { .. } => {
                self.open.clear();
                self.seen = None;
                self.fail(Failure::Unreadable(bad), now, out);
            }
            Phase::Held(_) => {
                self.open.clear();
                self.seen = None;
                self.lose(Loss::Unreadable(bad), out);
            }
            Phase::Releasing { .. } => self.end(Release::NotHeld, out),
            Phase::New | Phase::Lost | Phase::Ended => {}
        }
    }

    /// A write was refused, and who won was not told. It proves nothing about that write.
    pub(super) fn lost_race(&mut self, now: Moment, ids: &mut Ids<'_>) {
        planted!(ConflictIsFailure: self.open.truncate(self.open.len().saturating_sub(1)));
        self.back_off(now, ids);
        self.must_read = true;
    }

    /// After the first lost race look at once; after more of them, give the others room.
    fn back_off(&mut self, now: Moment, ids: &mut Ids<'_>) {
        self.conflicts = (self.conflicts + 1).min(8);
        if !matches!(self.phase, Phase::Acquiring { .. }) {
            // A second refusal in a row comes from a store that is out of order.
            if self.conflicts > 1 {
                let wait = deadline::backoff(self.conflicts, self.settings.ttl);
                self.pause = Some((now, deadline::jitter(wait, ids())));
            }
            return;
        }
        self.polite = false;
        if self.conflicts > 1 && self.settings.facts.least_write_interval > Duration::ZERO {
            let room = self.settings.facts.least_write_interval.saturating_mul(self.conflicts);
            self.pause = Some((now, deadline::jitter(room, ids())));
            self.must_read = true;
        }
    }

    pub(super) fn recovered(&mut self) {
        self.failures = 0;
        self.failing_since = None;
    }

    /// A request came to nothing.
    pub(super) fn failed(
        &mut self,
        now: Moment,
        fate: Fate,
        trouble: Trouble,
        ids: &mut Ids<'_>,
        out: &mut Vec<Output>,
    ) {
        planted!(SurrendersAtTrouble: if matches!(self.phase, Phase::Held(_)) {
            return self.lose(Loss::Expired, out); });
        self.failures = self.failures.saturating_add(1);
        let since = *self.failing_since.get_or_insert(now);
        let ttl = self.settings.ttl;
        let wait = match fate {
            Fate::Throttled { retry_after } => self.patience_asked(retry_after, ids),
            Fate::NotSent | Fate::Unknown => None,
        };
        let wait =
            wait.unwrap_or_else(|| deadline::jitter(deadline::backoff(self.failures, ttl), ids()));
        self.pause = Some((now, wait));
        out.push(Output::Event(Event::Trouble(trouble)));
        match self.phase {
            Phase::Acquiring { patience, .. } => {
                // A store that cannot be reached is waited for, but not for ever and not by those
                // who did not want to wait at all.
                let most = if patience == Patience::Try { ttl / 6 } else { ttl };
                if trouble != Trouble::Unavailable {
                    self.fail(Failure::Backend(trouble), now, out);
                } else if now.longest_since(since) >= most {
                    let failure =
                        if self.stale { Failure::Stale } else { Failure::Backend(trouble) };
                    self.fail(failure, now, out);
                }
            }
            Phase::Releasing { .. }
                if trouble != Trouble::Unavailable && self.completion.is_none() =>
            {
                self.end(Release::Unconfirmed, out);
            }
            // A holder goes on trying until the deadline, whatever the trouble, and so does who has
            // something to record.
            _ => {}
        }
    }

    /// Sends the next request if it is time for one, and arms the next wake-up.
    pub(super) fn advance(&mut self, now: Now, ids: &mut Ids<'_>, out: &mut Vec<Output>) {
        if self.outstanding.is_none() && self.pause_left(now.moment).is_none() {
            self.pause = None;
            match self.phase {
                Phase::Acquiring { .. } => {
                    self.advance_waiter(now, ids, out);
                    // It may have given up, and then what it wrote must be fenced at once.
                    if let Phase::Releasing { held, .. } = self.phase {
                        self.advance_release(now, held, ids, out);
                    }
                }
                Phase::Held(deadline) => self.advance_holder(now, deadline, ids, out),
                Phase::Releasing { held, .. } => self.advance_release(now, held, ids, out),
                Phase::New | Phase::Lost | Phase::Ended => {}
            }
        }
        self.arm(now.moment, out);
    }

    fn advance_waiter(&mut self, now: Now, ids: &mut Ids<'_>, out: &mut Vec<Output>) {
        planted!(PatienceFromRequest: self.pause = Some((now.moment, Duration::ZERO)));
        if self.must_read || self.seen.is_none() {
            return self.send(Request::Read, deadline::belief(self.settings.ttl), out);
        }
        planted!(AgeByWallClock: self.age =
            crate::planted::age_by_wall(self.holder_seen(), now.unix_ms));
        match self.judge(now) {
            Verdict::Never(failure) => self.fail(failure, now.moment, out),
            Verdict::Wait(left) => self.wait(left, now.moment, ids, out),
            Verdict::Settled(settled) => {
                out.push(Output::Event(Event::Settled(settled)));
                self.wind_down(now.moment, out);
            }
            Verdict::BackOff(left) => self.wait_to_retry(left, now.moment, ids, out),
            Verdict::Take if self.only_looks() => {
                out.push(Output::Event(Event::Free));
                self.wind_down(now.moment, out);
            }
            Verdict::Take => {
                if self.conflicts > 0 && !self.polite {
                    // Others want it too, and races were lost. Spreading out costs the winner a few
                    // milliseconds and saves everybody most of the writes that would fail.
                    let room = self.settings.facts.least_poll.saturating_mul(self.conflicts);
                    self.polite = true;
                    self.must_read = true;
                    self.pause = Some((now.moment, deadline::part(room, ids())));
                    return;
                }
                let early = self.too_early(now.moment);
                if !early.is_zero() {
                    // Others wait for the same moment: whoever saw it first has it, and the others
                    // find that out by looking.
                    let room = self.courtesy();
                    let room = deadline::part(room, ids());
                    self.pause = Some((now.moment, early.saturating_add(room)));
                    self.must_read = true;
                    return;
                }
                let write = WriteId(ids());
                let before = self.seen.as_ref().and_then(|s| s.record.as_ref());
                let first = self.first_token(now);
                let us = self.us(now);
                let mut record = mutex::acquire(before, first, us, write, now.unix_ms);
                if let Some(once) = &self.settings.once {
                    once::start(&mut record, before, &once.key);
                    self.replaced = before.and_then(|b| b.outcome.clone());
                }
                self.send_write(record, deadline::belief(self.settings.ttl), now.moment, out);
            }
            Verdict::Refresh => {
                self.send_renewal(deadline::belief(self.settings.ttl), now.moment, ids, out);
            }
        }
    }

    fn wait(&mut self, left: Duration, now: Moment, ids: &mut Ids<'_>, out: &mut Vec<Output>) {
        let Phase::Acquiring { patience, since, .. } = self.phase else { return };
        if patience == Patience::Try {
            return self.refuse(now, out);
        }
        let Some(record) = self.seen.as_ref().and_then(|s| s.record.as_ref()) else { return };
        let Some(holder) = record.holder().cloned() else { return };
        let poll = Poll {
            least: self.settings.facts.least_poll,
            notifies: self.settings.facts.notifies,
            waited: now.longest_since(since),
            unchanged: self.unchanged.map_or(Duration::ZERO, |(_, seen)| now.longest_since(seen)),
            ttl: holder.ttl(),
            to_expiry: left,
        };
        self.pause = Some((now, poll.sleep(ids())));
        planted!(HintsTrusted: if poll.notifies { self.pause = Some((now, deadline::TTL_MAX)); });
        self.must_read = true;
        self.polite = false;
        let token = record.token;
        out.push(Output::Event(Event::Waiting { holder, token, expires_in: left }));
    }

    fn advance_holder(
        &mut self,
        now: Now,
        deadline: Deadline,
        ids: &mut Ids<'_>,
        out: &mut Vec<Output>,
    ) {
        let left = deadline.left(now.moment);
        if self.must_read {
            return self.send(Request::Read, left, out);
        }
        let due = deadline::renewal_due(self.settings.ttl);
        let early = due.saturating_sub(now.moment.longest_since(deadline.sent));
        let saves = self.unsaved.is_some();
        if self.suspect || !self.open.is_empty() || saves || early.is_zero() {
            self.send_renewal(left, now.moment, ids, out);
        } else {
            self.pause = Some((now.moment, early));
        }
    }

    fn advance_release(
        &mut self,
        now: Now,
        held: ToTheEnd,
        ids: &mut Ids<'_>,
        out: &mut Vec<Output>,
    ) {
        let left = deadline::belief(self.settings.ttl);
        if self.must_read {
            return self.send(Request::Read, left, out);
        }
        if self.open.is_empty() && !self.is_ours() {
            return self.end(self.let_go(held), out);
        }
        let before = self.seen.as_ref().and_then(|s| s.record.as_ref());
        let first = self.first_token(now);
        let mut record = mutex::release(before, first, self.holder, WriteId(ids()), now.unix_ms);
        self.conclude(&mut record, now);
        self.send_write(record, left, now.moment, out);
    }

    fn send_renewal(
        &mut self,
        left: Duration,
        now: Moment,
        ids: &mut Ids<'_>,
        out: &mut Vec<Output>,
    ) {
        let Some(before) = self.seen.as_ref().and_then(|s| s.record.as_ref()) else { return };
        let mut record = mutex::renew(before, WriteId(ids()));
        if let Some((_, bytes)) = &self.unsaved {
            once::save(&mut record, bytes);
        }
        self.send_write(record, left, now, out);
    }

    fn send_write(&mut self, record: Record, left: Duration, now: Moment, out: &mut Vec<Output>) {
        let early = self.too_early(now);
        let Some(seen) = &self.seen else { return };
        if !early.is_zero() {
            self.pause = Some((now, early));
            return;
        }
        planted!(OneWriteId: let record = Record { write: WriteId(self.holder.0), ..record });
        planted!(EarlierWritesForgotten: self.open.clear());
        let saves = self.unsaved.as_ref().map(|(number, _)| *number);
        planted!(SavedWhenSent: if let (Some(n), Phase::Held(_)) = (saves, self.phase) {
            out.push(Output::Event(Event::Saved(n))); });
        self.open.push(Attempt { id: record.write, sent: now, clean: true, saves });
        self.send(Request::Write(seen.state.clone(), record), left, out);
    }

    fn send(&mut self, request: Request, left: Duration, out: &mut Vec<Output>) {
        self.requests += 1;
        let number = self.requests;
        planted!(BlindRelease: let request = crate::planted::blind(request, false));
        planted!(BlindTakeover: let request = crate::planted::blind(request, true));
        let writes = match &request {
            Request::Read => None,
            Request::Write(_, record) => Some(record.clone()),
        };
        self.outstanding = Some(Outstanding { number, writes });
        let timeout = deadline::request_timeout(left);
        out.push(Output::Send { number, request, timeout });
    }

    /// Where a record that does not exist starts: at the time, and above everything seen. A clock
    /// beyond all reason cannot use up all tokens at once.
    fn first_token(&self, now: Now) -> FencingToken {
        planted!(TokenReused: return FencingToken(1));
        let time = self.unix_ms.unwrap_or(now.unix_ms).clamp(1, FencingToken::MAX.0 / 2);
        FencingToken(time).max(self.highest.map_or(FencingToken(1), FencingToken::next))
    }

    fn us(&self, now: Now) -> Holder {
        Holder {
            id: self.holder,
            label: bounded(&self.settings.label),
            ttl_ms: u64::try_from(self.settings.ttl.as_millis()).unwrap_or(u64::MAX),
            renewals: 0,
            acquired_unix_ms: now.unix_ms,
            takeover_delay_ms: u64::try_from(self.settings.takeover_delay.as_millis())
                .unwrap_or(u64::MAX),
            extra: Map::new(),
        }
    }

    fn pause_left(&self, now: Moment) -> Option<Duration> {
        let (since, span) = self.pause?;
        // The earlier of two answers is the safe one here: waking too early only means looking.
        span.checked_sub(now.longest_since(since)).filter(|left| !left.is_zero())
    }

    /// While anything is awaited, a wake-up is armed.
    fn arm(&mut self, now: Moment, out: &mut Vec<Output>) {
        let by_phase = match self.phase {
            Phase::New | Phase::Lost | Phase::Ended => return,
            Phase::Held(deadline) => Some(deadline.left(now)),
            Phase::Acquiring { patience: Patience::AtMost(most), since, .. } => {
                Some(most.saturating_sub(now.longest_since(since)))
            }
            Phase::Acquiring { .. } => None,
            Phase::Releasing { since, .. } => {
                Some(self.release_patience().saturating_sub(now.longest_since(since)))
            }
        };
        // A pause of no length is no reason to sleep until something else comes up.
        let pause = self.pause.filter(|_| self.outstanding.is_none());
        let by_pause = pause.map(|(since, span)| span.saturating_sub(now.longest_since(since)));
        planted!(WakeupLost: let by_pause = by_pause.filter(|left| !left.is_zero()));
        // An answer is owed within the request's timeout; this is the net below it.
        let by_request = self.outstanding.as_ref().map(|_| self.settings.ttl);
        let first = [by_phase, by_pause, by_request].into_iter().flatten().min();
        out.push(Output::Wake(first.unwrap_or_default()));
    }
}
