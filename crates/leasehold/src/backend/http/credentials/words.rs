//! Why there are no credentials, in words that help and give no secret away.

use std::error::Error;

use google_cloud_auth::errors::CredentialsError;
use leasehold_core::backend::{BackendError, Trouble};
use serde_json::Value;

use super::REMEDY;
use crate::backend::http::line;

/// Why a request was not sent, for want of credentials.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Lacking {
    trouble: Trouble,
    message: String,
}

impl Lacking {
    pub(super) fn new(trouble: Trouble, of: &str, why: &str) -> Lacking {
        let why = line(why);
        let message =
            format!("cannot get credentials for Google Cloud from {of} ({why}): {REMEDY}");
        Lacking { trouble, message }
    }
}

impl Lacking {
    /// Whether it will not pass by itself.
    pub(super) fn is_final(&self) -> bool {
        self.trouble != Trouble::Unavailable
    }
}

impl From<Lacking> for BackendError {
    fn from(Lacking { trouble, message }: Lacking) -> BackendError {
        BackendError::not_sent(trouble, message)
    }
}

/// Why there are no credentials. It has the first sentence of the last
/// two causes, because the library's own words are advice for programmers, and of one that names an address.
///
/// `of` says which credentials they are; `is_quoting`: the causes may repeat what stands in their file.
pub(super) fn no_credentials(
    error: &dyn Error,
    of: &str,
    is_transient: bool,
    is_quoting: bool,
) -> Lacking {
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
    Lacking::new(trouble, of, &why)
}

/// Whether asking again may help. The library takes for final what broke off on the way, and an answer that
/// it cannot read; a refusal has a status.
pub(super) fn is_transient(error: &CredentialsError) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(error) = cause.downcast_ref::<reqwest::Error>()
            && !error.is_status()
            && !error.is_builder()
        {
            return true;
        }
        next = cause.source();
    }
    error.is_transient()
}

/// One cause: of the body of an answer only what OAuth and Google have for errors, because a
/// token server may repeat what was sent there.
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
