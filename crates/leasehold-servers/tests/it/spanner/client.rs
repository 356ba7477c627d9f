//! A small gRPC client that hides nothing: no retries, no pool, each failure as it came.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use googleapis_tonic_google_spanner_v1::google::rpc;
use googleapis_tonic_google_spanner_v1::google::spanner::v1::{
    CommitRequest, CommitResponse, CreateSessionRequest, KeyRange, KeySet, Mutation,
    PartialResultSet, ReadRequest, Session, TransactionOptions, TransactionSelector,
    commit_request, key_range, mutation, transaction_options, transaction_selector,
};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper::header::{CONTENT_TYPE, HeaderMap, TE};
use hyper_util::rt::{TokioExecutor, TokioIo};
use leasehold_servers::spanner::Code;
use prost::Message;
use prost_types::value::Kind;
use prost_types::{ListValue, Timestamp, Value};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

/// How long an answer may take before a test fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// What there is when patience ends.
pub(crate) const NO_ANSWER: &str = "no answer";

pub(crate) const SPANNER: &str = "google.spanner.v1.Spanner";

/// The table of these tests.
pub(crate) const TABLE: &str = "CREATE TABLE t (
  name STRING(10) NOT NULL,
  version INT64 NOT NULL,
  record BYTES(100),
  written TIMESTAMP OPTIONS (allow_commit_timestamp = true),
  plain TIMESTAMP,
  flag BOOL
) PRIMARY KEY (name, version)";

/// What came back: messages, or why not.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) details: Vec<prost_types::Any>,
    /// What the trailer of Google's says.
    pub(crate) retry_after: Option<Duration>,
}

pub(crate) type Answer<T> = Result<T, Refusal>;

/// One connection, and the runtime it lives on.
pub(crate) struct Connection {
    runtime: Runtime,
    sender: http2::SendRequest<Full<Bytes>>,
}

impl Connection {
    pub(crate) fn to(address: SocketAddr) -> Connection {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let sender = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.expect("the server listens");
            let (executor, io) = (TokioExecutor::new(), TokioIo::new(stream));
            let (sender, connection) =
                http2::handshake(executor, io).await.expect("it speaks HTTP/2");
            tokio::spawn(connection);
            sender
        });
        Connection { runtime, sender }
    }

    /// Sends a request and awaits its answer; the outer error is that there is none to the end.
    pub(crate) fn try_call<M: Message + Default>(
        &mut self,
        service: &str,
        method: &str,
        message: &impl Message,
    ) -> Result<Answer<Vec<M>>, String> {
        let sent = self.sender.send_request(request(service, method, message));
        let answered = async {
            let (head, body) = sent.await.map_err(|e| e.to_string())?.into_parts();
            let body = body.collect().await.map_err(|e| e.to_string())?;
            let trailers = body.trailers().cloned();
            let body = body.to_bytes();
            // An answer without a message may have its trailers at its head.
            let trailers = trailers.unwrap_or(head.headers);
            Ok(match refusal(&trailers)? {
                Some(refusal) => Err(refusal),
                None => Ok(messages(&body)),
            })
        };
        self.runtime.block_on(within(PATIENCE, answered))
    }

    /// The same for a call that has to be answered.
    pub(crate) fn call<M: Message + Default>(
        &mut self,
        service: &str,
        method: &str,
        message: &impl Message,
    ) -> Answer<Vec<M>> {
        let answer = self.try_call(service, method, message);
        answer.unwrap_or_else(|why| panic!("{method}: {why}"))
    }

    /// The same for an answer of one message.
    pub(crate) fn one<M: Message + Default>(
        &mut self,
        service: &str,
        method: &str,
        message: &impl Message,
    ) -> Answer<M> {
        let mut messages = self.call(service, method, message)?;
        assert_eq!(messages.len(), 1, "{method}");
        Ok(messages.remove(0))
    }
}

#[expect(clippy::disallowed_methods, reason = "a server that falls silent must not stop the tests")]
async fn within<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    tokio::time::timeout(patience, answer).await.unwrap_or_else(|_| Err(NO_ANSWER.into()))
}

