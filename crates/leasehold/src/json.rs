//! What programs are told: one shape for each type, for every command and for the users of the library.
//!
//! `docs/json.md` is the page of it. A moment is there twice: as RFC 3339 in UTC, and as Unix
//! milliseconds with `_unix_ms` at its end. A span is in milliseconds and ends in `_ms`. What is not
//! there is `null`. Texts come from strangers' records: they may contain anything.

use std::time::Duration;

use jiff::Timestamp;
use leasehold_core::record::{Ended, Ending, FencingToken, HolderId, Kind, Outcome, Past};
use serde::{Serialize, Serializer};

use crate::force::Forced;
use crate::forget::Forgotten;
use crate::holder::HeldBy;
use crate::once::{Done, Failed};
use crate::reset::Reset;
use crate::status::{State, Status};

/// A moment: RFC 3339, in UTC; none where it is out of all range.
fn date(unix_ms: u64) -> Option<String> {
    let moment = Timestamp::from_millisecond(i64::try_from(unix_ms).ok()?).ok()?;
    Some(moment.to_string())
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[derive(Serialize)]
struct HolderShape<'a> {
    id: HolderId,
    label: &'a str,
    token: FencingToken,
    since: Option<String>,
    since_unix_ms: u64,
    held_for_ms: u64,
    ttl_ms: u64,
    renewals: u64,
    expires_in_ms: Option<u64>,
}

impl Serialize for HeldBy {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        HolderShape {
            id: self.id,
            label: &self.label,
            token: self.token,
            since: date(self.since_unix_ms),
            since_unix_ms: self.since_unix_ms,
            held_for_ms: ms(self.held_for),
            ttl_ms: ms(self.ttl),
            renewals: self.renewals,
            expires_in_ms: self.expires_in.map(ms),
        }
        .serialize(s)
    }
}

#[derive(Serialize)]
struct PastShape<'a> {
    id: Option<HolderId>,
    label: &'a str,
    ended: Ended,
    at: Option<String>,
    at_unix_ms: u64,
    by: Option<&'a str>,
    reason: Option<&'a str>,
}

impl<'a> PastShape<'a> {
    fn of(past: &'a Past) -> PastShape<'a> {
        PastShape {
            id: past.id,
            label: &past.label,
            ended: past.ended,
            at: date(past.unix_ms),
            at_unix_ms: past.unix_ms,
            by: past.by.as_deref(),
            reason: past.reason.as_deref(),
        }
    }
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

#[derive(Serialize)]
struct StatusShape<'a> {
    name: &'a str,
    state: State,
    kind: Option<Kind>,
    token: Option<FencingToken>,
    holder: Option<&'a HeldBy>,
    past: Option<PastShape<'a>>,
    once: Option<OnceShape<'a>>,
    problem: Option<&'a str>,
    location: &'a str,
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let is_held = self.state == State::Held;
        StatusShape {
            name: &self.name,
            state: self.state,
            kind: self.kind,
            token: self.token,
            holder: self.holder.as_ref(),
            past: self.past.as_ref().map(PastShape::of),
            once: self.outcome.as_ref().map(|it| OnceShape::of(it, is_held)),
            problem: self.problem.as_deref(),
            location: &self.location,
        }
        .serialize(s)
    }
}

#[derive(Serialize)]
struct OnceShape<'a> {
    state: &'static str,
    key: &'a str,
    token: FencingToken,
    resumes: Option<FencingToken>,
    failures: u64,
    ending: Option<EndingShape<'a>>,
    checkpoint_bytes: Option<usize>,
    earlier: Vec<EarlierShape<'a>>,
}

#[derive(Serialize)]
struct EarlierShape<'a> {
    key: &'a str,
    done: Option<FencingToken>,
}

impl<'a> OnceShape<'a> {
    fn of(it: &'a Outcome, is_held: bool) -> OnceShape<'a> {
        let earlier = it.earlier.iter();
        OnceShape {
            state: it.word(is_held),
            key: &it.key,
            token: it.token,
            resumes: it.resumes,
            failures: it.failures,
            ending: it.ending.as_ref().map(EndingShape::of),
            checkpoint_bytes: it.checkpoint.as_ref().map(|it| it.0.len()),
            earlier: earlier.map(|it| EarlierShape { key: &it.key, done: it.done }).collect(),
        }
    }
}

#[derive(Serialize)]
struct EndingShape<'a> {
    token: FencingToken,
    by: &'a str,
    at: Option<String>,
    at_unix_ms: u64,
    code: Option<u8>,
    text: &'a str,
}

