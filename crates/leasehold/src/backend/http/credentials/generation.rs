//! Credentials as they were found once, and the thread that Google's library renews them on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use google_cloud_auth::credentials::{Builder, CacheableResource, Credentials};
use leasehold_core::backend::Trouble;
use leasehold_core::deadline::Moment;
use reqwest::header::HeaderMap;
use serde_json::Value;
use tokio::sync::{oneshot, watch};

use super::metadata::Metadata;
use super::words::{Lacking, is_transient, no_credentials};
use crate::backend::http::line;
use crate::env::{Env, Host};

/// The variable that names a file of credentials.
const FILE_VARIABLE: &str = "GOOGLE_APPLICATION_CREDENTIALS";

/// The file of `gcloud auth application-default login`, in the home directory.
const LOGIN: &str = ".config/gcloud/application_default_credentials.json";

/// Credentials as they were found at one moment.
///
/// Google's library renews a token in a task that has no time limit, and that keeps an error for ten seconds.
/// So each generation has a runtime of its own, on a thread of its own, which ends with it: whatever hangs
/// there is left behind, and no runtime of a caller's has a part in it.
#[derive(Debug)]
pub(super) struct Generation {
    started: Moment,
    /// `None` until it is known what they are.
    found: watch::Receiver<Option<Result<Arc<Found>, Lacking>>>,
    gave: AtomicBool,
    failed: Mutex<Option<Lacking>>,
    /// Dropped with this, it ends the thread.
    _alive: oneshot::Sender<()>,
}

#[derive(Debug)]
enum Found {
    Library { credentials: Credentials, name: String },
    Metadata(Metadata),
}

impl Generation {
    /// Has a thread look for credentials.
    pub(super) fn start(scopes: &'static [&'static str]) -> Result<Generation, Lacking> {
        let (tell, found) = watch::channel(None);
        let (alive, gone) = oneshot::channel();
        let started = Host.run(Box::pin(async move {
            let found = Found::look(scopes).map(Arc::new);
            let has_task =
                found.as_ref().is_ok_and(|found| matches!(**found, Found::Library { .. }));
            if tell.send(Some(found)).is_ok() && has_task {
                // An error says that nobody needs it any more.
                let _ = gone.await;
            }
        }));
        started.map_err(|e| {
            let why = format!("a thread cannot be started: {e}");
            Lacking::new(Trouble::Unavailable, "this host", &why)
        })?;
        let (started, gave, failed) = (Host.now().moment, AtomicBool::new(false), Mutex::default());
        Ok(Generation { started, found, gave, failed, _alive: alive })
    }

    /// How long ago it was started.
    pub(super) fn age(&self, now: Moment) -> Duration {
        now.longest_since(self.started)
    }

    /// Whether a token came from it.
    pub(super) fn has_given(&self) -> bool {
        self.gave.load(Ordering::Relaxed)
    }

    /// Why it gives no more credentials.
    pub(super) fn failure(&self) -> Option<Lacking> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Which credentials these are, as far as that is known.
    pub(super) fn name(&self) -> Option<String> {
        match &**self.found.borrow().as_ref()?.as_ref().ok()? {
            Found::Library { name, .. } => Some(name.clone()),
            Found::Metadata(metadata) => Some(metadata.name()),
        }
    }

    /// The headers of a request. After a failure there are none for as long as this generation is kept.
    pub(super) async fn headers(&self) -> Result<HeaderMap, Lacking> {
        if let Some(why) = self.failure() {
            return Err(why);
        }
        let headers = self.ask().await;
        match &headers {
            Ok(_) => self.gave.store(true, Ordering::Relaxed),
            Err(why) => {
                *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.clone());
            }
        }
        headers
    }

    async fn ask(&self) -> Result<HeaderMap, Lacking> {
        let gone = |of: &str| Lacking::new(Trouble::Unavailable, of, "their thread has ended");
        let mut found = self.found.clone();
        let found = found.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
        match &*found.unwrap_or_else(|| Err(gone("this host")))? {
            Found::Metadata(metadata) => metadata.headers().await,
            Found::Library { credentials, name } => {
                let Some(headers) = caught(credentials.headers(extensions())).await else {
                    return Err(gone(name));
                };
                match headers.map_err(|e| no_credentials(&e, name, is_transient(&e), false))? {
                    CacheableResource::New { data, .. } => Ok(data),
                    CacheableResource::NotModified => {
                        Err(Lacking::new(Trouble::Unavailable, name, "they were not told"))
                    }
                }
            }
        }
    }
}

impl Found {
    /// Google's application default credentials, in their order: the file that the environment names, the
    /// login of gcloud, the metadata server.
    fn look(scopes: &'static [&'static str]) -> Result<Found, Lacking> {
        let named = std::env::var_os(FILE_VARIABLE).map(PathBuf::from);
        let login = std::env::var_os("HOME").map(|home| Path::new(&home).join(LOGIN));
        let login = login.filter(|login| login.symlink_metadata().is_ok());
        let Some(file) = named.or(login) else { return Ok(Found::Metadata(Metadata::new(scopes))) };
        let name = name(&file);
        match Builder::default().with_scopes(scopes.iter().copied()).build() {
            Ok(credentials) => Ok(Found::Library { credentials, name }),
            Err(e) => Err(no_credentials(&e, &name, false, e.is_parsing())),
        }
    }
}

/// Which credentials a file has: whose they are, where that is no secret, and where they stand.
fn name(file: &Path) -> String {
    let content: Value = std::fs::read(file)
        .ok()
        .and_then(|content| serde_json::from_slice(&content).ok())
        .unwrap_or_default();
    let text = |field: &str| content[field].as_str().unwrap_or_default();
    let impersonated = text("service_account_impersonation_url").rsplit('/').next();
    let impersonated = impersonated.and_then(|last| last.split(':').next()).unwrap_or_default();
    let account = [impersonated, text("client_email")].into_iter().find(|name| is_account(name));
    let file = line(&file.display().to_string());
    match account {
        Some(account) => format!("the file {file} (account {account})"),
        None => format!("the file {file}"),
    }
}

/// What may be told of a file, because it can only be a name.
fn is_account(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._@".contains(&b);
    name.len() <= 200 && name.contains('@') && name.bytes().all(is_plain)
}

/// Nothing that the credentials should know.
fn extensions<T: Default>() -> T {
    T::default()
}

/// What comes of a call of the library. `None` where it panics, as it does once its task is gone.
async fn caught<F: Future>(call: F) -> Option<F::Output> {
    let mut call = std::pin::pin!(call);
    std::future::poll_fn(|context| {
        match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context))) {
            Ok(Poll::Ready(came)) => Poll::Ready(Some(came)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}
