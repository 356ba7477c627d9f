//! The session that all requests share. A multiplexed one has no limit on how many requests use it at
//! once, lives for 28 days, and needs no care in between.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use googleapis_tonic_google_spanner_v1::google::spanner::v1 as proto;
use leasehold_core::backend::{BackendError, Trouble};
use leasehold_core::deadline::Moment;
use proto::spanner_client::SpannerClient;

use crate::env::{Env, Host};

use super::{SpannerBackend, nothing_written};

/// A session is replaced at this age, as Google's own clients do.
const OLD: Duration = Duration::from_hours(7 * 24);

/// The session in use, if there is one.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    current: Mutex<Option<Session>>,
    /// Of the tasks that need one, only one makes it.
    making: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Session {
    name: String,
    /// From before it was asked for.
    made: Moment,
}

impl Sessions {
    fn current(&self) -> MutexGuard<'_, Option<Session>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self) -> Option<String> {
        let current = self.current();
        let session = current.as_ref()?;
        let age = Host.now().moment.longest_since(session.made);
        (age < OLD).then(|| session.name.clone())
    }

    /// It is gone: the next request makes another.
    pub(super) fn forget(&self, name: &str) {
        self.current().take_if(|session| session.name == name);
    }
}

impl SpannerBackend {
    /// The session for a request. That of the last one, unless it is gone or old.
    pub(super) async fn session(&self) -> Result<String, BackendError> {
        if let Some(name) = self.sessions.name() {
            return Ok(name);
        }
        let _making = self.sessions.making.lock().await;
        if let Some(name) = self.sessions.name() {
            return Ok(name);
        }
        let made = Host.now().moment;
        let name = self.make_session().await.map_err(nothing_written)?;
        *self.sessions.current() = Some(Session { name: name.clone(), made });
        Ok(name)
    }

    async fn make_session(&self) -> Result<String, BackendError> {
        let database = self.place.database_path();
        let role = self.place.role.clone().unwrap_or_default();
        let session =
            proto::Session { multiplexed: true, creator_role: role, ..proto::Session::default() };
        let create =
            proto::CreateSessionRequest { database: database.clone(), session: Some(session) };
        let request = self.channel.request(create, &database, ("database", &database)).await?;
        let answer = self.channel.call(async |attempt, origin| {
            SpannerClient::with_origin(attempt, origin).create_session(request).await
        });
        let answer = answer.await.map_err(|status| self.refused(&status, ""))?;
        let name = answer.into_inner().name;
        match name.starts_with(&format!("{database}/sessions/")) {
            true => Ok(name),
            false => {
                let why = "the answer names no session of this database";
                Err(BackendError::unknown(Trouble::Unavailable, why))
            }
        }
    }
}
