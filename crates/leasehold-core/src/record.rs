//! What stands under a key, and its one encoding: a JSON object that a person can read.
//!
//! `docs/protocol.md` specifies it and `docs/record-vectors.json` pins it, so that another language
//! can join the same lock. A newer format and a damaged record are refused, never guessed at; fields
//! that this version does not know survive a rewrite.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, DeserializeOwned, IntoDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::backend::MAX_RECORD_BYTES;
use crate::deadline::{TAKEOVER_DELAY_MAX, TTL_MAX};

mod moment;
mod outcome;
mod token;

pub use moment::system_time;
pub use outcome::{
    Checkpoint, Earlier, Ending, MAX_CHECKPOINT_BYTES, MAX_EARLIER, MAX_ENDING_BYTES,
    MAX_KEY_BYTES, Outcome, Progress, tail,
};
pub use token::{FencingToken, NotAToken};

/// The format that this version reads and writes.
pub const FORMAT: u64 = 1;

/// The longest text field (a label, a reason), in bytes. Longer ones are cut when written and make a
/// record corrupt when read.
pub const MAX_TEXT_BYTES: usize = 256;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = &'static str;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
                if text.len() != 32 || !text.bytes().all(hex) {
                    return Err("an id is 32 lower-case hexadecimal digits");
                }
                u128::from_str_radix(text, 16).map($name).map_err(|_| "not an id")
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id! {
    /// Names one write, so that a lost reply can be settled by reading.
    WriteId
}
id! {
    /// Names one acquisition: fresh every time, so that two tasks of one process, or one process
    /// before and after, are never taken for each other.
    HolderId
}

/// What a name is used as. One name is one kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One holder.
    Mutex,
    /// One writer or many readers.
    Rwlock,
    /// As many holders as there are slots.
    Semaphore,
    /// One leader, who publishes a value.
    Election,
    /// A completion that stays.
    Once,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Mutex => "mutex",
            Kind::Rwlock => "rwlock",
            Kind::Semaphore => "semaphore",
            Kind::Election => "election",
            Kind::Once => "once",
        })
    }
}

/// Who has the lease.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Holder {
    /// Fresh for every acquisition.
    pub id: HolderId,
    /// Host, process and user, for people. Decides nothing.
    pub label: String,
    /// How long the lease lasts unrenewed, in milliseconds. Waiters go by this, not by their own.
    pub ttl_ms: u64,
    /// How often it was renewed. A waiter who sees the same count for a whole ttl may take over.
    pub renewals: u64,
    /// When it was acquired, by the holder's wall clock, for people.
    pub acquired_unix_ms: u64,
    /// How long others stay out after an expiry (not after a release), in milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub takeover_delay_ms: u64,
    /// Fields of a later version.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Holder {
    /// How long the lease lasts unrenewed.
    pub fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl_ms)
    }

    /// How long others stay out after an expiry.
    pub fn takeover_delay(&self) -> Duration {
        Duration::from_millis(self.takeover_delay_ms)
    }
}

/// How a holder stopped holding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// It released.
    Released,
    /// Its lease was over and another took it.
    TakenOver,
    /// A person forced it, or repaired the record.
    Forced,
    /// A person made what was done count no more.
    Reset,
}

/// The holder before, for people and for error messages.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Past {
    /// Its label.
    pub label: String,
    /// Its id, where it was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<HolderId>,
    /// How it ended.
    #[serde(deserialize_with = "word")]
    pub ended: Ended,
    /// When, by the wall clock of the process that wrote this.
    pub unix_ms: u64,
    /// Who forced it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why it was forced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Fields of a later version.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The record under a key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The format, [`FORMAT`]. It stands first, so that a person sees what the file is.
    #[serde(rename = "leasehold")]
    pub format: u64,
    /// What the name is used as.
    #[serde(deserialize_with = "word")]
    pub kind: Kind,
    /// The token of the holder, or of the last one while the lock is free.
    pub token: FencingToken,
    /// The write that put this record here.
    pub write: WriteId,
    /// Who holds: nobody while the lock is free, and at most one in a mutex.
    pub holders: Vec<Holder>,
    /// Who held before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub past: Option<Past>,
    /// The outcome of a run; only of [`Kind::Once`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Fields of a later version.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

// serde's `skip_serializing_if` hands out a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Reads one of a few words. Left to itself, serde takes `{"mutex":null}` for `"mutex"`.
fn word<'de, D: Deserializer<'de>, T: DeserializeOwned>(d: D) -> Result<T, D::Error> {
    let text = std::borrow::Cow::<str>::deserialize(d)?;
    T::deserialize(text.as_ref().into_deserializer())
}

/// Why bytes are not a record that may be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BadRecord {
    /// A later version of leasehold wrote it.
    NewerFormat(u64),
    /// It is not a record, or was damaged. The text says what is wrong.
    Corrupt(String),
    /// It is sound and can be read, but its token leaves none for the next holder.
    Spent,
}

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadRecord::NewerFormat(found) => write!(
                f,
                "the record has format {found} and this version of leasehold reads up to {FORMAT}: \
                 use a newer leasehold"
            ),
            BadRecord::Corrupt(why) => write!(f, "the record is not one of leasehold's: {why}"),
            BadRecord::Spent => f.write_str(
                "the record has the highest token that there is, which leaves none for the next \
                 holder: use another name, or remove the record while nobody uses it",
            ),
        }
    }
}

impl std::error::Error for BadRecord {}

impl Record {
    /// The holder, if the lock is held.
    pub fn holder(&self) -> Option<&Holder> {
        self.holders.first()
    }

