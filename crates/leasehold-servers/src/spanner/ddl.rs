//! The few statements that make a table for leasehold; anything else is refused.

use super::status::Status;
use super::value::Type;

/// What a statement asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Statement {
    CreateDatabase {
        id: String,
    },
    CreateTable {
        definition: Definition,
        if_not_exists: bool,
    },
    /// `policy` is the clause as it was written.
    AddRowDeletion {
        table: String,
        policy: String,
    },
    DropTable {
        table: String,
    },
}

/// A table as it was declared.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// The places of the key's columns among them, in the key's order.
    pub(super) key: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Type,
    pub(super) is_not_null: bool,
    pub(super) allows_commit_timestamp: bool,
}

impl Statement {
    pub(super) fn parse(text: &str) -> Result<Statement, Status> {
        let mut parser = Parser { left: tokens(text), text };
        let statement = parser.statement()?;
        // One `;` may end it.
        parser.accept(&[";"]);
        match parser.left.is_empty() {
            true => Ok(statement),
            false => Err(parser.unexpected()),
        }
    }
}

struct Parser<'a> {
    left: Vec<&'a str>,
    text: &'a str,
}

impl Parser<'_> {
    fn statement(&mut self) -> Result<Statement, Status> {
        if self.accept(&["CREATE", "DATABASE"]) {
            return Ok(Statement::CreateDatabase { id: self.name()? });
        }
        if self.accept(&["CREATE", "TABLE"]) {
            let if_not_exists = self.accept(&["IF", "NOT", "EXISTS"]);
            return Ok(Statement::CreateTable { definition: self.table()?, if_not_exists });
        }
        if self.accept(&["DROP", "TABLE"]) {
            return Ok(Statement::DropTable { table: self.name()? });
        }
        self.expect(&["ALTER", "TABLE"])?;
        let table = self.name()?;
        self.expect(&["ADD"])?;
        let before = self.left.clone();
        self.row_deletion()?;
        let policy = before[..before.len() - self.left.len()].join(" ");
        Ok(Statement::AddRowDeletion { table, policy })
    }

    fn table(&mut self) -> Result<Definition, Status> {
        let name = self.name()?;
        self.expect(&["("])?;
        let mut columns = vec![];
        while !self.accept(&[")"]) {
            columns.push(self.column()?);
            if !self.accept(&[","]) {
                self.expect(&[")"])?;
                break;
            }
        }
        self.expect(&["PRIMARY", "KEY", "("])?;
        let mut key = vec![];
        loop {
            let part = self.name()?;
            let place = columns.iter().position(|column: &Column| same(&column.name, &part));
            key.push(place.ok_or_else(|| {
                Status::invalid(format!("Table {name} references nonexistent key column {part}."))
            })?);
            self.accept(&["ASC"]);
            if !self.accept(&[","]) {
                break;
            }
        }
        self.expect(&[")"])?;
        if self.accept(&[","]) {
            self.row_deletion()?;
        }
        Ok(Definition { name, columns, key })
    }

    fn column(&mut self) -> Result<Column, Status> {
        let (name, kind) = (self.name()?, self.kind()?);
        let is_not_null = self.accept(&["NOT", "NULL"]);
        let mut allows_commit_timestamp = false;
        if self.accept(&["OPTIONS", "("]) {
            self.expect(&["allow_commit_timestamp", "="])?;
            allows_commit_timestamp = self.accept(&["true"]);
            if !allows_commit_timestamp {
                self.expect(&["null"])?;
            }
            self.expect(&[")"])?;
        }
        Ok(Column { name, kind, is_not_null, allows_commit_timestamp })
    }

    fn kind(&mut self) -> Result<Type, Status> {
        for (word, kind) in
            [("BOOL", Type::Bool), ("INT64", Type::Int64), ("TIMESTAMP", Type::Timestamp)]
        {
            if self.accept(&[word]) {
                return Ok(kind);
            }
        }
        let is_bytes = self.accept(&["BYTES"]);
        if !is_bytes {
            self.expect(&["STRING"])?;
        }
        self.expect(&["("])?;
        let longest = if is_bytes { 10 << 20 } else { 2_621_440 };
        let size = match self.accept(&["MAX"]) {
            true => longest,
            false => self.number()?,
        };
        self.expect(&[")"])?;
        match size {
            0 => Err(Status::invalid("a column's length is 1 at the least")),
            size if size > longest => Err(Status::invalid(format!("a column cannot have {size}"))),
            size if is_bytes => Ok(Type::Bytes(size)),
            size => Ok(Type::String(size)),
        }
    }

    /// `ROW DELETION POLICY (OLDER_THAN(column, INTERVAL n DAY))`; it is kept, and has no effect.
    fn row_deletion(&mut self) -> Result<(), Status> {
        self.expect(&["ROW", "DELETION", "POLICY", "(", "OLDER_THAN", "("])?;
        self.name()?;
        self.expect(&[",", "INTERVAL"])?;
        self.number()?;
        self.expect(&["DAY", ")", ")"])
    }

    fn number(&mut self) -> Result<usize, Status> {
        let number = self.left.first().and_then(|token| token.parse().ok());
        let number = number.ok_or_else(|| self.unexpected())?;
        self.left.remove(0);
        Ok(number)
    }

    fn name(&mut self) -> Result<String, Status> {
        let token = self.left.first().copied().unwrap_or_default();
        let name = token.trim_matches('`');
        if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return Err(self.unexpected());
        }
        self.left.remove(0);
        Ok(name.to_owned())
    }

    fn accept(&mut self, words: &[&str]) -> bool {
        let mut left = self.left.iter();
        let is_next = words.iter().all(|word| left.next().is_some_and(|token| same(token, word)));
        if is_next {
            self.left.drain(..words.len());
        }
        is_next
    }

    fn expect(&mut self, words: &[&str]) -> Result<(), Status> {
        match self.accept(words) {
            true => Ok(()),
            false => Err(self.unexpected()),
        }
    }

    fn unexpected(&self) -> Status {
        let found = self.left.first().map_or("the end".to_owned(), |token| format!("'{token}'"));
        let text = self.text;
        Status::invalid(format!(
            "Error parsing Spanner DDL statement: {text} : Syntax error, or more than this fake \
             knows, at {found}"
        ))
    }
}

/// Names and words count the same in small letters and in capitals.
fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// Words, names in backquotes, and single other characters; comments and blanks are left out.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = vec![];
    let mut left = text.trim_start();
    while let Some(first) = left.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let length = match first {
            '-' if left.starts_with("--") => left.find('\n').unwrap_or(left.len()),
            '`' => left[1..].find('`').map_or(left.len(), |end| end + 2),
            c if is_word(c) => left.find(|c| !is_word(c)).unwrap_or(left.len()),
            c => c.len_utf8(),
        };
        if !left.starts_with("--") {
            tokens.push(&left[..length]);
        }
        left = left[length..].trim_start();
    }
    tokens
}
