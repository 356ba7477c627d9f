//! One request to the backend, and its answer in the words of the protocol.

use std::sync::Arc;
use std::time::Duration;

use leasehold_core::backend::{
    BackendError, Expected, Fate, Key, Reading, Trouble, Versioned, Written,
};
use leasehold_core::lease::{Reply, Request, Seen};
use leasehold_core::record::Record;

use crate::client::Shared;

/// Sends a request once and waits for its answer, at most `timeout`. The text tells of the trouble,
/// where there is any.
pub(super) async fn send(
    shared: Arc<Shared>,
    key: Key,
    request: Request,
    timeout: Duration,
) -> (Reply, Option<String>) {
    tokio::select! {
        answer = answer(&shared, &key, request) => answer,
        () = shared.env.sleep(timeout) => {
            let reply = Reply::Failed(Fate::Unknown, Trouble::Unavailable);
            (reply, Some(format!("no answer within {timeout:?}")))
        }
    }
}

async fn answer(shared: &Shared, key: &Key, request: Request) -> (Reply, Option<String>) {
    let reply = match request {
        Request::Read => {
            shared.backend.read(key).await.map(|Reading { record, unix_ms }| match record {
                Some(versioned) => read(&versioned, unix_ms),
                None => Reply::Read {
                    seen: Seen { state: Expected::Absent, record: None },
                    age: None,
                    orphaned: false,
                    unix_ms,
                },
            })
        }
        Request::Write(expected, record) => {
            let written = shared.backend.write(key, &expected, &record.encode()).await;
            written.map(|written| match written {
                Written::Applied(version) => Reply::Applied(Expected::Version(version)),
                Written::Conflict(None) => Reply::Conflict,
                Written::Conflict(Some(winner)) => read(&winner, None),
            })
        }
    };
    match reply {
        Ok(reply) => (reply, None),
        Err(BackendError { fate, trouble, message }) => {
            (Reply::Failed(fate, trouble), Some(message))
        }
    }
}

fn read(versioned: &Versioned, unix_ms: Option<u64>) -> Reply {
    match Record::decode(&versioned.bytes) {
        Ok(record) => Reply::Read {
            seen: Seen {
                state: Expected::Version(versioned.version.clone()),
                record: Some(record),
            },
            age: versioned.age,
            orphaned: versioned.orphaned,
            unix_ms,
        },
        Err(bad) => Reply::Unreadable(bad),
    }
}