    /// The bytes to store: one line of JSON with a line feed at its end.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Reads a record back and checks every bound, because anything may stand in a store.
    pub fn decode(bytes: &[u8]) -> Result<Record, BadRecord> {
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(BadRecord::Corrupt(format!("it has more than {MAX_RECORD_BYTES} bytes")));
        }
        if !bytes.trim_ascii_start().starts_with(b"{") && !bytes.trim_ascii_start().is_empty() {
            return Err(BadRecord::Corrupt("it is not a JSON object".into()));
        }
        // The format is looked at first and alone: what a newer one looks like cannot be known.
        let format = serde_json::from_slice::<Head>(bytes)
            .map_err(|e| BadRecord::Corrupt(describe(bytes, &e)))?
            .leasehold;
        if format > FORMAT {
            return Err(BadRecord::NewerFormat(format));
        }
        let record: Record =
            serde_json::from_slice(bytes).map_err(|e| BadRecord::Corrupt(describe(bytes, &e)))?;
        record.check()?;
        Ok(record)
    }

    fn check(&self) -> Result<(), BadRecord> {
        let fail = |why: String| Err(BadRecord::Corrupt(why));
        if self.format == 0 {
            return fail("its format is 0".into());
        }
        if self.token >= FencingToken::MAX {
            return fail("its token is above 2^53 - 2".into());
        }
        if matches!(self.kind, Kind::Mutex | Kind::Once) && self.holders.len() > 1 {
            return fail(format!("it is a {} with {} holders", self.kind, self.holders.len()));
        }
        for holder in &self.holders {
            if holder.ttl_ms == 0 || holder.ttl() > TTL_MAX {
                return fail(format!("its ttl_ms {} is not within 24 hours", holder.ttl_ms));
            }
            if holder.takeover_delay() > TAKEOVER_DELAY_MAX {
                return fail("its takeover_delay_ms is above a minute".into());
            }
            if holder.renewals.max(holder.acquired_unix_ms) > FencingToken::MAX.0 {
                return fail("a number of its holder is above 2^53 - 1".into());
            }
            if holder.label.len() > MAX_TEXT_BYTES {
                return fail(format!("its label has more than {MAX_TEXT_BYTES} bytes"));
            }
        }
        if let Some(outcome) = &self.outcome {
            if self.kind != Kind::Once {
                return fail(format!("it is a {} with an outcome", self.kind));
            }
            outcome.check().map_err(BadRecord::Corrupt)?;
        }
        if let Some(past) = &self.past {
            if past.unix_ms > FencingToken::MAX.0 {
                return fail("a number in `past` is above 2^53 - 1".into());
            }
            let texts = [Some(&past.label), past.by.as_ref(), past.reason.as_ref()];
            if texts.into_iter().flatten().any(|t| t.len() > MAX_TEXT_BYTES) {
                return fail(format!("a text in `past` has more than {MAX_TEXT_BYTES} bytes"));
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Head {
    leasehold: u64,
}

/// What is wrong, without repeating what a stranger may have put there.
fn describe(bytes: &[u8], error: &serde_json::Error) -> String {
    if bytes.is_empty() {
        return "it is empty".into();
    }
    let place = format!("at line {} column {}", error.line(), error.column());
    match error.classify() {
        serde_json::error::Category::Eof => format!("it is cut off {place}"),
        serde_json::error::Category::Data => {
            format!("a field is missing or has the wrong type {place}")
        }
        _ => format!("it is not JSON {place}"),
    }
}

/// The highest token that is legible in a damaged record, so that a repair goes above it.
///
/// The bytes need not be JSON: a record that was cut off has its token near its front, and one with
/// something behind it has it too. A name in quotes cannot be part of a text, where its quotes would be
/// escaped. A number that was cut off is lower than what it was, and does no harm.
pub fn salvage_token(bytes: &[u8]) -> Option<FencingToken> {
    let number = |value: &[u8]| {
        let digits = value.strip_prefix(b"\"").unwrap_or(value);
        let end = digits.iter().position(|b| !b.is_ascii_digit()).unwrap_or(digits.len());
        std::str::from_utf8(&digits[..end]).ok()?.parse().ok().map(FencingToken)
    };
    let all = values(bytes, "\"token\"").filter_map(number);
    all.filter(|token| *token < FencingToken::MAX).max()
}

/// What a damaged record is used as, where that is legible: it never changes.
pub fn salvage_kind(bytes: &[u8]) -> Kind {
    let kind = |value: &[u8]| {
        let text = value.strip_prefix(b"\"")?;
        let end = text.iter().position(|b| *b == b'"')?;
        let word: de::value::StrDeserializer<'_, de::value::Error> =
            std::str::from_utf8(&text[..end]).ok()?.into_deserializer();
        Kind::deserialize(word).ok()
    };
    values(bytes, "\"kind\"").find_map(kind).unwrap_or(Kind::Mutex)
}

/// What stands behind each occurrence of a field's name, white space, a colon and white space, as far
/// as a record may reach.
fn values<'a>(bytes: &'a [u8], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let bytes = &bytes[..bytes.len().min(MAX_RECORD_BYTES)];
    let found = bytes.windows(name.len()).enumerate().filter(|(_, w)| *w == name.as_bytes());
    found.filter_map(move |(at, _)| {
        let rest = bytes[at + name.len()..].trim_ascii_start().strip_prefix(b":")?;
        Some(rest.trim_ascii_start())
    })
}

/// Cuts a text to [`MAX_TEXT_BYTES`], at a character.
pub fn bounded(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
