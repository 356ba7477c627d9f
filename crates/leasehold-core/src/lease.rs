//! One acquisition, from the first look to the release, as a state machine: time, replies and
//! commands in; requests, wake-ups and events out.
//!
//! What keeps it honest:
//!
//! * Among its outputs there is no unconditional write and no delete, so a blind release cannot even
//!   be expressed. One request is outstanding at a time; a new one replaces the one before, whose
//!   outcome is then unknown.
//! * **Nothing but a read proves a write dead.** Every write conditioned on the state last seen is
//!   kept in `open` until a read shows another state: it landed if the record carries its id, and is
//!   dead otherwise.
//! * A holder's right counts from the moment the write that is known to have landed was *sent*. A
//!   waiter's patience counts from the moment the reply that first showed the holder was *received*.
//! * While anything is awaited, a wake-up is armed.

use std::time::Duration;

use crate::backend::{Expected, Fate, Trouble};
use crate::deadline::{Deadline, Moment, Now};
use crate::once::Completion;
use crate::record::{FencingToken, Holder, HolderId, Kind, Outcome, Record, WriteId};

mod decide;
#[cfg(feature = "inspect")]
pub mod inspect;
mod message;
mod once;
mod pace;
mod takeover;

pub use message::{
    Event, Failure, Input, Loss, Output, Patience, Release, Reply, Request, Seen, Settings,
};

/// What one acquisition can hand to the next of the same process on the same key.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    seen: Option<Seen>,
    highest: Option<FencingToken>,
    watch: Watch,
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

/// What is known of a record because it was looked at for some time. The next to look goes on from
/// there if it finds the same, and begins anew if it does not.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Watch {
    /// Its holder.
    pub sighting: Option<Sighting>,
    /// Its state.
    pub stood: Option<Standing>,
}

/// Since when a holder has been seen without a sign of life.
#[derive(Clone, PartialEq, Eq, Debug)]
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

#[derive(Clone, PartialEq, Eq, Debug)]
struct Attempt {
    id: WriteId,
    sent: Moment,
    /// Sent after the last [`Input::Suspect`], so that its landing settles the suspicion.
    clean: bool,
    /// The number of the checkpoint that it saves.
    saves: Option<u64>,
}

/// The request that waits for its answer.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Outstanding {
    number: u64,
    /// What it writes, if it is a write; its attempt is then the last of `open`.
    writes: Option<Record>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    New,
    Acquiring {
        patience: Patience,
        since: Moment,
        /// Only to learn that it is free, not to take it.
        look: bool,
    },
    Held(Deadline),
    /// Lost, and not released yet by the user.
    Lost,
    Releasing {
        since: Moment,
        /// Whether it was held until the user let go.
        held: ToTheEnd,
    },
    Ended,
}

/// Whether the lock was held until the user let go.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ToTheEnd {
    /// It was.
    Held,
    /// It was in doubt then. Our own release proves it if it lands: the record named us until then, so
    /// nobody came in between.
    Doubted,
    /// It was lost before, or never held.
    NotHeld,
}

/// One acquisition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    settings: Settings,
    holder: HolderId,
    phase: Phase,
    /// The newest state that is known.
    seen: Option<Seen>,
    /// How long it has stood.
    stood: Option<Standing>,
    /// Whether it is only remembered: from an earlier acquisition of this process, which released it.
    remembered: bool,
    /// Whether it is what our first look showed: we have not waited for it.
    first_look: bool,
    /// Our writes conditioned on `seen` whose outcome is not proven.
    open: Vec<Attempt>,
    /// The backend's last word on `seen`.
    age: Option<Duration>,
    orphaned: bool,
    unix_ms: Option<u64>,
    sighting: Option<Sighting>,
    /// Since when the newest token has been seen.
    unchanged: Option<(FencingToken, Moment)>,
    highest: Option<FencingToken>,
    /// Whether `seen` must be read again before anything is decided on it.
    must_read: bool,
    outstanding: Option<Outstanding>,
    requests: u64,
    /// Nothing is sent before this long after that moment.
    pause: Option<(Moment, Duration)>,
    suspect: bool,
    /// Failures in a row, and since when.
    failures: u32,
    failing_since: Option<Moment>,
    stale: bool,
    /// Races lost in a row, and whether the wait that politeness asks for after them is over.
    conflicts: u32,
    polite: bool,
    /// Of something to be done once: what stood in the record before our acquiring, until a run began.
    replaced: Option<Outcome>,
    /// The token of the run, once it began.
    run: Option<FencingToken>,
    /// The checkpoint that is to be saved, and its number.
    unsaved: Option<(u64, Vec<u8>)>,
    /// How the run ended.
    completion: Option<Completion>,
}

