//! Our entry in the record: who we are, what we write there, and what the record says of it.

use std::time::Duration;

use serde_json::Map;

use super::memory::Memory;
use super::message::{Failure, Release, Settings};
use super::phase::ToTheEnd;
use crate::change;
use crate::deadline::{self, Now};
use crate::link::{Link, Sent};
use crate::pace::Ids;
use crate::primitive::{Admission, Exit, How, Primitive, View};
use crate::record::{
    BadRecord, Ended, FencingToken, Holder, HolderId, Kind, Record, WriteId, bounded,
};
use crate::register::Seen;

/// How what was done under the lease ended, where the record is to say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending<E> {
    Recorded(E),
    Undone,
}

#[cfg(feature = "planted")]
impl<E: Clone> Ending<E> {
    pub(super) fn fail<P: Primitive<End = E>>(&mut self) {
        if let Ending::Recorded(end) = self {
            *end = P::as_failed(end.clone());
        }
    }
}

/// The holder that one acquisition is, or wants to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry<P: Primitive> {
    pub(super) settings: Settings,
    pub(super) primitive: P,
    pub(super) id: HolderId,
    pub(super) link: Link,
    /// What our entering replaced.
    pub(super) replaced: P::Replaced,
    /// The token, once the lock was granted.
    pub(super) granted: Option<FencingToken>,
    /// What is asked of the record, and the number of the ask.
    pub(super) ask: Option<(u64, P::Ask)>,
    pub(super) ending: Option<Ending<P::End>>,
}

impl<P: Primitive> Entry<P> {
    pub(super) fn new(settings: Settings, primitive: P, id: HolderId, memory: Memory) -> Entry<P> {
        planted!(OwnerIsProcess: let id = memory.id_before(&settings.label).unwrap_or(id));
        // A free record that is remembered saves the first read: a write on it fails harmlessly if
        // it is outdated. Anything else must be looked at.
        let is_free = |r: &Record| r.kind == primitive.kind() && r.holders.is_empty();
        let is_usable =
            |s: &Seen| primitive.comes_again() && s.record.as_ref().is_some_and(is_free);
        let link = Link::new(settings.facts, settings.ttl, memory, is_usable);
        Entry {
            settings,
            primitive,
            id,
            link,
            replaced: P::Replaced::default(),
            granted: None,
            ask: None,
            ending: None,
        }
    }

    /// Whether this holder is us.
    pub(super) fn is_us(&self, holder: &Holder) -> bool {
        planted!(OwnerIsHost: return holder.label == self.settings.label);
        holder.id == self.id
    }

    /// What the newest record means for us as a waiter, or to who only `looks`.
    pub(super) fn admission(&self, looks: bool, now: Now) -> Result<Admission<P::Answer>, Failure> {
        let register = &self.link.register;
        let is_ours = register.holder().is_some_and(|h| self.is_us(h));
        if register.highest().is_some_and(FencingToken::is_last) && !is_ours {
            return Err(Failure::Unreadable(BadRecord::Spent));
        }
        let Some(record) = register.record() else { return Ok(Admission::Enter) };
        let is_asked = looks && self.primitive.looks_at(record.kind);
        if record.kind != self.primitive.kind() && !is_asked {
            return Err(Failure::WrongKind(record.kind));
        }
        let told = register.told();
        planted!(AgeByWallClock: let told = crate::register::Told {
            age: crate::planted::age_by_wall(record.holder(), now.unix_ms), ..told });
        let others = record.holders.iter().filter(|h| !self.is_us(h));
        let left = |h: &Holder| self.link.left(h, &told, now.moment);
        let others = others.map(|h| (h, left(h))).collect();
        let stood = self.link.pace.has_stood(now.moment);
        let view = View { record, others, stood, age: told.age, unix_ms: now.unix_ms };
        Ok(self.primitive.admit(&view))
    }

    /// Writes us into the record.
    pub(super) fn enter(&mut self, now: Now, ids: &mut Ids<'_>) -> Option<Sent> {
        let (before, write) = (self.link.register.record(), WriteId(ids()));
        let us = self.holder(now);
        let mut record = change::enter(before, self.start(now), us, write, now.unix_ms);
        let replaced = self.primitive.enter(&mut record, before);
        self.replaced = replaced;
        self.write(record, Duration::ZERO, deadline::belief(self.settings.ttl), now)
    }

