//! The target `url`: what was typed, or came in a variable, as the place of a store.

use std::os::unix::ffi::OsStrExt;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use leasehold_fuzz::Target;

use super::{connect, parse_file};
use crate::backend::file::shown;
#[cfg(feature = "gcs")]
use crate::backend::gcs::place::Place;
use crate::error::ErrorKind;

const WORDS: &[&str] = &[
    "file://",
    "file:///",
    "memory://",
    "redis://",
    "://",
    "/",
    "?",
    "&",
    "@",
    ":",
    "%",
    "%2F",
    "%00",
    "%25",
    "%C3%A9",
    "%+1",
    "% 1",
    "..",
    "#",
    "network-fs=allow",
    "network-fs=",
    "gs://",
    "acme-locks",
    "endpoint=http://127.0.0.1:1",
    "endpoint=",
    "write-interval=1s",
    "poll-interval=20ms",
    "project=acme",
    "location=EU",
    "hunter2",
    "user:",
    "é",
    "\u{1b}",
    "\u{202e}",
];

/// A URL means one directory, or one place in a bucket, or is refused: each % is followed by two digits,
/// and the URL that we show, and hand to children, means the same. No refusal repeats a password.
#[test]
fn url() {
    Target { name: "url", words: WORDS, runs: 40_000, check }.fuzz();
}

fn check(bytes: &[u8]) -> bool {
    let Ok(url) = str::from_utf8(bytes) else { return false };
    if let Some(rest) = url.strip_prefix("file://")
        && let Ok(place) = parse_file(rest)
    {
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        assert_eq!(Some(place.dir.as_os_str().as_bytes().to_vec()), meant(path), "{url:?}");
        assert_eq!(place.network_fs, query.contains("network-fs=allow"));
        let again = shown(&place.dir, place.network_fs);
        let again = again.strip_prefix("file://").map(parse_file).expect("a file URL");
        let again = again.expect("we understand ourselves");
        assert_eq!((again.dir, again.network_fs), (place.dir, place.network_fs), "{url:?}");
        return true;
    }
    if url == "memory://" {
        return true;
    }
    #[cfg(feature = "gcs")]
    if let Some(rest) = url.strip_prefix("gs://")
        && let Ok(place) = Place::parse(rest)
    {
        let again = place.url();
        let again = again.strip_prefix("gs://").map(Place::parse).expect("a URL of a bucket");
        assert_eq!(again, Ok(place), "{url:?}");
        return true;
    }
    let mut connecting = pin!(connect(url));
    let Poll::Ready(refused) = connecting.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    else {
        panic!("{url:?} is waited for")
    };
    let error = refused.expect_err("nothing else is a store");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let words = error.to_string();
    assert!(!words.contains(char::is_control), "{words}");
    assert!(!words.contains("hunter2") || !is_secret(url, "hunter2"), "{words}");
    false
}

/// `%+1` is no byte, although a number's parser takes `+1` for one. Found by this target.
#[test]
fn a_sign_is_no_digit() {
    for path in ["/x%+1", "/x%-1", "/x% 1", "/x%1", "/x%"] {
        assert!(parse_file(path).is_err(), "{path}");
    }
    assert!(parse_file("/x%4B").is_ok_and(|place| place.dir.ends_with("xK")));
}

/// Somebody takes a directory for a server, and gives a user and a password. The refusal, which may
/// end in a log, does not repeat them. Found by this target.
#[test]
fn a_password_for_a_directory_is_not_repeated() {
    for rest in ["user:hunter2@host/locks", "user:hunter2?@host/locks"] {
        let refused = parse_file(rest).err().unwrap();
        assert!(
            refused.contains("\"file:///host/locks\"") && !refused.contains("hunter2"),
            "{refused}"
        );
    }
}

/// Whether a text stands nowhere but where passwords stand: before the `@` of the authority, or of
/// all of it where there is no scheme.
fn is_secret(url: &str, text: &str) -> bool {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let end = if scheme.is_empty() { rest.len() } else { rest.find('/').unwrap_or(rest.len()) };
    let Some((secret, _)) = rest[..end].rsplit_once('@') else { return false };
    secret.contains(text) && !scheme.contains(text) && !rest[secret.len()..].contains(text)
}

/// An absolute path with each % and its two digits replaced.
fn meant(path: &str) -> Option<Vec<u8>> {
    let mut bytes = path.strip_prefix('/').map(|_| vec![])?;
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || rest.next().and_then(|d| char::from(d).to_digit(16));
        bytes.push(match byte {
            b'%' => u8::try_from(digit()? * 16 + digit()?).ok().filter(|byte| *byte != 0)?,
            byte => byte,
        });
    }
    Some(bytes)
}
