//! What Spanner refuses, in its words.

use std::time::Duration;

use googleapis_tonic_google_spanner_v1::google::rpc;
use prost::Message;
use prost_types::Any;
use tonic::Code;

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Status {
    pub(super) code: Code,
    pub(super) message: String,
    details: Vec<Any>,
    retry_after: Option<Duration>,
}

/// What can be missing, and the type by which Google names it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Noun {
    Instance,
    Database,
    Session,
}

impl Noun {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Noun::Instance => ("Instance", "google.spanner.admin.instance.v1.Instance"),
            Noun::Database => ("Database", "google.spanner.admin.database.v1.Database"),
            Noun::Session => ("Session", "google.spanner.v1.Session"),
        }
    }
}

impl Status {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Status {
        Status { code, message: message.into(), details: vec![], retry_after: None }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Status {
        Status::new(Code::InvalidArgument, message)
    }

    /// For what Spanner can do and this fake cannot.
    pub(super) fn unimplemented(what: &str) -> Status {
        Status::new(Code::Unimplemented, format!("the fake of Cloud Spanner has no {what}"))
    }

    pub(super) fn failed(message: impl Into<String>) -> Status {
        Status::new(Code::FailedPrecondition, message)
    }

    pub(super) fn not_found(noun: Noun, name: &str) -> Status {
        let (word, kind) = noun.words();
        let info = rpc::ResourceInfo {
            resource_type: format!("type.googleapis.com/{kind}"),
            resource_name: name.to_owned(),
            owner: String::new(),
            description: format!("{word} does not exist."),
        };
        let mut status = Status::new(Code::NotFound, format!("{word} not found: {name}"));
        status.details.push(detail("ResourceInfo", &info));
        status
    }

    pub(super) fn exists(noun: Noun, name: &str) -> Status {
        Status::new(Code::AlreadyExists, format!("{} already exists: {name}", noun.words().0))
    }

    pub(super) fn no_table(table: &str) -> Status {
        Status::new(Code::NotFound, format!("Table not found: {table}"))
    }

    /// With the time to wait, as Spanner tells it twice.
    pub(super) fn with_retry_after(mut self, after: Option<Duration>) -> Status {
        self.retry_after = after;
        self
    }

    fn retry_info(&self) -> Option<rpc::RetryInfo> {
        let delay = prost_types::Duration::try_from(self.retry_after?).ok();
        Some(rpc::RetryInfo { retry_delay: delay })
    }

    /// The trailers that say it: name and value, those that end in `-bin` not yet in base64.
    pub(super) fn details(&self) -> Vec<(&'static str, Vec<u8>)> {
        let (mut details, mut trailers) = (self.details.clone(), vec![]);
        if let Some(info) = self.retry_info() {
            details.push(detail("RetryInfo", &info));
            trailers.push(("google.rpc.retryinfo-bin", info.encode_to_vec()));
        }
        if !details.is_empty() {
            let (code, message) = (self.code.into(), self.message.clone());
            let whole = rpc::Status { code, message, details }.encode_to_vec();
            trailers.push(("grpc-status-details-bin", whole));
        }
        trailers
    }

    /// What a long operation that came to this says of itself.
    pub(super) fn to_rpc(&self) -> rpc::Status {
        let (code, message) = (self.code.into(), self.message.clone());
        rpc::Status { code, message, details: self.details.clone() }
    }
}

fn detail(name: &str, message: &impl Message) -> Any {
    Any {
        type_url: format!("type.googleapis.com/google.rpc.{name}"),
        value: message.encode_to_vec(),
    }
}
