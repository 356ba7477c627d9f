//! One acquisition, from the first look to the release, as a state machine: time, replies and
//! commands in; requests, wake-ups and events out.
//!
//! What keeps it honest:
//!
//! * Among its outputs there is no unconditional write and no delete, so a blind release cannot even
//!   be expressed. The [`register`](crate::register) keeps what may still land.
//! * A holder's right counts from the moment the write that is known to have landed was *sent*. A
//!   waiter's patience counts from the moment the reply that first showed the holder was *received*:
//!   [`silence`](crate::silence).
//! * While anything is awaited, a wake-up is armed.
//!
//! Who may enter, and what it keeps in the record, is the [`Primitive`]'s. When it asks the store is
//! [`pace`](crate::pace)'s.

use std::time::Duration;

use crate::backend::{Expected, Fate, Trouble};
use crate::deadline::{self, Deadline, Moment, Now};
use crate::primitive::Primitive;
use crate::record::{BadRecord, HolderId, Record};
use crate::register::{Attempt, Outstanding, Reading, Told};

mod entry;
#[cfg(feature = "inspect")]
pub mod inspect;
mod memory;
mod message;
mod phase;
mod waiter;

use entry::{Ending, Entry};
use phase::Phase;
use waiter::{Next, Waiter};

pub use memory::{Memory, Watch};
pub use message::{Event, Failure, Input, Loss, Output, Patience, Release, Reply, Settings};
pub use phase::ToTheEnd;

pub use crate::pace::Standing;
pub use crate::register::{Request, Seen};
pub use crate::silence::Sighting;

type Context<'a, P> = crate::context::Context<'a, Output<P>>;

/// One acquisition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease<P: Primitive> {
    entry: Entry<P>,
    phase: Phase,
    /// Whether the clocks are suspected, and no write since then has landed.
    suspect: bool,
}

impl<P: Primitive> Lease<P> {
    /// An acquisition that has not begun. `holder` must be fresh: nobody may ever use it again.
    pub fn new(settings: Settings, primitive: P, holder: HolderId, memory: Memory) -> Lease<P> {
        Lease {
            entry: Entry::new(settings, primitive, holder, memory),
            phase: Phase::New,
            suspect: false,
        }
    }

    /// Whether the lock is held at `now`: a comparison with the clock.
    pub fn is_held(&self, now: Moment) -> bool {
        planted!(HeldIsAFlag: return matches!(self.phase, Phase::Held(_)) && !self.suspect);
        matches!(self.phase, Phase::Held(deadline) if !self.suspect && !deadline.is_past(now))
    }

    /// Whether nothing more will come out.
    pub fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// The newest record that is known.
    pub fn record(&self) -> Option<&Record> {
        self.entry.link.register.record()
    }

    /// The state whose change we would like to hear of at once: a waiter's, to be quick, and a
    /// holder's, to learn that it was forced out.
    pub fn wants_hint(&self) -> Option<&Expected> {
        let cares = matches!(self.phase, Phase::Acquiring(_) | Phase::Held(_));
        self.entry.link.wants_hint().filter(|_| cares)
    }

    /// What the next acquisition of this process may know.
    pub fn into_memory(self) -> Memory {
        self.entry.link.into_memory()
    }

    /// What the next process of this host may know of another's lease.
    pub fn watch(&self) -> Watch {
        self.entry.link.watch()
    }

    /// The state machine's only step. `ids` gives fresh random ids.
    pub fn step(
        &mut self,
        now: Now,
        input: Input<P>,
        ids: &mut dyn FnMut() -> u128,
        out: &mut Vec<Output<P>>,
    ) {
        let cx = &mut Context { now, ids, out };
        // First of all: what time alone has decided, whatever the input says.
        self.expire(cx);
        match input {
            Input::Wake => {}
            Input::Changed => self.hint(),
            Input::Acquire(patience) => self.begin(patience, false, cx),
            Input::Look(patience) => self.begin(patience, true, cx),
            Input::Release => self.give_up(cx),
            Input::Suspect => self.suspect(cx),
            Input::Ask(number, ask) => self.asked(number, ask),
            Input::End(end) => self.end_with(Ending::Recorded(end), cx),
            Input::Undo => self.end_with(Ending::Undone, cx),
            Input::Reply(number, reply) => {
                if let Some(request) = self.entry.link.register.answered(number) {
                    self.reply(request, reply, cx);
                }
            }
        }
        self.expire(cx);
        self.advance(cx);
    }

