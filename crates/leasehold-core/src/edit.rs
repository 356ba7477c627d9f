//! What a person does to a record: force its holder out, repair it, or make a completion count no more.
//!
//! Each function takes what was read and gives the record to write by compare-and-swap on the version
//! read.

use serde_json::Map;

use crate::change::{fresh, past};
use crate::once;
use crate::record::{
    Ended, FencingToken, Kind, Past, Record, WriteId, bounded, salvage_kind, salvage_token,
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
