//! The databases and what is in them. Each request is checked and done in one step, so the store is
//! linearizable, and its commits have strictly rising times.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use googleapis_tonic_google_spanner_v1::google::spanner::v1::commit_request::Transaction as In;
use googleapis_tonic_google_spanner_v1::google::spanner::v1::mutation::Operation;
use googleapis_tonic_google_spanner_v1::google::spanner::v1::transaction_options::{
    Mode, read_only::TimestampBound,
};
use googleapis_tonic_google_spanner_v1::google::spanner::v1::transaction_selector::Selector;
use googleapis_tonic_google_spanner_v1::google::spanner::v1::{
    CommitRequest, CommitResponse, CreateSessionRequest, Mutation, PartialResultSet, ReadRequest,
    ResultSetMetadata, Session, Transaction,
};
use prost::Message;
use prost_types::value::Kind as Value;
use prost_types::{Timestamp, Value as WireValue};

use super::admin::Pending;
use super::request::{Ask, Request, database_of};
use super::status::{Noun, Status};
use super::table::{Before, Kind, Table};
use crate::clock;

#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) instances: BTreeSet<String>,
    pub(super) databases: BTreeMap<String, Database>,
    pub(super) operations: BTreeMap<String, Pending>,
    sessions: BTreeMap<String, Session>,
    /// The time of the last commit, in microseconds since the start of 1970.
    last_commit: u64,
    /// Counts what gets a name.
    count: u64,
    /// How far its clock is ahead of the host's.
    pub(super) ahead: Duration,
    /// The rights that callers have; `None`: all that they ask for.
    pub(super) rights: Option<Vec<String>>,
}

#[derive(Debug, Default)]
pub(super) struct Database {
    /// By their names in small letters.
    pub(super) tables: BTreeMap<String, Table>,
    /// What made them.
    pub(super) statements: Vec<String>,
}

/// The messages of an answer, as they go over the wire.
pub(super) type Messages = Vec<Vec<u8>>;

impl Store {
    pub(super) fn carry_out(&mut self, request: &Request) -> Result<Messages, Status> {
        match request.ask.as_ref().map_err(Clone::clone)? {
            Ask::CreateSession(ask) => self.create_session(ask).map(|answer| one(&answer)),
            Ask::GetSession(ask) => self.session(&ask.name).map(one),
            Ask::DeleteSession(ask) => self.delete_session(&ask.name).map(|answer| one(&answer)),
            Ask::Read(ask) => self.read(ask),
            Ask::Commit(ask) => self.commit(ask).map(|answer| one(&answer)),
            Ask::CreateDatabase(ask) => self.create_database(ask).map(|answer| one(&answer)),
            Ask::GetDatabase(ask) => self.get_database(&ask.name).map(|answer| one(&answer)),
            Ask::UpdateDdl(ask) => self.update_ddl(ask).map(|answer| one(&answer)),
            Ask::GetDdl(ask) => self.get_ddl(&ask.database).map(|answer| one(&answer)),
            Ask::TestPermissions(ask) => self.test_permissions(ask).map(|answer| one(&answer)),
            Ask::CreateInstance(ask) => self.create_instance(ask).map(|answer| one(&answer)),
            Ask::GetInstance(ask) => self.get_instance(&ask.name).map(|answer| one(&answer)),
            Ask::GetOperation(ask) => self.get_operation(&ask.name).map(|answer| one(&answer)),
        }
    }

    pub(super) fn database(&self, name: &str) -> Result<&Database, Status> {
        let instance = name.split_once("/databases/").map_or(name, |(instance, _)| instance);
        if !self.instances.contains(instance) {
            return Err(Status::not_found(Noun::Instance, instance));
        }
        self.databases.get(name).ok_or_else(|| Status::not_found(Noun::Database, name))
    }

