//! One change that a person makes to a record, as a state machine: break, reset, delete.
//!
//! It reads, judges what it read, and writes by compare-and-swap on the state that it judged, until one
//! write is known to have landed or there is nothing to write. What a lost answer hid is settled like
//! any other write: by reading. Where the record has moved on so far that it tells no more, the machine
//! says that it is not known, and never guesses.

use std::fmt::Debug;
use std::time::Duration;

use crate::backend::{Expected, Facts, Fate, Trouble};
use crate::context;
use crate::deadline::{self, Moment, Now};
use crate::lease::{Memory, Reply};
use crate::link::{Link, Sent};
use crate::record::{BadRecord, Ended, FencingToken, Holder, Record, WriteId};
use crate::register::{Outstanding, Reading, Seen, Told};
use crate::silence;

mod delete;
mod force;
mod reset;

pub use delete::{DeleteEdit, DeleteResult};
pub use force::{BreakEdit, BreakResult, Force, force_release, repair};
pub use reset::{ResetEdit, ResetResult, reset};

/// What a person wants of a record. It decides on one state at a time and may remember its target.
pub trait Change: Clone + Eq + Debug + Send {
    /// How it ends.
    type Result: Clone + Eq + Debug + Send;

    /// What the state that was read asks for.
    fn judge(&mut self, look: &Look<'_>) -> Verdict<Self>;
}

/// What a state asks for.
#[derive(Debug)]
pub enum Verdict<C: Change> {
    /// Nothing is left to do.
    End(C::Result),
    /// This record, and what it means once it has landed. Its token is higher than that of the state.
    Write(Record, C::Result),
    /// The state is to be deleted, and what that means.
    Delete(C::Result),
    /// What stands there is left alone.
    Refuse(BadRecord),
}

/// One state of the record, to be judged.
#[derive(Debug)]
pub struct Look<'a> {
    /// What stands there.
    pub found: Found<'a>,
    /// What the store tells beside it.
    pub told: Told,
    /// What the store says about itself.
    pub facts: Facts,
    /// Now, by the wall clock of the process that looks, as Unix milliseconds.
    pub unix_ms: u64,
    /// A fresh id, for the write.
    pub write: WriteId,
}

/// What stands under a key.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// Nothing.
    Absent,
    /// Bytes that are no record that can be used, and why.
    Damaged(&'a [u8], &'a BadRecord),
    /// A record.
    Record(&'a Record),
}

/// A holder as one look shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Party {
    /// Its entry in the record.
    pub holder: Holder,
    /// Its token.
    pub token: FencingToken,
    /// What is left of its lease, zero if it is over; `None` where one look cannot tell.
    pub left: Option<Duration>,
}

impl Party {
    /// Whether its lease is known to be over.
    pub fn is_over(&self) -> bool {
        self.left.is_some_and(|left| left.is_zero())
    }
}

impl Look<'_> {
    /// The holder of a record that was read.
    fn party(&self, record: &Record) -> Option<Party> {
        let holder = record.holder()?.clone();
        let left = silence::at_one_look(&holder, &self.told, &self.facts);
        Some(Party { holder, token: record.token, left })
    }

    /// Where a record starts that is made anew: see [`Register::first_token`](crate::register::Register).
    fn first_token(&self) -> FencingToken {
        let time = self.told.unix_ms.unwrap_or(self.unix_ms);
        FencingToken(time.clamp(1, FencingToken::MAX.0 / 2))
    }
}

/// What goes into the machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// Time passed. Given first, too.
    Wake,
    /// The reply to request number `.0`; one to an earlier request is ignored.
    Reply(u64, Reply),
    /// The reply to request number `.0` shows bytes that are no record that can be used.
    Damaged(u64, Damage),
    /// The reply to request number `.0`, a deletion: whether it took place.
    Deleted(u64, bool),
}

/// Bytes that are no record that can be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// The state, for the next write's condition.
    pub state: Expected,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Why they cannot be used.
    pub bad: BadRecord,
    /// What the store tells beside the state.
    pub told: Told,
}

/// What the driver has to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output<C: Change> {
    /// Send this request once. If there is no answer within its timeout, reply [`Fate::Unknown`].
    Send(Sent),
    /// Delete the record if it is still in this state, once, in the same way.
    Delete {
        /// For the reply.
        number: u64,
        /// The state.
        on: Expected,
        /// How long to wait for an answer.
        timeout: Duration,
    },
    /// Step again with [`Input::Wake`] after this long, or a little later. Replaces the wake before.
    Wake(Duration),
    /// It is over; nothing follows.
    End(Result<C::Result, Failure>),
}

impl<C: Change> From<Sent> for Output<C> {
    fn from(sent: Sent) -> Output<C> {
        Output::Send(sent)
    }
}

/// Why a change has no result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The store refuses or does not answer. A write that was sent may have landed or may still land.
    Backend(Trouble),
    /// The record kept changing.
    Busy,
    /// An answer was lost, and the record has moved on: whether the change was made is not known.
    NotKnown,
    /// What stands there is left alone.
    Unreadable(BadRecord),
}

