//! The rows of an answer: put together from its parts, and what they say of a name.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use googleapis_tonic_google_spanner_v1::google::spanner::v1::{PartialResultSet, Transaction};
use leasehold_core::backend::MAX_RECORD_BYTES;
use prost_types::value::Kind;
use prost_types::{ListValue, Timestamp, Value};

/// All values of an answer, one after the other, and the time of the answer.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// As text: each type of ours is text on the wire. `None` is NULL.
    all: Vec<Option<String>>,
    /// The last value goes on in the next part.
    is_open: bool,
    pub(super) read_at: Option<Timestamp>,
}

impl Values {
    /// Takes in the next part.
    pub(super) fn add(&mut self, part: PartialResultSet) -> Result<(), String> {
        if let Some(Transaction { read_timestamp: Some(time), .. }) =
            part.metadata.and_then(|metadata| metadata.transaction)
        {
            self.read_at = Some(time);
        }
        let mut goes_on = std::mem::take(&mut self.is_open);
        for value in part.values {
            let value = match value.kind {
                Some(Kind::StringValue(text)) => Some(text),
                Some(Kind::NullValue(_)) => None,
                other => return Err(format!("a value is neither text nor NULL: {other:?}")),
            };
            match (self.all.last_mut(), value) {
                (Some(Some(last)), Some(more)) if goes_on => last.push_str(&more),
                (_, value) => self.all.push(value),
            }
            goes_on = false;
        }
        self.is_open = part.chunked_value;
        Ok(())
    }

    /// The values, row by row.
    pub(super) fn rows<const N: usize>(self) -> Result<Vec<[Option<String>; N]>, String> {
        if self.is_open || !self.all.len().is_multiple_of(N) {
            return Err("the answer ends in the middle of a row".into());
        }
        let mut values = self.all.into_iter();
        let mut rows = vec![];
        while values.len() > 0 {
            rows.push(std::array::from_fn(|_| values.next().flatten()));
        }
        Ok(rows)
    }
}

/// The number of the row that says that a name was used. It stays for ever.
pub(super) const MARKER: i64 = 0;

/// The columns of a row, in the order in which they are read.
pub(super) const COLUMNS: [&str; 4] = ["name", "version", "record", "written"];

/// A name's state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// It was never used.
    Unused,
    /// Its record was deleted: this row stands where it was.
    Deleted {
        row: i64,
    },
    Stored {
        version: i64,
        record: Vec<u8>,
        written: Timestamp,
    },
}

impl State {
    /// What the rows of one name say, or why they cannot be ours. They are of one moment: there is no
    /// state in between that a reader could catch.
    pub(super) fn of(rows: Vec<[Option<String>; 3]>) -> Result<State, String> {
        let (mut has_marker, mut found) = (false, vec![]);
        for [version, record, written] in rows {
            let version = number(version)?;
            match version {
                MARKER => has_marker = true,
                _ => found.push((version, record, written)),
            }
        }
        let count = found.len();
        let one = (found.pop(), count);
        match (has_marker, one) {
            (false, (None, _)) => Ok(State::Unused),
            (true, (Some((row, ..)), 1)) if row < MARKER => Ok(State::Deleted { row }),
            (true, (Some((version, record, written)), 1)) => {
                let record = STANDARD.decode(record.unwrap_or_default());
                let mut record = record.map_err(|e| format!("the record cannot be read: {e}"))?;
                record.truncate(MAX_RECORD_BYTES + 1);
                let written = written.unwrap_or_default().parse::<Timestamp>();
                let written = written.map_err(|e| format!("\"written\" is no time: {e}"))?;
                if !is_time(&written) {
                    return Err("\"written\" is no time of Spanner's".into());
                }
                Ok(State::Stored { version, record, written })
            }
            (true, (None, _)) => Err("only the row of version 0 is left".into()),
            (false, (Some(_), 1)) => Err("the row of version 0 is gone".into()),
            _ => Err(format!("{count} rows claim to be the newest")),
        }
    }
}

/// A number of a row.
pub(super) fn number(text: Option<String>) -> Result<i64, String> {
    let text = text.unwrap_or_default();
    text.parse().map_err(|_| format!("the version {text:?} is no number"))
}

/// A row as it is written: [`COLUMNS`], with the time of the commit.
pub(super) fn row(name: &str, version: i64, record: &[u8]) -> ListValue {
    let record = STANDARD.encode(record);
    list([name, &version.to_string(), &record, "spanner.commit_timestamp()"])
}

/// The key of a row.
pub(super) fn key(name: &str, version: i64) -> ListValue {
    list([name, &version.to_string()])
}

/// Values as text.
pub(super) fn list<const N: usize>(values: [&str; N]) -> ListValue {
    let value = |text: &str| Value { kind: Some(Kind::StringValue(text.into())) };
    ListValue { values: values.map(value).into() }
}

/// Whether a time is one that Spanner can tell: from 1970 to 9999.
pub(super) fn is_time(time: &Timestamp) -> bool {
    (0..=253_402_300_799).contains(&time.seconds) && (0..1_000_000_000).contains(&time.nanos)
}

/// The Unix time of a timestamp in microseconds; 0 before 1970.
pub(super) fn micros(time: &Timestamp) -> u64 {
    let seconds = u64::try_from(time.seconds).unwrap_or(0);
    seconds.saturating_mul(1_000_000).saturating_add(u64::try_from(time.nanos / 1_000).unwrap_or(0))
}