    /// The database role by which a request is judged.
    pub(super) fn role(&self, request: &Request) -> String {
        let name = match &request.ask {
            Ok(Ask::CreateSession(ask)) => {
                return ask.session.clone().unwrap_or_default().creator_role;
            }
            Ok(Ask::Read(ask)) => &ask.session,
            Ok(Ask::Commit(ask)) => &ask.session,
            _ => return String::new(),
        };
        self.sessions.get(name).map(|session| session.creator_role.clone()).unwrap_or_default()
    }

    /// Forgets all sessions, as Spanner does in time.
    pub(super) fn drop_sessions(&mut self) {
        self.sessions.clear();
    }

    fn create_session(&mut self, ask: &CreateSessionRequest) -> Result<Session, Status> {
        self.database(&ask.database)?;
        let name = format!("{}/sessions/{}", ask.database, self.next());
        let now = timestamp(self.now());
        let session = Session {
            name: name.clone(),
            create_time: Some(now),
            approximate_last_use_time: Some(now),
            ..ask.session.clone().unwrap_or_default()
        };
        self.sessions.insert(name, session.clone());
        Ok(session)
    }

    fn session(&self, name: &str) -> Result<&Session, Status> {
        self.sessions.get(name).ok_or_else(|| Status::not_found(Noun::Session, name))
    }

    fn delete_session(&mut self, name: &str) -> Result<(), Status> {
        if self.session(name)?.multiplexed {
            return Err(Status::invalid("Cannot delete multiplexed session."));
        }
        self.sessions.remove(name);
        Ok(())
    }

    fn read(&self, ask: &ReadRequest) -> Result<Messages, Status> {
        let returns_time = is_strong(ask)?;
        let database = self.database(database_of(&self.session(&ask.session)?.name))?;
        if !ask.index.is_empty() || !ask.resume_token.is_empty() {
            return Err(Status::unimplemented("indexes and resumed reads"));
        }
        let table = database.tables.get(&ask.table.to_ascii_lowercase());
        let table = table.ok_or_else(|| Status::no_table(&ask.table))?;
        let keys = ask.key_set.as_ref().ok_or_else(|| Status::invalid("Missing key set."))?;
        let limit = match usize::try_from(ask.limit) {
            Ok(0) => usize::MAX,
            Ok(limit) => limit,
            Err(_) => return Err(Status::invalid("The limit must not be negative.")),
        };
        let metadata = ResultSetMetadata {
            row_type: Some(table.row_type(&ask.columns)?),
            // Whatever was committed is not younger than what reads it.
            transaction: returns_time.then(|| Transaction {
                read_timestamp: Some(timestamp(self.now().max(self.last_commit))),
                ..Transaction::default()
            }),
            ..ResultSetMetadata::default()
        };
        Ok(parts(metadata, table.read(&ask.columns, keys, limit)?))
    }

    fn commit(&mut self, ask: &CommitRequest) -> Result<CommitResponse, Status> {
        let name = database_of(&self.session(&ask.session)?.name).to_owned();
        self.database(&name)?;
        match &ask.transaction {
            Some(In::SingleUseTransaction(options)) => match options.mode {
                Some(Mode::ReadWrite(_)) => {}
                _ => return Err(Status::invalid("Only a read-write transaction can commit.")),
            },
            Some(In::TransactionId(_)) => {
                return Err(Status::unimplemented("transactions of more than one request"));
            }
            None => return Err(Status::invalid("Missing transaction.")),
        }
        let time = self.now().max(self.last_commit + 1);
        let database = self.databases.get_mut(&name).expect("it was there a moment ago");
        database.apply(&ask.mutations, &timestamp(time))?;
        self.last_commit = time;
        Ok(CommitResponse { commit_timestamp: Some(timestamp(time)), ..CommitResponse::default() })
    }

