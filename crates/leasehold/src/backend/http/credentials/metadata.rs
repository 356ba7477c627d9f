//! The metadata server of a virtual machine or a pod, which gives out the tokens of its account.
//!
//! It is asked here and not by Google's library, which asks it through the environment's proxy: that would be
//! handed the token in clear, and mostly cannot reach it. And to the library its 404 is final, which some of
//! them answer for the first seconds of a pod.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use leasehold_core::backend::Trouble;
use leasehold_core::deadline::Moment;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::Value;

use super::words::Lacking;
use crate::backend::http::{line, plain_builder, transport, words};
use crate::env::{Env, Host};

/// Where it is, unless this variable names another host.
const HOST: &str = "metadata.google.internal";
const HOST_VARIABLE: &str = "GCE_METADATA_HOST";

/// Who pays, as Google's library takes it.
const QUOTA_PROJECT_VARIABLE: &str = "GOOGLE_CLOUD_QUOTA_PROJECT";

/// It is a hop away. What takes longer is no answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// An answer is not longer than this.
const ANSWER_MAX: usize = 64 * 1024;

/// A token is taken to live for this long where it does not say how long, and no longer than the other.
const LIFE_UNSAID: Duration = Duration::from_mins(5);
const LIFE_MAX: Duration = Duration::from_hours(24);

/// A token is replaced so long before its end, and the next try is so long after one that failed. Both are
/// less where tokens are short.
const AHEAD: Duration = Duration::from_mins(4);
const AGAIN: Duration = Duration::from_secs(10);

/// The tokens of one metadata server.
#[derive(Debug)]
pub(super) struct Metadata {
    scopes: &'static [&'static str],
    host: String,
    token: Mutex<Option<Token>>,
    /// Of all requests that need a token, only one asks.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug)]
struct Token {
    headers: HeaderMap,
    /// From before it was asked for.
    got: Moment,
    life: Duration,
    /// When another was last asked for.
    tried: Moment,
}

impl Token {
    fn left(&self, now: Moment) -> Duration {
        self.life.saturating_sub(now.longest_since(self.got))
    }

    /// It is over before it is over: a request takes its time.
    fn is_over(&self, now: Moment) -> bool {
        self.left(now) < (self.life / 16).min(PATIENCE)
    }

    fn is_due(&self, now: Moment) -> bool {
        let again = AGAIN.min(self.life / 8);
        self.left(now) < AHEAD.min(self.life / 2) && now.longest_since(self.tried) >= again
    }
}

impl Metadata {
    /// Nothing is asked yet.
    pub(super) fn new(scopes: &'static [&'static str]) -> Metadata {
        let host = std::env::var(HOST_VARIABLE).ok().filter(|host| !host.is_empty());
        let host = host.unwrap_or_else(|| HOST.into());
        Metadata { scopes, host, token: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }

    /// Which credentials these are.
    pub(super) fn name(&self) -> String {
        format!("the metadata server (http://{}/computeMetadata)", line(&self.host))
    }

    /// The headers with a token. One that is near its end is replaced, and still good if that fails.
    pub(super) async fn headers(&self) -> Result<HeaderMap, Lacking> {
        if let Some(token) = self.good(true) {
            return Ok(token);
        }
        let _asking = self.asking.lock().await;
        if let Some(token) = self.good(true) {
            return Ok(token);
        }
        if let Some(token) = &mut *self.token.lock().unwrap_or_else(PoisonError::into_inner) {
            // Whatever becomes of this try: the next request does not wait for one.
            token.tried = Host.now().moment;
        }
        let got = Host.now().moment;
        match self.ask().await {
            Ok((headers, life)) => {
                let token = Token { headers: headers.clone(), got, life, tried: got };
                *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
                Ok(headers)
            }
            Err(why) => self.good(false).ok_or_else(|| self.lacking(Trouble::Unavailable, &why)),
        }
    }

    /// The token that we have, if it needs no replacement or there is none.
    fn good(&self, is_replaced: bool) -> Option<HeaderMap> {
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Host.now().moment;
        let good = token.as_ref().filter(|token| !token.is_over(now));
        Some(good.filter(|token| !(is_replaced && token.is_due(now)))?.headers.clone())
    }

    /// Asks for a token. No refusal of such a server is final, whatever its status: it is no person's, and in
    /// a pod that has just been started it means that the server is not ready.
    async fn ask(&self) -> Result<(HeaderMap, Duration), String> {
        let address = format!(
            "http://{}/computeMetadata/v1/instance/service-accounts/default/token",
            self.host
        );
        let mut url = Url::parse(&address).map_err(|e| format!("{HOST_VARIABLE}: {e}"))?;
        url.query_pairs_mut().append_pair("scopes", &self.scopes.join(","));
        // In clear, to a neighbour: no proxy, no certificates.
        let builder = plain_builder().no_proxy().tls_certs_only([]).timeout(PATIENCE);
        let client = builder.build().map_err(|e| words(&e))?;
        let request = client.get(url).header("Metadata-Flavor", "Google");
        let mut response = request.send().await.map_err(|e| transport(&e).message)?;
        let status = response.status().as_u16();
        let mut body = vec![];
        while let Some(chunk) = response.chunk().await.map_err(|e| words(&e))? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_MAX {
                return Err("the answer is too long".into());
            }
        }
        match status {
            200 => token(&body).ok_or_else(|| "the answer is no token".into()),
            403 | 404 => Err(format!(
                "the answer was {status}: it is not ready yet, or has no account for this machine"
            )),
            _ => Err(format!("the answer was {status}: {}", line(&String::from_utf8_lossy(&body)))),
        }
    }

    fn lacking(&self, trouble: Trouble, why: &str) -> Lacking {
        Lacking::new(trouble, &self.name(), why)
    }
}

/// What an answer with a token says: the headers to be sent with it, and how long it lives.
pub(in crate::backend) fn token(body: &[u8]) -> Option<(HeaderMap, Duration)> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let token = answer.get("access_token")?.as_str().filter(|token| !token.is_empty())?;
    let kind = answer.get("token_type").and_then(Value::as_str).unwrap_or("Bearer");
    let mut bearer = HeaderValue::from_str(&format!("{kind} {token}")).ok()?;
    bearer.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, bearer);
    let project = std::env::var(QUOTA_PROJECT_VARIABLE).ok().filter(|project| !project.is_empty());
    if let Some(project) = project {
        headers.insert("x-goog-user-project", HeaderValue::from_str(&project).ok()?);
    }
    let life = answer.get("expires_in").and_then(Value::as_u64).map(Duration::from_secs);
    Some((headers, life.unwrap_or(LIFE_UNSAID).min(LIFE_MAX)))
}
