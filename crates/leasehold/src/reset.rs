//! Forgets the outcome of a `once`: done, or failed for good.

use std::sync::Arc;

use leasehold_core::backend::{Expected, Fate, Key, Version, Written};
use leasehold_core::edit;
use leasehold_core::record::{BadRecord, FencingToken, Kind, Outcome, Progress, Record, WriteId};

use crate::client::{Client, Shared};
use crate::env::host_label;
use crate::error::{Error, ErrorKind};
use crate::force::{TRIES, be_patient};
use crate::holder::HeldBy;
use crate::status::{checked, lease_of, remedy, used_as};

/// The outcome of a [reset](Client::reset).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
#[must_use = "it says whether a completion was forgotten"]
pub enum Reset {
    /// It was forgotten, with all earlier keys: whatever its key, it runs again.
    Forgotten {
        /// How far it had come.
        outcome: Outcome,
        /// The token now.
        token: FencingToken,
    },
    /// There was nothing to forget; nothing was written.
    Nothing,
    /// The name was never used, or was forgotten; nothing was written.
    Absent,
    /// It is being run, as far as one look can tell; nothing was written.
    /// [`Client::force_release`] ends that.
    Running {
        /// Who.
        holder: HeldBy,
    },
    /// It changed during the call, and what came of that was left alone.
    Changed {
        /// How far it has come now.
        now: Option<Outcome>,
    },
}

impl Client {
    /// Forgets that something was done once, or failed for good. `reason` and who we are stay in the
    /// record until the next run's end.
    ///
    /// It forgets one state only: the one that it sees first. A run that goes on is left alone, and so is
    /// a record that cannot be read ([`Corrupt`](ErrorKind::Corrupt)) or a name that is used as something
    /// else ([`Invalid`](ErrorKind::Invalid)).
    ///
    /// With `Unavailable` it may have come to pass or not: the store did not answer, or its answer was
    /// lost and the record has moved on since.
    pub async fn reset(&self, name: &str, reason: &str) -> Result<Reset, Error> {
        let key = checked(name)?;
        let (shared, reason) = (Arc::clone(&self.0), reason.to_owned());
        let job = async move { reset(&shared, &key, &reason).await };
        self.0.on_driver(job).await
    }
}

/// What is told apart from what comes later: the key, the run that came so far, how far.
type Target = (String, FencingToken, Progress);

fn target_of(outcome: &Outcome) -> Target {
    (outcome.key.clone(), outcome.token, outcome.state)
}

async fn reset(shared: &Shared, key: &Key, reason: &str) -> Result<Reset, Error> {
    let by = host_label();
    let mut target: Option<Target> = None;
    // Our writes, of which any may have landed, and what each would mean.
    let mut ours: Vec<(WriteId, Reset)> = vec![];
    // The highest token that a write of unknown fate was to set.
    let mut open: Option<FencingToken> = None;
    let mut trouble = None;
    for _ in 0..TRIES {
        let reading = shared.backend.read(key).await;
        let reading = reading.map_err(|e| shared.backend_error("read", key, &e))?;
        let Some(found) = reading.record else {
            return if open.is_some() { Err(not_known(shared, key)) } else { Ok(Reset::Absent) };
        };
        let before = match Record::decode(&found.bytes) {
            Ok(before) if before.token.is_last() => Err(BadRecord::Spent),
            decoded => decoded,
        };
        let before = before.map_err(|bad| unusable(shared, key, &found.version, &bad))?;
        if let Some((_, landed)) = ours.iter().find(|(id, _)| *id == before.write) {
            return Ok(landed.clone());
        }
        if open.is_some_and(|token| before.token >= token) {
            return Err(not_known(shared, key));
        }
        if before.kind != Kind::Once {
            return Err(other_kind(shared, key, before.kind));
        }
        let now_ms = shared.env.now().unix_ms;
        if let Some(holder) = before.holder() {
            let (is_over, left) = lease_of(shared, &found, holder);
            if !is_over {
                let holder = HeldBy::new(holder, before.token, now_ms, left);
                return Ok(Reset::Running { holder });
            }
        }
        let Some(outcome) = before.outcome.clone() else {
            let changed = Reset::Changed { now: None };
            return Ok(if target.is_some() { changed } else { Reset::Nothing });
        };
        if *target.get_or_insert_with(|| target_of(&outcome)) != target_of(&outcome) {
            return Ok(Reset::Changed { now: Some(outcome) });
        }
        let write = WriteId(shared.env.unique());
        let record = edit::reset(&before, &by, reason, now_ms, write);
        let forgotten = Reset::Forgotten { outcome, token: record.token };
        ours.push((write, forgotten.clone()));
        let expected = Expected::Version(found.version);
        match shared.backend.write(key, &expected, &record.encode()).await {
            Ok(Written::Applied(_)) => return Ok(forgotten),
            Ok(Written::Conflict(_)) => {}
            Err(e) => {
                if e.fate != Fate::NotSent {
                    open = Some(record.token);
                }
                be_patient(shared, &e).await;
                trouble = Some(e);
            }
        }
    }
    Err(match trouble {
        Some(e) => shared.backend_error("reset", key, &e),
        None => Error::new(
            ErrorKind::Unavailable,
            format!("cannot reset {key:?}: its record kept changing; try again"),
        ),
    })
}

fn unusable(shared: &Shared, key: &Key, version: &Version, bad: &BadRecord) -> Error {
    let (store, place) = (shared.backend.url(), shared.backend.locate_state(key, version));
    let forgets = match bad {
        BadRecord::Corrupt(_) => ", which forgets all that was done too",
        BadRecord::NewerFormat(_) | BadRecord::Spent => "",
    };
    let why = format!("cannot reset {key:?} at {store}: {bad}; {}{forgets}", remedy(bad, &place));
    Error::new(ErrorKind::Corrupt, why)
}

fn other_kind(shared: &Shared, key: &Key, kind: Kind) -> Error {
    let place = shared.backend.url();
    let why = format!("cannot reset {key:?} at {place}: the name is in use {}", used_as(kind));
    Error::new(ErrorKind::Invalid, why)
}

/// Our write may have landed and been written over, or another's may have come first.
fn not_known(shared: &Shared, key: &Key) -> Error {
    let place = shared.backend.url();
    let why = format!(
        "the store's answer was lost when {key:?} at {place} was reset, and it has moved on since: \
         whether it was reset before that is not known"
    );
    Error::new(ErrorKind::Unavailable, why)
}
