//! `spanner://project/instance/database`: records as rows of a table in Google Cloud Spanner.
//!
//! A state of a record is one row with the primary key (name, version), and one commit is the whole
//! compare-and-swap: `update` the row of the old version, which fails if it is gone, delete it, and
//! insert the row of the new one. A name that was ever used has a second row, of version 0, for ever: a
//! create inserts it too, so a create that comes late fails on it. `docs/design/0006` has the reasons.
//!
//! The generated stubs of the gRPC API are used directly (`docs/design/0005`).
//!
//! `docs/backends/spanner.md` has the table of what each answer means.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use googleapis_tonic_google_spanner_v1::google::spanner::v1 as proto;
use leasehold_core::admin::Admin;
use leasehold_core::backend::{
    Backend, BackendError, BoxFuture, Expected, Facts, Key, MAX_RECORD_BYTES, Reading, Trouble,
    Version, Versioned, Written,
};
use prost_types::{ListValue, Timestamp};
use proto::spanner_client::SpannerClient;
use tonic::{Code, Status};

mod admin;
mod channel;
#[cfg(test)]
mod fuzz;
mod place;
mod rows;
mod session;
mod status;

use channel::Channel;
use place::Place;
use rows::{COLUMNS, MARKER, State, Values, micros};
use session::Sessions;
use status::{Missing, Refusal};

/// More names than this, and what is remembered of all of them is forgotten.
const REMEMBERED_MAX: usize = 1024;

/// Records in a table.
///
/// One session for all requests, made at the first, and one connection. Credentials are looked for at the
/// first request (Google's application default credentials). After a refusal they are looked for again.
/// Several clients may share one of these.
#[derive(Debug)]
pub struct SpannerBackend {
    place: Place,
    channel: Channel,
    sessions: Sessions,
    /// The names that were absent when they were read last. A create is conditioned on that absence, not
    /// on any: between two of them there was a record, and its tokens were higher.
    absent: Mutex<HashMap<Key, Absence>>,
}

/// How a name was absent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Absence {
    /// The row that stands where the last record was; none if the name was never used.
    row: Option<i64>,
    /// When, in microseconds by Spanner.
    at: u64,
}

/// What a name is.
enum Look {
    Absent(Absence),
    Stored(Versioned),
}

impl SpannerBackend {
    /// Takes what stands behind `spanner://` in a URL. Nothing is sent yet.
    ///
    /// [`Invalid`](Trouble::Invalid) where it cannot be understood; the error repeats no password.
    pub fn open(rest: &str) -> Result<SpannerBackend, BackendError> {
        let invalid = |why| BackendError::not_sent(Trouble::Invalid, why);
        let place = Place::parse(rest).map_err(invalid)?;
        let channel = Channel::new(&place).map_err(invalid)?;
        let (sessions, absent) = (Sessions::default(), Mutex::default());
        Ok(SpannerBackend { place, channel, sessions, absent })
    }

    fn absent(&self) -> MutexGuard<'_, HashMap<Key, Absence>> {
        self.absent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a failed call means, and what has to be forgotten for the next.
    fn refused(&self, status: &Status, session: &str) -> BackendError {
        let refusal = Refusal::new(status, &self.place);
        if refusal.missing() == Some(Missing::Session) {
            self.sessions.forget(session);
        }
        refusal.error()
    }

    /// One strong read: the newest rows of this moment, and which moment it is.
    async fn read_rows(
        &self,
        key_set: proto::KeySet,
        columns: &[&str],
        limit: i64,
    ) -> Result<Values, BackendError> {
        let session = self.session().await?;
        let read = proto::ReadRequest {
            session: session.clone(),
            transaction: Some(strong()),
            table: self.place.table.clone(),
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            key_set: Some(key_set),
            limit,
            ..proto::ReadRequest::default()
        };
        let database = self.place.database_path();
        let request = self.channel.request(read, &database, ("session", &session)).await?;
        let answer = self.channel.call(async |attempt, origin| {
            let mut client = SpannerClient::with_origin(attempt, origin);
            let mut parts = client.streaming_read(request).await?.into_inner();
            let mut values = Ok(Values::default());
            while let Some(part) = parts.message().await? {
                values = values.and_then(|mut values: Values| values.add(part).map(|()| values));
            }
            Ok(values)
        });
        let values = answer.await.map_err(|status| self.refused(&status, &session))?;
        values.map_err(|why| BackendError::unknown(Trouble::Unavailable, why))
    }