    fn begin(&mut self, patience: Patience, look: bool, cx: &Context<'_, P>) {
        if self.phase == Phase::New {
            self.phase = Phase::Acquiring(Waiter { patience, since: cx.moment(), look });
            // What is remembered may be tried by a write; to be told it must be looked at.
            if look {
                self.entry.link.register.read_first();
            }
        }
    }

    /// Ends what is over by time.
    fn expire(&mut self, cx: &mut Context<'_, P>) {
        planted!(LossUntold: if matches!(self.phase, Phase::Held(_)) { return; });
        let now = cx.moment();
        let is_over = self.left(now).is_some_and(|left| left.is_zero());
        match self.phase {
            Phase::Held(deadline) if deadline.is_past(now) => self.lose(Loss::Expired, cx),
            Phase::Acquiring(_) if is_over => self.refuse(false, cx),
            Phase::Releasing { .. } if is_over => self.end(Release::Unconfirmed, cx),
            _ => {}
        }
    }

    /// What is left before time ends what goes on.
    fn left(&self, now: Moment) -> Option<Duration> {
        self.phase.left(self.entry.patience(), now)
    }

    fn is_waiter(&self) -> bool {
        matches!(self.phase, Phase::Acquiring(_))
    }

    fn hint(&mut self) {
        if self.wants_hint().is_some() {
            self.entry.link.register.read_first();
            self.entry.link.pace.go();
        }
    }

    fn suspect(&mut self, cx: &mut Context<'_, P>) {
        planted!(SuspicionIgnored: return);
        self.entry.link.register.suspect();
        if let Phase::Held(deadline) = self.phase
            && !self.suspect
        {
            self.suspect = true;
            self.entry.link.pace.go();
            cx.tell(Event::Suspected(deadline));
        }
    }

    fn asked(&mut self, number: u64, ask: P::Ask) {
        if matches!(self.phase, Phase::Held(_)) {
            self.entry.ask = Some((number, ask));
            // A renewal that is not due yet is no reason to wait; trouble with the store is.
            if self.entry.link.is_idle() {
                self.entry.link.pace.go();
            }
        }
    }

    /// What was done under the lease has ended, and the record is to say so.
    fn end_with(&mut self, ending: Ending<P::End>, cx: &mut Context<'_, P>) {
        if matches!(self.phase, Phase::Held(_) | Phase::Lost) {
            self.entry.ask = None;
            self.entry.ending = Some(ending);
        }
        self.give_up(cx);
    }

    /// The user wants the lock no longer.
    fn give_up(&mut self, cx: &mut Context<'_, P>) {
        planted!(CancelForgetsWrite: if matches!(self.phase, Phase::Acquiring(_)) {
            return self.end(Release::NotHeld, cx); });
        match self.phase {
            Phase::New => self.end(Release::NotHeld, cx),
            Phase::Acquiring(_) | Phase::Held(_) | Phase::Lost => self.wind_down(cx),
            Phase::Releasing { .. } | Phase::Ended => {}
        }
    }

    /// Nobody waits for this any more: make sure that no entry or write of ours is left or can still land.
    fn wind_down(&mut self, cx: &mut Context<'_, P>) {
        self.entry.link.turn();
        if self.entry.link.register.open().is_empty() && !self.is_ours() {
            self.end(Release::NotHeld, cx);
        } else {
            let held = self.phase.held(self.suspect);
            self.phase = Phase::Releasing { since: cx.moment(), held };
        }
    }

