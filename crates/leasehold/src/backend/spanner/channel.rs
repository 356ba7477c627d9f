//! One attempt of one gRPC call, over the same connections as all stores have.
//!
//! gRPC's own client would queue, reconnect and answer "unavailable" for a connection that was never made
//! and for one that broke alike; here the two can be told apart.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use http_body_util::BodyExt;
use leasehold_core::backend::{BackendError, BoxFuture, Fate, Trouble};
use reqwest::Client;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use crate::backend::http::credentials::{Account, REMEDY};
use crate::backend::http::{self as wire, Connections, PATIENCE, Protocol, line};

use super::place::Place;

/// Rows, and how their table is made.
const SCOPES: &[&str] = &[
    "https://www.googleapis.com/auth/spanner.data",
    "https://www.googleapis.com/auth/spanner.admin",
];

/// The way to Spanner: a connection that all calls share.
#[derive(Debug)]
pub(super) struct Channel {
    origin: http::Uri,
    /// `None` where no credentials are sent.
    account: Option<Account>,
    connections: Connections,
}

impl Channel {
    /// Nothing is sent yet.
    pub(super) fn new(place: &Place) -> Result<Channel, String> {
        let endpoint = &place.endpoint;
        let origin = endpoint.as_str().parse().map_err(|e| format!("{endpoint}: {e}"))?;
        let account = (!place.is_anonymous()).then(|| Account::new(SCOPES));
        let connections = Connections::new(endpoint, Protocol::Grpc)?;
        Ok(Channel { origin, account, connections })
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
    /// has a new one.
    pub(super) async fn call<T>(
        &self,
        rpc: impl AsyncFnOnce(Attempt, http::Uri) -> Result<T, Status>,
    ) -> Result<T, Status> {
        let sending = self.connections.sending();
        let sent = Arc::<OnceLock<Sent>>::default();
        let attempt = Attempt { client: sending.client().clone(), sent: Arc::clone(&sent) };
        let answer = rpc(attempt, self.origin.clone()).await;
        let Err(status) = &answer else {
            sending.settled();
            self.taken(sent.get());
            return answer;
        };
        match broken(status) {
            Some(BackendError { fate: Fate::NotSent, .. }) => sending.settled(),
            Some(_) => {}
            // What the server itself says has no cause on our side.
            None => {
                sending.settled();
                match status.code() {
                    Code::Unauthenticated => return Err(self.unauthenticated(status, sent.get())),
                    _ => self.taken(sent.get()),
                }
            }
        }
        answer
    }

    fn taken(&self, sent: Option<&Sent>) {
        if let Some((account, sent)) = self.account.as_ref().zip(sent) {
            account.taken(&sent.call);
        }
    }

    /// The first refusal of a token that was good is no one's decision: it may have ended early, and the next
    /// call comes with another.
    fn unauthenticated(&self, status: &Status, sent: Option<&Sent>) -> Status {
        let said = format!("{} (UNAUTHENTICATED)", line(status.message()));
        let error = match (&self.account, sent) {
            (Some(account), Some(sent)) => {
                let of = account.name();
                match account.refused(&sent.call, sent.token.as_ref()) {
                    true => BackendError::unknown(
                        Trouble::Unavailable,
                        format!(
                            "{said}: the credentials are not accepted, those of {of}; they were, \
                             so the next request comes with fresh ones"
                        ),
                    ),
                    false => BackendError::unknown(
                        Trouble::Denied,
                        format!(
                            "{said}: the credentials are not accepted, those of {of}: {REMEDY}"
                        ),
                    ),
                }
            }
            _ => BackendError::unknown(
                Trouble::Denied,
                format!("{said}: there are no credentials, never sent in clear: {REMEDY}"),
            ),
        };
        Status::from_error(Box::new(NoAnswer(error)))
    }
}

/// What was sent of a call, for what its answer says of the credentials.
#[derive(Debug)]
struct Sent {
    call: String,
    token: Option<HeaderValue>,
}

/// Sends one request, once.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    client: Client,
    sent: Arc<OnceLock<Sent>>,
}

/// What became of a request that got no answer, or none that its caller has to understand.
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
        let client = self.client.clone();
        let (parts, message) = request.into_parts();
        let token = parts.headers.get(AUTHORIZATION).cloned();
        let _ = self.sent.set(Sent { call: parts.uri.path().to_owned(), token });
        Box::pin(async move {
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
