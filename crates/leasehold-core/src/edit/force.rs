//! Breaking a lock: the lease of the holder that was meant ends, or a damaged record is replaced.

use serde_json::Map;

use super::{Change, Found, Look, Party, Verdict};
use crate::change::{fresh, past};
use crate::once;
use crate::record::{
    BadRecord, Ended, FencingToken, HolderId, Past, Record, WriteId, bounded, salvage_kind,
    salvage_token,
};

/// Who forces, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Force {
    /// A label of the person or program.
    pub by: String,
    /// Their reason.
    pub reason: String,
    /// Now, by their wall clock.
    pub unix_ms: u64,
}

/// Breaks the lock of one holder, or repairs a damaged record, as a [`Change`].
///
/// It sets its target at the first look and touches nothing else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BreakEdit {
    /// A label of the person or program.
    pub by: String,
    /// Their reason.
    pub reason: String,
    /// Only the holder with this token.
    pub token: Option<FencingToken>,
    /// Only the holder with this id.
    pub holder: Option<HolderId>,
    /// Replaces a record of a newer format too.
    pub newer: bool,
    target: Option<Target>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Target {
    Holder(HolderId),
    Damage,
}

/// How a [`BreakEdit`] ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BreakResult {
    /// The lock was taken from this holder, and this is the token now.
    Released(Party, FencingToken),
    /// The record could not be read and was replaced by a free one with this token.
    Repaired(FencingToken),
    /// Nobody held it; nothing was written.
    WasFree,
    /// There is no record; nothing was written.
    Absent,
    /// Another holder than the one that was meant has it; nothing was written.
    Changed(Party),
    /// The holder that was meant is gone, and nobody holds it; nothing was written. With the token now.
    Gone(FencingToken, Option<Past>),
}

impl BreakEdit {
    /// Breaks the lock of the holder that is seen first, or repairs the record.
    pub fn new(by: String, reason: String) -> BreakEdit {
        BreakEdit { by, reason, token: None, holder: None, newer: false, target: None }
    }

    /// Whether it is meant for one holder.
    pub fn names_one(&self) -> bool {
        self.token.is_some() || self.holder.is_some()
    }

    fn force(&self, look: &Look<'_>) -> Force {
        Force { by: self.by.clone(), reason: self.reason.clone(), unix_ms: look.unix_ms }
    }

    fn judge_damage(&mut self, bytes: &[u8], bad: &BadRecord, look: &Look<'_>) -> Verdict<Self> {
        let was_sound = matches!(self.target, Some(Target::Holder(_)));
        let is_newer = matches!(bad, BadRecord::NewerFormat(_));
        if self.names_one() || was_sound || (is_newer && !self.newer) {
            return Verdict::Refuse(bad.clone());
        }
        self.target = Some(Target::Damage);
        let record = repair(bytes, look.first_token(), &self.force(look), look.write);
        let result = BreakResult::Repaired(record.token);
        Verdict::Write(record, result)
    }

    fn judge_record(&mut self, before: &Record, look: &Look<'_>) -> Verdict<Self> {
        let Some(party) = look.party(before) else {
            return match (self.names_one(), before.token.is_last()) {
                (true, _) => Verdict::End(BreakResult::Gone(before.token, before.past.clone())),
                (false, true) => Verdict::Refuse(BadRecord::Spent),
                (false, false) => Verdict::End(BreakResult::WasFree),
            };
        };
        let id = party.holder.id;
        let is_meant = self.token.is_none_or(|token| token == before.token)
            && self.holder.is_none_or(|holder| holder == id)
            && self.target.is_none_or(|target| target == Target::Holder(id));
        if !is_meant {
            return Verdict::End(BreakResult::Changed(party));
        }
        if before.token.is_last() {
            return Verdict::Refuse(BadRecord::Spent);
        }
        self.target = Some(Target::Holder(id));
        let record = force_release(before, &self.force(look), look.write);
        let result = BreakResult::Released(party, record.token);
        Verdict::Write(record, result)
    }
}

impl Change for BreakEdit {
    type Result = BreakResult;

    fn judge(&mut self, look: &Look<'_>) -> Verdict<Self> {
        match look.found {
            Found::Absent => Verdict::End(BreakResult::Absent),
            Found::Damaged(bytes, bad) => self.judge_damage(bytes, bad, look),
            Found::Record(before) => self.judge_record(before, look),
        }
    }
}

/// The record by which a person takes the lock away from its holder. The token rises although
/// nobody gets it: what the old holder still sends is older than whatever comes next.
pub fn force_release(before: &Record, force: &Force, write: WriteId) -> Record {
    let mut record = before.clone();
    let mut past = match before.holder() {
        Some(holder) => past(holder, Ended::Forced, force.unix_ms),
        None => unknown_past(force.unix_ms),
    };
    past.by = Some(bounded(&force.by));
    past.reason = Some(bounded(&force.reason));
    record.past = Some(past);
    record.token = before.token.next();
    planted!(ForceKeepsToken: record.token = before.token);
    record.write = write;
    record.holders = vec![];
    once::fit(&mut record);
    record
}

/// The record that replaces one that cannot be read. Its token is the time, as for a record made
/// anew, or one more than what is still legible of the old one, whichever is higher, up to the highest
/// that there is. Its kind stays, where it is legible; what a `once` had done is forgotten.
pub fn repair(damaged: &[u8], first: FencingToken, force: &Force, write: WriteId) -> Record {
    let legible = salvage_token(damaged).map_or(FencingToken(0), FencingToken::next);
    let token = first.max(legible).min(FencingToken(FencingToken::MAX.0 - 1));
    let mut record = fresh(salvage_kind(damaged), token, write, vec![]);
    let mut past = unknown_past(force.unix_ms);
    past.by = Some(bounded(&force.by));
    past.reason = Some(bounded(&force.reason));
    record.past = Some(past);
    record
}

fn unknown_past(unix_ms: u64) -> Past {
    Past {
        label: String::new(),
        id: None,
        ended: Ended::Forced,
        unix_ms,
        by: None,
        reason: None,
        extra: Map::new(),
    }
}
