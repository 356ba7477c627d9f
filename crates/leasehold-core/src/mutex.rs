//! What acquiring, renewing, releasing and forcing a mutex do to its record.
//!
//! Each function takes the record that was read and gives the one to write by compare-and-swap on
//! the version read. None of them decides *whether* it may be done: that is
//! [`lease`](crate::lease)'s.

use serde_json::Map;

use crate::once;
use crate::record::{
    Ended, FORMAT, FencingToken, Holder, HolderId, Kind, Past, Record, WriteId, bounded,
    salvage_kind, salvage_token,
};

/// The record by which `holder` takes the lock: free, never written, or with a lease that is over.
///
/// The token rises. `first` is where a record that does not exist starts.
pub fn acquire(
    before: Option<&Record>,
    first: FencingToken,
    holder: Holder,
    write: WriteId,
    unix_ms: u64,
) -> Record {
    let Some(before) = before else {
        return fresh(first, write, vec![holder]);
    };
    let mut record = before.clone();
    if let Some(previous) = before.holder() {
        record.past = Some(past(previous, Ended::TakenOver, unix_ms));
    }
    record.token = before.token.next();
    planted!(TokenNotRaised: record.token = before.token);
    record.write = write;
    record.holders = vec![holder];
    record
}

/// The record by which the holder keeps the lock: one renewal more, so that its bytes differ from
/// every other and a waiter sees that it lives.
pub fn renew(before: &Record, write: WriteId) -> Record {
    planted!(RenewalUnchanged: return before.clone());
    planted!(RenewalShowsNoLife: return Record { write, ..before.clone() });
    let mut record = before.clone();
    record.write = write;
    for holder in &mut record.holders {
        // After the highest number comes 0, which is as good a sign of life.
        holder.renewals = (holder.renewals + 1) & FencingToken::MAX.0;
    }
    record
}

/// The record by which `me` leaves the lock free. It keeps the token, so that the next one is
/// higher.
///
/// A cancelled acquisition writes it too, on the very state that its own late write is conditioned
/// on, so that one of the two can never land. That state may be no record at all, or another's lease
/// that is over.
pub fn release(
    before: Option<&Record>,
    first: FencingToken,
    me: HolderId,
    write: WriteId,
    unix_ms: u64,
) -> Record {
    let Some(before) = before else {
        return fresh(first, write, vec![]);
    };
    let mut record = before.clone();
    if let Some(holder) = before.holder() {
        let ended = if holder.id == me { Ended::Released } else { Ended::TakenOver };
        record.past = Some(past(holder, ended, unix_ms));
    }
    planted!(TokenLostAtRelease: record.token = FencingToken(0));
    record.write = write;
    record.holders = vec![];
    record
}

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
    let mut record = fresh(token, write, vec![]);
    record.kind = salvage_kind(damaged);
    let mut past = unknown_past(force.unix_ms);
    past.by = Some(bounded(&force.by));
    past.reason = Some(bounded(&force.reason));
    record.past = Some(past);
    record
}

fn fresh(token: FencingToken, write: WriteId, holders: Vec<Holder>) -> Record {
    Record {
        format: FORMAT,
        kind: Kind::Mutex,
        token,
        write,
        holders,
        past: None,
        outcome: None,
        extra: Map::new(),
    }
}

fn past(holder: &Holder, ended: Ended, unix_ms: u64) -> Past {
    Past {
        label: holder.label.clone(),
        id: Some(holder.id),
        ended,
        unix_ms,
        by: None,
        reason: None,
        extra: Map::new(),
    }
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
