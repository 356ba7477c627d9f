//! Requests from the wire, the faults that befall them, and answers back to it.

use std::fmt;
use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll};

use http_body_util::{BodyExt, Limited};
use hyper::Response;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::CONNECTION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::answer::Answer;
use super::request::Request;
use super::script::{Bearer, Fault, Script, Seen};
use super::store::Store;
use crate::clock::{self, Start};
use crate::watched::Watched;

/// The largest body of a request. A record of leasehold's is far smaller.
const BODY_BYTES_MAX: usize = 1 << 20;

/// What the server's thread and the test share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) state: Arc<Watched<State>>,
    start: Start,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) store: Store,
    pub(super) script: Script,
    pub(super) seen: Vec<Seen>,
    pub(super) gate: Gate,
}

/// Who may come in: everybody, or whose token passes.
#[derive(Default)]
pub(super) struct Gate(pub(super) Option<IsValid>);

type IsValid = Box<dyn Fn(&str) -> bool + Send>;

impl Gate {
    fn admits(&self, bearer: Option<&str>) -> bool {
        self.0.as_ref().is_none_or(|is_valid| bearer.is_some_and(is_valid))
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Gate(tokens)" } else { "Gate(open)" })
    }
}

impl Shared {
    pub(super) fn new() -> Shared {
        let start = Start::now();
        let (store, script, seen) = (Store::new(start), Script::default(), Vec::new());
        let state = State { store, script, seen, gate: Gate::default() };
        Shared { state: Arc::new(Watched::new(state)), start }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// What becomes of a connection after a request.
enum Fate {
    Answer(Response<Bytes>),
    /// The answer, of which only the first half is sent.
    Cut(Response<Bytes>),
    Close,
    Silence,
}

/// Serves one connection to its end.
pub(super) async fn serve(connection: TcpStream, shared: Arc<Shared>) {
    // Without it the kernel may keep an answer back until the one before is acknowledged.
    let _ = connection.set_nodelay(true);
    let service = service_fn(|request| answer(request, Arc::clone(&shared)));
    let serving = http1::Builder::new().serve_connection(TokioIo::new(connection), service);
    // It fails where a fault closed it, or the client did.
    let _ = serving.await;
}

async fn answer(
    request: hyper::Request<Incoming>,
    shared: Arc<Shared>,
) -> io::Result<Response<Sent>> {
    let (head, body) = request.into_parts();
    // Nothing is locked until the body is here: a client that stalls holds up nobody else.
    let body = match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(why) if why.is::<http_body_util::LengthLimitError>() => {
            let date = shared.lock().store.date();
            let mut response = Answer::error_of(413).into_response(date).map(Sent::whole);
            // What is left of the body would be taken for the next request.
            response.headers_mut().insert(CONNECTION, "close".parse().map_err(io::Error::other)?);
            return Ok(response);
        }
        Err(why) => return Err(io::Error::other(why)),
    };
    let request = Arc::new(Request::read(&head, body));
    let fate = befall(&request, &shared);
    shared.state.changed();
    match fate {
        Fate::Answer(response) => Ok(response.map(Sent::whole)),
        Fate::Cut(response) if !response.body().is_empty() => {
            Ok(response.map(|body| Sent::half(&body)))
        }
        Fate::Cut(_) | Fate::Close => Err(io::Error::other("the connection is to be closed")),
        Fate::Silence => pending().await,
    }
}

/// Takes note of the request, does what it asks and what the script makes of it, in one step.
fn befall(request: &Arc<Request>, shared: &Arc<Shared>) -> Fate {
    let mut state = shared.lock();
    let state = &mut *state;
    let number = state.seen.len();
    let when = request.when();
    state.seen.push(Seen {
        when,
        bucket: request.bucket.clone(),
        object: request.object.clone(),
        authorized: request.authorization.is_some(),
        bearer: request.bearer().map(|token| Bearer(token.to_owned())),
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
    let outcome = is_done_now.then(|| state.carry_out(number, request, fault.as_ref()));
    let answer = match fault {
        Some(Fault::LoseAnswer | Fault::Close) => return Fate::Close,
        Some(Fault::Hang { .. }) => return Fate::Silence,
        Some(Fault::Late(after)) => {
            let (request, shared) = (Arc::clone(request), Arc::clone(shared));
            tokio::spawn(async move {
                clock::pause(after).await;
                shared.lock().carry_out(number, &request, None);
                shared.state.changed();
            });
            return Fate::Silence;
        }
        Some(Fault::Answer { code, retry_after, .. }) => {
            Answer::error_of(code).with_retry_after(retry_after)
        }
        Some(Fault::Odd(odd)) => outcome.unwrap_or_else(|| Answer::error_of(500)).made(odd),
        Some(Fault::Truncate | Fault::Stale | Fault::IgnorePrecondition) | None => {
            outcome.unwrap_or_else(|| Answer::error_of(500))
        }
    };
    let is_cut = matches!(fault, Some(Fault::Truncate));
    let response = answer.into_response(state.store.date());
    if is_cut {
        return Fate::Cut(response);
    }
    state.seen[number].status = Some(response.status().as_u16());
    Fate::Answer(response)
}

impl State {
    fn carry_out(&mut self, number: usize, request: &Request, fault: Option<&Fault>) -> Answer {
        let answer = match self.gate.admits(request.bearer()) {
            true => self.store.carry_out(request, fault),
            false => Answer::error_of(401),
        };
        self.seen[number].outcome = Some(answer.code);
        answer
    }
}

/// The body of an answer: all of it, or less than was announced.
struct Sent {
    left: Option<Bytes>,
    announced: u64,
    is_whole: bool,
    /// Whether the connection had a chance to send what it was given.
    is_flushed: bool,
}

impl Sent {
    fn whole(body: Bytes) -> Sent {
        let announced = body.len() as u64;
        Sent { left: Some(body), announced, is_whole: true, is_flushed: true }
    }

    fn half(body: &Bytes) -> Sent {
        let sent = body.slice(..body.len() / 2);
        let announced = body.len() as u64;
        Sent { left: Some(sent), announced, is_whole: false, is_flushed: false }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(bytes) = self.left.take().filter(|bytes| !bytes.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if self.is_whole {
            return Poll::Ready(None);
        }
        if !self.is_flushed {
            // hyper sends what it has when it is told to wait, and forgets it when it is told of an error.
            self.is_flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::Error::other("the body is to be cut"))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_whole && self.left.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(if self.is_whole {
            self.left.as_ref().map_or(0, |bytes| bytes.len() as u64)
        } else {
            self.announced
        })
    }
}