    /// Time is up for a waiter, or it does not wait. `rests`: nobody has it, and it is too early.
    fn refuse(&mut self, rests: bool, cx: &mut Context<'_, P>) {
        if self.entry.link.pace.failures() > 0 {
            return self.fail(Failure::Backend(Trouble::Unavailable), cx);
        }
        let rival = self.record().and_then(|r| Some((r.holder()?.clone(), r.token)));
        let rival = rival.filter(|(h, _)| !self.entry.is_us(h));
        cx.tell(Event::NotAcquired { rival, rests });
        self.wind_down(cx);
    }

    fn fail(&mut self, failure: Failure, cx: &mut Context<'_, P>) {
        cx.tell(Event::Failed(failure));
        self.wind_down(cx);
    }

    fn lose(&mut self, loss: Loss, cx: &mut Context<'_, P>) {
        planted!(RenewedAfterDeadline: {
            self.phase = Phase::Lost; return cx.tell(Event::Lost(loss)); });
        // After a mere expiry the record may still be ours; it is freed when the user lets go and
        // not before, because the work may still be stopping.
        self.phase = Phase::Lost;
        self.entry.link.stop();
        cx.tell(Event::Lost(loss));
    }

    fn end(&mut self, release: Release, cx: &mut Context<'_, P>) {
        self.phase = Phase::Ended;
        self.entry.link.register.abandon();
        cx.tell(Event::Released(release));
    }

    /// Whether the newest known record names us.
    fn is_ours(&self) -> bool {
        let holder = self.entry.link.register.holder();
        planted!(RenewsAnother: if matches!(self.phase, Phase::Held(_)) {
            return holder.is_some(); });
        planted!(CompletesAnother: if self.entry.ending.is_some() { return holder.is_some(); });
        planted!(ReleasesAnother: if matches!(self.phase, Phase::Releasing { .. }) {
            return holder.is_some(); });
        holder.is_some_and(|h| self.entry.is_us(h))
    }

    fn reply(&mut self, request: Outstanding, reply: Reply, cx: &mut Context<'_, P>) {
        let was_write = request.writes.is_some();
        planted!(ConflictIsReleased: if let (Reply::Conflict, Phase::Releasing { .. }) =
            (&reply, self.phase) { return self.end(Release::Freed, cx); });
        match reply {
            Reply::Applied(state) => self.applied(request, state, cx),
            Reply::Read { seen, age, orphaned, unix_ms } => {
                self.read(seen, Told { age, orphaned, unix_ms }, was_write, cx);
            }
            Reply::Unreadable(bad) => self.unreadable(bad, cx),
            Reply::Conflict => {
                self.entry.link.back_off(self.is_waiter(), cx.now.moment, cx.ids);
                self.entry.link.register.refused();
            }
            Reply::Failed(fate, trouble) => {
                planted!(UnknownDoneIsFailed: if let (Fate::Unknown, true, Some(ending)) =
                    (fate, was_write, &mut self.entry.ending) { ending.fail::<P>(); });
                planted!(UnknownIsSuccess: if (fate, was_write) == (Fate::Unknown, true) {
                    return self.applied(request, Expected::Absent, cx); });
                self.entry.link.register.failed(&request, fate);
                self.failed(fate, trouble, cx);
            }
        }
    }

    /// Our last write landed.
    fn applied(&mut self, request: Outstanding, state: Expected, cx: &mut Context<'_, P>) {
        if let Some(attempt) = self.entry.link.applied(request, state, cx.moment()) {
            self.landed(attempt, cx);
        }
    }

