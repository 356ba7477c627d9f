//! The rows of a table, and what a mutation does to them.

use std::collections::{BTreeMap, BTreeSet};

use googleapis_tonic_google_spanner_v1::google::spanner::v1::key_range::{
    EndKeyType, StartKeyType,
};
use googleapis_tonic_google_spanner_v1::google::spanner::v1::mutation::Write;
use googleapis_tonic_google_spanner_v1::google::spanner::v1::struct_type::Field;
use googleapis_tonic_google_spanner_v1::google::spanner::v1::{
    KeyRange, KeySet, StructType, Type as WireType,
};
use prost_types::{ListValue, Timestamp, Value};
use tonic::Code;

use super::ddl::{Column, Definition};
use super::status::Status;
use super::value::{Cell, shown};

pub(super) type Key = Vec<Cell>;

/// A row's cells, in the order of the table's columns.
type Row = Vec<Cell>;

#[derive(Debug)]
pub(super) struct Table {
    definition: Definition,
    rows: BTreeMap<Key, Row>,
}

/// Which rows a write may meet, and what it does with them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Insert,
    Update,
    InsertOrUpdate,
    Replace,
}

/// A row as it was before it was changed.
pub(super) type Before = (Key, Option<Row>);

impl Table {
    pub(super) fn new(definition: Definition) -> Table {
        Table { definition, rows: BTreeMap::new() }
    }

    fn name(&self) -> &str {
        &self.definition.name
    }

    fn place(&self, name: &str) -> Result<usize, Status> {
        let is_meant = |column: &Column| column.name.eq_ignore_ascii_case(name);
        self.definition.columns.iter().position(is_meant).ok_or_else(|| {
            let message = format!("Column not found in table {}: {name}", self.name());
            Status::new(Code::NotFound, message)
        })
    }

    fn key_columns(&self) -> Vec<&Column> {
        self.definition.key.iter().map(|&place| &self.definition.columns[place]).collect()
    }

