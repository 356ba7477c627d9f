//! Taking a lock away by force, and repairing a record.

use std::sync::Arc;
use std::time::Duration;

use leasehold_core::backend::{BackendError, Expected, Fate, Key, Written};
use leasehold_core::mutex::{self, Force};
use leasehold_core::record::{BadRecord, FencingToken, HolderId, Record, WriteId};

use crate::client::{Client, Shared};
use crate::env::host_label;
use crate::error::{Error, ErrorKind};
use crate::holder::HeldBy;
use crate::status::{checked, stopped};

/// What forcing a lock came to.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Forced {
    /// It was taken from this holder. The token rose to `token`, so that whatever the holder still
    /// sends is older than what comes next.
    Released {
        /// Who held it.
        holder: HeldBy,
        /// The token now.
        token: FencingToken,
    },
    /// Its record could not be read and was replaced by a free one.
    Repaired {
        /// The token now: the time, or above what was legible.
        token: FencingToken,
    },
    /// Nobody held it; nothing was written.
    WasFree,
    /// While we were at it, it came to another holder, and that one was left alone.
    Changed {
        /// Who holds it now.
        now: HeldBy,
    },
}

/// How long a store that asks for patience is left alone at the most before the next try.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often the race against the holder's own renewals is run.
pub(crate) const TRIES: u32 = 20;

impl Client {
    /// Ends the lease of whoever holds the lock now, or replaces a record that cannot be read. The
    /// holder learns of it, with the reason, at its next look at the latest.
    ///
    /// It takes the lock from one holder only: the one it sees first. It does not stop what that
    /// holder is doing. `reason` and who we are stay in the record until the next holder's end.
    ///
    /// With `Unavailable` it may have come to pass or not: the store did not answer, or its answer was
    /// lost and the lock has moved on since.
    pub async fn force_release(&self, name: &str, reason: &str) -> Result<Forced, Error> {
        let key = checked(name)?;
        let (shared, reason) = (Arc::clone(&self.0), reason.to_owned());
        let job = async move { force(&shared, &key, reason).await };
        self.0.on_driver(job).await.unwrap_or_else(stopped)
    }
}

/// Whom or what this call set out to force; set at the first look, and nothing else is touched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    Holder(HolderId),
    Damage,
}

/// Our write may have landed and been written over, or the holder may have ended by itself.
fn not_known(key: &Key) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!(
            "whoever was to lose {key:?} does not hold it any more, but the store's answer was \
             lost: whether it was taken or given back is not known"
        ),
    )
}

/// The token cannot rise, and it must not fall.
fn spent(key: &Key) -> Error {
    let why = format!("cannot force-release {key:?}: {}", BadRecord::Spent);
    Error::new(ErrorKind::Corrupt, why)
}

/// Leaves a store alone that asks for it.
pub(crate) async fn be_patient(shared: &Shared, error: &BackendError) {
    if let Fate::Throttled { retry_after } = error.fate {
        let least = shared.backend.facts().least_write_interval;
        shared.env.sleep(retry_after.unwrap_or(least).min(PATIENCE)).await;
    }
}

async fn force(shared: &Shared, key: &Key, reason: String) -> Result<Forced, Error> {
    let mut force = Force { by: host_label(), reason, unix_ms: 0 };
    let mut target: Option<Target> = None;
    // Our writes, of which any may have landed, and what each would mean.
    let mut ours: Vec<(WriteId, Forced)> = vec![];
    let mut trouble = None;
    // The highest token that a write of unknown fate was to raise.
    let mut open: Option<FencingToken> = None;
    for _ in 0..TRIES {
        let reading = shared.backend.read(key).await;
        let reading = reading.map_err(|e| shared.backend_error("read", key, &e))?;
        let Some(found) = reading.record else { return Ok(Forced::WasFree) };
        let now_ms = shared.env.now().unix_ms;
        force.unix_ms = now_ms;
        let write = WriteId(shared.env.unique());
        let decoded = Record::decode(&found.bytes);
        if let Ok(before) = &decoded
            && let Some((_, landed)) = ours.iter().find(|(id, _)| *id == before.write)
        {
            return Ok(landed.clone());
        }
        let (record, outcome, from) = match decoded {
            Ok(before) if !before.token.is_last() => {
                let is_ours = |id| target == Some(Target::Holder(id));
                let is_met = before.holder().is_some_and(|holder| is_ours(holder.id));
                if !is_met && open.is_some_and(|token| before.token > token) {
                    return Err(not_known(key));
                }
                let Some(holder) = before.holder() else { return Ok(Forced::WasFree) };
                let seen = HeldBy::new(holder, before.token, now_ms, None);
                if *target.get_or_insert(Target::Holder(holder.id)) != Target::Holder(holder.id) {
                    return Ok(Forced::Changed { now: seen });
                }
                let record = mutex::force_release(&before, &force, write);
                let token = record.token;
                (record, Forced::Released { holder: seen, token }, before.token)
            }
            Ok(_) => return Err(spent(key)),
            Err(_) => {
                target = Some(Target::Damage);
                let most = FencingToken::MAX.0 / 2;
                let first = FencingToken(reading.unix_ms.unwrap_or(now_ms).clamp(1, most));
                let record = mutex::repair(&found.bytes, first, &force, write);
                let token = record.token;
                (record, Forced::Repaired { token }, FencingToken(0))
            }
        };
        ours.push((write, outcome.clone()));
        let expected = Expected::Version(found.version);
        match shared.backend.write(key, &expected, &record.encode()).await {
            Ok(Written::Applied(_)) => return Ok(outcome),
            Ok(Written::Conflict(_)) => {}
            Err(e) => {
                if e.fate != Fate::NotSent {
                    open = Some(from);
                }
                be_patient(shared, &e).await;
                trouble = Some(e);
            }
        }
    }
    Err(match trouble {
        Some(e) => shared.backend_error("force-release", key, &e),
        None => Error::new(
            ErrorKind::Unavailable,
            format!("cannot force-release {key:?}: its record kept changing; try again"),
        ),
    })
}
