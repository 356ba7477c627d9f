//! What is asked: which method, with which message.

use googleapis_tonic_google_spanner_admin_database_v1::google::iam::v1::TestIamPermissionsRequest;
use googleapis_tonic_google_spanner_admin_database_v1::google::longrunning::GetOperationRequest;
use googleapis_tonic_google_spanner_admin_database_v1::google::spanner::admin::database::v1::{
    CreateDatabaseRequest, GetDatabaseDdlRequest, GetDatabaseRequest, UpdateDatabaseDdlRequest,
};
use googleapis_tonic_google_spanner_admin_instance_v1::google::spanner::admin::instance::v1::{
    CreateInstanceRequest, GetInstanceRequest,
};
use googleapis_tonic_google_spanner_v1::google::spanner::v1::{
    CommitRequest, CreateSessionRequest, DeleteSessionRequest, GetSessionRequest, ReadRequest,
};
use hyper::header::AUTHORIZATION;
use prost::Message;

use super::script::When;
use super::status::Status;

#[derive(Debug)]
pub(super) struct Request {
    pub(super) ask: Result<Ask, Status>,
    pub(super) method: String,
    pub(super) prefix: String,
    pub(super) is_authorized: bool,
}

#[derive(Debug)]
pub(super) enum Ask {
    CreateSession(CreateSessionRequest),
    GetSession(GetSessionRequest),
    DeleteSession(DeleteSessionRequest),
    Read(ReadRequest),
    Commit(CommitRequest),
    CreateDatabase(CreateDatabaseRequest),
    GetDatabase(GetDatabaseRequest),
    UpdateDdl(UpdateDatabaseDdlRequest),
    GetDdl(GetDatabaseDdlRequest),
    TestPermissions(TestIamPermissionsRequest),
    CreateInstance(CreateInstanceRequest),
    GetInstance(GetInstanceRequest),
    GetOperation(GetOperationRequest),
}

impl Request {
    /// Reads what came from the wire. What cannot be read is a request too, with a refusal as its answer.
    pub(super) fn read(head: &hyper::http::request::Parts, body: &[u8]) -> Request {
        let path = head.uri.path();
        let header = |name: &str| {
            let value = head.headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        Request {
            ask: Ask::read(path, body),
            method: path.rsplit('/').next().unwrap_or_default().to_owned(),
            prefix: header("google-cloud-resource-prefix"),
            is_authorized: head.headers.contains_key(AUTHORIZATION),
        }
    }

    pub(super) fn when(&self) -> When {
        match &self.ask {
            Err(_) => When::Any,
            Ok(Ask::CreateSession(_) | Ask::GetSession(_) | Ask::DeleteSession(_)) => When::Session,
            Ok(Ask::Read(_)) => When::Read,
            Ok(Ask::Commit(_)) => When::Commit,
            Ok(_) => When::Admin,
        }
    }

    /// The database, or what else it is about.
    pub(super) fn resource(&self) -> &str {
        let Ok(ask) = &self.ask else { return "" };
        let name = match ask {
            Ask::CreateSession(ask) => &ask.database,
            Ask::GetSession(ask) => &ask.name,
            Ask::DeleteSession(ask) => &ask.name,
            Ask::Read(ask) => &ask.session,
            Ask::Commit(ask) => &ask.session,
            Ask::CreateDatabase(ask) => &ask.parent,
            Ask::GetDatabase(ask) => &ask.name,
            Ask::UpdateDdl(ask) => &ask.database,
            Ask::GetDdl(ask) => &ask.database,
            Ask::TestPermissions(ask) => &ask.resource,
            Ask::CreateInstance(ask) => &ask.parent,
            Ask::GetInstance(ask) => &ask.name,
            Ask::GetOperation(ask) => &ask.name,
        };
        database_of(name)
    }
}

/// The database of a session; anything else is what it was.
pub(super) fn database_of(name: &str) -> &str {
    name.split_once("/sessions/").map_or(name, |(database, _)| database)
}

impl Ask {
    fn read(path: &str, body: &[u8]) -> Result<Ask, Status> {
        let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
        Ok(match (service, method) {
            ("google.spanner.v1.Spanner", "CreateSession") => Ask::CreateSession(message(body)?),
            ("google.spanner.v1.Spanner", "GetSession") => Ask::GetSession(message(body)?),
            ("google.spanner.v1.Spanner", "DeleteSession") => Ask::DeleteSession(message(body)?),
            ("google.spanner.v1.Spanner", "StreamingRead") => Ask::Read(message(body)?),
            ("google.spanner.v1.Spanner", "Commit") => Ask::Commit(message(body)?),
            ("google.longrunning.Operations", "GetOperation") => Ask::GetOperation(message(body)?),
            (DATABASES, "CreateDatabase") => Ask::CreateDatabase(message(body)?),
            (DATABASES, "GetDatabase") => Ask::GetDatabase(message(body)?),
            (DATABASES, "UpdateDatabaseDdl") => Ask::UpdateDdl(message(body)?),
            (DATABASES, "GetDatabaseDdl") => Ask::GetDdl(message(body)?),
            (DATABASES | INSTANCES, "TestIamPermissions") => Ask::TestPermissions(message(body)?),
            (INSTANCES, "CreateInstance") => Ask::CreateInstance(message(body)?),
            (INSTANCES, "GetInstance") => Ask::GetInstance(message(body)?),
            _ => return Err(Status::unimplemented(&format!("method {path}"))),
        })
    }
}

const DATABASES: &str = "google.spanner.admin.database.v1.DatabaseAdmin";
const INSTANCES: &str = "google.spanner.admin.instance.v1.InstanceAdmin";

/// The one message of a request: a byte that says that it is not compressed, its length, itself.
fn message<M: Message + Default>(body: &[u8]) -> Result<M, Status> {
    let unreadable = || Status::invalid("the request is not one message, uncompressed");
    let (&[0, a, b, c, d], message) = body.split_first_chunk::<5>().ok_or_else(unreadable)? else {
        return Err(unreadable());
    };
    if usize::try_from(u32::from_be_bytes([a, b, c, d])).ok() != Some(message.len()) {
        return Err(unreadable());
    }
    M::decode(message).map_err(|e| Status::invalid(format!("the request cannot be read: {e}")))
}
