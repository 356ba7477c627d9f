//! Requests from the wire, the faults that befall them, and answers back to it.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tonic::Code;

use super::request::Request;
use super::script::{Fault, Script, Seen};
use super::status::Status;
use super::store::{Messages, Store};
use crate::clock::{self, Start};
use crate::watched::Watched;

/// The largest request. Spanner takes 10 MiB; a record of leasehold's is far smaller.
const BODY_BYTES_MAX: usize = 10 << 20;

/// What the server's thread and the test share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) state: Arc<Watched<State>>,
    /// Each change of it closes every connection.
    pub(super) closed: watch::Sender<()>,
    start: Start,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) store: Store,
    pub(super) script: Script,
    pub(super) seen: Vec<Seen>,
}

impl Shared {
    pub(super) fn new() -> Shared {
        let state = Arc::new(Watched::new(State::default()));
        Shared { state, closed: watch::Sender::new(()), start: Start::now() }
    }
}

/// What becomes of a request.
enum Fate {
    Answer(Sent),
    Close,
    Silence,
}

/// Serves one connection to its end.
pub(super) async fn serve(connection: TcpStream, shared: Arc<Shared>) {
    // Without it the kernel may keep an answer back until the one before is acknowledged.
    let _ = connection.set_nodelay(true);
    let mut all_closed = shared.closed.subscribe();
    let (close, mut is_closed) = watch::channel(());
    let close = Arc::new(close);
    let service = service_fn(|request| answer(request, Arc::clone(&shared), Arc::clone(&close)));
    let serving = http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(connection), service);
    tokio::select! {
        // It fails where the client closed it.
        _ = serving => {}
        _ = all_closed.changed() => {}
        _ = is_closed.changed() => {}
    }
}

async fn answer(
    request: hyper::Request<Incoming>,
    shared: Arc<Shared>,
    close: Arc<watch::Sender<()>>,
) -> io::Result<hyper::Response<Sent>> {
    let (head, body) = request.into_parts();
    // Nothing is locked until the body is here: a client that stalls holds up nobody else.
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(io::Error::other)?;
    let request = Arc::new(Request::read(&head, &body.to_bytes()));
    let (fate, delay) = befall(&request, &shared);
    shared.state.changed();
    if let Some(delay) = delay {
        clock::pause(delay).await;
    }
    match fate {
        Fate::Answer(sent) => {
            let mut response = hyper::Response::new(sent);
            let kind = HeaderValue::from_static("application/grpc");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            Ok(response)
        }
        Fate::Close => {
            close.send_replace(());
            pending().await
        }
        Fate::Silence => pending().await,
    }
}

/// Takes note of the request, does what it asks and what the script makes of it, in one step. Also returns
/// how long the answer is kept back.
fn befall(request: &Arc<Request>, shared: &Arc<Shared>) -> (Fate, Option<std::time::Duration>) {
    let mut state = shared.state.lock();
    let state = &mut *state;
    let number = state.seen.len();
    let when = request.when();
    state.seen.push(Seen {
        when,
        method: request.method.clone(),
        resource: request.resource().to_owned(),
        prefix: request.prefix.clone(),
        authorized: request.is_authorized,
        role: state.store.role(request),
        outcome: None,
        status: None,
        at: shared.start.elapsed(),
    });
    let fault = state.script.take(when);
    let is_done_now = match &fault {
        Some(Fault::Close | Fault::Late(_)) => false,
        Some(Fault::Hang { done } | Fault::Answer { done, .. }) => *done,
        _ => true,
    };
    let outcome = is_done_now.then(|| state.carry_out(number, request));
    let silent = || Err(Status::new(Code::Internal, "this is told to nobody"));
    let (answer, is_cut, delay) = match fault {
        Some(Fault::LoseAnswer | Fault::Close) => return (Fate::Close, None),
        Some(Fault::Hang { .. }) => return (Fate::Silence, None),
        Some(Fault::Late(after)) => {
            let (request, shared) = (Arc::clone(request), Arc::clone(shared));
            tokio::spawn(async move {
                clock::pause(after).await;
                // Nobody waits for the answer.
                let _ = shared.state.lock().carry_out(number, &request);
                shared.state.changed();
            });
            return (Fate::Silence, None);
        }
        Some(Fault::Answer { code, retry_after, .. }) => {
            let status = Status::new(code, "The fake was asked to say this.");
            (Err(status.with_retry_after(retry_after)), false, None)
        }
        Some(Fault::Slow(by)) => (outcome.unwrap_or_else(silent), false, Some(by)),
        Some(Fault::Truncate) => (outcome.unwrap_or_else(silent), true, None),
        None => (outcome.unwrap_or_else(silent), false, None),
    };
    if !is_cut {
        state.seen[number].status = Some(code_of(&answer));
    }
    (Fate::Answer(Sent::new(answer, is_cut)), delay)
}

impl State {
    fn carry_out(&mut self, number: usize, request: &Request) -> Result<Messages, Status> {
        let answer = self.store.carry_out(request);
        self.seen[number].outcome = Some(code_of(&answer));
        answer
    }
}

fn code_of(answer: &Result<Messages, Status>) -> Code {
    answer.as_ref().map_or_else(|status| status.code, |_| Code::Ok)
}

/// The body of an answer: its messages, then the trailers that say how it ended; or less than that.
struct Sent {
    data: VecDeque<Bytes>,
    /// `None` of an answer that is cut, and when they were sent.
    trailers: Option<HeaderMap>,
    is_cut: bool,
    /// Whether the connection had a chance to send what it was given.
    is_flushed: bool,
}

impl Sent {
    fn new(answer: Result<Messages, Status>, is_cut: bool) -> Sent {
        let (messages, status) = match answer {
            Ok(messages) => (messages, Status::new(Code::Ok, "")),
            Err(status) => (vec![], status),
        };
        let mut data: VecDeque<Bytes> = messages.iter().map(|message| framed(message)).collect();
        if is_cut {
            data.truncate(data.len().div_ceil(2));
            let half = data.pop_back().map(|last| last.slice(..last.len() / 2));
            data.extend(half.filter(|half| !half.is_empty()));
        }
        let trailers = (!is_cut).then(|| trailers(&status));
        Sent { data, trailers, is_cut, is_flushed: false }
    }
}

/// A message as gRPC sends it: not compressed, its length, itself.
fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("an answer of the fake is small");
    let mut framed = vec![0];
    framed.extend(length.to_be_bytes());
    framed.extend(message);
    framed.into()
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", i32::from(status.code).into());
    let mut add = |name: &'static str, value: String| {
        let value = HeaderValue::try_from(value).expect("what is escaped can be sent");
        trailers.insert(name, value);
    };
    let escape = |byte: u8| match byte {
        b' '..=b'~' if byte != b'%' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    add("grpc-message", status.message.bytes().map(escape).collect());
    for (name, value) in status.details() {
        add(name, STANDARD_NO_PAD.encode(value));
    }
    trailers
}

impl Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(data) = self.data.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        if !self.is_cut {
            return Poll::Ready(None);
        }
        if !self.is_flushed {
            // hyper sends what it has when it is told to wait, and forgets it when it is told of an error.
            self.is_flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::Error::other("the answer is to be cut"))))
    }
}
