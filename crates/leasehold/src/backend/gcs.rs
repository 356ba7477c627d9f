//! `gs://bucket/prefix`: records as objects in a bucket of Google Cloud Storage.
//!
//! A record is one object, read with its generation and written on the condition that the generation
//! is still the same (`ifGenerationMatch`; 0 means that there is none). The JSON API is used directly,
//! because Google's own library and every other one that is known repeats a write whose answer was
//! lost, and then reports one's own success as a conflict.
//!
//! `docs/backends/gcs.md` has the table of what each answer means.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use leasehold_core::admin::Admin;
use leasehold_core::backend::{
    Backend, BackendError, BoxFuture, Expected, Facts, Key, MAX_RECORD_BYTES, Reading, Trouble,
    Version, Versioned, Written,
};
use reqwest::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, DATE, HeaderValue, LAST_MODIFIED,
};
use reqwest::{Method, RequestBuilder, Url};
use serde::Deserialize;

use super::http::answer::Answer;
use super::http::credentials::{Account, REMEDY};
use super::http::{Connections, Protocol, line, transport};
use crate::env::{Env, Host};

mod admin;
mod body;
#[cfg(test)]
mod fuzz;
pub(crate) mod place;

use place::Place;

/// Reading and writing objects is all that is asked for.
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";

/// By how much an age may be wrong: `Date` and `Last-Modified` have whole seconds, which makes one,
/// and come from two of Google's machines, for which another is allowed.
const CLOCK_UNCERTAINTY: Duration = Duration::from_secs(2);

/// An answer about objects or buckets, without any content, is not longer than this.
const METADATA_MAX: usize = 4 * 1024 * 1024;

/// More names than this, and what is remembered of all of them is forgotten. Then they are read anew.
const REMEMBERED_MAX: usize = 1024;

/// Why Google refuses to replace an object that is under a hold or a retention policy.
const FROZEN: [&str; 2] = ["objectUnderActiveHold", "retentionPolicyNotMet"];

/// The header in which an object's generation stands.
const GENERATION: &str = "x-goog-generation";

/// Records in a bucket.
///
/// Credentials are looked for at the first request (Google's application default credentials). After a
/// refusal they are looked for again. Several clients may share one of these.
#[derive(Debug)]
pub struct GcsBackend {
    place: Place,
    connections: Connections,
    account: Account,
    /// What was read last, by key: an answer 304 says that it is still so.
    remembered: Mutex<HashMap<Key, Remembered>>,
}

#[derive(Clone, Debug)]
struct Remembered {
    generation: String,
    bytes: Vec<u8>,
    /// When it was written, in seconds by the store.
    written: Option<u64>,
}

impl GcsBackend {
    /// Takes what stands behind `gs://` in a URL. Nothing is sent yet.
    ///
    /// [`Invalid`](Trouble::Invalid) where it cannot be understood; the error repeats no password.
    pub fn open(rest: &str) -> Result<GcsBackend, BackendError> {
        let invalid = |why| BackendError::not_sent(Trouble::Invalid, why);
        let place = Place::parse(rest).map_err(invalid)?;
        let connections = Connections::new(&place.endpoint, Protocol::Http).map_err(invalid)?;
        let (account, remembered) = (Account::new(&[SCOPE]), Mutex::default());
        Ok(GcsBackend { place, connections, account, remembered })
    }