    /// The columns of an answer.
    pub(super) fn row_type(&self, columns: &[String]) -> Result<StructType, Status> {
        let field = |name: &String| {
            let code = self.definition.columns[self.place(name)?].kind.code().into();
            let kind = WireType { code, ..WireType::default() };
            Ok(Field { name: name.clone(), r#type: Some(kind) })
        };
        Ok(StructType { fields: columns.iter().map(field).collect::<Result<_, _>>()? })
    }

    /// The values of these rows and columns, in the order of the keys.
    pub(super) fn read(
        &self,
        columns: &[String],
        keys: &KeySet,
        limit: usize,
    ) -> Result<Vec<Value>, Status> {
        let places = columns.iter().map(|name| self.place(name));
        let places: Vec<usize> = places.collect::<Result<_, _>>()?;
        let rows = self.keys(keys)?.into_iter().take(limit).map(|key| &self.rows[&key]);
        Ok(rows.flat_map(|row| places.iter().map(|&place| row[place].to_value())).collect())
    }

    /// The keys of the rows that are there and meant.
    fn keys(&self, set: &KeySet) -> Result<BTreeSet<Key>, Status> {
        if set.all {
            return Ok(self.rows.keys().cloned().collect());
        }
        let mut found = BTreeSet::new();
        for key in &set.keys {
            let key = self.whole_key(key)?;
            found.extend(self.rows.contains_key(&key).then_some(key));
        }
        for range in &set.ranges {
            self.add_range(range, &mut found)?;
        }
        Ok(found)
    }

    fn whole_key(&self, list: &ListValue) -> Result<Key, Status> {
        let columns = self.key_columns();
        match list.values.len() == columns.len() {
            true => Cell::key(list, &columns),
            false => Err(self.wrong_key(list)),
        }
    }

    fn wrong_key(&self, list: &ListValue) -> Status {
        let (name, due, found) = (self.name(), self.definition.key.len(), list.values.len());
        Status::failed(format!(
            "Wrong number of key parts for {name}. Expected {due} key parts, found {found} key \
             parts."
        ))
    }

    fn bound(&self, list: &ListValue) -> Result<Key, Status> {
        let columns = self.key_columns();
        match list.values.len() <= columns.len() {
            true => Cell::key(list, &columns),
            false => Err(self.wrong_key(list)),
        }
    }

    /// A bound may be the first parts of a key: then it means all keys that start with them.
    fn add_range(&self, range: &KeyRange, found: &mut BTreeSet<Key>) -> Result<(), Status> {
        let both = || Status::invalid("KeyRange must have both a start and an end bound.");
        let (from, is_from_open) = match range.start_key_type.as_ref().ok_or_else(both)? {
            StartKeyType::StartClosed(key) => (self.bound(key)?, false),
            StartKeyType::StartOpen(key) => (self.bound(key)?, true),
        };
        let (to, is_to_open) = match range.end_key_type.as_ref().ok_or_else(both)? {
            EndKeyType::EndClosed(key) => (self.bound(key)?, false),
            EndKeyType::EndOpen(key) => (self.bound(key)?, true),
        };
        let starts_with = |key: &Key, part: &Key| key[..part.len()] == part[..];
        let rows = self.rows.range(from.clone()..).map(|(key, _)| key);
        let rows = rows.skip_while(|key| is_from_open && starts_with(key, &from));
        let rows = rows
            .take_while(|key| key[..to.len()] < to[..] || (!is_to_open && starts_with(key, &to)));
        found.extend(rows.cloned());
        Ok(())
    }

    /// Deletes rows, of which none need be there.
    pub(super) fn delete(&mut self, set: &KeySet) -> Result<Vec<Before>, Status> {
        let keys = self.keys(set)?;
        Ok(keys.into_iter().map(|key| self.put(key, None)).collect())
    }

    /// Writes rows. The first that cannot be written ends it: what was done before must be undone.
    pub(super) fn write(
        &mut self,
        kind: Kind,
        write: &Write,
        now: &Timestamp,
        done: &mut Vec<Before>,
    ) -> Result<(), Status> {
        let mut places = vec![];
        for name in &write.columns {
            let place = self.place(name)?;
            if places.contains(&place) {
                return Err(Status::invalid(format!("Multiple values for column {name}.")));
            }
            places.push(place);
        }
        for values in &write.values {
            if values.values.len() != places.len() {
                return Err(Status::invalid(format!(
                    "Mutation column and value size mismatch: Found: {} columns and {} values",
                    places.len(),
                    values.values.len()
                )));
            }
            let mut given = BTreeMap::new();
            for (value, &place) in values.values.iter().zip(&places) {
                let column = &self.definition.columns[place];
                given.insert(place, Cell::to_write(value, self.name(), column, now)?);
            }
            let (key, row) = self.changed(kind, &given)?;
            done.push(self.put(key, Some(row)));
        }
        Ok(())
    }

    /// The row that comes of these cells.
    fn changed(&self, kind: Kind, given: &BTreeMap<usize, Cell>) -> Result<(Key, Row), Status> {
        let table = self.name();
        let missing = |column: &Column| {
            let name = &column.name;
            Status::failed(format!(
                "A new row in table {table} does not specify a non-null value for NOT NULL \
                 column: {name}"
            ))
        };
        let part = |place: &usize| {
            given.get(place).cloned().ok_or_else(|| missing(&self.definition.columns[*place]))
        };
        let key: Key = self.definition.key.iter().map(part).collect::<Result<_, _>>()?;
        let present = self.rows.get(&key);
        let base = match (kind, present) {
            (Kind::Insert, Some(_)) => {
                let message = format!("Row {} in table {table} already exists", shown(&key));
                return Err(Status::new(Code::AlreadyExists, message));
            }
            (Kind::Update, None) => {
                let key = shown(&key);
                let message =
                    format!("Row {key} in table {table} is missing. Row cannot be updated.");
                return Err(Status::new(Code::NotFound, message));
            }
            (Kind::Insert | Kind::Replace, _) | (_, None) => None,
            (Kind::Update | Kind::InsertOrUpdate, Some(row)) => Some(row),
        };
        let columns = self.definition.columns.iter().enumerate().map(|(place, column)| {
            match (given.get(&place), base) {
                (Some(cell), _) => Ok(cell.clone()),
                (None, Some(row)) => Ok(row[place].clone()),
                (None, None) if column.is_not_null => Err(missing(column)),
                (None, None) => Ok(Cell::Null),
            }
        });
        let row = columns.collect::<Result<_, _>>()?;
        Ok((key, row))
    }

    /// Puts a row in its place, or nothing; returns what was there.
    pub(super) fn put(&mut self, key: Key, row: Option<Row>) -> Before {
        let before = match row {
            Some(row) => self.rows.insert(key.clone(), row),
            None => self.rows.remove(&key),
        };
        (key, before)
    }
}