    /// A state was read.
    fn read(&mut self, seen: Seen, told: Told, was_write: bool, cx: &mut Context<'_, P>) {
        #[cfg(feature = "planted")]
        let last = self.entry.link.register.open().last().copied();
        let reading = self.entry.link.read(seen, told, cx.moment());
        planted!(LandedByName: let reading = match reading {
            Reading::Changed(_) => Reading::Changed(last.filter(|_| self.is_ours())),
            other => other });
        if reading == Reading::Stale {
            // It restarts no timer and proves nothing.
            return self.failed(Fate::Unknown, Trouble::Unavailable, cx);
        }
        planted!(ReadIsRenewal: if let (Phase::Held(_), true) = (self.phase, self.is_ours()) {
            self.phase = Phase::Held(Deadline::of_write(cx.moment(), self.entry.settings.ttl)); });
        match reading {
            Reading::Changed(Some(attempt)) => {
                self.entry.link.pace.recovered();
                self.landed(attempt, cx);
            }
            Reading::Changed(None) | Reading::Unchanged | Reading::Stale => {
                if was_write && reading != Reading::Unchanged {
                    self.entry.link.back_off(self.is_waiter(), cx.now.moment, cx.ids);
                }
                // A store that shows nothing and takes no write, such as a full disk, is away.
                let register = &self.entry.link.register;
                if register.open().is_empty() && !register.is_absent() {
                    self.entry.link.pace.recovered();
                }
                self.settle(cx);
            }
        }
    }

    /// One of our writes is known to have landed, and the newest state is what it wrote.
    fn landed(&mut self, attempt: Attempt, cx: &mut Context<'_, P>) {
        let now = cx.moment();
        self.suspect &= !attempt.clean;
        planted!(SuspicionSettledByAny: self.suspect = false);
        planted!(GrantDespitePause: let attempt = Attempt { clean: true, ..attempt });
        let ttl = self.entry.settings.ttl;
        let deadline = Deadline::of_write(attempt.sent, ttl);
        planted!(DeadlineFromReply: let deadline = Deadline::of_write(now, ttl));
        planted!(RenewedAfterDeadline: if self.phase == Phase::Lost {
            self.phase = Phase::Held(deadline); });
        match self.phase {
            Phase::Acquiring(_) if attempt.clean && !deadline.is_past(now) => {
                let Some(record) = self.record().cloned() else { return };
                let (token, record) = (record.token, Box::new(record));
                self.phase = Phase::Held(deadline);
                self.entry.granted = Some(token);
                self.entry.link.pace.won();
                cx.tell(Event::Granted { token, deadline, record });
            }
            Phase::Held(_) => {
                self.phase = Phase::Held(deadline);
                self.entry.link.pace.won();
                cx.tell(match self.suspect {
                    true => Event::Suspected(deadline),
                    false => Event::Renewed(deadline),
                });
                if let Some(number) = attempt.asks {
                    self.entry.ask.take_if(|(newest, _)| *newest == number);
                    cx.tell(Event::Asked(number));
                }
            }
            Phase::Releasing { held, .. } if !self.is_ours() => {
                let freed = held != ToTheEnd::NotHeld || self.entry.ending.is_some();
                self.end(if freed { Release::Freed } else { Release::NotHeld }, cx);
            }
            _ => {}
        }
    }

    /// What a newly read state means for somebody who holds, or is letting go.
    fn settle(&mut self, cx: &mut Context<'_, P>) {
        planted!(DeletionIgnored: if self.entry.link.register.is_absent() { return; });
        if self.is_ours() {
            return;
        }
        match self.phase {
            Phase::Held(_) => {
                let loss = Loss::shown_by(self.record());
                self.lose(loss, cx);
            }
            Phase::Releasing { held, .. } if self.entry.link.register.open().is_empty() => {
                self.end(self.entry.let_go(held), cx);
            }
            _ => {}
        }
    }

    fn unreadable(&mut self, bad: BadRecord, cx: &mut Context<'_, P>) {
        match self.phase {
            Phase::Acquiring(_) => {
                self.entry.link.register.forget();
                self.fail(Failure::Unreadable(bad), cx);
            }
            Phase::Held(_) => {
                self.entry.link.register.forget();
                self.lose(Loss::Unreadable(bad), cx);
            }
            Phase::Releasing { .. } => self.end(Release::NotHeld, cx),
            Phase::New | Phase::Lost | Phase::Ended => {}
        }
    }