    async fn look(&self, key: &Key) -> Result<(Look, Timestamp), BackendError> {
        use proto::key_range::{EndKeyType, StartKeyType};
        let name = || rows::list([key.as_str()]);
        let range = proto::KeyRange {
            start_key_type: Some(StartKeyType::StartClosed(name())),
            end_key_type: Some(EndKeyType::EndClosed(name())),
        };
        let key_set = proto::KeySet { ranges: vec![range], ..proto::KeySet::default() };
        // There are two at the most; a third proves that something is wrong.
        let values = self.read_rows(key_set, &COLUMNS[1..], 3).await?;
        let unreadable = |why| BackendError::unknown(Trouble::Unavailable, why);
        let Some(read_at) = values.read_at.filter(rows::is_time) else {
            return Err(unreadable("the answer has no read timestamp".to_owned()));
        };
        let rows = values.rows().map_err(unreadable)?;
        let state = State::of(rows).map_err(|why| self.corrupt(key, &why))?;
        let mut absent = self.absent();
        absent.remove(key);
        let row = match state {
            State::Stored { version, record, written } => {
                let age = nanos(&read_at).saturating_sub(nanos(&written));
                let stored = Versioned {
                    bytes: record,
                    version: Version::new(version.to_string()),
                    age: Some(Duration::from_nanos(age)),
                    orphaned: false,
                };
                return Ok((Look::Stored(stored), read_at));
            }
            State::Deleted { row } => Some(row),
            State::Unused => None,
        };
        if absent.len() >= REMEMBERED_MAX {
            absent.clear();
        }
        let absence = Absence { row, at: micros(&read_at) };
        absent.insert(key.clone(), absence);
        Ok((Look::Absent(absence), read_at))
    }

    fn corrupt(&self, key: &Key, why: &str) -> BackendError {
        let table = &self.place.table;
        BackendError::unknown(
            Trouble::Corrupt,
            format!(
                "the rows of {key:?} in the table {table} are not as leasehold leaves them: {why}. \
                 Somebody else deletes or writes rows there, a row deletion policy perhaps. Stop \
                 that, see that nobody works under this lock, and `DELETE FROM {table} WHERE name \
                 = …` all of them"
            ),
        )
    }

    /// Applies the mutations, all or none; false if a row was missing, or there, against the condition.
    async fn commit(&self, mutations: Vec<proto::Mutation>) -> Result<bool, BackendError> {
        let session = self.session().await?;
        let commit = proto::CommitRequest {
            session: session.clone(),
            transaction: Some(once()),
            mutations,
            ..proto::CommitRequest::default()
        };
        let database = self.place.database_path();
        let request = self.channel.request(commit, &database, ("session", &session)).await?;
        let answer = self.channel.call(async |attempt, origin| {
            SpannerClient::with_origin(attempt, origin).commit(request).await
        });
        match answer.await {
            Ok(answer) if answer.get_ref().commit_timestamp.is_some() => Ok(true),
            Ok(_) => {
                let why = "the answer to the commit has no timestamp";
                Err(BackendError::unknown(Trouble::Unavailable, why))
            }
            Err(status) => match Refusal::new(&status, &self.place).missing() {
                Some(Missing::Row) => Ok(false),
                None if status.code() == Code::AlreadyExists => Ok(false),
                _ => Err(self.refused(&status, &session)),
            },
        }
    }