/// A write of ours that may have landed.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Sending<R> {
    id: WriteId,
    /// What it means.
    result: R,
    /// The record that it was made from, if that could be read.
    base: Option<Record>,
    /// The token that it sets.
    token: FencingToken,
    /// Whether the store answered that its condition did not hold.
    is_refused: bool,
}

impl<R> Sending<R> {
    /// Whether `now`, which another wrote, shows that it never landed. If it had, the token would be at
    /// least its own, `past` would be new, and no holder of its base could have ended in another way.
    fn is_refuted_by(&self, now: &Record) -> bool {
        // A repair takes nothing from anybody: that another's came first is answer enough.
        let Some(base) = &self.base else { return self.is_refused || now.token < self.token };
        let ended_otherwise = |past: &crate::record::Past| {
            let is_base = past.id.is_some() && past.id == base.holder().map(|h| h.id);
            is_base && !matches!(past.ended, Ended::Forced | Ended::Reset)
        };
        now.token < self.token
            || now.past == base.past
            || now.past.as_ref().is_some_and(ended_otherwise)
    }
}

type Context<'a, C> = context::Context<'a, Output<C>>;

/// One change under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edit<C: Change> {
    change: C,
    facts: Facts,
    link: Link,
    began: Option<Moment>,
    has_ended: bool,
    damage: Option<Damage>,
    /// Our writes on the newest state.
    ours: Vec<Sending<C::Result>>,
    /// The deletion that waits for its answer.
    deleting: Option<C::Result>,
    /// A deletion whose answer was lost.
    perhaps_deleted: Option<C::Result>,
    trouble: Option<Trouble>,
}

impl<C: Change> Edit<C> {
    /// A change that has not begun.
    pub fn new(change: C, facts: Facts) -> Edit<C> {
        Edit {
            change,
            facts,
            link: Link::new(facts, deadline::EDIT_PATIENCE, Memory::default(), |_| false),
            began: None,
            has_ended: false,
            damage: None,
            ours: vec![],
            deleting: None,
            perhaps_deleted: None,
            trouble: None,
        }
    }

    /// Whether nothing more will come out.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// The machine's only step. `ids` gives fresh random ids.
    pub fn step(
        &mut self,
        now: Now,
        input: Input,
        ids: &mut dyn FnMut() -> u128,
        out: &mut Vec<Output<C>>,
    ) {
        let cx = &mut Context { now, ids, out };
        if self.has_ended {
            return;
        }
        self.began.get_or_insert(now.moment);
        match input {
            Input::Wake => {}
            Input::Reply(number, reply) => {
                if let Some(request) = self.link.register.answered(number) {
                    self.reply(request, reply, cx);
                }
            }
            Input::Damaged(number, damage) => {
                if self.link.register.answered(number).is_some() {
                    self.deleting = None;
                    let seen = Seen { state: damage.state.clone(), record: None };
                    let told = damage.told;
                    self.damage = Some(damage);
                    self.read(seen, told, cx);
                }
            }
            Input::Deleted(number, done) => {
                if self.link.register.answered(number).is_some() {
                    self.deleted(done, cx);
                }
            }
        }
        self.advance(cx);
    }

    fn end(&mut self, result: Result<C::Result, Failure>, cx: &mut Context<'_, C>) {
        self.has_ended = true;
        self.link.register.abandon();
        cx.out.push(Output::End(result));
    }

    fn reply(&mut self, request: Outstanding, reply: Reply, cx: &mut Context<'_, C>) {
        let was_write = request.writes.is_some();
        match reply {
            Reply::Applied(state) => {
                if let Some(attempt) = self.link.applied(request, state, cx.moment()) {
                    self.landed(attempt.id, cx);
                }
            }
            Reply::Read { seen, age, orphaned, unix_ms } => {
                self.damage = None;
                if was_write {
                    self.refused(cx);
                }
                self.read(seen, Told { age, orphaned, unix_ms }, cx);
            }
            Reply::Conflict => {
                self.refused(cx);
                self.link.register.refused();
            }
            Reply::Failed(fate, trouble) => {
                let deleting = self.deleting.take();
                if fate == Fate::NotSent && was_write {
                    self.ours.pop();
                } else if fate != Fate::NotSent {
                    self.perhaps_deleted = deleting.or(self.perhaps_deleted.take());
                    self.link.register.read_first();
                }
                self.link.register.failed(&request, fate);
                self.failed(fate, trouble, cx);
            }
            // The driver says `Damaged` instead, with what it takes to repair it.
            Reply::Unreadable(bad) => self.end(Err(Failure::Unreadable(bad)), cx),
        }
    }

    /// One of our writes is what stands there, or stood there last.
    fn landed(&mut self, id: WriteId, cx: &mut Context<'_, C>) {
        if let Some(sending) = self.ours.iter().find(|sending| sending.id == id) {
            let result = sending.result.clone();
            self.end(Ok(result), cx);
        }
    }