    /// A request came to nothing.
    fn failed(&mut self, fate: Fate, trouble: Trouble, cx: &mut Context<'_, P>) {
        planted!(SurrendersAtTrouble: if matches!(self.phase, Phase::Held(_)) {
            return self.lose(Loss::Expired, cx); });
        let failing = self.entry.link.failed(fate, self.is_waiter(), cx.now.moment, cx.ids);
        cx.tell(Event::Trouble(trouble));
        let (ttl, is_away) = (self.entry.settings.ttl, trouble == Trouble::Unavailable);
        match self.phase {
            Phase::Acquiring(waiter) if !is_away || failing >= waiter.bears(ttl) => {
                let is_stale = is_away && self.entry.link.register.is_stale();
                let failure = Failure::Backend(trouble);
                self.fail(if is_stale { Failure::Stale } else { failure }, cx);
            }
            Phase::Releasing { .. } if !is_away && self.entry.ending.is_none() => {
                self.end(Release::Unconfirmed, cx);
            }
            // A holder goes on trying until the deadline, whatever the trouble, and so does one that
            // has something to record.
            _ => {}
        }
    }

    /// Sends the next request if it is time for one, and arms the next wake-up.
    fn advance(&mut self, cx: &mut Context<'_, P>) {
        if self.entry.link.is_ready(cx.moment()) {
            match self.phase {
                Phase::Acquiring(waiter) => {
                    self.advance_waiter(waiter, cx);
                    // It may have given up, and then what it wrote must be fenced at once.
                    if let Phase::Releasing { held, .. } = self.phase {
                        self.advance_release(held, cx);
                    }
                }
                Phase::Held(deadline) => self.advance_holder(deadline, cx),
                Phase::Releasing { held, .. } => self.advance_release(held, cx),
                Phase::New | Phase::Lost | Phase::Ended => {}
            }
        }
        self.arm(cx);
    }

    fn advance_waiter(&mut self, waiter: Waiter, cx: &mut Context<'_, P>) {
        match waiter.advance(&mut self.entry, cx) {
            Next::Waits => {}
            Next::Refused { rests } => self.refuse(rests, cx),
            Next::Failed(failure) => self.fail(failure, cx),
            Next::Over(event) => {
                cx.tell(event);
                self.wind_down(cx);
            }
        }
    }

    fn advance_holder(&mut self, deadline: Deadline, cx: &mut Context<'_, P>) {
        let now = cx.moment();
        let left = deadline.left(now);
        if self.entry.link.register.must_read() {
            return self.send_read(left, cx);
        }
        let due = deadline::renewal_due(self.entry.settings.ttl);
        let early = due.saturating_sub(now.longest_since(deadline.sent));
        let is_doubted = self.suspect || !self.entry.link.register.open().is_empty();
        if is_doubted || self.entry.ask.is_some() || early.is_zero() {
            let sent = self.entry.renew(Duration::ZERO, left, cx.now, cx.ids);
            planted!(SavedWhenSent: if let (Some((n, _)), Some(_)) = (&self.entry.ask, &sent) {
                cx.tell(Event::Asked(*n)); });
            cx.send(sent);
        } else {
            self.entry.link.pace.rest(now, early);
        }
    }

    fn advance_release(&mut self, held: ToTheEnd, cx: &mut Context<'_, P>) {
        let left = deadline::belief(self.entry.settings.ttl);
        if self.entry.link.register.must_read() {
            return self.send_read(left, cx);
        }
        if self.entry.link.register.open().is_empty() && !self.is_ours() {
            return self.end(self.entry.let_go(held), cx);
        }
        let is_ours = self.is_ours();
        let sent = self.entry.leave(is_ours, cx.now, cx.ids);
        cx.send(sent);
    }

    fn send_read(&mut self, left: Duration, cx: &mut Context<'_, P>) {
        cx.send(Some(self.entry.link.send_read(left)));
    }

    /// While anything is awaited, a wake-up is armed.
    fn arm(&self, cx: &mut Context<'_, P>) {
        if !self.phase.is_awake() {
            return;
        }
        let now = cx.moment();
        let first = [self.left(now), self.entry.link.wake(now)].into_iter().flatten().min();
        cx.out.push(Output::Wake(first.unwrap_or_default()));
    }
}
