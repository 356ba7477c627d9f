//! What the stores that speak HTTP share: one attempt for a request, and an honest word on what became
//! of it. Nothing in here knows which store it is.

use std::time::Duration;

use leasehold_core::backend::{BackendError, Fate, Trouble};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Request, Response};

use super::{Connections, line, page, patience, transport, words};

/// The last second of the year 9999: what comes later is no date.
const DATE_MAX: u64 = 253_402_300_799;

/// A whole answer, of whatever status.
#[derive(Debug)]
pub(in crate::backend) struct Answer {
    pub(in crate::backend) status: u16,
    pub(in crate::backend) headers: HeaderMap,
    /// At most one byte more than was asked for.
    pub(in crate::backend) body: Vec<u8>,
}

impl Connections {
    /// Sends a request once and takes in the answer, of whose body at most `most` bytes and one more.
    ///
    /// [`Fate::NotSent`] only where no connection could be made, so that no byte of the request left.
    pub(in crate::backend) async fn send(
        &self,
        request: Request,
        most: usize,
    ) -> Result<Answer, BackendError> {
        let sending = self.sending();
        let response = match sending.client().execute(request).await {
            Ok(response) => response,
            Err(error) => {
                let error = transport(&error);
                if error.fate == Fate::NotSent {
                    sending.settled();
                }
                return Err(error);
            }
        };
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = bounded(response, most).await.map_err(|e| {
            let what = format!("the answer (status {status}) broke off: {}", words(&e));
            BackendError::unknown(Trouble::Unavailable, what)
        })?;
        sending.settled();
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

/// The Unix time in seconds that a date of HTTP tells.
fn date(text: &str) -> Option<u64> {
    let time = httpdate::parse_http_date(text).ok()?;
    #[expect(clippy::disallowed_types, reason = "only turns a date into a number")]
    let epoch = std::time::SystemTime::UNIX_EPOCH;
    let seconds = time.duration_since(epoch).ok()?.as_secs();
    (seconds <= DATE_MAX).then_some(seconds)
}

impl Answer {
    /// A header, if it is there and is text.
    pub(in crate::backend) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The Unix time in seconds that a header tells, such as `Date`.
    pub(in crate::backend) fn time(&self, name: &str) -> Option<u64> {
        date(self.header(name)?)
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

    /// How long the store asks to be left alone: in seconds, or until a date by its own clock.
    pub(in crate::backend) fn retry_after(&self) -> Option<Duration> {
        let text = self.header(RETRY_AFTER.as_str())?.trim();
        let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let seconds = match is_number {
            // One of so many digits is a long time.
            true => text.parse().unwrap_or(u64::MAX),
            false => date(text)?.saturating_sub(self.time(DATE.as_str())?),
        };
        Some(patience(Duration::from_secs(seconds)))
    }

    /// Whether a page came instead of what was asked for.
    pub(in crate::backend) fn is_page(&self) -> bool {
        page::is_page(&self.body)
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
