//! One attempt of one gRPC call, over the same HTTP client as all stores have.
//!
//! gRPC's own client would queue, reconnect and answer "unavailable" for a connection that was never made
//! and for one that broke alike; here the two can be told apart.

use std::error::Error;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use http_body_util::BodyExt;
use leasehold_core::backend::{BackendError, BoxFuture, Trouble};
use reqwest::{Client, Url};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::metadata::MetadataMap;

use crate::backend::http::credentials::Account;
use crate::backend::http::{self as wire, PATIENCE};

use super::place::Place;

/// Rows, and how their table is made.
const SCOPES: &[&str] = &[
    "https://www.googleapis.com/auth/spanner.data",
    "https://www.googleapis.com/auth/spanner.admin",
];

/// The way to Spanner: a connection that all calls share.
#[derive(Debug)]
pub(super) struct Channel {
    endpoint: Url,
    origin: http::Uri,
    /// `None` where no credentials are sent.
    account: Option<Account>,
    current: Mutex<Connection>,
}

#[derive(Clone, Debug)]
struct Connection {
    number: u64,
    client: Client,
}

impl Channel {
    /// Nothing is sent yet.
    pub(super) fn new(place: &Place) -> Result<Channel, String> {
        let endpoint = place.endpoint.clone();
        let origin = endpoint.as_str().parse().map_err(|e| format!("{endpoint}: {e}"))?;
        let account = (!place.is_anonymous()).then(|| Account::new(SCOPES));
        let current = Mutex::new(Connection { number: 0, client: client(&endpoint)? });
        Ok(Channel { endpoint, origin, account, current })
    }

    /// A request with credentials, and what Google's clients say beside it: which database it is for, what
    /// it is routed by, and that the leader should have it.
    pub(super) async fn request<M>(
        &self,
        message: M,
        database: &str,
        (parameter, value): (&str, &str),
    ) -> Result<tonic::Request<M>, BackendError> {
        let mut headers = match &self.account {
            Some(account) => account.headers().await?,
            None => http::HeaderMap::new(),
        };
        let params = format!("{parameter}={}", value.replace('/', "%2F"));
        for (name, value) in [
            ("google-cloud-resource-prefix", database),
            ("x-goog-request-params", &params),
            ("x-goog-spanner-route-to-leader", "true"),
        ] {
            let value = http::HeaderValue::from_str(value).map_err(|e| {
                BackendError::not_sent(Trouble::Invalid, format!("{name} cannot be sent: {e}"))
            })?;
            headers.insert(name, value);
        }
        let mut request = tonic::Request::from_parts(
            MetadataMap::from_headers(headers),
            tonic::Extensions::default(),
            message,
        );
        // So that nothing lands long after everybody has given up.
        request.set_timeout(PATIENCE);
        Ok(request)
    }

    /// Makes a call on the connection of all. If it gets no answer, or is dropped before, the next call
    /// has a new one: a connection that is dead without a sign would hold up everything until it is
    /// noticed, and a lease does not wait that long.
    pub(super) async fn call<T>(
        &self,
        rpc: impl AsyncFnOnce(Attempt, http::Uri) -> Result<T, Status>,
    ) -> Result<T, Status> {
        let Connection { number, client } = self.current().clone();
        let mut unanswered = Unanswered { channel: self, number: Some(number) };
        let answer = rpc(Attempt(client), self.origin.clone()).await;
        // What the server itself says has no cause on our side.
        if answer.as_ref().err().is_none_or(|status| status.source().is_none()) {
            unanswered.number = None;
        }
        answer
    }

    /// Has the next request look for credentials anew.
    pub(super) fn forget_credentials(&self) {
        if let Some(account) = &self.account {
            account.forget();
        }
    }

    fn current(&self) -> MutexGuard<'_, Connection> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leaves the connection behind when dropped, unless its number was taken away.
struct Unanswered<'a> {
    channel: &'a Channel,
    number: Option<u64>,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        let mut current = self.channel.current();
        // Others may have left it before.
        if self.number == Some(current.number)
            && let Ok(client) = client(&self.channel.endpoint)
        {
            *current = Connection { number: current.number + 1, client };
        }
    }
}

fn client(endpoint: &Url) -> Result<Client, String> {
    let builder = wire::builder(endpoint).http2_prior_knowledge();
    builder.build().map_err(|e| wire::words(&e))
}

/// Sends one request, once.
#[derive(Clone, Debug)]
pub(super) struct Attempt(Client);

/// What became of a request that got no answer.
#[derive(Debug)]
struct NoAnswer(BackendError);

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for NoAnswer {}

impl Service<http::Request<Body>> for Attempt {
    type Response = http::Response<reqwest::Body>;
    type Error = tonic::codegen::StdError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let client = self.0.clone();
        Box::pin(async move {
            let (parts, message) = request.into_parts();
            let message = message.collect().await?.to_bytes();
            let request = http::Request::from_parts(parts, reqwest::Body::from(message));
            let sent = client.execute(request.try_into()?).await;
            Ok(sent.map_err(|e| NoAnswer(wire::transport(&e)))?.into())
        })
    }
}

/// What became of a call that broke off on the way; `None` where the server has answered.
pub(super) fn broken(status: &Status) -> Option<BackendError> {
    let mut cause = status.source();
    let mut last = None;
    while let Some(error) = cause {
        if let Some(NoAnswer(BackendError { fate, trouble, message })) = error.downcast_ref() {
            let message = message.clone();
            return Some(BackendError { fate: *fate, trouble: *trouble, message });
        }
        last = Some(match error.downcast_ref::<reqwest::Error>() {
            Some(error) => wire::words(error),
            None => error.to_string(),
        });
        cause = error.source();
    }
    let why = format!("the answer broke off: {}", last?);
    Some(BackendError::unknown(Trouble::Unavailable, why))
}
