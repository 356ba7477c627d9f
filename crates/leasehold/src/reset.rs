//! Forgets the outcome of a `once`: done, or failed for good.

use std::sync::Arc;

use leasehold_core::backend::Key;
use leasehold_core::edit::{ResetEdit, ResetResult};
use leasehold_core::record::{BadRecord, FencingToken, Kind, Outcome};

use crate::client::{Client, Shared};
use crate::edit::{Words, perform};
use crate::env::host_label;
use crate::error::{Error, ErrorKind};
use crate::holder::HeldBy;
use crate::status::{checked, remedy, used_as};

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
    /// Forgets the outcome of `once`: done, or failed for good. `reason` and who we are stay in the
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
        let job = async move { reset(&shared, &key, reason).await };
        self.0.on_driver(job).await
    }
}

const WORDS: Words = Words {
    verb: "reset",
    not_known: "the store's answer was lost, and the record has moved on since: whether it \
                was reset before that is not known",
};

async fn reset(shared: &Arc<Shared>, key: &Key, reason: String) -> Result<Reset, Error> {
    let result = perform(shared, key, ResetEdit::new(host_label(), reason)).await;
    Ok(match result.map_err(|failed| WORDS.error(shared, key, failed, left_alone))? {
        ResetResult::Forgotten(outcome, token) => Reset::Forgotten { outcome, token },
        ResetResult::Nothing => Reset::Nothing,
        ResetResult::Absent => Reset::Absent,
        ResetResult::Running(party) => Reset::Running { holder: HeldBy::seen(&party, shared) },
        ResetResult::Changed(now) => Reset::Changed { now },
        ResetResult::OtherKind(kind) => return Err(other_kind(shared, key, kind)),
    })
}

/// What to do about a record that cannot be used.
fn left_alone(bad: &BadRecord, place: &str) -> String {
    let forgets = match bad {
        BadRecord::Corrupt(_) => ", which forgets all that was done too",
        BadRecord::NewerFormat(_) | BadRecord::Spent => "",
    };
    format!("{}{forgets}", remedy(bad, place))
}

fn other_kind(shared: &Shared, key: &Key, kind: Kind) -> Error {
    let place = shared.backend.url();
    let why = format!("cannot reset {key:?} at {place}: the name is in use {}", used_as(kind));
    Error::new(ErrorKind::Invalid, why)
}
