//! Values: what a column takes, how Spanner writes it on the wire, and how keys are ordered.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use googleapis_tonic_google_spanner_v1::google::spanner::v1::TypeCode;
use prost_types::value::Kind;
use prost_types::{ListValue, Timestamp, Value};

use super::ddl::Column;
use super::status::Status;

/// What stands for the time of the commit.
const COMMIT_TIMESTAMP: &str = "spanner.commit_timestamp()";

/// The type of a column; of those with a length, its greatest, in characters or bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Type {
    Bool,
    Int64,
    Timestamp,
    String(usize),
    Bytes(usize),
}

/// A value. The order is Spanner's: NULL first, text and bytes by their bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cell {
    Null,
    Bool(bool),
    Int64(i64),
    /// Seconds and nanoseconds.
    Timestamp(i64, i32),
    String(String),
    Bytes(Vec<u8>),
}

impl Type {
    pub(super) fn code(self) -> TypeCode {
        match self {
            Type::Bool => TypeCode::Bool,
            Type::Int64 => TypeCode::Int64,
            Type::Timestamp => TypeCode::Timestamp,
            Type::String(_) => TypeCode::String,
            Type::Bytes(_) => TypeCode::Bytes,
        }
    }

    fn unreadable(self, value: &Value) -> Status {
        let kind = match self {
            Type::Int64 => "an integer",
            Type::Timestamp => "a TIMESTAMP",
            other => other.code().as_str_name(),
        };
        let value = match &value.kind {
            Some(Kind::StringValue(text)) => text.clone(),
            other => format!("{other:?}"),
        };
        Status::failed(format!("Could not parse {value} as {kind}"))
    }

    /// Reads a value of this type, strictly as it is documented: numbers and times are text.
    fn read(self, value: &Value) -> Option<Cell> {
        match (self, value.kind.as_ref()?) {
            (_, Kind::NullValue(_)) => Some(Cell::Null),
            (Type::Bool, Kind::BoolValue(is)) => Some(Cell::Bool(*is)),
            (Type::Int64, Kind::StringValue(text)) => text.parse().ok().map(Cell::Int64),
            (Type::Timestamp, Kind::StringValue(text)) if text.ends_with('Z') => {
                let time: Timestamp = text.parse().ok()?;
                Some(Cell::Timestamp(time.seconds, time.nanos))
            }
            (Type::String(_), Kind::StringValue(text)) => Some(Cell::String(text.clone())),
            (Type::Bytes(_), Kind::StringValue(text)) => {
                STANDARD.decode(text).ok().map(Cell::Bytes)
            }
            _ => None,
        }
    }
}

impl Cell {
    /// Reads what is to be written into a column of this table by a commit at `now`.
    pub(super) fn to_write(
        value: &Value,
        table: &str,
        column: &Column,
        now: &Timestamp,
    ) -> Result<Cell, Status> {
        let name = &column.name;
        if matches!(&value.kind, Some(Kind::StringValue(text)) if text == COMMIT_TIMESTAMP)
            && column.kind == Type::Timestamp
        {
            return match column.allows_commit_timestamp {
                true => Ok(Cell::Timestamp(now.seconds, now.nanos)),
                false => Err(Status::failed(format!(
                    "Cannot write commit timestamp because the allow_commit_timestamp column \
                     option is not set to true for column {table}.{name}."
                ))),
            };
        }
        let cell = column.kind.read(value).ok_or_else(|| column.kind.unreadable(value))?;
        let (size, longest) = match (&cell, column.kind) {
            (Cell::Null, _) if column.is_not_null => {
                return Err(Status::failed(format!("{name} must not be NULL in table {table}.")));
            }
            (Cell::Timestamp(seconds, nanos), _)
                if column.allows_commit_timestamp
                    && (*seconds, *nanos) > (now.seconds, now.nanos) =>
            {
                return Err(Status::failed("Cannot write timestamps in the future."));
            }
            (Cell::String(text), Type::String(longest)) => (text.chars().count(), longest),
            (Cell::Bytes(bytes), Type::Bytes(longest)) => (bytes.len(), longest),
            _ => return Ok(cell),
        };
        match size <= longest {
            true => Ok(cell),
            false => Err(Status::failed(format!(
                "New value exceeds the maximum size limit for this column: {table}.{name}, \
                 size: {size}, limit: {longest}."
            ))),
        }
    }

    /// Reads the first parts of a key, or all of it.
    pub(super) fn key(list: &ListValue, columns: &[&Column]) -> Result<Vec<Cell>, Status> {
        let parts = list.values.iter().zip(columns).map(|(value, column)| {
            column.kind.read(value).ok_or_else(|| column.kind.unreadable(value))
        });
        parts.collect()
    }

    pub(super) fn to_value(&self) -> Value {
        let text = |text: String| Kind::StringValue(text);
        let kind = match self {
            Cell::Null => Kind::NullValue(0),
            Cell::Bool(is) => Kind::BoolValue(*is),
            Cell::Int64(number) => text(number.to_string()),
            &Cell::Timestamp(seconds, nanos) => text(Timestamp { seconds, nanos }.to_string()),
            Cell::String(string) => text(string.clone()),
            Cell::Bytes(bytes) => text(STANDARD.encode(bytes)),
        };
        Value { kind: Some(kind) }
    }

    /// As it stands in an error.
    fn shown(&self) -> String {
        match self.to_value().kind {
            Some(Kind::StringValue(text)) => text,
            Some(Kind::BoolValue(is)) => is.to_string(),
            _ => "NULL".into(),
        }
    }
}

/// A key as it stands in an error: `[a,1]`.
pub(super) fn shown(key: &[Cell]) -> String {
    let parts: Vec<String> = key.iter().map(Cell::shown).collect();
    format!("[{}]", parts.join(","))
}