    fn remembered(&self) -> MutexGuard<'_, HashMap<Key, Remembered>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `…/storage/v1/b/BUCKET` and what is further down.
    fn address(&self, first: &[&str], rest: &[&str]) -> Url {
        let mut url = self.place.endpoint.clone();
        // An endpoint is http or https, and these have paths.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(first).extend(["storage", "v1", "b"]).extend(rest);
        }
        url
    }

    fn object_address(&self, key: &Key) -> Url {
        let object = self.place.object(key.as_str());
        self.address(&[], &[&self.place.bucket, "o", &object])
    }

    /// A request with credentials. They are had before it: a failure to get them sends nothing.
    async fn request(&self, method: Method, url: Url) -> Result<RequestBuilder, BackendError> {
        let request = self.connections.client().request(method, url);
        if self.place.is_anonymous() {
            return Ok(request);
        }
        Ok(request.headers(self.account.headers().await?))
    }

    /// Sends a request once. What is no answer of Google Cloud Storage is none at all.
    async fn send(&self, request: RequestBuilder, most: usize) -> Result<Answer, BackendError> {
        let request = request.build().map_err(|e| transport(&e))?;
        let kind = request.method().to_string();
        let token = request.headers().get(AUTHORIZATION).cloned();
        let answer = self.connections.send(request, most).await?;
        if answer.status == 401 {
            return Err(self.unauthorized(&answer, &kind, token.as_ref()));
        }
        if matches!(answer.status, 200..=299 | 404 | 412)
            && answer.is_page()
            && answer.header(GENERATION).is_none()
        {
            let what = format!("answers {} with a page: {}", answer.status, answer.said());
            return Err(self.no_such_store(&what));
        }
        self.account.taken(&kind);
        Ok(answer)
    }

    /// An answer that Google Cloud Storage does not give. It ends no waiter at once: a portal or a proxy may
    /// have given it, in place of a bucket that is well.
    fn no_such_store(&self, what: &str) -> BackendError {
        let why = format!(
            "{} {what}: it is no Google Cloud Storage, or something on the way answers in its \
             place",
            self.place.endpoint
        );
        BackendError::unknown(Trouble::Unavailable, why)
    }

    /// The first refusal of a token that was good is no one's decision: it may have ended early, and the next
    /// request comes with another.
    fn unauthorized(
        &self,
        answer: &Answer,
        kind: &str,
        token: Option<&HeaderValue>,
    ) -> BackendError {
        let Said { message, .. } = said(answer);
        let of = match self.place.is_anonymous() {
            true => "there are no credentials, which are never sent in clear".to_owned(),
            false => format!("the credentials are not accepted, those of {}", self.account.name()),
        };
        let is_replaced = self.account.refused(kind, token);
        match is_replaced {
            true => BackendError::unknown(
                Trouble::Unavailable,
                format!(
                    "{message} (401): {of}; they were, so the next request comes with fresh ones"
                ),
            ),
            false => {
                BackendError::unknown(Trouble::Denied, format!("{message} (401): {of}: {REMEDY}"))
            }
        }
    }

    fn refusal(&self, answer: &Answer) -> BackendError {
        let Said { message, reason } = said(answer);
        match answer.status {
            // Too many requests of a project are refused like this.
            403 if reason.ends_with("ateLimitExceeded") => answer.throttled(message),
            // What nobody's rights change.
            403 if FROZEN.contains(&reason.as_str()) => BackendError::unknown(
                Trouble::Invalid,
                format!(
                    "{message} (403): the bucket keeps objects from being replaced, so no lock can \
                     be kept in it. `leasehold init {}` says what to change",
                    self.place.url()
                ),
            ),
            403 => BackendError::unknown(
                Trouble::Denied,
                format!(
                    "{message} (403): it takes storage.objects.get, .list, .create and .delete on \
                     gs://{}, which roles/storage.objectUser gives (without .list, a lock that was \
                     never used cannot be told from one that may not be seen)",
                    self.place.bucket
                ),
            ),
            _ => answer.refusal(&message),
        }
    }

    fn no_bucket(&self) -> BackendError {
        let (bucket, url) = (&self.place.bucket, self.place.url());
        let why = format!(
            "there is no bucket {bucket:?}: look for a typing error, or make it with \
             `leasehold init {url}`"
        );
        BackendError::unknown(Trouble::Invalid, why)
    }

    async fn look(&self, key: &Key) -> Result<Reading, BackendError> {
        let before = self.remembered().get(key).cloned();
        let mut url = self.object_address(key);
        url.query_pairs_mut().append_pair("alt", "media");
        if let Some(before) = &before {
            url.query_pairs_mut().append_pair("ifGenerationNotMatch", &before.generation);
        }
        let request = self.request(Method::GET, url).await?.header(CACHE_CONTROL, "no-store");
        let answer = self.send(request, MAX_RECORD_BYTES).await?;
        let unix_ms = answer.unix_ms(Host.now().unix_ms);
        match (answer.status, before) {
            (200, _) => {
                let record = self.found(key, &answer)?;
                Ok(Reading { record: Some(record), unix_ms })
            }
            (304, Some(before)) => {
                let record = before.versioned(&answer);
                Ok(Reading { record: Some(record), unix_ms })
            }
            (404, _) if said(&answer).message.contains("bucket does not exist") => {
                Err(self.no_bucket())
            }
            (404, _) => {
                self.remembered().remove(key);
                Ok(Reading { record: None, unix_ms })
            }
            _ => Err(self.refusal(&answer)),
        }
    }

    /// The record that an answer shows.
    fn found(&self, key: &Key, answer: &Answer) -> Result<Versioned, BackendError> {
        let Some(generation) = answer.header(GENERATION).filter(|text| is_number(text)) else {
            return Err(self.no_such_store(&format!("answers without {GENERATION}")));
        };
        body::check(answer).map_err(|why| BackendError::unknown(Trouble::Unavailable, why))?;
        let read = Remembered {
            generation: generation.to_owned(),
            bytes: answer.body.clone(),
            written: answer.time(LAST_MODIFIED.as_str()),
        };
        let record = read.versioned(answer);
        let mut remembered = self.remembered();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(key.clone(), read);
        Ok(record)
    }

    async fn swap(
        &self,
        key: &Key,
        expected: &Expected,
        bytes: &[u8],
    ) -> Result<Written, BackendError> {
        if bytes.len() > MAX_RECORD_BYTES {
            let message = format!("a record of {} bytes is too long", bytes.len());
            return Err(BackendError::not_sent(Trouble::Invalid, message));
        }
        let generation = match expected {
            Expected::Absent => "0",
            Expected::Version(version) => version.as_str(),
        };
        let mut url = self.address(&["upload"], &[&self.place.bucket, "o"]);
        url.query_pairs_mut()
            .append_pair("uploadType", "multipart")
            .append_pair("ifGenerationMatch", generation);
        let (kind, body) = upload(&self.place.object(key.as_str()), bytes);
        let request = self.request(Method::POST, url).await?.header(CONTENT_TYPE, kind).body(body);
        let answer = self.send(request, METADATA_MAX).await?;
        match answer.status {
            200 => match serde_json::from_slice::<Object>(&answer.body) {
                Ok(object) if is_number(&object.generation) && object.is(&self.place, key) => {
                    Ok(Written::Applied(Version::new(object.generation)))
                }
                _ => {
                    let what = format!("answers a write without its generation: {}", answer.said());
                    Err(self.no_such_store(&what))
                }
            },
            412 => Ok(Written::Conflict(None)),
            404 => Err(self.no_bucket()),
            _ => Err(self.refusal(&answer)),
        }
    }

    async fn remove(&self, key: &Key, version: &Version) -> Result<bool, BackendError> {
        let mut url = self.object_address(key);
        url.query_pairs_mut().append_pair("ifGenerationMatch", version.as_str());
        let request = self.request(Method::DELETE, url).await?;
        let answer = self.send(request, METADATA_MAX).await?;
        match answer.status {
            200 | 204 => Ok(true),
            404 if said(&answer).message.contains("bucket does not exist") => Err(self.no_bucket()),
            404 | 412 => Ok(false),
            _ => Err(self.refusal(&answer)),
        }
    }

    async fn names(&self, prefix: &str) -> Result<Vec<Key>, BackendError> {
        let start = self.place.object("");
        let (mut keys, mut page) = (vec![], None::<String>);
        loop {
            let mut url = self.address(&[], &[&self.place.bucket, "o"]);
            url.query_pairs_mut()
                .append_pair("prefix", &self.place.object(prefix))
                .append_pair("fields", "items(name),nextPageToken")
                .append_pair("maxResults", "1000");
            if let Some(page) = &page {
                url.query_pairs_mut().append_pair("pageToken", page);
            }
            let request = self.request(Method::GET, url).await?;
            let answer = self.send(request, METADATA_MAX).await?;
            let listing: Listing = match answer.status {
                200 => serde_json::from_slice(&answer.body).map_err(|e| {
                    let why = format!("the list of objects cannot be read: {e}");
                    BackendError::unknown(Trouble::Unavailable, why)
                })?,
                404 => return Err(self.no_bucket()),
                _ => return Err(self.refusal(&answer)),
            };
            // An object or row with another name is no lock.
            let names = listing.items.iter().filter_map(|object| object.name.strip_prefix(&start));
            keys.extend(names.filter_map(|name| Key::new(name).ok()));
            // A page that repeats itself would never end.
            match listing.next_page_token {
                Some(next) if Some(&next) != page.as_ref() && !next.is_empty() => page = Some(next),
                _ => break,
            }
        }
        keys.sort();
        Ok(keys)
    }
}

