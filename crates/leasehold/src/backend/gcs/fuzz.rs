//! The target `http-answers`: whatever may answer in place of a bucket or a metadata server, its headers and
//! its body.

use std::sync::LazyLock;
use std::time::Duration;

use leasehold_core::backend::{BackendError, Fate, Key};
use leasehold_fuzz::Target;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::{GcsBackend, Listing, Object};
use crate::backend::http::answer::Answer;
use crate::backend::http::credentials::metadata;

const WORDS: &[&str] = &[
    "200\n",
    "404\n",
    "429\n",
    "503\n",
    "retry-after: ",
    "date: ",
    "last-modified: ",
    "x-goog-generation: ",
    "x-goog-hash: crc32c=",
    "x-goog-stored-content-length: ",
    "x-goog-stored-content-encoding: identity",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "9300000000000000000",
    "18446744073709551615",
    "18446744073709551616",
    "-1",
    "1e400",
    "\n\n",
    "{\"generation\":\"",
    "\"expires_in\":",
    "\"access_token\":\"",
    "\"error\":{\"message\":\"",
    "<title>",
    "<!DOCTYPE html>",
    "\u{202e}",
];

static BACKEND: LazyLock<GcsBackend> =
    LazyLock::new(|| GcsBackend::open("acme/x?endpoint=http://127.0.0.1:1").expect("a backend"));

/// No header and no body makes us panic, wait for longer than makes sense, take a time for one that no clock
/// shows, or tell more than a line.
#[test]
fn http_answers() {
    Target { name: "http-answers", words: WORDS, runs: 20_000, check }.fuzz();
}

/// An answer as text: the status, headers line by line, an empty line, the body.
fn answer(bytes: &[u8]) -> Option<Answer> {
    let at = bytes.windows(2).position(|two| two == b"\n\n")?;
    let (head, body) = (str::from_utf8(&bytes[..at]).ok()?, bytes[at + 2..].to_vec());
    let (status, lines) = head.split_once('\n').unwrap_or((head, ""));
    let mut headers = HeaderMap::new();
    for (name, value) in lines.split('\n').filter_map(|line| line.split_once(": ")) {
        let name = HeaderName::try_from(name).ok()?;
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).ok()?);
    }
    Some(Answer { status: status.parse().ok()?, headers, body })
}

/// True for an answer that shows a record.
fn check(bytes: &[u8]) -> bool {
    if let Some((_, life)) = metadata::token(bytes) {
        assert!(life <= Duration::from_hours(24), "{life:?}");
    }
    let Some(answer) = answer(bytes) else { return false };
    let backend = &*BACKEND;
    let longest = Duration::from_hours(1);
    assert!(answer.retry_after().is_none_or(|asked| asked <= longest));
    for host in [0, 1_800_000_000_000, u64::MAX] {
        assert!(answer.unix_ms(host).is_none_or(|ms| ms < 253_402_300_800_000));
    }
    is_told(&backend.refusal(&answer));
    let _ = serde_json::from_slice::<Object>(&answer.body);
    let _ = serde_json::from_slice::<Listing>(&answer.body);
    let key = Key::new("deploy").expect("a name");
    match backend.found(&key, &answer) {
        Ok(record) => {
            assert!(record.age.is_none_or(|age| age <= Duration::from_hours(24 * 366 * 9999)));
            true
        }
        Err(error) => {
            is_told(&error);
            false
        }
    }
}

fn is_told(error: &BackendError) {
    let message = &error.message;
    assert!(message.len() < 4_000 && !message.contains(char::is_control), "{message:?}");
    if let Fate::Throttled { retry_after: Some(asked) } = error.fate {
        assert!(asked <= Duration::from_hours(1), "{asked:?}");
    }
}
