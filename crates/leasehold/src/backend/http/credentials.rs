//! Google's application default credentials, and why there are none, in words that help and give no
//! secret away.

use std::error::Error;
use std::sync::{Mutex, PoisonError};

use google_cloud_auth::credentials::{Builder, CacheableResource, Credentials};
use leasehold_core::backend::{BackendError, Trouble};
use reqwest::header::HeaderMap;
use serde_json::Value;

use super::line;

/// What helps whoever has no credentials.
pub(in crate::backend) const REMEDY: &str =
    "set GOOGLE_APPLICATION_CREDENTIALS, or run `gcloud auth application-default login`";

/// Whoever we are to Google.
///
/// Credentials are looked for at the first request, and belong to the runtime that made it: to the
/// driver's, where a client was first. After a refusal they are looked for again.
#[derive(Debug)]
pub(in crate::backend) struct Account {
    scopes: &'static [&'static str],
    found: Mutex<Option<Credentials>>,
}

impl Account {
    /// Nothing is looked for yet.
    pub(in crate::backend) fn new(scopes: &'static [&'static str]) -> Account {
        Account { scopes, found: Mutex::default() }
    }

    /// The headers that say who we are. They are had before a request: a failure to get them sends
    /// nothing.
    pub(in crate::backend) async fn headers(&self) -> Result<HeaderMap, BackendError> {
        let headers = self.credentials()?.headers(extensions()).await;
        let headers = headers.map_err(|e| {
            if !e.is_transient() {
                self.forget();
            }
            no_credentials(&e, e.is_transient(), false)
        });
        match headers? {
            CacheableResource::New { data, .. } => Ok(data),
            CacheableResource::NotModified => {
                let why = "the credentials were not told".to_owned();
                Err(BackendError::not_sent(Trouble::Unavailable, why))
            }
        }
    }

    /// What was found first, until it is forgotten.
    fn credentials(&self) -> Result<Credentials, BackendError> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = &*found {
            return Ok(found.clone());
        }
        let built = Builder::default().with_scopes(self.scopes.iter().copied()).build();
        let built = built.map_err(|e| no_credentials(&e, false, e.is_parsing()))?;
        Ok(found.insert(built).clone())
    }

    /// Has the next request look for credentials anew: once refused, the library asks no more, and once
    /// given a token, it keeps it to its end. So a process would have to be started again after somebody
    /// has put right what was wrong.
    pub(in crate::backend) fn forget(&self) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Nothing that the credentials should know.
fn extensions<T: Default>() -> T {
    T::default()
}

/// The error of a request that was not sent for want of credentials. It has the first sentence of the last
/// two causes, because the library's own words are advice for programmers, and of one that names an address.
///
/// `is_quoting`: the causes may repeat what stands in a file of credentials.
fn no_credentials(error: &dyn Error, is_transient: bool, is_quoting: bool) -> BackendError {
    let mut causes = vec![told(&error.to_string())];
    let mut next = error.source();
    while let Some(cause) = next {
        let text = told(&cause.to_string());
        // Some of them end with their own cause.
        if let Some(last) = causes.last_mut().filter(|last| last.ends_with(&text)) {
            last.truncate(last.len() - text.len());
            last.truncate(last.trim_end_matches([' ', ':']).len());
        }
        causes.push(text);
        next = cause.source();
    }
    causes.retain(|text| !text.is_empty());
    let two = causes.len().saturating_sub(2);
    let is_told = |(at, text): &(usize, String)| *at >= two || text.contains("://");
    let told = causes.into_iter().enumerate().filter(is_told).map(|(_, text)| text);
    let last = told.collect::<Vec<_>>().join(": ");
    let why = if is_quoting { without_quotes(&last) } else { last };
    let trouble = if is_transient { Trouble::Unavailable } else { Trouble::Denied };
    let what = format!("cannot get credentials for Google Cloud ({}): {REMEDY}", line(&why));
    BackendError::not_sent(trouble, what)
}

/// One cause: of the body of an answer only what OAuth and Google have for errors, because whoever gives
/// out tokens may repeat what was sent there.
fn told(text: &str) -> String {
    let (said, body) = match text.split_once(", body=<") {
        Some((said, rest)) => (said, Some(rest.rsplit_once('>').map_or(rest, |(body, _)| body))),
        None => (text, None),
    };
    let sentence = said.split(". ").next().unwrap_or_default();
    // How the library ends what will not pass by itself, and what will; we say it in our own way.
    let sentence = sentence.trim_end_matches(" and future attempts will not succeed");
    let sentence = sentence.trim_end_matches(" but future attempts may succeed");
    let body: Value = serde_json::from_str(body.unwrap_or_default()).unwrap_or_default();
    let words = ["/error", "/error/message", "/error_description"]
        .map(|pointer| body.pointer(pointer).and_then(Value::as_str).map(line));
    let words = words.into_iter().flatten();
    std::iter::once(sentence.to_owned()).chain(words).collect::<Vec<_>>().join(": ")
}

/// The text with an ellipsis for what stands in double quotes, where a parser repeats what it found.
fn without_quotes(text: &str) -> String {
    let Some((start, rest)) = text.split_once('"') else { return text.to_owned() };
    let end = rest.rsplit_once('"').map_or("", |(_, end)| end);
    format!("{start}…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of a parser that met a secret where it wanted something else.
    #[test]
    fn what_is_quoted_is_left_out() {
        for (text, left) in [
            (
                r#"invalid type: string "se\"cret", expected a map"#,
                "invalid type: string …, expected a map",
            ),
            (r#"found string "se\"cret", expected a map"#, "found string …, expected a map"),
            (r#"invalid type: string "secret"#, "invalid type: string …"),
            ("missing field `type`", "missing field `type`"),
        ] {
            assert_eq!(without_quotes(text), left);
        }
    }

    /// Of an answer only the error is told.
    #[test]
    fn a_body_is_not_repeated() {
        for (text, left) in [
            (
                r#"no token, body=<{"error":"a","error_description":"b > c","x":"secret"}> and"#,
                "no token: a: b > c",
            ),
            (r#"no token, body=<{"error":{"code":401,"message":"a"}}> and more"#, "no token: a"),
            ("no token, body=<secret", "no token"),
            ("no token and future attempts will not succeed", "no token"),
        ] {
            assert_eq!(told(text), left);
        }
    }
}