impl Remembered {
    /// This state as it stands at an answer's time.
    fn versioned(&self, answer: &Answer) -> Versioned {
        let now = answer.time(DATE.as_str());
        let age = now.zip(self.written).map(|(now, written)| now.saturating_sub(written));
        Versioned {
            bytes: self.bytes.clone(),
            version: Version::new(self.generation.clone()),
            age: age.map(Duration::from_secs),
            orphaned: false,
        }
    }
}

/// What is told of an object that was written.
#[derive(Deserialize)]
struct Object {
    generation: String,
    name: Option<String>,
    bucket: Option<String>,
}

impl Object {
    /// Whether this is the object that was meant, as far as it says.
    fn is(&self, place: &Place, key: &Key) -> bool {
        self.name.as_ref().is_none_or(|name| *name == place.object(key.as_str()))
            && self.bucket.as_ref().is_none_or(|bucket| *bucket == place.bucket)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    #[serde(default)]
    items: Vec<Name>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct Name {
    name: String,
}

/// What Google says of a failure.
struct Said {
    message: String,
    reason: String,
}

/// Reads `{"error":{"message":…,"errors":[{"reason":…}]}}`, or takes the text as it is.
fn said(answer: &Answer) -> Said {
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |pointer: &str| json.pointer(pointer).and_then(|v| v.as_str()).map(line);
    Said {
        message: text("/error/message").unwrap_or_else(|| answer.said()),
        reason: text("/error/errors/0/reason").unwrap_or_default(),
    }
}

/// Generations are 64-bit numbers; anything else must not get into an address.
fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit())
}

