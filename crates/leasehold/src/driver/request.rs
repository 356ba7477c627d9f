//! One request to the backend, and its answer in the words of the protocol.

use std::sync::Arc;
use std::time::Duration;

use leasehold_core::backend::{
    BackendError, Expected, Fate, Key, Reading, Trouble, Versioned, Written,
};
use leasehold_core::edit::Damage;
use leasehold_core::lease::{Reply, Request, Seen};
use leasehold_core::record::Record;
use leasehold_core::register::Told;

use crate::client::Shared;

/// An answer in the words of the protocol.
#[derive(Debug)]
pub(crate) enum Answered {
    /// A reply.
    Reply(Reply),
    /// What was read is no record that can be used.
    Damaged(Damage),
}

/// Sends a request of an acquisition. The text tells of the trouble, where there is any, or where an
/// unreadable record is.
pub(super) async fn send(
    shared: Arc<Shared>,
    key: Key,
    request: Request,
    timeout: Duration,
) -> (Reply, Option<String>) {
    match ask(&shared, &key, request, timeout).await {
        (Answered::Reply(reply), trouble) => (reply, trouble),
        (Answered::Damaged(Damage { state, bad, .. }), _) => {
            let place = match &state {
                Expected::Version(version) => shared.backend.locate_state(&key, version),
                Expected::Absent => shared.backend.locate(&key),
            };
            (Reply::Unreadable(bad), Some(place))
        }
    }
}

/// Sends a request once and waits for its answer, at most `timeout`. The text tells of the trouble,
/// where there is any.
pub(crate) async fn ask(
    shared: &Shared,
    key: &Key,
    request: Request,
    timeout: Duration,
) -> (Answered, Option<String>) {
    planted!(RequestWithoutTimeout: let timeout = Duration::MAX);
    tokio::select! {
        biased;
        // First, because an answer that is there is better than none after a wait that was too long.
        answer = answer(shared, key, request) => match answer {
            Ok(answered) => (answered, None),
            Err(BackendError { fate, trouble, message }) => {
                (Answered::Reply(Reply::Failed(fate, trouble)), Some(message))
            }
        },
        () = shared.env.sleep(timeout) => {
            let reply = Reply::Failed(Fate::Unknown, Trouble::Unavailable);
            (Answered::Reply(reply), Some(format!("no answer within {timeout:?}")))
        }
    }
}

async fn answer(shared: &Shared, key: &Key, request: Request) -> Result<Answered, BackendError> {
    Ok(match request {
        Request::Read => {
            let Reading { record, unix_ms } = shared.backend.read(key).await?;
            match record {
                Some(versioned) => read(versioned, unix_ms),
                None => {
                    let seen = Seen { state: Expected::Absent, record: None };
                    Answered::Reply(Reply::Read { seen, age: None, orphaned: false, unix_ms })
                }
            }
        }
        Request::Write(expected, record) => {
            match shared.backend.write(key, &expected, &record.encode()).await? {
                Written::Applied(version) => {
                    Answered::Reply(Reply::Applied(Expected::Version(version)))
                }
                Written::Conflict(None) => Answered::Reply(Reply::Conflict),
                Written::Conflict(Some(winner)) => read(winner, None),
            }
        }
    })
}

/// What was read.
fn read(found: Versioned, unix_ms: Option<u64>) -> Answered {
    let Versioned { version, bytes, age, orphaned, .. } = found;
    let state = Expected::Version(version);
    match Record::decode(&bytes) {
        Ok(record) => {
            let seen = Seen { state, record: Some(record) };
            Answered::Reply(Reply::Read { seen, age, orphaned, unix_ms })
        }
        Err(bad) => {
            let told = Told { age, orphaned, unix_ms };
            Answered::Damaged(Damage { state, bytes, bad, told })
        }
    }
}
