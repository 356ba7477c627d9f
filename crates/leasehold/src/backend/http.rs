//! What all stores on the network share: a client that sends nothing twice, and an honest word on what
//! became of a request that got no answer. Nothing in here knows which store it is.

use std::error::Error as _;
use std::time::Duration;

use leasehold_core::backend::{BackendError, Trouble};
use reqwest::{Client, ClientBuilder, Url};

#[cfg(feature = "gcs")]
pub(super) mod answer;
pub(super) mod credentials;
pub(super) mod options;

/// How long a request may take where its caller sets no limit (the driver always does).
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// How long a connection may take to be made, the handshake included.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// How much of what a store says about a failure is repeated.
const SAID_MAX: usize = 300;

/// A client for this endpoint that never sends anything twice. The environment's proxy is used, but not for
/// this host itself.
pub(super) fn builder(endpoint: &Url) -> ClientBuilder {
    let builder = Client::builder()
        .user_agent(concat!("leasehold/", env!("CARGO_PKG_VERSION")))
        // One call is one attempt, and an answer from elsewhere is no answer.
        .retry(reqwest::retry::never())
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_PATIENCE)
        .timeout(PATIENCE);
    if is_loopback(endpoint) { builder.no_proxy() } else { builder }
}

fn is_loopback(endpoint: &Url) -> bool {
    let host = endpoint.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let by_number = host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    by_number || host == "localhost"
}

/// What became of a request that got no answer: [`NotSent`](leasehold_core::backend::Fate::NotSent) only
/// where no connection could be made, so that no byte of it left.
pub(super) fn transport(error: &reqwest::Error) -> BackendError {
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
pub(super) fn words(error: &reqwest::Error) -> String {
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

/// Text of a stranger as one short line without control characters.
pub(super) fn line(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    words.join(" ").chars().take(SAID_MAX).collect()
}
