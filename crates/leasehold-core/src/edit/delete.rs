//! Deleting the record of a name that nobody uses any more.

use std::time::Duration;

use super::{Change, Found, Look, Party, Verdict};
use crate::record::{FencingToken, Outcome, Record};

/// Deletes the record of a name that nobody holds, as a [`Change`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DeleteEdit {
    /// Deletes also an outcome of a run-once.
    pub even_once: bool,
    /// Deletes also a record whose token is ahead of the clock.
    pub token_may_fall: bool,
    /// Only if it has been free for this long.
    pub min_age: Option<Duration>,
}

/// How a [`DeleteEdit`] ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DeleteResult {
    /// The record is deleted; this was its token.
    Deleted(FencingToken),
    /// There is no record.
    Absent,
    /// It names this holder.
    Held(Party),
    /// It has this outcome.
    Once(Outcome),
    /// Its token, this one, is ahead of the clock: the next one would be lower.
    Ahead(FencingToken),
    /// It has not been free for long enough, or that is not known.
    Young,
}

impl DeleteEdit {
    /// Why the record is left alone, if it is.
    fn objection(&self, record: &Record, look: &Look<'_>) -> Option<DeleteResult> {
        if let Some(party) = look.party(record) {
            return Some(DeleteResult::Held(party));
        }
        if let Some(min) = self.min_age {
            let since_ms = record.past.as_ref().map(|past| past.unix_ms);
            let since = |ms| Duration::from_millis(look.unix_ms.saturating_sub(ms));
            let age = look.told.age.or(since_ms.map(since));
            if age.is_none_or(|age| age < min) {
                return Some(DeleteResult::Young);
            }
        }
        if let (Some(outcome), false) = (&record.outcome, self.even_once) {
            return Some(DeleteResult::Once(outcome.clone()));
        }
        let is_ahead = record.token.0 >= look.told.unix_ms.unwrap_or(look.unix_ms);
        (is_ahead && !self.token_may_fall).then_some(DeleteResult::Ahead(record.token))
    }
}

impl Change for DeleteEdit {
    type Result = DeleteResult;

    fn judge(&mut self, look: &Look<'_>) -> Verdict<Self> {
        match look.found {
            Found::Absent => Verdict::End(DeleteResult::Absent),
            Found::Damaged(_, bad) => Verdict::Refuse(bad.clone()),
            Found::Record(record) => match self.objection(record, look) {
                Some(objection) => Verdict::End(objection),
                None => Verdict::Delete(DeleteResult::Deleted(record.token)),
            },
        }
    }
}