impl Lease {
    /// An acquisition that has not begun. `holder` must be fresh: nobody may ever use it again.
    pub fn new(settings: Settings, holder: HolderId, memory: Memory) -> Lease {
        let Memory { seen, highest, watch: Watch { sighting, stood } } = memory;
        planted!(OwnerIsProcess: let holder =
            crate::planted::id_before(seen.as_ref(), &settings.label).unwrap_or(holder));
        // A free record that is remembered saves the first read: a write on it fails harmlessly if
        // it is outdated. Anything else must be looked at.
        let usable = settings.once.is_none()
            && seen.as_ref().is_some_and(|s| s.record.as_ref().is_some_and(is_free_mutex));
        Lease {
            settings,
            holder,
            phase: Phase::New,
            seen: seen.filter(|_| usable),
            stood,
            remembered: usable,
            first_look: false,
            open: vec![],
            age: None,
            orphaned: false,
            unix_ms: None,
            sighting,
            unchanged: None,
            highest,
            must_read: !usable,
            outstanding: None,
            requests: 0,
            pause: None,
            suspect: false,
            failures: 0,
            failing_since: None,
            stale: false,
            conflicts: 0,
            polite: false,
            replaced: None,
            run: None,
            unsaved: None,
            completion: None,
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

    /// The state whose change we would like to hear of at once: a waiter's, to be quick, and a
    /// holder's, to learn that it was forced out.
    pub fn wants_hint(&self) -> Option<&Expected> {
        let idle = self.outstanding.is_none() && self.failures == 0;
        let cares = matches!(self.phase, Phase::Acquiring { .. } | Phase::Held(_));
        self.seen.as_ref().filter(|_| idle && cares).map(|s| &s.state)
    }

    /// What the next acquisition of this process may know.
    pub fn into_memory(self) -> Memory {
        let watch = self.watch();
        Memory { seen: self.seen.filter(|_| self.open.is_empty()), highest: self.highest, watch }
    }

    /// What the next process of this host may know of another's lease.
    pub fn watch(&self) -> Watch {
        Watch { sighting: self.sighting.clone(), stood: self.stood.clone() }
    }

    /// The state machine's only step. `ids` gives fresh random ids.
    pub fn step(
        &mut self,
        now: Now,
        input: Input,
        ids: &mut dyn FnMut() -> u128,
        out: &mut Vec<Output>,
    ) {
        // First of all: what time alone has decided, whatever the input says.
        self.expire(now.moment, out);
        match input {
            Input::Wake => {}
            Input::Changed => self.hint(),
            Input::Acquire(patience) => self.begin(patience, now.moment, false),
            Input::Look(patience) => self.begin(patience, now.moment, true),
            Input::Release => self.give_up(now.moment, out),
            Input::Suspect => self.suspect(out),
            Input::Save(number, bytes) => self.save(number, bytes),
            Input::Complete(completion) => self.complete(completion, now.moment, out),
            Input::Reply(number, reply) => {
                if let Some(request) = self.outstanding.take_if(|o| o.number == number) {
                    self.reply(now, request, reply, ids, out);
                }
            }
        }
        self.expire(now.moment, out);
        self.advance(now, ids, out);
    }

    fn begin(&mut self, patience: Patience, now: Moment, look: bool) {
        if self.phase == Phase::New {
            self.phase = Phase::Acquiring { patience, since: now, look };
            // What is remembered may be tried by a write; to be told it must be looked at.
            self.must_read |= look;
        }
    }

    /// Ends what is over by time.
    fn expire(&mut self, now: Moment, out: &mut Vec<Output>) {
        planted!(LossUntold: if matches!(self.phase, Phase::Held(_)) { return; });
        match self.phase {
            Phase::Held(deadline) if deadline.is_past(now) => self.lose(Loss::Expired, out),
            Phase::Acquiring { patience: Patience::AtMost(most), since, .. }
                if now.longest_since(since) >= most =>
            {
                self.refuse(now, out);
            }
            Phase::Releasing { since, .. }
                if now.longest_since(since) >= self.release_patience() =>
            {
                self.end(Release::Unconfirmed, out);
            }
            _ => {}
        }
    }

    /// Whether it is only to learn that it is free.
    fn only_looks(&self) -> bool {
        matches!(self.phase, Phase::Acquiring { look: true, .. })
    }

    fn hint(&mut self) {
        if self.wants_hint().is_some() {
            self.must_read = true;
            self.pause = None;
        }
    }

    fn suspect(&mut self, out: &mut Vec<Output>) {
        planted!(SuspicionIgnored: return);
        for attempt in &mut self.open {
            attempt.clean = false;
        }
        if let Phase::Held(deadline) = self.phase
            && !self.suspect
        {
            self.suspect = true;
            self.pause = None;
            out.push(Output::Event(Event::Suspected(deadline)));
        }
    }

    /// The user wants the lock no longer.
    fn give_up(&mut self, now: Moment, out: &mut Vec<Output>) {
        planted!(CancelForgetsWrite: if matches!(self.phase, Phase::Acquiring { .. }) {
            return self.end(Release::NotHeld, out); });
        match self.phase {
            Phase::New => self.end(Release::NotHeld, out),
            Phase::Acquiring { .. } | Phase::Held(_) | Phase::Lost => self.wind_down(now, out),
            Phase::Releasing { .. } | Phase::Ended => {}
        }
    }

    /// Nobody waits for this any more: make sure that nothing of ours is left or can still land.
    fn wind_down(&mut self, now: Moment, out: &mut Vec<Output>) {
        // An outstanding request is abandoned. If it is a write, its id stays in `open`, and the
        // write that frees the lock on the same state settles which of the two lands.
        self.outstanding = None;
        self.pause = None;
        self.failures = 0;
        self.conflicts = 0;
        self.must_read = self.is_absent();
        if self.open.is_empty() && !self.is_ours() {
            self.end(Release::NotHeld, out);
        } else {
            let held = match self.phase {
                Phase::Held(_) if self.suspect => ToTheEnd::Doubted,
                Phase::Held(_) => ToTheEnd::Held,
                _ => ToTheEnd::NotHeld,
            };
            self.phase = Phase::Releasing { since: now, held };
        }
    }

    /// Time is up for a waiter.
    fn refuse(&mut self, now: Moment, out: &mut Vec<Output>) {
        if self.failures > 0 {
            return self.fail(Failure::Backend(Trouble::Unavailable), now, out);
        }
        let seen = self.seen.as_ref().and_then(|s| s.record.as_ref());
        let rival = seen.and_then(|r| Some((r.holder()?.clone(), r.token)));
        let rival = rival.filter(|(h, _)| h.id != self.holder);
        out.push(Output::Event(Event::NotAcquired(rival)));
        self.wind_down(now, out);
    }

    fn fail(&mut self, failure: Failure, now: Moment, out: &mut Vec<Output>) {
        out.push(Output::Event(Event::Failed(failure)));
        self.wind_down(now, out);
    }

    fn lose(&mut self, loss: Loss, out: &mut Vec<Output>) {
        planted!(RenewedAfterDeadline: {
            self.phase = Phase::Lost; return out.push(Output::Event(Event::Lost(loss))); });
        // After a mere expiry the record may still be ours; it is freed when the user lets go and
        // not before, because the work may still be stopping.
        self.phase = Phase::Lost;
        self.outstanding = None;
        self.pause = None;
        out.push(Output::Event(Event::Lost(loss)));
    }

    fn end(&mut self, release: Release, out: &mut Vec<Output>) {
        self.phase = Phase::Ended;
        self.outstanding = None;
        out.push(Output::Event(Event::Released(release)));
    }

    /// Whether nothing was stored. Absence is the one state that can come back, so a record is only
    /// made straight after a look: what that look said of the time dates its first token, which must
    /// be above those of a record that came and was deleted meanwhile.
    fn is_absent(&self) -> bool {
        planted!(AbsenceTrusted: return false);
        self.seen.as_ref().is_some_and(|s| s.state == Expected::Absent)
    }

    fn holder_seen(&self) -> Option<&Holder> {
        self.seen.as_ref()?.record.as_ref()?.holder()
    }

    /// Whether the newest known record names us.
    fn is_ours(&self) -> bool {
        planted!(OwnerIsHost: return self.holder_seen().is_some_and(|h|
            h.label == self.settings.label));
        planted!(RenewsAnother: if matches!(self.phase, Phase::Held(_)) {
            return self.holder_seen().is_some(); });
        planted!(CompletesAnother: if self.completion.is_some() {
            return self.holder_seen().is_some(); });
        planted!(ReleasesAnother: if matches!(self.phase, Phase::Releasing { .. }) {
            return self.holder_seen().is_some(); });
        self.holder_seen().is_some_and(|h| h.id == self.holder)
    }

    fn reply(
        &mut self,
        now: Now,
        request: Outstanding,
        reply: Reply,
        ids: &mut dyn FnMut() -> u128,
        out: &mut Vec<Output>,
    ) {
        let was_write = request.writes.is_some();
        planted!(ConflictIsReleased: if let (Reply::Conflict, Phase::Releasing { .. }) =
            (&reply, self.phase) { return self.end(Release::Freed, out); });
        match reply {
            Reply::Applied(state) => self.applied(now.moment, request, state, out),
            Reply::Read { seen, age, orphaned, unix_ms } => {
                self.unix_ms = unix_ms.or(self.unix_ms);
                if self.read(now.moment, seen, was_write, ids, out) {
                    self.age = age;
                    self.orphaned = orphaned;
                    self.hear_age(now.moment);
                }
            }
            Reply::Unreadable(bad) => self.unreadable(bad, now.moment, out),
            Reply::Conflict => self.lost_race(now.moment, ids),
            Reply::Failed(fate, trouble) => {
                planted!(UnknownIsFailure: if (fate, was_write) == (Fate::Unknown, true) {
                    self.open.pop(); });
                planted!(UnknownDoneIsFailed: if let (Fate::Unknown, true, Some(completion)) =
                    (fate, was_write, &mut self.completion) {
                    *completion = Completion::Failed(crate::once::Report::default()); });
                planted!(UnknownIsSuccess: if (fate, was_write) == (Fate::Unknown, true) {
                    return self.applied(now.moment, request, Expected::Absent, out); });
                planted!(ThrottledIsFailure: if let (Fate::Throttled { .. }, true) =
                    (fate, was_write) { self.open.pop(); });
                match fate {
                    // Proven never to land: it need not be remembered.
                    Fate::NotSent if was_write => {
                        self.open.pop();
                        self.must_read |= self.is_absent();
                    }
                    Fate::NotSent => {}
                    Fate::Throttled { .. } | Fate::Unknown => self.must_read = true,
                }
                self.failed(now.moment, fate, trouble, ids, out);
            }
        }
    }

    /// Our last write landed: everything else that was conditioned on the same state is dead.
    fn applied(
        &mut self,
        now: Moment,
        request: Outstanding,
        state: Expected,
        out: &mut Vec<Output>,
    ) {
        let (Some(record), Some(attempt)) = (request.writes, self.open.pop()) else { return };
        self.open.clear();
        self.recovered();
        self.see(Seen { state, record: Some(record) }, now);
        self.landed(&attempt, now, out);
    }
}

fn is_free_mutex(record: &Record) -> bool {
    record.kind == Kind::Mutex && record.holders.is_empty()
}
