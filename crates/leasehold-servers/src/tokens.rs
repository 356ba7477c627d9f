//! A fake of what gives out access tokens: an OAuth 2 token endpoint, Google's impersonation of service
//! accounts, and the metadata server of a virtual machine.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;

use crate::clock::{self, Start};
use crate::thread::Listening;

/// Where the metadata server has the token of the machine's own account.
const METADATA: &str = "/computeMetadata/v1/instance/service-accounts/default/token";

/// What becomes of those who ask for a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// They get one.
    Give,
    /// They get this status and this body.
    Refuse(u16, String),
    /// The connection is closed without an answer.
    Close,
    /// They are never answered.
    Hang,
}

/// A request for a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Path and query.
    pub target: String,
    /// The value of `Authorization`.
    pub authorization: Option<String>,
    /// The value of `Metadata-Flavor`.
    pub flavor: Option<String>,
    /// The body, whatever it is.
    pub body: String,
    /// The token that was the answer, if one was.
    pub given: Option<String>,
}

/// Gives out tokens, each another one; on a thread of its own, ends when dropped.
#[derive(Debug)]
pub struct Tokens {
    shared: Arc<Shared>,
    listening: Listening,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    start: Start,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    life: Duration,
    asked: Vec<Asked>,
    /// The end of each token's life, since the start of the server.
    ends: BTreeMap<String, Duration>,
}

impl Tokens {
    /// Starts it on a free loopback port. Tokens live for an hour.
    pub fn start() -> Tokens {
        let (asked, ends) = (Vec::new(), BTreeMap::new());
        let state = State { mode: Mode::Give, life: Duration::from_hours(1), asked, ends };
        let shared = Arc::new(Shared { state: Mutex::new(state), start: Start::now() });
        let served = Arc::clone(&shared);
        let serve = move |connection| serve(connection, Arc::clone(&served));
        let listening = Listening::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), serve);
        Tokens { shared, listening: listening.expect("there is a free loopback port and a thread") }
    }

    /// Where it listens; the metadata server's address too (`GCE_METADATA_HOST`).
    pub fn address(&self) -> SocketAddr {
        self.listening.address()
    }

    /// The OAuth 2 token endpoint, for `token_uri` and `token_url`.
    pub fn token_url(&self) -> String {
        format!("http://{}/token", self.address())
    }

    /// For `service_account_impersonation_url`.
    pub fn impersonation_url(&self, account: &str) -> String {
        let address = self.address();
        format!("http://{address}/v1/projects/-/serviceAccounts/{account}:generateAccessToken")
    }

    /// How long the tokens live that are given out from now on; told to clients in whole seconds.
    pub fn set_life(&self, life: Duration) {
        self.shared.lock().life = life;
    }

    /// What becomes of those who ask from now on.
    pub fn set(&self, mode: Mode) {
        self.shared.lock().mode = mode;
    }

    /// Ends the life of every token that was given out.
    pub fn revoke(&self) {
        self.shared.lock().ends.clear();
    }

    /// Says whether a token is one of these and alive, for [`accept`](crate::gcs::Fake::accept).
    pub fn check(&self) -> impl Fn(&str) -> bool + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move |token| shared.is_alive(token)
    }

    /// Everything that was asked so far, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.lock().asked.clone()
    }

    /// The tokens that were given out so far, in order.
    pub fn given(&self) -> Vec<String> {
        self.shared.lock().asked.iter().filter_map(|asked| asked.given.clone()).collect()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_alive(&self, token: &str) -> bool {
        let now = self.start.elapsed();
        self.lock().ends.get(token).is_some_and(|end| now < *end)
    }
}

async fn serve(connection: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(|request| answer(request, &shared));
    let serving = http1::Builder::new().serve_connection(TokioIo::new(connection), service);
    // It fails where the mode closed it, or the client did.
    let _ = serving.await;
}

async fn answer(request: Request<Incoming>, shared: &Shared) -> io::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let header = |name: &str| Some(head.headers.get(name)?.to_str().ok()?.to_owned());
    let asked = Asked {
        target: head.uri.to_string(),
        authorization: header(AUTHORIZATION.as_str()),
        flavor: header("metadata-flavor"),
        body: String::from_utf8_lossy(&body).into_owned(),
        given: None,
    };
    let mode = shared.lock().mode.clone();
    let (code, body) = match mode {
        Mode::Give => shared.give(asked, head.uri.path()),
        Mode::Refuse(code, body) => {
            shared.lock().asked.push(asked);
            (code, body)
        }
        Mode::Close => {
            shared.lock().asked.push(asked);
            return Err(io::Error::other("the connection is to be closed"));
        }
        Mode::Hang => {
            shared.lock().asked.push(asked);
            pending().await
        }
    };
    let response = Response::builder()
        .status(StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        .header(CONTENT_TYPE, "application/json");
    response.body(Full::from(body)).map_err(io::Error::other)
}

impl Shared {
    /// A new token as those who asked there expect it.
    fn give(&self, mut asked: Asked, path: &str) -> (u16, String) {
        let now = self.start.elapsed();
        let mut state = self.lock();
        let refusal = match path {
            "/token" => None,
            METADATA if asked.flavor.as_deref() == Some("Google") => None,
            METADATA => Some((403, "Missing Metadata-Flavor:Google header.")),
            _ if path.ends_with(":generateAccessToken") => {
                let token = asked.authorization.as_deref().and_then(|a| a.strip_prefix("Bearer "));
                let end = token.and_then(|token| state.ends.get(token));
                let is_alive = end.is_some_and(|end| now < *end);
                (!is_alive).then_some((401, "Request had invalid authentication credentials."))
            }
            _ => Some((404, "Not Found")),
        };
        if let Some((code, what)) = refusal {
            state.asked.push(asked);
            return (code, json!({ "error": { "code": code, "message": what } }).to_string());
        }
        let token = format!("ya29.secret-token-{}", state.asked.len());
        let life = state.life;
        state.ends.insert(token.clone(), now + life);
        asked.given = Some(token.clone());
        state.asked.push(asked);
        let answer = match path.ends_with(":generateAccessToken") {
            true => {
                json!({ "accessToken": token, "expireTime": clock::rfc3339(clock::unix() + life) })
            }
            false => json!({
                "access_token": token,
                "expires_in": life.as_secs(),
                "token_type": "Bearer",
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            }),
        };
        (200, answer.to_string())
    }
}
