//! Run once: one process runs, and all others wait for the outcome.
//!
//! It is held like a mutex, by the same writes. Beside the holder its record has an [`Outcome`]: how far
//! the newest key has come.

use std::time::Duration;

use serde_json::Map;

use crate::backend::MAX_RECORD_BYTES;
use crate::deadline;
use crate::primitive::{Admission, Exit, How, Primitive, View};
use crate::record::{
    Checkpoint, Earlier, Ending, FencingToken, Kind, MAX_EARLIER, Outcome, Progress, Record,
    bounded, tail,
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
}

/// What callers that inherit the result are told.
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

impl Once {
    /// What the outcome in the record means for a waiter. `None`: go by the holder.
    fn settled(&self, view: &View<'_>) -> Option<Admission<Settled>> {
        let outcome = view.record.outcome.as_ref()?;
        planted!(DoneIgnored: return None);
        if outcome.key != self.key {
            let earlier = outcome.earlier.iter().find(|e| e.key == self.key)?;
            return Some(Admission::Answer(match earlier.done {
                Some(token) => Settled::Done { token, ending: None },
                None => Settled::Outdated { newest: outcome.key.clone() },
            }));
        }
        let (failures, ending) = (outcome.failures, outcome.ending.clone());
        match outcome.state {
            Progress::Started => None,
            Progress::Done if self.is_stale(view, outcome) => None,
            Progress::Done => {
                Some(Admission::Answer(Settled::Done { token: outcome.token, ending }))
            }
            Progress::Failed if failures >= self.max_attempts => {
                planted!(NeverGivesUp: return None);
                Some(Admission::Answer(Settled::Failed { failures, ending }))
            }
            Progress::Failed => {
                let due = deadline::retry_after(failures, self.backoff);
                let left = due.saturating_sub(view.stood);
                planted!(BackOffIgnored: return None);
                (!left.is_zero()).then_some(Admission::Rest(left))
            }
        }
    }

    /// Whether a completion is too old to count. By the store's clock, where it tells an age, and by
    /// wall clocks otherwise: it decides only whether something runs again, never who holds.
    fn is_stale(&self, view: &View<'_>, outcome: &Outcome) -> bool {
        let Some(valid_for) = self.valid_for else { return false };
        // The store tells the age of the record. A later token says that somebody has written it
        // since, who began and withdrew, or broke it.
        let age = view.age.filter(|_| view.record.token == outcome.token).unwrap_or_else(|| {
            let done = outcome.ending.as_ref().map_or(0, |e| e.unix_ms);
            Duration::from_millis(view.unix_ms.saturating_sub(done))
        });
        age >= valid_for
    }
}

impl Primitive for Once {
    /// A checkpoint.
    type Ask = Vec<u8>;
    type End = Completion;
    type Answer = Settled;
    type Replaced = Option<Outcome>;

    fn kind(&self) -> Kind {
        Kind::Once
    }

    fn admit(&self, view: &View<'_>) -> Admission<Settled> {
        self.settled(view).unwrap_or_else(|| view.exclusive())
    }

    fn enter(&self, record: &mut Record, before: Option<&Record>) -> Option<Outcome> {
        start(record, before, &self.key);
        before.and_then(|before| before.outcome.clone())
    }

    fn ask(&self, record: &mut Record, checkpoint: &Vec<u8>) {
        save(record, checkpoint);
    }

    fn leave(&self, record: &mut Record, exit: &Exit<'_, Once>) {
        match exit.how {
            How::Undone(replaced) => {
                planted!(WithdrawnStaysBegun: return);
                // What is seen may be the state before our entering, and then it is so already.
                let before = replaced.cloned().unwrap_or_else(|| record.outcome.take());
                withdraw(record, before);
            }
            // Interrupted: the next run resumes it.
            How::Released => fit(record),
            How::Ended(completion) => complete(record, completion, exit.label, exit.unix_ms),
        }
    }

    fn recorded(
        &self,
        record: &Record,
        token: Option<FencingToken>,
        completion: &Completion,
    ) -> Option<bool> {
        let is_recorded = token.is_some_and(|t| is_recorded(record, &self.key, t, completion));
        planted!(FailureDenied: if !is_recorded { return Some(false); });
        match completion {
            _ if is_recorded => Some(true),
            // Of the failures before the last end a record keeps no more than the number.
            Completion::Failed(_) if record.outcome.is_some() => None,
            _ => Some(false),
        }
    }

    fn comes_again(&self) -> bool {
        false
    }

    #[cfg(feature = "planted")]
    fn as_failed(_: Completion) -> Completion {
        Completion::Failed(Report::default())
    }
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
    }
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