    /// The server's clock, in microseconds since the start of 1970.
    pub(super) fn now(&self) -> u64 {
        u64::try_from((clock::unix() + self.ahead).as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }
}

impl Database {
    /// Applies all mutations, in their order, or none.
    fn apply(&mut self, mutations: &[Mutation], now: &Timestamp) -> Result<(), Status> {
        let mut undo = vec![];
        let applied = mutations.iter().try_for_each(|mutation| {
            let operation = mutation.operation.as_ref();
            let operation = operation.ok_or_else(|| Status::invalid("An empty mutation."))?;
            self.apply_one(operation, now, &mut undo)
        });
        if applied.is_err() {
            for (table, (key, row)) in undo.into_iter().rev() {
                self.tables.get_mut(&table).expect("it was changed").put(key, row);
            }
        }
        applied
    }

    fn apply_one(
        &mut self,
        operation: &Operation,
        now: &Timestamp,
        undo: &mut Vec<(String, Before)>,
    ) -> Result<(), Status> {
        let mut done = vec![];
        let (name, outcome) = match operation {
            Operation::Insert(write)
            | Operation::Update(write)
            | Operation::InsertOrUpdate(write)
            | Operation::Replace(write) => {
                let kind = match operation {
                    Operation::Insert(_) => Kind::Insert,
                    Operation::Update(_) => Kind::Update,
                    Operation::Replace(_) => Kind::Replace,
                    _ => Kind::InsertOrUpdate,
                };
                let (name, table) = self.table(&write.table)?;
                (name, table.write(kind, write, now, &mut done))
            }
            Operation::Delete(delete) => {
                let (name, table) = self.table(&delete.table)?;
                let keys = delete.key_set.clone().unwrap_or_default();
                (name, table.delete(&keys).map(|before| done = before))
            }
            _ => return Err(Status::unimplemented("queues")),
        };
        undo.extend(done.into_iter().map(|before| (name.clone(), before)));
        outcome
    }

    fn table(&mut self, name: &str) -> Result<(String, &mut Table), Status> {
        let small = name.to_ascii_lowercase();
        match self.tables.get_mut(&small) {
            Some(table) => Ok((small, table)),
            None => Err(Status::no_table(name)),
        }
    }
}

/// Whether the time of the read is asked for, of a strong read in no other transaction.
fn is_strong(ask: &ReadRequest) -> Result<bool, Status> {
    let other = || Status::unimplemented("reads that are not strong and single-use");
    let Some(selector) = ask.transaction.as_ref().and_then(|it| it.selector.as_ref()) else {
        return Ok(false);
    };
    let Selector::SingleUse(options) = selector else { return Err(other()) };
    match &options.mode {
        None => Ok(false),
        Some(Mode::ReadOnly(only)) => match only.timestamp_bound {
            None | Some(TimestampBound::Strong(true)) => Ok(only.return_read_timestamp),
            _ => Err(other()),
        },
        Some(_) => Err(Status::invalid("Only a read-only transaction can be read from once.")),
    }
}

/// The values in two messages, as Spanner cuts long answers: in the middle of a text, if there is any.
fn parts(metadata: ResultSetMetadata, mut values: Vec<WireValue>) -> Messages {
    let mut first = PartialResultSet { metadata: Some(metadata), ..PartialResultSet::default() };
    if let Some(Value::StringValue(text)) = values.last_mut().and_then(|last| last.kind.as_mut()) {
        let half = (0..=text.len() / 2).rev().find(|&at| text.is_char_boundary(at));
        let rest = text.split_off(half.unwrap_or(0));
        first.chunked_value = true;
        let rest = WireValue { kind: Some(Value::StringValue(rest)) };
        let second = PartialResultSet { values: vec![rest], last: true, ..Default::default() };
        first.values = values;
        return vec![first.encode_to_vec(), second.encode_to_vec()];
    }
    (first.values, first.last) = (values, true);
    vec![first.encode_to_vec()]
}

fn one(message: &impl Message) -> Messages {
    vec![message.encode_to_vec()]
}

pub(super) fn timestamp(micros: u64) -> Timestamp {
    let seconds = i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX);
    Timestamp { seconds, nanos: i32::try_from(micros % 1_000_000 * 1_000).unwrap_or(0) }
}
