//! What the stores that speak HTTP share: one attempt for a request, and an honest word on what became
//! of it. Nothing in here knows which store it is.

use std::time::Duration;

use leasehold_core::backend::{BackendError, Fate, Trouble};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, Url};

use super::{line, transport, words};

/// A client that never sends anything twice.
#[derive(Debug)]
pub(in crate::backend) struct Http {
    client: Client,
}

/// A whole answer, of whatever status.
#[derive(Debug)]
pub(in crate::backend) struct Answer {
    pub(in crate::backend) status: u16,
    pub(in crate::backend) headers: HeaderMap,
    /// At most one byte more than was asked for.
    pub(in crate::backend) body: Vec<u8>,
}

impl Http {
    /// A client for this endpoint. The environment's proxy is used, but not for this host itself.
    pub(in crate::backend) fn new(endpoint: &Url) -> Result<Http, String> {
        // Requests of many locks must not wait for one connection that stands still.
        let builder = super::builder(endpoint).http1_only();
        let client = builder.build().map_err(|e| words(&e))?;
        Ok(Http { client })
    }

    pub(in crate::backend) fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a request once and takes in the answer, of whose body at most `most` bytes and one more.
    ///
    /// [`Fate::NotSent`] only where no connection could be made, so that no byte of the request left.
    pub(in crate::backend) async fn send(
        &self,
        request: RequestBuilder,
        most: usize,
    ) -> Result<Answer, BackendError> {
        let response = request.send().await.map_err(|e| transport(&e))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = bounded(response, most).await.map_err(|e| {
            let what = format!("the answer (status {status}) broke off: {}", words(&e));
            BackendError::unknown(Trouble::Unavailable, what)
        })?;
        Ok(Answer { status, headers, body })
    }
}

async fn bounded(mut response: Response, most: usize) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = vec![];
    while body.len() <= most
        && let Some(chunk) = response.chunk().await?
    {
        let room = most + 1 - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    Ok(body)
}

impl Answer {
    /// A header, if it is there and is text.
    pub(in crate::backend) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The Unix time in seconds that a header tells, such as `Date`.
    pub(in crate::backend) fn time(&self, name: &str) -> Option<u64> {
        let time = httpdate::parse_http_date(self.header(name)?).ok()?;
        #[expect(clippy::disallowed_types, reason = "only turns a date into a number")]
        let epoch = std::time::SystemTime::UNIX_EPOCH;
        Some(time.duration_since(epoch).ok()?.as_secs())
    }

    /// The store's own Unix time in milliseconds.
    ///
    /// `Date` has whole seconds. Two records of one name that are made within one second must not
    /// begin with the same token, so the host's clock says where in that second we are; it has no say
    /// beyond it.
    pub(in crate::backend) fn unix_ms(&self, host_unix_ms: u64) -> Option<u64> {
        let second = self.time(DATE.as_str())?.checked_mul(1000)?;
        Some(host_unix_ms.clamp(second, second.checked_add(999)?))
    }

    /// How long the store asks to be left alone. A date instead of a number is left to the protocol's
    /// own patience.
    fn retry_after(&self) -> Option<Duration> {
        let seconds = self.header(RETRY_AFTER.as_str())?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds))
    }

    /// What an answer means that is none of those that the store's own protocol knows.
    ///
    /// | status | fate | trouble |
    /// | --- | --- | --- |
    /// | 401, 403 | unknown | denied |
    /// | 408, 409, 5xx | unknown | unavailable |
    /// | 429, and 503 that says for how long | throttled | unavailable |
    /// | 3xx and every other 4xx | unknown | invalid |
    ///
    /// A refusal proves nothing about a write: it may be the answer to a second copy of a request
    /// whose first copy landed.
    pub(in crate::backend) fn refusal(&self, said: &str) -> BackendError {
        let status = self.status;
        let message = match said.is_empty() {
            true => format!("the answer was {status}"),
            false => format!("the answer was {status}: {said}"),
        };
        let retry_after = self.retry_after();
        match status {
            401 | 403 => BackendError::unknown(Trouble::Denied, message),
            429 => self.throttled(message),
            503 if retry_after.is_some() => self.throttled(message),
            408 | 409 | 500.. => BackendError::unknown(Trouble::Unavailable, message),
            300..=399 => {
                let message = format!("{message}; this is a redirection, which is not followed");
                BackendError::unknown(Trouble::Invalid, message)
            }
            _ => BackendError::unknown(Trouble::Invalid, message),
        }
    }

    /// The store asks for patience.
    pub(in crate::backend) fn throttled(&self, message: String) -> BackendError {
        let fate = Fate::Throttled { retry_after: self.retry_after() };
        BackendError { fate, trouble: Trouble::Unavailable, message }
    }

    /// The body as a line for a person.
    pub(in crate::backend) fn said(&self) -> String {
        line(&String::from_utf8_lossy(&self.body))
    }
}