    async fn swap(
        &self,
        key: &Key,
        expected: &Expected,
        bytes: &[u8],
    ) -> Result<Written, BackendError> {
        if bytes.len() > MAX_RECORD_BYTES {
            let message = format!("a record of {} bytes is too long", bytes.len());
            return Err(BackendError::not_sent(Trouble::Invalid, message));
        }
        let Expected::Version(version) = expected else { return self.create(key, bytes).await };
        // A version that this backend did not make is not stored.
        let Some(old) = parse(version) else { return Ok(Written::Conflict(None)) };
        let new = old + 1;
        match self.commit(self.replacing(key, old, new, bytes)).await? {
            true => Ok(Written::Applied(Version::new(new.to_string()))),
            false => Ok(Written::Conflict(None)),
        }
    }

    /// Creates a record where there was none at the last look.
    async fn create(&self, key: &Key, bytes: &[u8]) -> Result<Written, BackendError> {
        let known = self.absent().get(key).copied();
        let absence = match known {
            Some(absence) => absence,
            None => match self.look(key).await.map_err(nothing_written)? {
                (Look::Absent(absence), _) => absence,
                (Look::Stored(record), _) => return Ok(Written::Conflict(Some(record))),
            },
        };
        // The first version is a time, so that none comes back even if somebody deletes all rows.
        let at = i64::try_from(absence.at).unwrap_or(i64::MAX / 2);
        let (mutations, version) = match absence.row {
            None => {
                let marker = rows::row(key.as_str(), MARKER, b"");
                let record = rows::row(key.as_str(), at, bytes);
                (vec![self.insert(vec![marker, record])], at)
            }
            Some(row) => {
                let version = at.max(row.saturating_neg().saturating_add(1));
                (self.replacing(key, row, version, bytes), version)
            }
        };
        if self.commit(mutations).await? {
            self.absent().remove(key);
            return Ok(Written::Applied(Version::new(version.to_string())));
        }
        match self.look(key).await? {
            (Look::Stored(record), _) => Ok(Written::Conflict(Some(record))),
            (Look::Absent(_), _) => Err(BackendError::unknown(
                Trouble::Unavailable,
                "a record was made and deleted since the last look",
            )),
        }
    }

    async fn remove(&self, key: &Key, version: &Version) -> Result<bool, BackendError> {
        let Some(old) = parse(version) else { return Ok(false) };
        self.absent().remove(key);
        // The number of the row that stays counts on, below zero: so no version comes back.
        self.commit(self.replacing(key, old, -(old + 1), b"")).await
    }

    async fn names(&self, prefix: &str) -> Result<Vec<Key>, BackendError> {
        let key_set = match prefix.is_empty() {
            true => proto::KeySet { all: true, ..proto::KeySet::default() },
            false => proto::KeySet { ranges: vec![starting_with(prefix)], ..Default::default() },
        };
        let values = self.read_rows(key_set, &COLUMNS[..2], 0).await?;
        let unreadable = |why| BackendError::unknown(Trouble::Unavailable, why);
        let mut keys = vec![];
        for [name, version] in values.rows().map_err(unreadable)? {
            let version = rows::number(version).map_err(unreadable)?;
            // An object or row with another name is no lock.
            if version > MARKER
                && let Ok(name) = Key::new(name.unwrap_or_default())
            {
                keys.push(name);
            }
        }
        keys.sort();
        keys.dedup();
        Ok(keys)
    }

    fn insert(&self, values: Vec<ListValue>) -> proto::Mutation {
        mutation(proto::mutation::Operation::Insert(self.write(&COLUMNS, values)))
    }

    /// The row `new` in place of the row `old`, which must be there. They are applied in this order.
    fn replacing(&self, key: &Key, old: i64, new: i64, record: &[u8]) -> Vec<proto::Mutation> {
        use proto::mutation::{Delete, Operation};
        let name = key.as_str();
        // An update of nothing would do; that of a column is sure to be one.
        let row = rows::list([name, &old.to_string(), ""]);
        let update = self.write(&COLUMNS[..3], vec![row]);
        let keys = vec![rows::key(name, old)];
        let key_set = Some(proto::KeySet { keys, ..proto::KeySet::default() });
        let delete = Delete { table: self.place.table.clone(), key_set };
        vec![
            mutation(Operation::Update(update)),
            mutation(Operation::Delete(delete)),
            self.insert(vec![rows::row(name, new, record)]),
        ]
    }

