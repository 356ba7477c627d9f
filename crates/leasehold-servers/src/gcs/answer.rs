//! Answers as Google gives them.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc::{CRC_32_ISCSI, Crc};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, DATE, HeaderName, HeaderValue, LAST_MODIFIED, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::script::Odd;
use crate::clock;

/// An answer, before it has a date.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) code: u16,
    headers: Vec<(HeaderName, String)>,
    body: Bytes,
}

impl Answer {
    pub(super) fn empty(code: u16) -> Answer {
        Answer { code, headers: Vec::new(), body: Bytes::new() }
    }

    pub(super) fn json(value: &Value) -> Answer {
        Answer::with_body(200, "application/json; charset=UTF-8", value.to_string().into())
    }

    pub(super) fn media(kind: &str, bytes: Bytes) -> Answer {
        Answer::with_body(200, kind, bytes)
    }

    /// Google's error, as JSON.
    pub(super) fn error(code: u16, reason: &str, message: &str) -> Answer {
        let domain = if code == 429 { "usageLimits" } else { "global" };
        let errors = json!([{ "message": message, "domain": domain, "reason": reason }]);
        let error = json!({ "code": code, "message": message, "errors": errors });
        let mut answer = Answer::json(&json!({ "error": error }));
        answer.code = code;
        answer
    }

    /// The error that Google gives with this status, whatever brought it about.
    pub(super) fn error_of(code: u16) -> Answer {
        let (reason, message) = match code {
            304 => return Answer::empty(code),
            400 => ("invalid", "Invalid argument."),
            401 => ("authError", "Invalid Credentials"),
            403 => ("forbidden", "The caller does not have permission to access this object."),
            404 => ("notFound", "Not Found"),
            408 => ("requestTimeout", "Request timed out."),
            409 => ("conflict", "The request conflicts with one that is under way."),
            412 => return Answer::condition_not_met(),
            413 => ("uploadTooLarge", "The body is larger than this server takes."),
            429 => ("rateLimitExceeded", "The rate limit was exceeded. Reduce your request rate."),
            _ => ("backendError", "We encountered an internal error. Please try again."),
        };
        Answer::error(code, reason, message)
    }

    pub(super) fn condition_not_met() -> Answer {
        let what = "At least one of the pre-conditions you specified did not hold.";
        Answer::error(412, "conditionNotMet", what)
    }

    /// Where bytes were asked for, Google tells of a missing object in plain words.
    pub(super) fn no_object(bucket: &str, object: &str, media: bool) -> Answer {
        let what = format!("No such object: {bucket}/{object}");
        if media {
            Answer::with_body(404, "text/html; charset=UTF-8", what.into())
        } else {
            Answer::error(404, "notFound", &what)
        }
    }

    pub(super) fn no_bucket() -> Answer {
        Answer::error(404, "notFound", "The specified bucket does not exist.")
    }

    fn with_body(code: u16, kind: &str, body: Bytes) -> Answer {
        Answer { code, headers: vec![(CONTENT_TYPE, kind.to_owned())], body }
    }

    pub(super) fn with_generation(mut self, generation: u64, written: Duration) -> Answer {
        let header = HeaderName::from_static;
        self.headers.push((header("x-goog-generation"), generation.to_string()));
        self.headers.push((header("x-goog-metageneration"), "1".to_owned()));
        self.headers.push((LAST_MODIFIED, clock::http_date(written)));
        self
    }

    /// What Google says of the bytes that it stores: their length and their checksum.
    pub(super) fn with_content(mut self) -> Answer {
        let header = HeaderName::from_static;
        let sum = Crc::<u32>::new(&CRC_32_ISCSI).checksum(&self.body);
        let sum = format!("crc32c={}", STANDARD.encode(sum.to_be_bytes()));
        self.headers.push((header("x-goog-stored-content-encoding"), "identity".to_owned()));
        let length = self.body.len().to_string();
        self.headers.push((header("x-goog-stored-content-length"), length));
        self.headers.push((header("x-goog-hash"), sum));
        self
    }

    /// What something on the way makes of this answer.
    pub(super) fn made(mut self, odd: Odd) -> Answer {
        match odd {
            Odd::Short => self.body.truncate(self.body.len() / 2),
            Odd::Changed => {
                let mut body = self.body.to_vec();
                body.iter_mut().take(1).for_each(|byte| *byte ^= 0x20);
                self.body = body.into();
            }
            Odd::Bare => self.headers.retain(|(name, _)| !name.as_str().starts_with("x-goog-")),
            Odd::Page(code) => {
                let page = "<!DOCTYPE html>\n<html><head><title>Sign in to the guest \
                            network</title></head>\n<body><p>Hello</p></body></html>\n";
                return Answer::with_body(code, "text/html", page.into());
            }
            Odd::Garbage => return Answer::with_body(self.code, "application/json", "{\"a".into()),
        }
        self
    }

    pub(super) fn with_retry_after(mut self, seconds: Option<u64>) -> Answer {
        self.headers.extend(seconds.map(|seconds| (RETRY_AFTER, seconds.to_string())));
        self
    }

    /// The HTTP response, dated.
    pub(super) fn into_response(self, date: Duration) -> Response<Bytes> {
        let mut response = Response::new(self.body);
        *response.status_mut() =
            StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let date = (DATE, clock::http_date(date));
        for (name, value) in self.headers.into_iter().chain([date]) {
            // A stored content type may be anything; what no header can say is not said.
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
