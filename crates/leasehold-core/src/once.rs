//! What starting, saving, completing and resetting something that is to be done once do to its record.
//!
//! It is held like a mutex, by the same writes; what is here is done to the same record before it is
//! written. Beside the holder it has an [`Outcome`]: how far the newest key has come. None of this
//! decides *whether* it may be done: that is [`lease`](crate::lease)'s.

use std::time::Duration;

use serde_json::Map;

use crate::backend::MAX_RECORD_BYTES;
use crate::record::{
    Checkpoint, Earlier, Ended, Ending, FencingToken, Kind, MAX_EARLIER, Outcome, Past, Progress,
    Record, WriteId, bounded, tail,
};

/// What is to be done, and when it counts as done or as failed for good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Once {
    /// What is to be done: at most [`MAX_KEY_BYTES`](crate::record::MAX_KEY_BYTES).
    pub key: String,
    /// How many runs may fail, over all hosts, before everybody gives up.
    pub max_attempts: u64,
    /// How long after the first failure the next run may begin; it doubles with every further one.
    pub backoff: Duration,
    /// A completion that is older counts no more.
    pub valid_for: Option<Duration>,
}

/// How a run ended, as its runner says it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Completion {
    /// It did what was to be done.
    Done(Report),
    /// It failed.
    Failed(Report),
    /// It found that nothing was to be done, and did nothing: the record is as before.
    Withdrawn,
}

/// What those who inherit the result are told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// The exit code, where it was a command.
    pub code: Option<u8>,
    /// The result, or the error.
    pub text: String,
}

/// Why nothing is to be run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Settled {
    /// It is done.
    Done {
        /// The token of the run that did it.
        token: FencingToken,
        /// How it ended; not known any more if a later key has come since.
        ending: Option<Ending>,
    },
    /// All attempts are used up.
    Failed {
        /// How many there were.
        failures: u64,
        /// How the last one ended.
        ending: Option<Ending>,
    },
    /// A later key came before this one was done, and this one never runs again.
    Outdated {
        /// The newest key.
        newest: String,
    },
}

/// Marks in `record`, which makes somebody the holder instead of `before`, that a run of `key` begins.
pub fn start(record: &mut Record, before: Option<&Record>, key: &str) {
    record.kind = Kind::Once;
    let mut outcome = Outcome {
        key: key.to_owned(),
        state: Progress::Started,
        token: record.token,
        resumes: None,
        failures: 0,
        ending: None,
        checkpoint: None,
        earlier: vec![],
        extra: Map::new(),
    };
    if let Some(old) = before.and_then(|b| b.outcome.clone()) {
        if old.key != key {
            let done = (old.state == Progress::Done).then_some(old.token);
            outcome.earlier.push(Earlier { key: old.key, done, extra: Map::new() });
            planted!(OldKeyForgotten: outcome.earlier.clear());
        } else if old.state != Progress::Done {
            outcome.resumes = Some(old.token);
            planted!(ResumedUntold: outcome.resumes = None);
            outcome.failures = old.failures;
            planted!(FailuresForgotten: outcome.failures = 0);
            planted!(InterruptedIsFailed: outcome.failures +=
                u64::from(old.state == Progress::Started));
            outcome.ending = old.ending;
            outcome.checkpoint = old.checkpoint;
            planted!(CheckpointForgotten: outcome.checkpoint = None);
        }
        outcome.earlier.extend(old.earlier);
        outcome.earlier.truncate(MAX_EARLIER);
        outcome.extra = old.extra;
    }
    record.outcome = Some(outcome);
    fit(record);
}

/// Puts what the run saves into the record by which it renews.
pub fn save(record: &mut Record, checkpoint: &[u8]) {
    if let Some(outcome) = &mut record.outcome {
        outcome.checkpoint = Some(Checkpoint(checkpoint.to_vec()));
        fit(record);
    }
}

/// Puts how the run ended into the record by which it releases.
pub fn complete(record: &mut Record, completion: &Completion, by: &str, unix_ms: u64) {
    let token = record.token;
    let Some(outcome) = &mut record.outcome else { return };
    let (state, report) = match completion {
        Completion::Done(report) => (Progress::Done, report),
        Completion::Failed(report) => (Progress::Failed, report),
        Completion::Withdrawn => return,
    };
    match state {
        Progress::Failed => outcome.failures = (outcome.failures + 1).min(FencingToken::MAX.0),
        Progress::Done | Progress::Started => {
            outcome.checkpoint = None;
            outcome.resumes = None;
        }
    }
    outcome.state = state;
    outcome.token = token;
    outcome.ending = Some(Ending {
        token,
        by: bounded(by),
        unix_ms,
        code: report.code,
        text: tail(&report.text),
        extra: Map::new(),
    });
    fit(record);
}

/// Puts back what stood in the record before a run that did not begin.
pub fn withdraw(record: &mut Record, before: Option<Outcome>) {
    record.kind = Kind::Once;
    record.outcome = before;
    fit(record);
}

/// Whether the record proves that the completion of the run of `key` under `token` was recorded,
/// although others have written since.
pub fn is_recorded(
    record: &Record,
    key: &str,
    token: FencingToken,
    completion: &Completion,
) -> bool {
    let Some(outcome) = &record.outcome else { return false };
    let is_newest = outcome.key == key;
    let ending = outcome.ending.as_ref().filter(|e| is_newest && e.token == token);
    match completion {
        Completion::Done(_) => {
            let earlier = outcome.earlier.iter().find(|e| e.key == key);
            let now = outcome.state == Progress::Done && ending.is_some();
            now || (!is_newest && earlier.is_some_and(|e| e.done == Some(token)))
        }
        // The last failure stays known while the next run goes on.
        Completion::Failed(_) => ending.is_some() && outcome.state != Progress::Done,
        Completion::Withdrawn => false,
    }
}

/// The record by which a person makes what was done count no more: the newest key and all earlier ones
/// may run again. The token rises, so that nothing can be mistaken for what was before.
pub fn reset(before: &Record, by: &str, reason: &str, unix_ms: u64, write: WriteId) -> Record {
    let mut record = before.clone();
    record.kind = Kind::Once;
    record.token = before.token.next();
    record.write = write;
    record.holders = vec![];
    record.outcome = None;
    // Whose run this ends is told from whose ended before by the id.
    let label = before.holder().map(|h| &h.label).or(before.past.as_ref().map(|p| &p.label));
    record.past = Some(Past {
        label: label.cloned().unwrap_or_default(),
        id: before.holder().map(|h| h.id),
        ended: Ended::Reset,
        unix_ms,
        by: Some(bounded(by)),
        reason: Some(bounded(reason)),
        extra: Map::new(),
    });
    record
}

/// What a record is left to grow by: a renewal count gets longer, and a renewal must never fail for it.
const ROOM: usize = 64;

/// Forgets the oldest of the earlier keys until the record has room.
pub(crate) fn fit(record: &mut Record) {
    while record.encode().len() > MAX_RECORD_BYTES - ROOM {
        let Some(outcome) = &mut record.outcome else { return };
        if outcome.earlier.pop().is_none() {
            return;
        }
    }
}
