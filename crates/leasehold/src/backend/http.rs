//! What the stores that speak HTTP share: one attempt for a request, and an honest word on what became
//! of it. Nothing in here knows which store it is.

use std::error::Error as _;
use std::time::Duration;

use leasehold_core::backend::{BackendError, Fate, Trouble};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, Url};

/// How long a request may take where its caller sets no limit (the driver always does).
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a connection may take to be made, the handshake included.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// How much of what a store says about a failure is repeated.
const SAID_MAX: usize = 300;

/// A client that never sends anything twice.
#[derive(Debug)]
pub(super) struct Http {
    client: Client,
}

/// A whole answer, of whatever status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// At most one byte more than was asked for.
    pub(super) body: Vec<u8>,
}

impl Http {
    /// A client for this endpoint. The environment's proxy is used, but not for this host itself.
    pub(super) fn new(endpoint: &Url) -> Result<Http, String> {
        let mut builder = Client::builder()
            .user_agent(concat!("leasehold/", env!("CARGO_PKG_VERSION")))
            // One call is one attempt, and an answer from elsewhere is no answer.
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none())
            // Requests of many locks must not wait for one connection that stands still.
            .http1_only()
            .connect_timeout(CONNECT_PATIENCE)
            .timeout(PATIENCE);
        if is_loopback(endpoint) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|e| words(&e))?;
        Ok(Http { client })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a request once and takes in the answer, of whose body at most `most` bytes and one more.
    ///
    /// [`Fate::NotSent`] only where no connection could be made, so that no byte of the request left.
    pub(super) async fn send(
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

fn is_loopback(endpoint: &Url) -> bool {
    let host = endpoint.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let by_number = host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    by_number || host == "localhost"
}

fn transport(error: &reqwest::Error) -> BackendError {
    let what = words(error);
    if error.is_builder() {
        BackendError::not_sent(Trouble::Invalid, format!("the request cannot be made: {what}"))
    } else if error.is_connect() {
        let to = error.url().and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)));
        let to = to.map(|(host, port)| format!(" to {host}:{port}")).unwrap_or_default();
        BackendError::not_sent(Trouble::Unavailable, format!("no connection{to}: {what}"))
    } else {
        BackendError::unknown(Trouble::Unavailable, format!("no answer: {what}"))
    }
}

/// An error and its causes in one line, each once and without the address, which the caller tells.
fn words(error: &reqwest::Error) -> String {
    let mut words: Vec<String> = vec![];
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if words.last().is_none_or(|last| !last.ends_with(&text)) {
            words.push(text);
        }
        next = cause.source();
    }
    if words.is_empty() {
        words.push(match error.is_timeout() {
            true => "it took too long".to_owned(),
            false => "the connection failed".to_owned(),
        });
    }
    words.join(": ")
}

impl Answer {
    /// A header, if it is there and is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The Unix time in seconds that a header tells, such as `Date`.
    pub(super) fn time(&self, name: &str) -> Option<u64> {
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
    pub(super) fn unix_ms(&self, host_unix_ms: u64) -> Option<u64> {
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
    pub(super) fn refusal(&self, said: &str) -> BackendError {
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
    pub(super) fn throttled(&self, message: String) -> BackendError {
        let fate = Fate::Throttled { retry_after: self.retry_after() };
        BackendError { fate, trouble: Trouble::Unavailable, message }
    }

    /// The body as a line for a person.
    pub(super) fn said(&self) -> String {
        line(&String::from_utf8_lossy(&self.body))
    }
}

/// Text of a stranger as one short line without control characters.
pub(super) fn line(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    words.join(" ").chars().take(SAID_MAX).collect()
}
