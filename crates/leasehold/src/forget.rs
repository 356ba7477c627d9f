//! Removing names that nobody uses any more.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use leasehold_core::backend::{BoxFuture, Key, Reading, Version, Versioned};
use leasehold_core::record::{BadRecord, FencingToken, Outcome, Record};

use crate::client::{Client, Shared};
use crate::error::{Error, ErrorKind};
use crate::force::{TRIES, be_patient};
use crate::holder::HeldBy;
use crate::status::{checked, lease_of, remedy};

/// What forgetting a name came to.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
#[must_use = "it says whether the record was removed"]
pub enum Forgotten {
    /// Its record is removed.
    Removed {
        /// The last token. The next one is the store's Unix time in milliseconds, which is higher.
        token: FencingToken,
    },
    /// The name was never used, or was forgotten before.
    Absent,
    /// It is held, or its holder died without releasing it: left alone.
    Held {
        /// Who holds it, or held last.
        holder: HeldBy,
    },
    /// It is used by `once`, and the outcome that it has would be lost: left alone.
    /// [`Forget::even_once`] forgets it too.
    Once {
        /// How far it has come.
        outcome: Outcome,
    },
    /// Its token is ahead of the clock, so that the next one would be lower: left alone.
    /// [`Forget::token_may_fall`] forgets it all the same.
    Ahead {
        /// The token.
        token: FencingToken,
    },
    /// It has not been free for as long as was asked for, or that is not known: left alone.
    Young,
}

/// A name that is to be forgotten. Made by [`Client::forget`]; nothing is sent before it is awaited.
#[derive(Clone, Debug)]
#[must_use = "nothing is forgotten before it is awaited"]
pub struct Forget {
    client: Client,
    name: String,
    rules: Rules,
}

#[derive(Clone, Copy, Default, Debug)]
struct Rules {
    once: bool,
    token_may_fall: bool,
    older_than: Option<Duration>,
}

impl Client {
    /// Removes the record of a name that nobody holds, on the condition that it is still as it was
    /// read. A name that is held is left alone, and so is a record that cannot be read
    /// ([`Corrupt`](ErrorKind::Corrupt)).
    ///
    /// The name can be used again like one that was never used. Its token starts from the store's clock
    /// in milliseconds, which is higher than every token before unless a holder came each millisecond.
    pub fn forget(&self, name: impl Into<String>) -> Forget {
        Forget { client: self.clone(), name: name.into(), rules: Rules::default() }
    }
}

impl Forget {
    /// Forgets also an outcome of `once`: whatever its key, it runs again.
    pub fn even_once(mut self) -> Forget {
        self.rules.once = true;
        self
    }

    /// Forgets also a name whose token is ahead of the clock. The next token is lower then: what compares
    /// tokens has to be reset too.
    pub fn token_may_fall(mut self) -> Forget {
        self.rules.token_may_fall = true;
        self
    }

    /// Forgets it only if it has been free for this long: by the store's clock, or where it has none by
    /// the clocks of its last user and of this host.
    pub fn older_than(mut self, age: Duration) -> Forget {
        self.rules.older_than = Some(age);
        self
    }
}

impl IntoFuture for Forget {
    type Output = Result<Forgotten, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Forget { client, name, rules } = self;
            let key = checked(&name)?;
            let shared = Arc::clone(&client.0);
            let job = async move { forget(&shared, &key, rules).await };
            client.0.on_driver(job).await
        })
    }
}

async fn forget(shared: &Shared, key: &Key, rules: Rules) -> Result<Forgotten, Error> {
    // What a removal of which the answer was lost would mean.
    let mut removed = None;
    let mut trouble = None;
    for _ in 0..TRIES {
        let reading = shared.backend.read(key).await;
        let reading = reading.map_err(|e| shared.backend_error("read", key, &e))?;
        let Some(found) = &reading.record else {
            return Ok(removed.unwrap_or(Forgotten::Absent));
        };
        let token = match judge(shared, key, rules, &reading, found)? {
            Ok(token) => token,
            Err(left_alone) => return Ok(left_alone),
        };
        match shared.backend.delete(key, &found.version).await {
            Ok(true) => return Ok(Forgotten::Removed { token }),
            // Another used it meanwhile: what it is now is looked at again.
            Ok(false) => {}
            Err(e) => {
                removed = Some(Forgotten::Removed { token });
                be_patient(shared, &e).await;
                trouble = Some(e);
            }
        }
    }
    Err(match trouble {
        Some(e) => shared.backend_error("forget", key, &e),
        None => Error::new(
            ErrorKind::Unavailable,
            format!("cannot forget {key:?}: its record kept changing; it is in use"),
        ),
    })
}

/// The token of a record that may be removed, or why it is left alone.
fn judge(
    shared: &Shared,
    key: &Key,
    rules: Rules,
    reading: &Reading,
    found: &Versioned,
) -> Result<Result<FencingToken, Forgotten>, Error> {
    let record =
        Record::decode(&found.bytes).map_err(|bad| unusable(shared, key, &found.version, &bad))?;
    let (token, now_ms) = (record.token, shared.env.now().unix_ms);
    if let Some(holder) = record.holder() {
        let (_, left) = lease_of(shared, found, holder);
        return Ok(Err(Forgotten::Held { holder: HeldBy::new(holder, token, now_ms, left) }));
    }
    if let Some(least) = rules.older_than {
        let since_ms = record.past.as_ref().map(|past| past.unix_ms);
        let by_clock = since_ms.map(|ms| Duration::from_millis(now_ms.saturating_sub(ms)));
        if found.age.or(by_clock).is_none_or(|age| age < least) {
            return Ok(Err(Forgotten::Young));
        }
    }
    if let (Some(outcome), false) = (record.outcome, rules.once) {
        return Ok(Err(Forgotten::Once { outcome }));
    }
    if token.0 >= reading.unix_ms.unwrap_or(now_ms) && !rules.token_may_fall {
        return Ok(Err(Forgotten::Ahead { token }));
    }
    Ok(Ok(token))
}

fn unusable(shared: &Shared, key: &Key, version: &Version, bad: &BadRecord) -> Error {
    let (store, place) = (shared.backend.url(), shared.backend.locate_state(key, version));
    let why = format!("cannot forget {key:?} at {store}: {bad}; {}", remedy(bad, &place));
    Error::new(ErrorKind::Corrupt, why)
}
