//! Taking a lock away by force, and repairing a record.

use std::sync::Arc;
use std::time::Duration;

use leasehold_core::backend::{BackendError, Expected, Fate, Key, Reading, Versioned, Written};
use leasehold_core::edit;
use leasehold_core::record::{BadRecord, FencingToken, HolderId, Past, Record, WriteId};

use crate::client::{Client, Shared};
use crate::env::host_label;
use crate::error::{Error, ErrorKind};
use crate::holder::HeldBy;
use crate::status::{checked, lease_of, remedy};

/// What forcing a lock came to.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
#[must_use = "it says whether a lock was released"]
pub enum Forced {
    /// It was taken from this holder. The token rose to `token`, so that whatever the holder still
    /// sends is older than what comes next.
    Released {
        /// Who held it. Its work may go on until it hears of this or its lease is over, whichever is
        /// first: [`expires_in`](HeldBy::expires_in), or its ttl where that is `None`. The next holder
        /// does not wait for that.
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
    /// The name was never used, or was forgotten; nothing was written.
    Absent,
    /// Another than the one that was meant holds it: by what [`Force`] was told, or because it came to
    /// another meanwhile. That one was left alone.
    Changed {
        /// Who holds it now.
        now: HeldBy,
    },
    /// The one that [`Force`] was told to end holds it no longer, and nobody else does; nothing was
    /// written.
    Gone {
        /// The token now.
        token: FencingToken,
        /// Who held last, and how that ended.
        past: Option<Past>,
    },
}

/// How long a store that asks for patience is left alone at the most before the next try.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often the race against the holder's own renewals is run.
pub(crate) const TRIES: u32 = 20;

impl Client {
    /// Ends the lease of the present holder, or replaces a record that cannot be read. The holder
    /// learns of it, with the reason, at its next look at the latest.
    ///
    /// It takes the lock from one holder only: the one it sees first. [`force`](Client::force) can say
    /// which one is meant. It does not stop what that holder is doing. `reason` and who we are stay in
    /// the record until the next holder's end.
    ///
    /// A record of a newer format is not replaced ([`Corrupt`](ErrorKind::Corrupt)), and neither is a
    /// sound one whose token is the highest there is.
    ///
    /// With `Unavailable` it may have come to pass or not: the store did not answer, or its answer was
    /// lost and the lock has moved on since.
    pub async fn force_release(&self, name: &str, reason: &str) -> Result<Forced, Error> {
        self.force(name, reason).release().await
    }

    /// A release by force that can be told more: whom it is meant for, and what it may replace.
    pub fn force(&self, name: impl Into<String>, reason: impl Into<String>) -> Force {
        let (name, reason) = (name.into(), reason.into());
        Force { client: self.clone(), name, reason, rules: Rules::default() }
    }
}

/// A release by force that is still to be done. Made by [`Client::force`]; nothing is sent before
/// [`release`](Force::release).
#[derive(Clone, Debug)]
#[must_use = "nothing is released before `release` is called"]
pub struct Force {
    client: Client,
    name: String,
    reason: String,
    rules: Rules,
}

/// Whom it is meant for, and what may be replaced.
#[derive(Clone, Copy, Default, Debug)]
struct Rules {
    token: Option<FencingToken>,
    holder: Option<HolderId>,
    newer: bool,
}

impl Rules {
    fn name_one(self) -> bool {
        self.token.is_some() || self.holder.is_some()
    }

    fn allow(self, token: FencingToken, holder: HolderId) -> bool {
        self.token.is_none_or(|it| it == token) && self.holder.is_none_or(|it| it == holder)
    }
}

impl Force {
    /// Only the holder with this token. The check and the write are one compare-and-swap: what is
    /// written over is the state in which this holder was seen.
    pub fn only_token(mut self, token: FencingToken) -> Force {
        self.rules.token = Some(token);
        self
    }

    /// Only the holder with this id, in the same way.
    pub fn only_holder(mut self, holder: HolderId) -> Force {
        self.rules.holder = Some(holder);
        self
    }

    /// Replaces a record of a newer format too. Programs of that version lose what it says: the holder,
    /// the outcome of `once`.
    pub fn even_newer(mut self) -> Force {
        self.rules.newer = true;
        self
    }

    /// Does it. See [`Client::force_release`].
    pub async fn release(self) -> Result<Forced, Error> {
        let Force { client, name, reason, rules } = self;
        let key = checked(&name)?;
        let shared = Arc::clone(&client.0);
        let job = async move { force(&shared, &key, reason, rules).await };
        client.0.on_driver(job).await
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
            "the holder that was to lose {key:?} does not hold it any more, but the store's \
             answer was lost: whether it was taken or given back is not known"
        ),
    )
}

/// Leaves a store alone that asks for it.
pub(crate) async fn be_patient(shared: &Shared, error: &BackendError) {
    if let Fate::Throttled { retry_after } = error.fate {
        let least = shared.backend.facts().least_write_interval;
        shared.env.sleep(retry_after.unwrap_or(least).min(PATIENCE)).await;
    }
}

/// What a state that was read asks for.
enum Step {
    Answer(Forced),
    /// The record to write, what it means, and the token that it was made from.
    Write(Record, Forced, FencingToken),
}

