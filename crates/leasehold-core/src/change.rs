//! What entering, renewing and leaving do to a record, whatever its kind.
//!
//! Each function takes the record that was read and gives the one to write by compare-and-swap on
//! the version read. None of them decides *whether* it may be done: that is
//! [`lease`](crate::lease)'s.

use serde_json::Map;

use crate::record::{Ended, FORMAT, FencingToken, Holder, HolderId, Kind, Past, Record, WriteId};

/// The record by which `holder` takes the lock: free, never written, or with a lease that is over.
///
/// The token rises. A record that does not exist starts with `kind` and the
/// token `first`.
pub fn enter(
    before: Option<&Record>,
    (kind, first): (Kind, FencingToken),
    holder: Holder,
    write: WriteId,
    unix_ms: u64,
) -> Record {
    let Some(before) = before else {
        return fresh(kind, first, write, vec![holder]);
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
pub fn leave(
    before: Option<&Record>,
    (kind, first): (Kind, FencingToken),
    me: HolderId,
    write: WriteId,
    unix_ms: u64,
) -> Record {
    let Some(before) = before else {
        return fresh(kind, first, write, vec![]);
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

/// A record that was never there before.
pub(crate) fn fresh(
    kind: Kind,
    token: FencingToken,
    write: WriteId,
    holders: Vec<Holder>,
) -> Record {
    Record {
        format: FORMAT,
        kind,
        token,
        write,
        holders,
        past: None,
        outcome: None,
        extra: Map::new(),
    }
}

/// What a record says of a holder that is gone.
pub(crate) fn past(holder: &Holder, ended: Ended, unix_ms: u64) -> Past {
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