    /// A write met another state than the one it was made for.
    fn refused(&mut self, cx: &mut Context<'_, C>) {
        if let Some(last) = self.ours.last_mut() {
            last.is_refused = true;
        }
        self.link.back_off(false, cx.now.moment, cx.ids);
    }

    fn deleted(&mut self, done: bool, cx: &mut Context<'_, C>) {
        let Some(result) = self.deleting.take() else { return };
        if done {
            return self.end(Ok(result), cx);
        }
        self.link.back_off(false, cx.now.moment, cx.ids);
        self.link.register.read_first();
    }

    /// A state was read.
    fn read(&mut self, seen: Seen, told: Told, cx: &mut Context<'_, C>) {
        match self.link.read(seen, told, cx.moment()) {
            // It proves nothing.
            Reading::Stale => self.failed(Fate::Unknown, Trouble::Unavailable, cx),
            Reading::Unchanged => self.recovered(),
            Reading::Changed(Some(attempt)) => self.landed(attempt.id, cx),
            Reading::Changed(None) => {
                let record = self.link.register.record();
                let is_refuted = |it: &Sending<C::Result>| match record {
                    Some(now) => it.is_refuted_by(now),
                    None => it.is_refused,
                };
                if !self.ours.iter().all(is_refuted) {
                    return self.end(Err(Failure::NotKnown), cx);
                }
                self.ours.clear();
                self.recovered();
            }
        }
    }

    fn recovered(&mut self) {
        // A store that shows states and takes no write is in trouble still.
        if self.ours.is_empty() {
            self.link.pace.recovered();
            self.trouble = None;
        }
    }

    /// A request came to nothing.
    fn failed(&mut self, fate: Fate, trouble: Trouble, cx: &mut Context<'_, C>) {
        self.trouble = Some(trouble);
        let failing = self.link.failed(fate, false, cx.now.moment, cx.ids);
        let is_settled = self.ours.is_empty() && self.perhaps_deleted.is_none();
        let is_hopeless = trouble != Trouble::Unavailable;
        if is_hopeless || is_settled && failing >= deadline::EDIT_PATIENCE / 6 {
            self.end(Err(Failure::Backend(trouble)), cx);
        }
    }

    /// Sends the next request if it is time for one, and arms the next wake-up.
    fn advance(&mut self, cx: &mut Context<'_, C>) {
        let now = cx.moment();
        let Some(began) = self.began.filter(|_| !self.has_ended) else { return };
        let left = deadline::EDIT_PATIENCE.saturating_sub(now.longest_since(began));
        if left.is_zero() {
            return self.end(Err(self.trouble.map_or(Failure::Busy, Failure::Backend)), cx);
        }
        if self.link.is_ready(now) {
            self.act(left, cx);
        }
        if !self.has_ended {
            let wake = self.link.wake(now).unwrap_or_default();
            cx.out.push(Output::Wake(wake.min(left)));
        }
    }

    fn act(&mut self, left: Duration, cx: &mut Context<'_, C>) {
        let (register, now) = (&self.link.register, cx.now);
        let Some(seen) = register.newest().filter(|_| !register.must_read()) else {
            return cx.send(Some(self.link.send_read(left)));
        };
        let (record, state) = (seen.record.clone(), seen.state.clone());
        let found = match (&record, &self.damage) {
            (Some(record), _) => Found::Record(record),
            (None, Some(it)) if it.state == state => Found::Damaged(&it.bytes, &it.bad),
            (None, _) => Found::Absent,
        };
        if matches!(found, Found::Absent)
            && let Some(deleted) = self.perhaps_deleted.take()
        {
            return self.end(Ok(deleted), cx);
        }
        let (told, write) = (register.told(), WriteId((cx.ids)()));
        let look = Look { found, told, facts: self.facts, unix_ms: now.unix_ms, write };
        match self.change.judge(&look) {
            Verdict::End(result) => self.end(Ok(result), cx),
            Verdict::Refuse(bad) => self.end(Err(Failure::Unreadable(bad)), cx),
            verdict => {
                let early = self.link.too_early(Duration::ZERO, now.moment);
                if early.is_zero() {
                    self.send(verdict, record, left, cx);
                } else {
                    self.link.pace.rest(now.moment, early);
                }
            }
        }
    }

    fn send(
        &mut self,
        verdict: Verdict<C>,
        base: Option<Record>,
        left: Duration,
        cx: &mut Context<'_, C>,
    ) {
        match verdict {
            Verdict::Write(record, result) => {
                let (id, token) = (record.write, record.token);
                self.ours.push(Sending { id, result, base, token, is_refused: false });
                let sent = self.link.send_write(record, None, left, cx.now.moment);
                cx.send(sent);
            }
            Verdict::Delete(result) => {
                self.deleting = Some(result);
                if let Some((number, on)) = self.link.register.send_delete() {
                    let timeout = deadline::request_timeout(left);
                    cx.out.push(Output::Delete { number, on, timeout });
                }
            }
            Verdict::End(_) | Verdict::Refuse(_) => {}
        }
    }
}