fn request(service: &str, method: &str, message: &impl Message) -> Request<Full<Bytes>> {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).expect("it is small");
    let body = [&[0][..], &length.to_be_bytes(), &message].concat();
    Request::post(format!("http://localhost/{service}/{method}"))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .body(Full::new(Bytes::from(body)))
        .expect("a request")
}

fn refusal(trailers: &HeaderMap) -> Result<Option<Refusal>, String> {
    let text = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok());
    let code = text("grpc-status").ok_or("the answer broke off")?;
    let code = Code::from_i32(code.parse().expect("a code is a number"));
    if code == Code::Ok {
        return Ok(None);
    }
    let bin = |name: &str| {
        let text = text(name).unwrap_or_default().trim_end_matches('=');
        STANDARD_NO_PAD.decode(text).expect("base64")
    };
    let details = rpc::Status::decode(bin("grpc-status-details-bin").as_slice()).expect("details");
    let retry = rpc::RetryInfo::decode(bin("google.rpc.retryinfo-bin").as_slice()).expect("time");
    let retry_after = retry.retry_delay.map(|delay| delay.try_into().expect("not negative"));
    let message = unescaped(text("grpc-message").unwrap_or_default());
    Ok(Some(Refusal { code, message, details: details.details, retry_after }))
}

fn unescaped(text: &str) -> String {
    let (mut bytes, mut left) = (vec![], text.as_bytes());
    while let Some((&first, rest)) = left.split_first() {
        let escaped = rest.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let escaped = escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let escaped = escaped.filter(|_| first == b'%');
        left = if escaped.is_some() { &rest[2..] } else { rest };
        bytes.push(escaped.unwrap_or(first));
    }
    String::from_utf8(bytes).expect("UTF-8")
}

fn messages<M: Message + Default>(mut body: &[u8]) -> Vec<M> {
    let mut messages = vec![];
    while let Some((&[flag, a, b, c, d], rest)) = body.split_first_chunk::<5>() {
        assert_eq!(flag, 0, "it is not compressed");
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        messages.push(M::decode(&rest[..length]).expect("a message"));
        body = &rest[length..];
    }
    messages
}

/// A connection with a session in a database.
pub(crate) struct Client {
    pub(crate) connection: Connection,
    pub(crate) session: String,
}

impl Client {
    pub(crate) fn of(address: SocketAddr, database: &str) -> Client {
        let mut connection = Connection::to(address);
        let session = Some(Session { multiplexed: true, ..Session::default() });
        let request = CreateSessionRequest { database: database.to_owned(), session };
        let session = connection.one::<Session>(SPANNER, "CreateSession", &request);
        Client { connection, session: session.expect("a session").name }
    }

    pub(crate) fn try_commit(
        &mut self,
        mutations: Vec<Mutation>,
    ) -> Result<Answer<Vec<CommitResponse>>, String> {
        let mode = transaction_options::ReadWrite::default();
        let options = TransactionOptions {
            mode: Some(transaction_options::Mode::ReadWrite(mode)),
            ..TransactionOptions::default()
        };
        let request = CommitRequest {
            session: self.session.clone(),
            mutations,
            transaction: Some(commit_request::Transaction::SingleUseTransaction(options)),
            ..CommitRequest::default()
        };
        self.connection.try_call(SPANNER, "Commit", &request)
    }

    /// The time of the commit.
    pub(crate) fn commit(&mut self, mutations: Vec<Mutation>) -> Answer<Timestamp> {
        let answer = self.try_commit(mutations).unwrap_or_else(|why| panic!("Commit: {why}"))?;
        Ok(answer[0].commit_timestamp.expect("a commit has a time"))
    }