    fn write(&self, columns: &[&str], values: Vec<ListValue>) -> proto::mutation::Write {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        proto::mutation::Write { table: self.place.table.clone(), columns, values }
    }
}

fn mutation(operation: proto::mutation::Operation) -> proto::Mutation {
    proto::Mutation { operation: Some(operation) }
}

/// Reads the newest state, and says when that was.
fn strong() -> proto::TransactionSelector {
    use proto::transaction_options::{Mode, ReadOnly, read_only::TimestampBound};
    let timestamp_bound = Some(TimestampBound::Strong(true));
    let mode = Mode::ReadOnly(ReadOnly { return_read_timestamp: true, timestamp_bound });
    let options = proto::TransactionOptions { mode: Some(mode), ..Default::default() };
    let selector = proto::transaction_selector::Selector::SingleUse(options);
    proto::TransactionSelector { selector: Some(selector) }
}

/// A transaction that is this commit and nothing else.
fn once() -> proto::commit_request::Transaction {
    use proto::transaction_options::{Mode, ReadWrite};
    let mode = Mode::ReadWrite(ReadWrite::default());
    let options = proto::TransactionOptions { mode: Some(mode), ..Default::default() };
    proto::commit_request::Transaction::SingleUseTransaction(options)
}

/// The rows of all names that start with this; the last character of a name is far from the last of all.
fn starting_with(prefix: &str) -> proto::KeyRange {
    use proto::key_range::{EndKeyType, StartKeyType};
    let end = format!("{prefix}{}", char::MAX);
    proto::KeyRange {
        start_key_type: Some(StartKeyType::StartClosed(rows::list([prefix]))),
        end_key_type: Some(EndKeyType::EndClosed(rows::list([&end]))),
    }
}

/// The row of a version; none is stored with any other.
fn parse(version: &Version) -> Option<i64> {
    version.as_str().parse().ok().filter(|&row| row > MARKER && row < i64::MAX)
}

/// A request failed before the write that it was made for.
fn nothing_written(error: BackendError) -> BackendError {
    BackendError::not_sent(error.trouble, error.message)
}

/// The Unix time of a timestamp in nanoseconds; 0 before 1970.
fn nanos(time: &Timestamp) -> u64 {
    let seconds = u64::try_from(time.seconds).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.nanos).unwrap_or(0))
}

impl Backend for SpannerBackend {
    fn facts(&self) -> Facts {
        Facts {
            least_write_interval: Duration::ZERO,
            // The times of a read and of a commit are of one order, which is that of real time.
            clock_uncertainty: Duration::ZERO,
            least_poll: self.place.poll_interval,
            notifies: false,
        }
    }

    fn url(&self) -> String {
        self.place.url()
    }

    fn locate(&self, key: &Key) -> String {
        let (database, table) = (self.place.database_path(), &self.place.table);
        format!("{database}, table {table}, name {key:?}")
    }

    fn locate_state(&self, key: &Key, version: &Version) -> String {
        format!("{}, version {}", self.locate(key), version.as_str())
    }

    fn read<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Reading, BackendError>> {
        Box::pin(async move {
            let (look, read_at) = self.look(key).await?;
            let record = match look {
                Look::Stored(record) => Some(record),
                Look::Absent(_) => None,
            };
            Ok(Reading { record, unix_ms: Some(micros(&read_at) / 1_000) })
        })
    }

    fn write<'a>(
        &'a self,
        key: &'a Key,
        expected: &'a Expected,
        bytes: &'a [u8],
    ) -> BoxFuture<'a, Result<Written, BackendError>> {
        Box::pin(self.swap(key, expected, bytes))
    }

    fn delete<'a>(
        &'a self,
        key: &'a Key,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(self.remove(key, version))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Key>, BackendError>> {
        Box::pin(self.names(prefix))
    }

    fn admin(&self) -> Option<&dyn Admin> {
        Some(self)
    }
}