/// One release by force under way.
struct Forcing<'a> {
    shared: &'a Shared,
    key: &'a Key,
    rules: Rules,
    force: edit::Force,
    target: Option<Target>,
    /// Our writes, of which any may have landed, and what each would mean.
    ours: Vec<(WriteId, Forced)>,
    /// The highest token that a write of unknown fate was to raise.
    open: Option<FencingToken>,
}

async fn force(shared: &Shared, key: &Key, reason: String, rules: Rules) -> Result<Forced, Error> {
    let force = edit::Force { by: host_label(), reason, unix_ms: 0 };
    let mut forcing = Forcing { shared, key, rules, force, target: None, ours: vec![], open: None };
    let mut trouble = None;
    for _ in 0..TRIES {
        let reading = shared.backend.read(key).await;
        let reading = reading.map_err(|e| shared.backend_error("read", key, &e))?;
        let Some(found) = &reading.record else {
            return if forcing.open.is_some() { Err(not_known(key)) } else { Ok(Forced::Absent) };
        };
        let (record, outcome, from) = match forcing.judge(&reading, found)? {
            Step::Answer(forced) => return Ok(forced),
            Step::Write(record, outcome, from) => (record, outcome, from),
        };
        forcing.ours.push((record.write, outcome.clone()));
        let expected = Expected::Version(found.version.clone());
        match shared.backend.write(key, &expected, &record.encode()).await {
            Ok(Written::Applied(_)) => return Ok(outcome),
            Ok(Written::Conflict(_)) => {}
            Err(e) => {
                if e.fate != Fate::NotSent {
                    forcing.open = Some(from);
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

impl Forcing<'_> {
    fn judge(&mut self, reading: &Reading, found: &Versioned) -> Result<Step, Error> {
        let now_ms = self.shared.env.now().unix_ms;
        self.force.unix_ms = now_ms;
        let write = WriteId(self.shared.env.unique());
        match Record::decode(&found.bytes) {
            Ok(before) => self.judge_sound(found, &before, write),
            Err(bad) => {
                let was_sound = matches!(self.target, Some(Target::Holder(_)));
                let is_newer = matches!(bad, BadRecord::NewerFormat(_));
                if self.rules.name_one() || was_sound || (is_newer && !self.rules.newer) {
                    return Err(self.refused(found, &bad));
                }
                self.target = Some(Target::Damage);
                let most = FencingToken::MAX.0 / 2;
                let first = FencingToken(reading.unix_ms.unwrap_or(now_ms).clamp(1, most));
                let record = edit::repair(&found.bytes, first, &self.force, write);
                let token = record.token;
                Ok(Step::Write(record, Forced::Repaired { token }, FencingToken(0)))
            }
        }
    }

    fn judge_sound(
        &mut self,
        found: &Versioned,
        before: &Record,
        write: WriteId,
    ) -> Result<Step, Error> {
        if let Some((_, landed)) = self.ours.iter().find(|(id, _)| *id == before.write) {
            return Ok(Step::Answer(landed.clone()));
        }
        let is_ours = |id| self.target == Some(Target::Holder(id));
        let is_met = before.holder().is_some_and(|holder| is_ours(holder.id));
        if !is_met && self.open.is_some_and(|token| before.token > token) {
            return Err(not_known(self.key));
        }
        let Some(holder) = before.holder() else {
            return match (self.rules.name_one(), before.token.is_last()) {
                (true, _) => {
                    let (token, past) = (before.token, before.past.clone());
                    Ok(Step::Answer(Forced::Gone { token, past }))
                }
                (false, true) => Err(self.refused(found, &BadRecord::Spent)),
                (false, false) => Ok(Step::Answer(Forced::WasFree)),
            };
        };
        let (is_over, left) = lease_of(self.shared, found, holder);
        let left = if is_over { Some(Duration::ZERO) } else { left };
        let seen = HeldBy::new(holder, before.token, self.force.unix_ms, left);
        let meant = self.rules.allow(before.token, holder.id);
        if !meant || self.target.is_some_and(|target| target != Target::Holder(holder.id)) {
            return Ok(Step::Answer(Forced::Changed { now: seen }));
        }
        if before.token.is_last() {
            return Err(self.refused(found, &BadRecord::Spent));
        }
        self.target = Some(Target::Holder(holder.id));
        let record = edit::force_release(before, &self.force, write);
        let token = record.token;
        Ok(Step::Write(record, Forced::Released { holder: seen, token }, before.token))
    }

    /// Nothing is written over that was not meant.
    fn refused(&self, found: &Versioned, bad: &BadRecord) -> Error {
        let (key, backend) = (self.key, &self.shared.backend);
        let place = backend.locate_state(key, &found.version);
        let what = match bad {
            BadRecord::Corrupt(_) if self.rules.name_one() => format!(
                "who holds it cannot be seen, and so nothing was overwritten: look at {place}; \
                 without a token or a holder, `leasehold break` repairs it"
            ),
            BadRecord::NewerFormat(_) => format!(
                "nothing was overwritten at {place}. If no newer leasehold uses this store any \
                 more, `leasehold break --newer` replaces it"
            ),
            bad => remedy(bad, &place),
        };
        let store = backend.url();
        Error::new(ErrorKind::Corrupt, format!("cannot break {key:?} at {store}: {bad}; {what}"))
    }
}