/// The content type and the body of an upload: a name with its metadata, and the bytes.
///
/// `no-store`, so that no cache between Google and a reader keeps an object that is public.
fn upload(object: &str, bytes: &[u8]) -> (String, Vec<u8>) {
    let metadata = serde_json::json!({
        "name": object,
        "contentType": "application/json",
        "cacheControl": "no-store",
    });
    let metadata = metadata.to_string();
    // The boundary is one that occurs nowhere in between.
    let mut boundary = "leasehold".to_owned();
    let occurs = |boundary: &str| {
        let found = |text: &[u8]| text.windows(boundary.len()).any(|w| w == boundary.as_bytes());
        found(bytes) || found(metadata.as_bytes())
    };
    while occurs(&boundary) {
        boundary.push('-');
    }
    let part = "Content-Type: application/json";
    let head =
        format!("--{boundary}\r\n{part}\r\n\r\n{metadata}\r\n--{boundary}\r\n{part}\r\n\r\n");
    let body = [head.as_bytes(), bytes, format!("\r\n--{boundary}--\r\n").as_bytes()].concat();
    (format!("multipart/related; boundary={boundary}"), body)
}

impl Backend for GcsBackend {
    fn facts(&self) -> Facts {
        Facts {
            least_write_interval: self.place.write_interval,
            clock_uncertainty: CLOCK_UNCERTAINTY,
            least_poll: self.place.poll_interval,
            notifies: false,
        }
    }

    fn url(&self) -> String {
        self.place.url()
    }

    fn locate(&self, key: &Key) -> String {
        let object = self.place.object(key.as_str());
        format!("gs://{}/{object}", self.place.bucket)
    }

    fn locate_state(&self, key: &Key, version: &Version) -> String {
        let object = self.place.object(key.as_str());
        // As gcloud takes it.
        format!("gs://{}/{object}#{}", self.place.bucket, version.as_str())
    }

    fn read<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Reading, BackendError>> {
        Box::pin(self.look(key))
    }

    fn write<'a>(
        &'a self,
        key: &'a Key,
        expected: &'a Expected,
        bytes: &'a [u8],
    ) -> BoxFuture<'a, Result<Written, BackendError>> {
        Box::pin(self.swap(key, expected, bytes))
    }

    fn delete<'a>(
        &'a self,
        key: &'a Key,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(self.remove(key, version))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Key>, BackendError>> {
        Box::pin(self.names(prefix))
    }

    fn admin(&self) -> Option<&dyn Admin> {
        Some(self)
    }
}
