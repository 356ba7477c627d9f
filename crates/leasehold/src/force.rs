//! Taking a lock away by force, and repairing a record.

use std::sync::Arc;

use leasehold_core::edit::{BreakEdit, BreakResult};
use leasehold_core::record::{BadRecord, FencingToken, HolderId, Past};

use crate::client::{Client, Shared};
use crate::edit::{Words, perform};
use crate::env::host_label;
use crate::error::Error;
use crate::holder::HeldBy;
use crate::status::{checked, remedy};

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

impl Client {
    /// Ends the lease of the present holder, or replaces a record that cannot be read. The holder
    /// learns of it, with the reason, at its next look at the latest.
    ///
    /// It takes the lock from one holder only: the one it sees first. [`force`](Client::force) can say
    /// which one is meant. It does not stop what that holder is doing. `reason` and who we are stay in
    /// the record until the next holder's end.
    ///
    /// A record of a newer format is not replaced ([`Corrupt`](crate::ErrorKind::Corrupt)), and neither is a
    /// sound one whose token is the highest there is.
    ///
    /// With `Unavailable` it may have come to pass or not: the store did not answer, or its answer was
    /// lost and the lock has moved on since.
    pub async fn force_release(&self, name: &str, reason: &str) -> Result<Forced, Error> {
        self.force(name, reason).release().await
    }

    /// A release by force that can be told more: whom it is meant for, and what it may replace.
    pub fn force(&self, name: impl Into<String>, reason: impl Into<String>) -> Force {
        let change = BreakEdit::new(host_label(), reason.into());
        Force { client: self.clone(), name: name.into(), change }
    }
}

/// A release by force that is still to be done. Made by [`Client::force`]; nothing is sent before
/// [`release`](Force::release).
#[derive(Clone, Debug)]
#[must_use = "nothing is released before `release` is called"]
pub struct Force {
    client: Client,
    name: String,
    change: BreakEdit,
}

impl Force {
    /// Only the holder with this token. The check and the write are one compare-and-swap: what is
    /// written over is the state in which this holder was seen.
    pub fn only_token(mut self, token: FencingToken) -> Force {
        self.change.token = Some(token);
        self
    }

    /// Only the holder with this id, in the same way.
    pub fn only_holder(mut self, holder: HolderId) -> Force {
        self.change.holder = Some(holder);
        self
    }

    /// Replaces a record of a newer format too. Programs of that version lose what it says: the holder,
    /// the outcome of `once`.
    pub fn even_newer(mut self) -> Force {
        self.change.newer = true;
        self
    }

    /// Does it. See [`Client::force_release`].
    pub async fn release(self) -> Result<Forced, Error> {
        let Force { client, name, change } = self;
        let key = checked(&name)?;
        let (shared, names_one) = (Arc::clone(&client.0), change.names_one());
        let job = async move {
            let forced = perform(&shared, &key, change).await;
            match forced {
                Ok(result) => Ok(Forced::of(result, &shared)),
                Err(failed) => {
                    let remedy = |bad: &BadRecord, place: &str| left_alone(names_one, bad, place);
                    Err(WORDS.error(&shared, &key, failed, remedy))
                }
            }
        };
        client.0.on_driver(job).await
    }
}

const WORDS: Words = Words {
    verb: "break",
    not_known: "the store's answer was lost, and the holder that was meant does not hold the lock \
                any more: whether it was broken or released is not known",
};

impl Forced {
    fn of(result: BreakResult, shared: &Shared) -> Forced {
        match result {
            BreakResult::Released(party, token) => {
                Forced::Released { holder: HeldBy::seen(&party, shared), token }
            }
            BreakResult::Repaired(token) => Forced::Repaired { token },
            BreakResult::WasFree => Forced::WasFree,
            BreakResult::Absent => Forced::Absent,
            BreakResult::Changed(party) => Forced::Changed { now: HeldBy::seen(&party, shared) },
            BreakResult::Gone(token, past) => Forced::Gone { token, past },
        }
    }
}

/// What to do about a record that was not written over, because that was not meant.
fn left_alone(names_one: bool, bad: &BadRecord, place: &str) -> String {
    match bad {
        BadRecord::Corrupt(_) if names_one => format!(
            "who holds it cannot be seen, and so nothing was overwritten: look at {place}; \
             without a token or a holder, `leasehold break` repairs it"
        ),
        BadRecord::NewerFormat(_) => format!(
            "nothing was overwritten at {place}. If no newer leasehold uses this store any \
             more, `leasehold break --newer` replaces it"
        ),
        bad => remedy(bad, place),
    }
}
