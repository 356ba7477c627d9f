//! The target `spanner-answers`: the status of a call with its details, and rows that anybody may have
//! written.

use std::sync::LazyLock;
use std::time::Duration;

use googleapis_tonic_google_spanner_v1::google::spanner::v1::PartialResultSet;
use leasehold_core::backend::{BackendError, Fate, Key, Version};
use leasehold_fuzz::Target;
use prost::Message;
use prost_types::Timestamp;
use tonic::{Code, Status};

use super::place::Place;
use super::rows::{self, State, Values, micros};
use super::status::Refusal;
use super::{SpannerBackend, nanos};

const WORDS: &[&str] = &[
    "\n",
    "0\n\n\n",
    "1764121198000000",
    "-9223372036854775808",
    "9223372036854775807",
    "2026-11-26T01:39:58.123456Z",
    "9999-12-31T23:59:59.999999999Z",
    "0001-01-01T00:00:00Z",
    "300000000-01-01T00:00:00Z",
    "-99999999999-01-01T00:00:00Z",
    "google.rpc.RetryInfo",
    "google.rpc.ResourceInfo",
    "Row ",
    "Session not found",
    "\u{7f}",
];

static BACKEND: LazyLock<SpannerBackend> = LazyLock::new(|| {
    SpannerBackend::open("acme/main/locks?endpoint=http://127.0.0.1:1").expect("a backend")
});

/// No status and no row makes us panic, wait for longer than makes sense, or count beyond what a number
/// holds.
#[test]
fn spanner_answers() {
    Target { name: "spanner-answers", words: WORDS, runs: 20_000, check }.fuzz();
}

/// True for rows that show a record.
fn check(bytes: &[u8]) -> bool {
    let place = Place::parse("acme/main/locks?endpoint=http://127.0.0.1:1").expect("a place");
    let message = String::from_utf8_lossy(bytes).into_owned();
    for code in [Code::Aborted, Code::Unavailable, Code::NotFound, Code::PermissionDenied] {
        let status = Status::with_details(code, message.clone(), bytes.to_vec().into());
        is_told(&Refusal::new(&status, &place).error());
    }
    if let Ok(part) = PartialResultSet::decode(bytes) {
        let mut values = Values::default();
        if values.add(part).is_ok() {
            let _ = values.rows::<3>();
        }
    }
    if let Some((seconds, rest)) = bytes.split_first_chunk::<8>()
        && let Some(nanoseconds) = rest.first_chunk::<4>()
    {
        let (seconds, nanos_) = (i64::from_le_bytes(*seconds), i32::from_le_bytes(*nanoseconds));
        let time = Timestamp { seconds, nanos: nanos_ };
        let (_, _) = (micros(&time), nanos(&time));
        assert!(!rows::is_time(&time) || micros(&time) < 253_402_300_800_000_000);
    }
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let values: Vec<Option<String>> =
        text.split('\n').map(|value| (!value.is_empty()).then(|| value.to_owned())).collect();
    let rows = values.chunks_exact(3).map(|row| std::array::from_fn(|at| row[at].clone()));
    match State::of(rows.collect()) {
        Ok(State::Stored { version, written, .. }) => {
            assert!(version != 0 && rows::is_time(&written), "{version} {written:?}");
            if let Some(old) = super::parse(&Version::new(version.to_string())) {
                let key = Key::new("x").expect("a name");
                BACKEND.replacing(&key, old, old + 1, b"");
                BACKEND.replacing(&key, old, -(old + 1), b"");
            }
            true
        }
        _ => false,
    }
}

fn is_told(error: &BackendError) {
    let message = &error.message;
    assert!(message.len() < 4_000 && !message.contains(char::is_control), "{message:?}");
    if let Fate::Throttled { retry_after: Some(asked) } = error.fate {
        assert!(asked <= Duration::from_hours(1), "{asked:?}");
    }
}