    /// The rows, and the time of the read.
    pub(crate) fn read(
        &mut self,
        table: &str,
        columns: &[&str],
        keys: KeySet,
    ) -> Answer<(Vec<String>, Timestamp)> {
        let only = transaction_options::ReadOnly {
            return_read_timestamp: true,
            timestamp_bound: Some(transaction_options::read_only::TimestampBound::Strong(true)),
        };
        let options = TransactionOptions {
            mode: Some(transaction_options::Mode::ReadOnly(only)),
            ..TransactionOptions::default()
        };
        let selector = transaction_selector::Selector::SingleUse(options);
        let request = ReadRequest {
            session: self.session.clone(),
            transaction: Some(TransactionSelector { selector: Some(selector) }),
            table: table.to_owned(),
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            key_set: Some(keys),
            ..ReadRequest::default()
        };
        let parts = self.connection.call(SPANNER, "StreamingRead", &request)?;
        Ok(rows(parts, columns.len()))
    }

    /// The names and versions of all rows.
    pub(crate) fn all(&mut self) -> Vec<String> {
        let all = KeySet { all: true, ..KeySet::default() };
        self.read("t", &["name", "version"], all).expect("they can be read").0
    }
}

/// Each row in words, `a 1 ..`.
fn rows(parts: Vec<PartialResultSet>, width: usize) -> (Vec<String>, Timestamp) {
    let head = parts[0].metadata.clone().expect("the first part says what comes");
    assert_eq!(head.row_type.expect("columns").fields.len(), width);
    let time = head.transaction.and_then(|transaction| transaction.read_timestamp);
    let (mut values, mut is_open) = (Vec::<String>::new(), false);
    for part in parts {
        for value in part.values {
            let text = match value.kind {
                Some(Kind::StringValue(text)) => text,
                Some(Kind::BoolValue(is)) => is.to_string(),
                Some(Kind::NullValue(_)) => "NULL".to_owned(),
                other => panic!("{other:?}"),
            };
            match values.last_mut().filter(|_| is_open) {
                Some(last) => last.push_str(&text),
                None => values.push(text),
            }
            is_open = false;
        }
        is_open = part.chunked_value;
    }
    let rows = values.chunks(width).map(|row| row.join(" ")).collect();
    (rows, time.expect("a read has a time"))
}

pub(crate) fn text(text: &str) -> Value {
    Value { kind: Some(Kind::StringValue(text.to_owned())) }
}

pub(crate) fn list(values: &[&str]) -> ListValue {
    ListValue { values: values.iter().map(|value| text(value)).collect() }
}

/// A write of one row: `columns` of these values, each as text.
pub(crate) fn write(columns: &[&str], values: &[&str]) -> mutation::Write {
    mutation::Write {
        table: "t".into(),
        columns: columns.iter().map(|&column| column.to_owned()).collect(),
        values: vec![list(values)],
    }
}

pub(crate) fn does(operation: mutation::Operation) -> Mutation {
    Mutation { operation: Some(operation) }
}

/// Inserts a row of which only the key is told.
pub(crate) fn insert(name: &str, version: i64) -> Mutation {
    let write = write(&["name", "version"], &[name, &version.to_string()]);
    does(mutation::Operation::Insert(write))
}

pub(crate) fn update(name: &str, version: i64) -> Mutation {
    let write = write(&["name", "version"], &[name, &version.to_string()]);
    does(mutation::Operation::Update(write))
}

pub(crate) fn delete(keys: KeySet) -> Mutation {
    let delete = mutation::Delete { table: "t".into(), key_set: Some(keys) };
    does(mutation::Operation::Delete(delete))
}

pub(crate) fn key(name: &str, version: i64) -> KeySet {
    KeySet { keys: vec![list(&[name, &version.to_string()])], ..KeySet::default() }
}

/// A range; a bound that starts with `(` is open, and the parts of a key are apart by blanks.
pub(crate) fn range(from: &str, to: &str) -> KeySet {
    let parts = |bound: &str| list(&bound.trim_start_matches('(').split(' ').collect::<Vec<_>>());
    let start = match from.starts_with('(') {
        true => key_range::StartKeyType::StartOpen(parts(from)),
        false => key_range::StartKeyType::StartClosed(parts(from)),
    };
    let end = match to.starts_with('(') {
        true => key_range::EndKeyType::EndOpen(parts(to)),
        false => key_range::EndKeyType::EndClosed(parts(to)),
    };
    let range = KeyRange { start_key_type: Some(start), end_key_type: Some(end) };
    KeySet { ranges: vec![range], ..KeySet::default() }
}
