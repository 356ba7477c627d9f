//! Google's application default credentials: which there are, and what is done where they fail.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use leasehold_core::backend::BackendError;
use leasehold_core::deadline::Moment;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use crate::env::{Env, Host};

mod generation;
pub(in crate::backend) mod metadata;
mod words;

use generation::Generation;
use words::Lacking;

/// What helps a person who has no credentials.
pub(in crate::backend) const REMEDY: &str =
    "set GOOGLE_APPLICATION_CREDENTIALS, or run `gcloud auth application-default login`";

/// A failure that may pass is kept for so long; then credentials are looked for anew.
const FAILURE_KEPT: Duration = Duration::from_secs(1);

/// They are looked for anew beside the first look if that takes so long, or so long where there was a token:
/// the library has asked for the next one before that ended.
const SLOW: Duration = Duration::from_secs(1);
const SLOW_AFTER_TOKEN: Duration = Duration::from_millis(300);

/// The second of two looks is given up for another after so long; the first when it is so old.
const SLOW_TOO: Duration = Duration::from_secs(2);
const OLD: Duration = Duration::from_secs(20);

/// The credentials of one store.
///
/// They are looked for at the first request. Whatever goes wrong with them costs an attempt and not the
/// client: what hangs is asked beside, what failed is looked for again after a second, and so is what the
/// store refuses.
#[derive(Debug)]
pub(in crate::backend) struct Account {
    scopes: &'static [&'static str],
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// One, or two if the first is slow.
    generations: Vec<Arc<Generation>>,
    /// Since when a request waits.
    waiting: Option<Moment>,
    /// The last token that was given.
    token: Option<HeaderValue>,
    /// Whether the store has ever taken one.
    was_taken: bool,
    /// The kinds of requests that were refused since, and forgiven.
    forgiven: Vec<String>,
}

impl Account {
    /// Nothing is looked for yet.
    pub(in crate::backend) fn new(scopes: &'static [&'static str]) -> Account {
        Account { scopes, state: Mutex::default() }
    }

    /// The headers that say who we are. They are had before a request: a failure to get them sends
    /// nothing.
    pub(in crate::backend) async fn headers(&self) -> Result<HeaderMap, BackendError> {
        loop {
            let (asked, patience) = self.asked()?;
            let (asked, answer) = tokio::select! {
                biased;
                answer = first(&asked) => answer,
                () = Host.sleep(patience) => {
                    self.ask_beside();
                    continue;
                }
            };
            let mut state = self.state();
            state.waiting = None;
            if let Ok(headers) = &answer {
                state.token = headers.get(AUTHORIZATION).cloned();
                state.generations.retain(|other| Arc::ptr_eq(other, &asked));
            }
            return Ok(answer?);
        }
    }

    /// Whom to ask, and how long to wait for an answer before another is asked beside.
    fn asked(&self) -> Result<(Vec<Arc<Generation>>, Duration), Lacking> {
        let mut state = self.state();
        let now = Host.now().moment;
        state.generations.retain(|one| match one.failure() {
            None => true,
            // A person may have mended it in this moment.
            Some(why) => !why.is_final() && one.age(now) < FAILURE_KEPT,
        });
        if state.generations.is_empty() {
            state.generations.push(Arc::new(Generation::start(self.scopes)?));
            state.waiting = None;
        }
        let waited = now.longest_since(*state.waiting.get_or_insert(now));
        let patience = match &state.generations[..] {
            [one] if one.has_given() => SLOW_AFTER_TOKEN.saturating_sub(waited),
            [one] => SLOW.saturating_sub(waited.min(one.age(now))),
            more => {
                SLOW_TOO.saturating_sub(more.iter().map(|one| one.age(now)).fold(waited, Ord::min))
            }
        };
        Ok((state.generations.clone(), patience))
    }

    /// Looks for credentials once more, beside what is under way.
    fn ask_beside(&self) {
        let mut state = self.state();
        let now = Host.now().moment;
        state.waiting = Some(now);
        if state.generations.last().is_some_and(|last| last.age(now) < SLOW_AFTER_TOKEN) {
            // Another request has done it.
            return;
        }
        // Where no thread can be started, those that are there go on.
        let Ok(next) = Generation::start(self.scopes) else { return };
        if state.generations.len() > 1 {
            let is_old = state.generations[0].age(now) > OLD;
            state.generations.remove(usize::from(!is_old));
        }
        state.generations.push(Arc::new(next));
    }

    /// The store has let a request of this kind in.
    pub(in crate::backend) fn taken(&self, kind: &str) {
        let mut state = self.state();
        state.was_taken = true;
        state.forgiven.retain(|forgiven| forgiven != kind);
    }

    /// The store has refused a request of this kind that came with this token. The next request looks for
    /// credentials anew, because the library keeps a token to its end.
    ///
    /// True where that may be all that it takes: a token that was good is so no more, and another was not
    /// tried.
    pub(in crate::backend) fn refused(&self, kind: &str, token: Option<&HeaderValue>) -> bool {
        let mut state = self.state();
        if token.is_none() {
            return false;
        }
        if state.token.as_ref() != token {
            // It has been replaced since.
            return state.was_taken;
        }
        state.generations.clear();
        state.token = None;
        let is_first = !state.forgiven.iter().any(|forgiven| forgiven == kind);
        if is_first {
            state.forgiven.push(kind.to_owned());
        }
        state.was_taken && is_first
    }

    /// Which credentials these are, for a message.
    pub(in crate::backend) fn name(&self) -> String {
        let name = self.state().generations.iter().find_map(|generation| generation.name());
        name.unwrap_or_else(|| "Google's application default credentials".into())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first answer of one or two.
async fn first(asked: &[Arc<Generation>]) -> (Arc<Generation>, Result<HeaderMap, Lacking>) {
    match asked {
        [one, other] => tokio::select! {
            biased;
            answer = one.headers() => (Arc::clone(one), answer),
            answer = other.headers() => (Arc::clone(other), answer),
        },
        [one, ..] => (Arc::clone(one), one.headers().await),
        [] => std::future::pending().await,
    }
}
