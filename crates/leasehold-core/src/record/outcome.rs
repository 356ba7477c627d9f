//! What the record of a name that `once` uses says of its runs.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{FencingToken, MAX_TEXT_BYTES, is_zero, word};

/// The longest key, in bytes: what is to be done, by its version or its hash.
pub const MAX_KEY_BYTES: usize = 128;

/// The longest checkpoint, in bytes. It is part of a record that is read whole on every look.
pub const MAX_CHECKPOINT_BYTES: usize = 4096;

/// The longest text of an ending (a result, the tail of an error), in bytes.
pub const MAX_ENDING_BYTES: usize = 1024;

/// How many keys that were replaced by later ones a record remembers, so that they never run again.
pub const MAX_EARLIER: usize = 64;

/// How far the thing to be done has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Progress {
    /// A run has begun. It goes on while the record has a holder whose lease is not over; otherwise it
    /// was interrupted, and the next one resumes it.
    Started,
    /// A run completed it.
    Done,
    /// The last run failed.
    Failed,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Progress::Started => "started",
            Progress::Done => "done",
            Progress::Failed => "failed",
        })
    }
}

/// How a run ended, for callers that inherit its result.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ending {
    /// The run's fencing token.
    pub token: FencingToken,
    /// Its label: host, process and user, for people.
    pub by: String,
    /// When, by its wall clock.
    pub unix_ms: u64,
    /// The exit code, where it was a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
    /// The result, or the error.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Fields of a later version.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A key that a later one has replaced.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Earlier {
    /// The key.
    pub key: String,
    /// The token of the run that completed it; none if none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<FencingToken>,
    /// Fields of a later version.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Bytes that a run saved for the run that resumes it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Checkpoint(pub Vec<u8>);

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checkpoint({} bytes)", self.0.len())
    }
}

impl Serialize for Checkpoint {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Checkpoint {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        let bytes = STANDARD.decode(text.as_bytes());
        bytes.map(Checkpoint).map_err(|_| serde::de::Error::custom("a checkpoint is base64"))
    }
}

/// The outcome of the runs of `once`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// What is to be done. Another key is another thing: a new version, which runs again.
    pub key: String,
    /// How far it has come.
    #[serde(deserialize_with = "word")]
    pub state: Progress,
    /// The token of the run that came so far.
    pub token: FencingToken,
    /// The token of the run before, if that one had begun and not completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumes: Option<FencingToken>,
    /// How many runs of this key have failed. A crash is no failure.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u64,
    /// How the last run ended that ended by itself: the completion, or the last failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
    /// What the runs of this key saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Checkpoint>,
    /// The keys before this one, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Earlier>,
    /// Fields of a later version.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Outcome {
    /// How far it has come, in a word: `running`, `interrupted`, `done` or `failed`. A run that began goes
    /// on only while its lease is held, which the record alone does not tell.
    ///
    /// ```
    /// # use leasehold_core::record::Outcome;
    /// # fn show(outcome: &Outcome) {
    /// let word = outcome.word(false);
    /// assert_ne!(word, "running"); // nobody holds the lease
    /// # }
    /// ```
    pub fn word(&self, is_held: bool) -> &'static str {
        match self.state {
            Progress::Started if is_held => "running",
            Progress::Started => "interrupted",
            Progress::Done => "done",
            Progress::Failed => "failed",
        }
    }

    /// What is wrong with it, if anything is: anything may stand in a store.
    pub(super) fn check(&self) -> Result<(), String> {
        let keys = self.earlier.iter().map(|e| &e.key).chain([&self.key]);
        if keys.into_iter().any(|key| key.len() > MAX_KEY_BYTES) {
            return Err(format!("a key has more than {MAX_KEY_BYTES} bytes"));
        }
        let ending = self.ending.as_ref();
        let tokens = [Some(self.token), self.resumes, ending.map(|e| e.token)];
        let earlier = self.earlier.iter().map(|e| e.done);
        if tokens.into_iter().chain(earlier).flatten().any(|t| t >= FencingToken::MAX) {
            return Err("a token in `outcome` is above 2^53 - 2".into());
        }
        if self.failures.max(ending.map_or(0, |e| e.unix_ms)) > FencingToken::MAX.0 {
            return Err("a number in `outcome` is above 2^53 - 1".into());
        }
        if ending.is_some_and(|e| e.by.len() > MAX_TEXT_BYTES || e.text.len() > MAX_ENDING_BYTES) {
            return Err("a text in `outcome` is too long".into());
        }
        if self.checkpoint.as_ref().is_some_and(|c| c.0.len() > MAX_CHECKPOINT_BYTES) {
            return Err(format!("its checkpoint has more than {MAX_CHECKPOINT_BYTES} bytes"));
        }
        if self.earlier.len() > MAX_EARLIER {
            return Err(format!("it has more than {MAX_EARLIER} earlier keys"));
        }
        if self.state == Progress::Done && ending.is_none() {
            return Err("it is done, and does not say how".into());
        }
        Ok(())
    }
}

/// Cleans and cuts what a run says of its end: the last bytes, because errors end with what matters.
pub fn tail(text: &str) -> String {
    let shown = |c: char| matches!(c, '\n' | '\t') || !c.is_control();
    let clean: String = text.chars().filter(|&c| shown(c)).collect();
    let clean = clean.trim_ascii_end();
    let mut start = clean.len().saturating_sub(MAX_ENDING_BYTES);
    while !clean.is_char_boundary(start) {
        start += 1;
    }
    clean[start..].to_owned()
}
