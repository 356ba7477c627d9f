//! What all stores on the network share: a client that sends nothing twice, and an honest word on what
//! became of a request that got no answer. Nothing in here knows which store it is.

use std::error::Error as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use leasehold_core::backend::{BackendError, Trouble};
use reqwest::{Client, ClientBuilder, Url};
use rustls::ClientConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls_platform_verifier::BuilderVerifierExt as _;

#[cfg(feature = "gcs")]
pub(super) mod answer;
pub(super) mod credentials;
pub(super) mod options;
mod page;

/// How long a request may take where its caller sets no limit (the driver always does).
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// How long a connection may take to be made, the handshake included.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// How much of what a store says about a failure is repeated.
const SAID_MAX: usize = 300;

/// The longest that a store may ask to be left alone. What it says beyond is cut before anything is computed
/// with it.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// What a store speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Protocol {
    /// A connection for each request that is under way: requests of many locks must not wait for one
    /// connection that stands still.
    #[cfg(feature = "gcs")]
    Http,
    /// One connection for all.
    #[cfg(feature = "spanner")]
    Grpc,
}

/// The connections to one endpoint. Nothing is ever sent twice.
///
/// After a request that was sent and not answered the next one gets a new connection, and none of those that
/// were open before is used again: a network that drops what is open (a VPN, a NAT, a failover) gives no sign
/// of it, and a lease does not wait until the last of them has been tried. The connections belong to the
/// runtime that made them; where that is gone, the same rule finds new ones.
#[derive(Debug)]
pub(super) struct Connections {
    endpoint: Url,
    protocol: Protocol,
    /// Made once: it reads all the certificates of this host.
    tls: ClientConfig,
    current: Mutex<Pool>,
}

#[derive(Clone, Debug)]
struct Pool {
    number: u64,
    client: Client,
}

impl Connections {
    /// Nothing is connected yet.
    pub(super) fn new(endpoint: &Url, protocol: Protocol) -> Result<Connections, String> {
        let tls = tls(protocol).map_err(|e| format!("TLS cannot be used: {e}"))?;
        let client = builder(endpoint, protocol, &tls).build().map_err(|e| words(&e))?;
        let current = Mutex::new(Pool { number: 0, client });
        Ok(Connections { endpoint: endpoint.clone(), protocol, tls, current })
    }

    /// A request is about to be sent.
    pub(super) fn sending(&self) -> Sending<'_> {
        let Pool { number, client } = self.current().clone();
        Sending { connections: self, number: Some(number), client }
    }

    /// For making a request. It is sent by [`Connections::sending`].
    #[cfg(feature = "gcs")]
    pub(super) fn client(&self) -> Client {
        self.current().client.clone()
    }

    fn current(&self) -> MutexGuard<'_, Pool> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that may be on its way. Dropped without [`Sending::settled`], it leaves all open connections
/// behind.
pub(super) struct Sending<'a> {
    connections: &'a Connections,
    number: Option<u64>,
    client: Client,
}

impl Sending<'_> {
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// It was answered, or it never left: there is nothing wrong with the open connections.
    pub(super) fn settled(mut self) {
        self.number = None;
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        let Connections { endpoint, protocol, tls, .. } = self.connections;
        let mut current = self.connections.current();
        // Others may have left them before.
        if self.number == Some(current.number)
            && let Ok(client) = builder(endpoint, *protocol, tls).build()
        {
            *current = Pool { number: current.number + 1, client };
        }
    }
}

/// What a certificate has to be: what this host trusts.
fn tls(protocol: Protocol) -> Result<ClientConfig, rustls::Error> {
    let provider = CryptoProvider::get_default().cloned();
    let provider = provider.unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()));
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = config.with_platform_verifier()?.with_no_client_auth();
    config.alpn_protocols = match protocol {
        #[cfg(feature = "gcs")]
        Protocol::Http => vec!["http/1.1".into()],
        #[cfg(feature = "spanner")]
        Protocol::Grpc => vec!["h2".into()],
    };
    Ok(config)
}

/// A client for this endpoint that never sends anything twice. The environment's proxy is used, but not for
/// this host itself, and not for gRPC in clear, which no proxy of HTTP hands on.
fn builder(endpoint: &Url, protocol: Protocol, tls: &ClientConfig) -> ClientBuilder {
    let builder = plain_builder().tls_backend_preconfigured(tls.clone()).timeout(PATIENCE);
    let (builder, is_direct) = match protocol {
        #[cfg(feature = "gcs")]
        Protocol::Http => (builder.http1_only(), false),
        #[cfg(feature = "spanner")]
        Protocol::Grpc => (builder.http2_prior_knowledge(), endpoint.scheme() == "http"),
    };
    if is_direct || is_loopback(endpoint) { builder.no_proxy() } else { builder }
}

/// What every client is.
fn plain_builder() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("leasehold/", env!("CARGO_PKG_VERSION")))
        // One call is one attempt, and an answer from elsewhere is no answer.
        .retry(reqwest::retry::never())
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_PATIENCE)
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

/// Text of a stranger as one short line without control characters; of a page the line that says what it is.
pub(super) fn line(text: &str) -> String {
    let told = page::line(text);
    let told = told.as_deref().unwrap_or(text);
    let plain: String = told.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    words.join(" ").chars().take(SAID_MAX).collect()
}

/// How long a store asks to be left alone, as far as that makes sense.
pub(super) fn patience(asked: Duration) -> Duration {
    asked.min(RETRY_AFTER_MAX)
}
