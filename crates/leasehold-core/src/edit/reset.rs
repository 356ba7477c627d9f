//! Resetting a run-once: its outcome is forgotten, and every key may run again.

use serde_json::Map;

use super::{Change, Found, Look, Party, Verdict};
use crate::record::{
    BadRecord, Ended, FencingToken, Kind, Outcome, Past, Progress, Record, WriteId, bounded,
};

/// Forgets the outcome of a run-once, as a [`Change`].
///
/// It forgets the outcome that it sees first and no other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResetEdit {
    by: String,
    reason: String,
    target: Option<Target>,
}

/// What tells one outcome from the next: the key, the token of the run that came so far, how far.
type Target = (String, FencingToken, Progress);

/// How a [`ResetEdit`] ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ResetResult {
    /// This outcome is forgotten, and this is the token now.
    Forgotten(Outcome, FencingToken),
    /// There is no outcome; nothing was written.
    Nothing,
    /// There is no record; nothing was written.
    Absent,
    /// A run goes on, as far as one look can tell; nothing was written.
    Running(Party),
    /// The outcome changed during the edit; nothing was written.
    Changed(Option<Outcome>),
    /// The name is used as something else; nothing was written.
    OtherKind(Kind),
}

impl ResetEdit {
    /// Forgets the outcome that is seen first.
    pub fn new(by: String, reason: String) -> ResetEdit {
        ResetEdit { by, reason, target: None }
    }

    fn judge_record(&mut self, before: &Record, look: &Look<'_>) -> Verdict<Self> {
        if before.token.is_last() {
            return Verdict::Refuse(BadRecord::Spent);
        }
        if before.kind != Kind::Once {
            return Verdict::End(ResetResult::OtherKind(before.kind));
        }
        if let Some(party) = look.party(before).filter(|party| !party.is_over()) {
            return Verdict::End(ResetResult::Running(party));
        }
        let Some(outcome) = before.outcome.clone() else {
            return Verdict::End(match self.target {
                Some(_) => ResetResult::Changed(None),
                None => ResetResult::Nothing,
            });
        };
        let target = (outcome.key.clone(), outcome.token, outcome.state);
        if *self.target.get_or_insert_with(|| target.clone()) != target {
            return Verdict::End(ResetResult::Changed(Some(outcome)));
        }
        let record = reset(before, &self.by, &self.reason, look.unix_ms, look.write);
        let result = ResetResult::Forgotten(outcome, record.token);
        Verdict::Write(record, result)
    }
}

impl Change for ResetEdit {
    type Result = ResetResult;

    fn judge(&mut self, look: &Look<'_>) -> Verdict<Self> {
        match look.found {
            Found::Absent => Verdict::End(ResetResult::Absent),
            Found::Damaged(_, bad) => Verdict::Refuse(bad.clone()),
            Found::Record(before) => self.judge_record(before, look),
        }
    }
}

/// The record by which a person makes what was done count no more: the newest key and all earlier ones
/// may run again. The token rises, so that nothing can be mistaken for what was before.
pub fn reset(before: &Record, by: &str, reason: &str, unix_ms: u64, write: WriteId) -> Record {
    let mut record = before.clone();
    record.kind = Kind::Once;
    record.token = before.token.next();
    record.write = write;
    record.holders = vec![];
    record.outcome = None;
    // Whose run this ends is told from whose ended before by the id.
    let label = before.holder().map(|h| &h.label).or(before.past.as_ref().map(|p| &p.label));
    record.past = Some(Past {
        label: label.cloned().unwrap_or_default(),
        id: before.holder().map(|h| h.id),
        ended: Ended::Reset,
        unix_ms,
        by: Some(bounded(by)),
        reason: Some(bounded(reason)),
        extra: Map::new(),
    });
    record
}