impl<'a> EndingShape<'a> {
    fn of(it: &'a Ending) -> EndingShape<'a> {
        let (by, text) = (&*it.by, &*it.text);
        let (at, at_unix_ms) = (date(it.unix_ms), it.unix_ms);
        EndingShape { token: it.token, by, at, at_unix_ms, code: it.code, text }
    }
}

impl Serialize for Done {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let (by, text) = (&*self.by, &*self.text);
        let (at, at_unix_ms) = (date(self.at_unix_ms), self.at_unix_ms);
        EndingShape { token: self.token, by, at, at_unix_ms, code: self.code, text }.serialize(s)
    }
}

#[derive(Serialize)]
struct FailedShape<'a> {
    attempts: u64,
    by: &'a str,
    at: Option<String>,
    at_unix_ms: u64,
    code: Option<u8>,
    text: &'a str,
}

impl Serialize for Failed {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        FailedShape {
            attempts: self.attempts,
            by: &self.by,
            at: date(self.at_unix_ms),
            at_unix_ms: self.at_unix_ms,
            code: self.code,
            text: &self.text,
        }
        .serialize(s)
    }
}

/// What an act came to, for all acts: fields that one of them does not have are left out.
#[derive(Serialize, Default)]
struct ActShape<'a> {
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<&'a HeldBy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<FencingToken>,
    #[serde(skip_serializing_if = "Option::is_none")]
    past: Option<PastShape<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    was: Option<OnceShape<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<OnceShape<'a>>,
}

impl Serialize for Forced {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let act = ActShape::default();
        match self {
            Forced::Released { holder, token } => {
                let (holder, token) = (Some(holder), Some(*token));
                ActShape { outcome: "released", holder, token, ..act }
            }
            Forced::Repaired { token } => {
                ActShape { outcome: "repaired", token: Some(*token), ..act }
            }
            Forced::WasFree => ActShape { outcome: "was-free", ..act },
            Forced::Absent => ActShape { outcome: "absent", ..act },
            Forced::Changed { now } => ActShape { outcome: "changed", holder: Some(now), ..act },
            Forced::Gone { token, past } => {
                let past = past.as_ref().map(PastShape::of);
                ActShape { outcome: "gone", token: Some(*token), past, ..act }
            }
        }
        .serialize(s)
    }
}

impl Serialize for Reset {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let act = ActShape::default();
        match self {
            Reset::Forgotten { outcome, token } => {
                let (was, token) = (Some(OnceShape::of(outcome, false)), Some(*token));
                ActShape { outcome: "forgotten", was, token, ..act }
            }
            Reset::Nothing => ActShape { outcome: "nothing", ..act },
            Reset::Absent => ActShape { outcome: "absent", ..act },
            Reset::Running { holder } => {
                ActShape { outcome: "running", holder: Some(holder), ..act }
            }
            Reset::Changed { now } => {
                let now = now.as_ref().map(|it| OnceShape::of(it, false));
                ActShape { outcome: "changed", now, ..act }
            }
        }
        .serialize(s)
    }
}

impl Serialize for Forgotten {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let act = ActShape::default();
        match self {
            Forgotten::Removed { token } => {
                ActShape { outcome: "removed", token: Some(*token), ..act }
            }
            Forgotten::Absent => ActShape { outcome: "absent", ..act },
            Forgotten::Held { holder } => ActShape { outcome: "held", holder: Some(holder), ..act },
            Forgotten::Once { outcome } => {
                ActShape { outcome: "once", was: Some(OnceShape::of(outcome, false)), ..act }
            }
            Forgotten::Ahead { token } => ActShape { outcome: "ahead", token: Some(*token), ..act },
            Forgotten::Young => ActShape { outcome: "young", ..act },
        }
        .serialize(s)
    }
}
