//! Removing names that nobody uses any more.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use leasehold_core::backend::{BoxFuture, Key};
use leasehold_core::edit::{DeleteEdit, DeleteResult};
use leasehold_core::record::{FencingToken, Outcome};

use crate::client::{Client, Shared};
use crate::edit::{Words, perform};
use crate::error::Error;
use crate::holder::HeldBy;
use crate::status::{checked, remedy};

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
    change: DeleteEdit,
}

impl Client {
    /// Removes the record of a name that nobody holds, on the condition that it is still as it was
    /// read. A name that is held is left alone, and so is a record that cannot be read
    /// ([`Corrupt`](crate::ErrorKind::Corrupt)).
    ///
    /// The name can be used again like one that was never used. Its token starts from the store's clock
    /// in milliseconds, which is higher than every token before unless a holder came each millisecond.
    pub fn forget(&self, name: impl Into<String>) -> Forget {
        Forget { client: self.clone(), name: name.into(), change: DeleteEdit::default() }
    }
}

impl Forget {
    /// Forgets also an outcome of `once`: whatever its key, it runs again.
    pub fn even_once(mut self) -> Forget {
        self.change.even_once = true;
        self
    }

    /// Forgets also a name whose token is ahead of the clock. The next token is lower then: what compares
    /// tokens has to be reset too.
    pub fn token_may_fall(mut self) -> Forget {
        self.change.token_may_fall = true;
        self
    }

    /// Forgets it only if it has been free for this long: by the store's clock, or where it has none by
    /// the clocks of its last user and of this host.
    pub fn older_than(mut self, age: Duration) -> Forget {
        self.change.min_age = Some(age);
        self
    }
}

impl IntoFuture for Forget {
    type Output = Result<Forgotten, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Forget { client, name, change } = self;
            let key = checked(&name)?;
            let shared = Arc::clone(&client.0);
            let job = async move { forget(&shared, &key, change).await };
            client.0.on_driver(job).await
        })
    }
}

const WORDS: Words = Words {
    verb: "forget",
    not_known: "the store's answer was lost, and the record has moved on since: whether it \
                was removed before that is not known",
};

async fn forget(shared: &Arc<Shared>, key: &Key, change: DeleteEdit) -> Result<Forgotten, Error> {
    let result = perform(shared, key, change).await;
    Ok(match result.map_err(|failed| WORDS.error(shared, key, failed, remedy))? {
        DeleteResult::Deleted(token) => Forgotten::Removed { token },
        DeleteResult::Absent => Forgotten::Absent,
        DeleteResult::Held(party) => Forgotten::Held { holder: HeldBy::seen(&party, shared) },
        DeleteResult::Once(outcome) => Forgotten::Once { outcome },
        DeleteResult::Ahead(token) => Forgotten::Ahead { token },
        DeleteResult::Young => Forgotten::Young,
    })
}
