//! What Spanner's refusals mean.

use std::time::Duration;

use googleapis_tonic_google_spanner_v1::google::rpc;
use leasehold_core::backend::{BackendError, Fate, Trouble};
use prost::Message;
use tonic::{Code, Status};

use crate::backend::http::credentials::REMEDY;
use crate::backend::http::{line, patience};

use super::channel;
use super::place::Place;

/// Where Spanner says how long to wait, beside the details of the status.
const RETRY_INFO: &str = "google.rpc.retryinfo-bin";

/// How tonic begins where an answer is one of HTTP and none of gRPC.
const NO_STATUS: &str = "grpc-status header missing";

/// What is not there, where an answer is `NOT_FOUND`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Missing {
    Row,
    Session,
    Table,
    Database,
    Instance,
    /// It does not say, or it is something else.
    Unsaid,
}

/// The answer of a server that did not do what it was asked for.
#[derive(Debug)]
pub(super) struct Refusal<'a> {
    status: &'a Status,
    place: &'a Place,
    details: Vec<prost_types::Any>,
}

impl<'a> Refusal<'a> {
    pub(super) fn new(status: &'a Status, place: &'a Place) -> Refusal<'a> {
        let details = rpc::Status::decode(status.details()).map(|status| status.details);
        Refusal { status, place, details: details.unwrap_or_default() }
    }

    /// A detail of this type. What cannot be read is as good as not there.
    fn detail<M: Message + Default>(&self, name: &str) -> Option<M> {
        let found = self.details.iter().find(|any| any.type_url.rsplit('/').next() == Some(name));
        M::decode(found?.value.as_slice()).ok()
    }

    /// What is missing: Google says it in a detail and in words, the emulators only in words.
    pub(super) fn missing(&self) -> Option<Missing> {
        if self.status.code() != Code::NotFound || channel::broken(self.status).is_some() {
            return None;
        }
        let info: rpc::ResourceInfo = self.detail("google.rpc.ResourceInfo").unwrap_or_default();
        let said = self.status.message();
        let is = |noun: &str| {
            let by_type = info.resource_type.rsplit('.').next() == Some(noun);
            by_type || said.starts_with(&format!("{noun} not found"))
        };
        Some(match () {
            () if is("Session") => Missing::Session,
            () if is("Instance") => Missing::Instance,
            () if is("Database") => Missing::Database,
            () if is("Table") => Missing::Table,
            // "Row [x, 1] in table t is missing", "Table t: Row {x, 1} not found".
            () if said.contains("Row ") => Missing::Row,
            () => Missing::Unsaid,
        })
    }

    /// How long the server asks to be left alone.
    fn retry_after(&self) -> Option<Duration> {
        let info: Option<rpc::RetryInfo> = self.detail("google.rpc.RetryInfo").or_else(|| {
            let value = self.status.metadata().get_bin(RETRY_INFO)?.to_bytes().ok()?;
            rpc::RetryInfo::decode(value).ok()
        });
        let delay = info?.retry_delay?;
        let seconds = Duration::from_secs(delay.seconds.try_into().ok()?);
        let nanos = Duration::from_nanos(delay.nanos.try_into().ok()?);
        Some(patience(seconds.saturating_add(nanos)))
    }

    /// What it means where the call itself knows nothing better. `docs/backends/spanner.md` has the table.
    ///
    /// Most refusals prove nothing: they may answer a second copy of a request whose first copy landed.
    pub(super) fn error(&self) -> BackendError {
        if let Some(broken) = channel::broken(self.status) {
            return broken;
        }
        let code = self.status.code();
        let said = format!("{} ({})", line(self.status.message()), name(code));
        let unknown = BackendError::unknown;
        let is_refusal = matches!(code, Code::PermissionDenied | Code::Unauthenticated);
        if self.status.message().starts_with(NO_STATUS) && !is_refusal {
            let why = format!(
                "{} answers as no Spanner does ({}): it is none, or something on the way answers \
                 in its place",
                self.place.endpoint,
                line(self.status.message())
            );
            return unknown(Trouble::Unavailable, why);
        }
        let throttled = |retry_after| BackendError {
            fate: Fate::Throttled { retry_after },
            trouble: Trouble::Unavailable,
            message: said.clone(),
        };
        match code {
            Code::NotFound => self.not_found(said),
            Code::Aborted | Code::ResourceExhausted => throttled(self.retry_after()),
            Code::Unavailable if self.retry_after().is_some() => throttled(self.retry_after()),
            Code::PermissionDenied => {
                let database = self.place.database_path();
                let why = match &self.place.role {
                    None => format!(
                        "{said}: it takes the role roles/spanner.databaseUser on {database}, or \
                         spanner.sessions.create and spanner.databases.read and .write, or a \
                         database role that is named with ?role=NAME"
                    ),
                    Some(role) => format!(
                        "{said}: as the database role {role}, it takes \
                         roles/spanner.fineGrainedAccessUser on {database}, \
                         roles/spanner.databaseRoleUser for the role, and `GRANT SELECT, INSERT, \
                         UPDATE, DELETE ON TABLE {} TO ROLE {role}`",
                        self.place.table
                    ),
                };
                unknown(Trouble::Denied, why)
            }
            Code::Unauthenticated => unknown(Trouble::Denied, format!("{said}: {REMEDY}")),
            Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::AlreadyExists
            | Code::Unimplemented => unknown(Trouble::Invalid, said),
            _ => unknown(Trouble::Unavailable, said),
        }
    }

    fn not_found(&self, said: String) -> BackendError {
        let Place { project, instance, database, table, .. } = self.place;
        let url = self.place.url();
        let init = format!("look for a typing error, or make it with `leasehold init {url}`");
        let invalid = |why| BackendError::unknown(Trouble::Invalid, why);
        match self.missing() {
            // Without it there is nothing that could have done anything.
            Some(Missing::Session) => BackendError::not_sent(
                Trouble::Unavailable,
                format!("{said}: the next request makes a new session"),
            ),
            Some(Missing::Table) => {
                invalid(format!("there is no table {table} in the database {database}: {init}"))
            }
            Some(Missing::Database) => {
                invalid(format!("there is no database {database} in {instance}: {init}"))
            }
            Some(Missing::Instance) => invalid(format!(
                "there is no instance {instance} in the project {project}: look for a typing \
                 error, or make it: `gcloud spanner instances create {instance} \
                 --project={project} --config=regional-REGION --description=locks \
                 --processing-units=100`"
            )),
            _ => BackendError::unknown(Trouble::Unavailable, said),
        }
    }
}

/// As gRPC writes it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A proxy or a load balancer answers in HTTP what gRPC would call "unimplemented". It is no word of
    /// Spanner's, and ends no waiter at once; a refusal of it is one.
    #[test]
    fn an_answer_that_is_no_grpc_is_none() {
        let place = Place::parse("acme/main/locks?endpoint=http://127.0.0.1:1").expect("a place");
        for (code, trouble) in [
            (Code::Unimplemented, Trouble::Unavailable),
            (Code::Unknown, Trouble::Unavailable),
            (Code::PermissionDenied, Trouble::Denied),
        ] {
            let said = "grpc-status header missing, mapped from HTTP status code 404";
            let error = Refusal::new(&Status::new(code, said), &place).error();
            assert_eq!((error.fate, error.trouble), (Fate::Unknown, trouble), "{error}");
        }
    }
}
