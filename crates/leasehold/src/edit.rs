//! Runs the state machine of one change by a person: break, reset, delete.

use std::sync::Arc;
use std::time::Duration;

use leasehold_core::backend::{BoxFuture, Expected, Fate, Key, Trouble};
use leasehold_core::edit::{Change, Edit, Failure, Input, Output, Party};
use leasehold_core::lease::{Reply, Request};
use leasehold_core::record::BadRecord;

use crate::client::Shared;
use crate::driver::{ids, request};
use crate::error::{Error, ErrorKind};
use crate::holder::HeldBy;

/// How a change ended that has no result.
#[derive(Debug)]
pub(crate) struct Failed {
    failure: Failure,
    /// What the last request met, in words.
    trouble: Option<String>,
    /// Where the state is that was read last.
    place: String,
}

/// What one kind of change says when it has no result.
pub(crate) struct Words {
    /// What was tried: "break".
    pub(crate) verb: &'static str,
    /// That it is not known, and what is not.
    pub(crate) not_known: &'static str,
}

impl Words {
    /// The error for a person. `remedy` says what to do about a record that cannot be used, at a place.
    pub(crate) fn error(
        &self,
        shared: &Shared,
        key: &Key,
        failed: Failed,
        remedy: impl FnOnce(&BadRecord, &str) -> String,
    ) -> Error {
        let Failed { failure, trouble, place } = failed;
        let (kind, why) = match failure {
            Failure::Backend(kind) => {
                (kind.into(), trouble.unwrap_or_else(|| "the store does not answer".into()))
            }
            Failure::Busy => {
                (ErrorKind::Unavailable, "its record kept changing; try again".to_owned())
            }
            Failure::NotKnown => (ErrorKind::Unavailable, self.not_known.to_owned()),
            Failure::Unreadable(bad) => {
                (ErrorKind::Corrupt, format!("{bad}; {}", remedy(&bad, &place)))
            }
        };
        let store = shared.backend.url();
        Error::new(kind, format!("cannot {} {key:?} at {store}: {why}", self.verb))
    }
}

/// Makes a change, and waits for its end.
pub(crate) async fn perform<C: Change>(
    shared: &Arc<Shared>,
    key: &Key,
    change: C,
) -> Result<C::Result, Failed> {
    let env = Arc::clone(&shared.env);
    let mut edit = Edit::new(change, shared.backend.facts());
    let mut asked: Option<BoxFuture<'static, Answer>> = None;
    let (mut input, mut trouble) = (Input::Wake, None);
    let mut place = shared.backend.locate(key);
    loop {
        let (mut out, mut wake) = (vec![], Duration::MAX);
        edit.step(env.now(), input, &mut ids(&*env), &mut out);
        for output in out {
            match output {
                Output::Send(sent) => {
                    let (shared, key) = (Arc::clone(shared), key.clone());
                    let (number, timeout) = (sent.number, sent.timeout);
                    asked = Some(Box::pin(async move {
                        ask(&shared, &key, number, sent.request, timeout).await
                    }));
                }
                Output::Delete { number, on, timeout } => {
                    let (shared, key) = (Arc::clone(shared), key.clone());
                    asked =
                        Some(Box::pin(
                            async move { delete(&shared, &key, number, on, timeout).await },
                        ));
                }
                Output::Wake(after) => wake = after,
                Output::End(Ok(result)) => return Ok(result),
                Output::End(Err(failure)) => return Err(Failed { failure, trouble, place }),
            }
        }
        let answered = async {
            match asked.as_mut() {
                Some(asked) => asked.await,
                None => std::future::pending().await,
            }
        };
        input = tokio::select! {
            biased;
            answer = answered => {
                asked = None;
                trouble = answer.trouble;
                place = answer.place.unwrap_or(place);
                answer.input
            }
            () = env.sleep(wake) => Input::Wake,
        };
    }
}

/// The answer to one request.
struct Answer {
    input: Input,
    trouble: Option<String>,
    /// Where the state is, should it be one that cannot be used.
    place: Option<String>,
}

async fn ask(
    shared: &Shared,
    key: &Key,
    number: u64,
    request: Request,
    timeout: Duration,
) -> Answer {
    let (reply, said) = request::ask(shared, key, request, timeout).await;
    let place = |state: &Expected| match state {
        Expected::Version(version) => Some(shared.backend.locate_state(key, version)),
        Expected::Absent => None,
    };
    match reply {
        request::Answered::Damaged(damage) => {
            let place = place(&damage.state);
            Answer { input: Input::Damaged(number, damage), trouble: None, place }
        }
        request::Answered::Reply(reply) => {
            let place = match &reply {
                Reply::Read { seen, .. } => place(&seen.state),
                _ => None,
            };
            Answer { input: Input::Reply(number, reply), trouble: said, place }
        }
    }
}

async fn delete(
    shared: &Shared,
    key: &Key,
    number: u64,
    on: Expected,
    timeout: Duration,
) -> Answer {
    let deleted = async {
        match &on {
            Expected::Version(version) => shared.backend.delete(key, version).await,
            Expected::Absent => Ok(false),
        }
    };
    let deleted = tokio::select! {
        biased;
        deleted = deleted => deleted.map_err(|e| (Reply::Failed(e.fate, e.trouble), e.message)),
        () = shared.env.sleep(timeout) => Err((
            Reply::Failed(Fate::Unknown, Trouble::Unavailable),
            format!("no answer within {timeout:?}"),
        )),
    };
    match deleted {
        Ok(done) => Answer { input: Input::Deleted(number, done), trouble: None, place: None },
        Err((reply, why)) => {
            Answer { input: Input::Reply(number, reply), trouble: Some(why), place: None }
        }
    }
}

impl HeldBy {
    /// The holder that one look showed.
    pub(crate) fn seen(party: &Party, shared: &Shared) -> HeldBy {
        HeldBy::new(&party.holder, party.token, shared.env.now().unix_ms, party.left)
    }
}