    /// Renews with `left` to go, with what is asked of the record. `courtesy`: how much longer than the
    /// store's limit the lock is left to others.
    pub(super) fn renew(
        &mut self,
        courtesy: Duration,
        left: Duration,
        now: Now,
        ids: &mut Ids<'_>,
    ) -> Option<Sent> {
        let before = self.link.register.record()?;
        let mut record = change::renew(before, WriteId(ids()));
        if let Some((_, ask)) = &self.ask {
            self.primitive.ask(&mut record, ask);
        }
        self.write(record, courtesy, left, now)
    }

    /// Leaves, or makes sure that we cannot enter any more.
    pub(super) fn leave(&mut self, is_ours: bool, now: Now, ids: &mut Ids<'_>) -> Option<Sent> {
        let (before, write) = (self.link.register.record(), WriteId(ids()));
        let mut record = change::leave(before, self.start(now), self.id, write, now.unix_ms);
        let how = match &self.ending {
            Some(Ending::Recorded(end)) => How::Ended(end),
            None if self.granted.is_some() => How::Released,
            Some(Ending::Undone) | None => How::Undone(is_ours.then_some(&self.replaced)),
        };
        let exit = Exit { how, label: &self.settings.label, unix_ms: now.unix_ms };
        self.primitive.leave(&mut record, &exit);
        self.write(record, Duration::ZERO, deadline::belief(self.settings.ttl), now)
    }

    /// Writes on the newest state, or rests if that has not stood for long enough.
    fn write(
        &mut self,
        record: Record,
        courtesy: Duration,
        left: Duration,
        now: Now,
    ) -> Option<Sent> {
        let early = self.link.too_early(courtesy, now.moment);
        if !early.is_zero() {
            self.link.pace.rest(now.moment, early);
            return None;
        }
        planted!(OneWriteId: let record = Record { write: WriteId(self.id.0), ..record });
        let asks = self.ask.as_ref().map(|(number, _)| *number);
        self.link.send_write(record, asks, left, now.moment)
    }

    /// What it means for who was letting go that the record is another's.
    pub(super) fn let_go(&self, held: ToTheEnd) -> Release {
        let record = self.link.register.record();
        let past = record.and_then(|r| r.past.as_ref()).filter(|p| p.id == Some(self.id));
        let ended = past.map(|p| p.ended);
        planted!(SupersededIsDone: if self.ending.is_some() { return Release::Freed; });
        let is_freed = match (&self.ending, held) {
            // The next holder wrote how we ended, and we ended by the write that recorded it or not.
            (Some(_), _) if record.is_none() || ended.is_some() => ended == Some(Ended::Released),
            (Some(Ending::Recorded(end)), _) => {
                let recorded = |r| self.primitive.recorded(r, self.granted, end);
                match record.map(recorded) {
                    Some(Some(is_recorded)) => is_recorded,
                    Some(None) => return Release::Unconfirmed,
                    None => false,
                }
            }
            // It was held when the user let go. Whether our own release landed before the next holder
            // came or the lease ran out afterwards makes no difference to them; being forced out, or
            // the record's being deleted, does.
            (None, ToTheEnd::Held) => {
                record.is_some() && !matches!(ended, Some(Ended::Forced | Ended::Reset))
            }
            // Here it does: only by our own release it is known that nobody came before it.
            (None, ToTheEnd::Doubted) => ended == Some(Ended::Released),
            (Some(Ending::Undone), _) | (None, ToTheEnd::NotHeld) => false,
        };
        if is_freed { Release::Freed } else { Release::NotHeld }
    }

    /// How long it is tried to leave.
    pub(super) fn patience(&self) -> Duration {
        match &self.ending {
            Some(Ending::Recorded(_)) => deadline::completion_patience(self.settings.ttl),
            Some(Ending::Undone) | None => self.settings.ttl,
        }
    }

    /// What a record starts with that does not exist.
    fn start(&self, now: Now) -> (Kind, FencingToken) {
        (self.primitive.kind(), self.link.register.first_token(now))
    }

    fn holder(&self, now: Now) -> Holder {
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Holder {
            id: self.id,
            label: bounded(&self.settings.label),
            ttl_ms: millis(self.settings.ttl),
            renewals: 0,
            acquired_unix_ms: now.unix_ms,
            takeover_delay_ms: millis(self.settings.takeover_delay),
            extra: Map::new(),
        }
    }
}
