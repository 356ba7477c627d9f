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
/// where there is any, or where an unreadable record is.
pub(super) async fn send(
    shared: Arc<Shared>,
    key: Key,
    request: Request,
    timeout: Duration,
) -> (Reply, Option<String>) {
    planted!(RequestWithoutTimeout: let timeout = Duration::MAX);
    tokio::select! {
        biased;
        // First, because an answer that is there is better than none after a wait that was too long.
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
                Some(versioned) => read(shared, key, &versioned, unix_ms),
                None => {
                    let seen = Seen { state: Expected::Absent, record: None };
                    (Reply::Read { seen, age: None, orphaned: false, unix_ms }, None)
                }
            })
        }
        Request::Write(expected, record) => {
            let written = shared.backend.write(key, &expected, &record.encode()).await;
            written.map(|written| match written {
                Written::Applied(version) => (Reply::Applied(Expected::Version(version)), None),
                Written::Conflict(None) => (Reply::Conflict, None),
                Written::Conflict(Some(winner)) => read(shared, key, &winner, None),
            })
        }
    };
    match reply {
        Ok(answer) => answer,
        Err(BackendError { fate, trouble, message }) => {
            (Reply::Failed(fate, trouble), Some(message))
        }
    }
}

/// What was read. With a record that cannot be used comes the place where it is.
fn read(
    shared: &Shared,
    key: &Key,
    versioned: &Versioned,
    unix_ms: Option<u64>,
) -> (Reply, Option<String>) {
    match Record::decode(&versioned.bytes) {
        Ok(record) => {
            let reply = Reply::Read {
                seen: Seen {
                    state: Expected::Version(versioned.version.clone()),
                    record: Some(record),
                },
                age: versioned.age,
                orphaned: versioned.orphaned,
                unix_ms,
            };
            (reply, None)
        }
        Err(bad) => {
            let place = shared.backend.locate_state(key, &versioned.version);
            (Reply::Unreadable(bad), Some(place))
        }
    }
}
