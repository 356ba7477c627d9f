//! What stands on the disk: the names of directories and files, and the first line of a state.

use std::fmt;
use std::fmt::Write as _;
use std::time::Duration;

use leasehold_core::backend::{Key, MAX_RECORD_BYTES, Version};
use xxhash_rust::xxh3::{xxh3_128, xxh3_128_with_seed};

use super::filesystem::HostId;

/// Directories that are being prepared for a new key.
pub(super) const NEW: &str = ".new-";

/// What is being swept away.
pub(super) const TRASH: &str = ".trash-";

/// Where the liveness files are.
pub(super) const ALIVE: &str = ".alive";

/// The file in a key's directory that holds the name, where the directory's own cannot.
pub(super) const NAME: &str = "name";

/// The longest name of a key's directory. Most file systems take 255 bytes.
const LONGEST: usize = 200;

/// What stands for the tail of a name that is too long: this, and a hash of the whole name.
const CUT: char = '~';

/// One state of one key: the sequence number that it has in this directory, and a random number,
/// because a directory that an operator removed begins at one again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct State {
    pub(super) seq: u64,
    pub(super) id: u128,
}

impl State {
    /// The name of the file with the state's content.
    pub(super) fn file(self) -> String {
        format!("state-{self}")
    }

    /// The name of the same file when it is only kept for its room.
    pub(super) fn spare(self) -> String {
        format!("spare-{self}")
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}-{:032x}", self.seq, self.id)
    }
}

/// The one file of a key whose *name* says which state is the newest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Head {
    /// The record was removed by a tool; the number goes on.
    Gone(State),
    /// The newest state.
    At(State),
}

impl Head {
    pub(super) fn state(self) -> State {
        let (Head::Gone(state) | Head::At(state)) = self;
        state
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Head::Gone(state) => write!(f, "gone-{state}"),
            Head::At(state) => write!(f, "head-{state}"),
        }
    }
}

/// What a name in a key's directory means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Entry {
    Head(Head),
    State(State),
    Spare(State),
    Other,
}

impl Entry {
    pub(super) fn of(name: &str) -> Entry {
        let parts = name.split_once('-').and_then(|(kind, rest)| Some((kind, state(rest)?)));
        match parts {
            Some(("head", state)) => Entry::Head(Head::At(state)),
            Some(("gone", state)) => Entry::Head(Head::Gone(state)),
            Some(("state", state)) => Entry::State(state),
            Some(("spare", state)) => Entry::Spare(state),
            _ => Entry::Other,
        }
    }
}

/// Reads what [`State`] displays, and nothing else: a name has one spelling.
fn state(text: &str) -> Option<State> {
    let (seq, id) = text.split_once('-')?;
    let state = State { seq: seq.parse().ok()?, id: hex(id)? };
    (state.to_string() == text).then_some(state)
}

/// Reads 32 lower-case hexadecimal digits, and nothing else.
pub(super) fn hex(text: &str) -> Option<u128> {
    let value = u128::from_str_radix(text, 16).ok()?;
    (format!("{value:032x}") == text).then_some(value)
}

/// A version: the state, and a hash of its content, so that an edit by hand is another version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tag {
    pub(super) state: State,
    pub(super) hash: u128,
}

impl Tag {
    pub(super) fn of(version: &Version) -> Option<Tag> {
        let (head, hash) = version.as_str().rsplit_once('-')?;
        Some(Tag { state: state(head)?, hash: hex(hash)? })
    }

    pub(super) fn version(self) -> Version {
        Version::new(format!("{}-{:032x}", self.state, self.hash))
    }
}

/// The directory of a key: one path component, a different one for each key.
///
/// Letters, digits, `.`, `_` and `-` stand for themselves, except a dot in front, which would hide
/// the directory and could meet our own names. Every other byte is `%` and two hexadecimal digits.
/// What is too long then is cut, and ends in `~` (which otherwise never appears) and a hash.
pub(super) fn directory(key: &str) -> String {
    let mut name = String::with_capacity(key.len());
    for (i, &byte) in key.as_bytes().iter().enumerate() {
        match byte {
            b'.' if i == 0 => name.push_str("%2E"),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' => {
                name.push(char::from(byte));
            }
            _ => {
                let _ = write!(name, "%{byte:02X}");
            }
        }
    }
    if name.len() > LONGEST {
        // All of it is ASCII, so it can be cut anywhere.
        name.truncate(LONGEST - 33);
        let _ = write!(name, "{CUT}{:032x}", xxh3_128(key.as_bytes()));
    }
    name
}

/// Whether a directory's name cannot tell its key.
pub(super) fn is_cut(key: &Key) -> bool {
    directory(key.as_str()).contains(CUT)
}

/// What a directory's name says about its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Decoded {
    /// It is the directory of this key.
    Key(Key),
    /// It was cut: the key is in the file [`NAME`].
    Cut,
    /// Not a file of this library.
    Foreign,
}

/// Reads what [`directory`] wrote.
pub(super) fn decode(name: &str) -> Decoded {
    if name.contains(CUT) {
        return Decoded::Cut;
    }
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|d| char::from(d).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Decoded::Foreign };
        bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
    }
    let key = String::from_utf8(bytes).ok().and_then(|text| Key::new(text).ok());
    match key {
        // Whatever has a second spelling (`%41`, `%2f`) was not written by us.
        Some(key) if directory(key.as_str()) == name => Decoded::Key(key),
        _ => Decoded::Foreign,
    }
}

/// What the first line of a state begins with.
const MAGIC: &str = "leasehold-file 1 ";

/// The longest first line. The longest that we write has about 270 bytes.
const LONGEST_HEADER: usize = 320;

/// How much of a state is read: a whole one, and a byte that shows that there is more.
pub(super) const MOST_READ: usize = LONGEST_HEADER + MAX_RECORD_BYTES + 1;

/// What fills a file that is longer than its state.
const FILLER: u8 = b'\n';

/// Who wrote a state, on which host, and when by that host's steady clock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    /// `None` where the kernel does not say, or another one may read it.
    pub(super) host: Option<HostId>,
    /// `CLOCK_BOOTTIME` when the state was written, before it became the newest.
    pub(super) at: Duration,
    /// The writer's liveness file, where it has one.
    pub(super) writer: Option<Writer>,
}

/// A writer's liveness file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Writer {
    pub(super) id: u128,
    /// Its inode's number: a copy of the file, or a restored one, was never locked by its writer.
    pub(super) inode: Option<u64>,
}

/// A state's whole content.
pub(super) fn compose(stamp: &Stamp, record: &[u8]) -> Vec<u8> {
    let unknown = || "-".to_owned();
    let Stamp { host, at, writer } = stamp;
    let (boot, time, at) = match host {
        Some(HostId { boot, time }) => (boot.clone(), time.clone(), at.as_nanos().to_string()),
        None => (unknown(), unknown(), unknown()),
    };
    let id = writer.map_or_else(unknown, |writer| format!("{:032x}", writer.id));
    let inode = writer.and_then(|writer| writer.inode);
    let inode = inode.map_or_else(unknown, |inode| inode.to_string());
    let length = record.len();
    let line = format!(
        "{MAGIC}boot={boot} time={time} at={at} writer={id} inode={inode} length={length}\n"
    );
    let mut content = line.into_bytes();
    content.extend_from_slice(record);
    content
}

/// Makes a state as long as the file that it is written into.
pub(super) fn fill(content: &mut Vec<u8>, length: usize) {
    content.resize(content.len().max(length), FILLER);
}

/// The hash in a version: of what was read, and of how long the file is beyond that.
pub(super) fn hash(content: &[u8], length: u64) -> u128 {
    xxh3_128_with_seed(content, length)
}

/// Splits a state into what its first line says and the record. A file without that line is all
/// record: the codec then says what is wrong with it.
pub(super) fn dissect(content: &[u8]) -> (Option<Stamp>, &[u8]) {
    let record = |bytes: &'_ [u8]| bytes.len().min(MAX_RECORD_BYTES + 1);
    let head = &content[..content.len().min(LONGEST_HEADER)];
    let end = head.iter().position(|&b| b == b'\n');
    let line = end.and_then(|end| std::str::from_utf8(&head[..end]).ok());
    let (Some(end), Some(fields)) = (end, line.and_then(|l| l.strip_prefix(MAGIC))) else {
        return (None, &content[..record(content)]);
    };
    let rest = &content[end + 1..];
    // What was edited by hand is as long as it is.
    let told = field(fields, "length").and_then(|length| length.parse().ok());
    let is_filled =
        |length: &usize| rest.get(*length..).is_some_and(|r| r.iter().all(|b| *b == FILLER));
    let length = told.filter(is_filled).unwrap_or(rest.len());
    (Some(stamp(fields)), &rest[..record(&rest[..length])])
}

fn field<'a>(fields: &'a str, name: &str) -> Option<&'a str> {
    let mut all = fields.split(' ').filter_map(|field| field.split_once('='));
    all.find_map(|(key, value)| (key == name).then_some(value))
}

/// Each part counts by itself: a writer may know its liveness file and not its host.
fn stamp(fields: &str) -> Stamp {
    let field = |name: &str| field(fields, name);
    let known = |name: &str| field(name).filter(|value| *value != "-").map(str::to_owned);
    let at = field("at").and_then(|at| at.parse().ok()).map(Duration::from_nanos);
    // A time is worth something only with the clock that it was read from.
    let boot = known("boot").filter(|_| at.is_some());
    let host = boot.and_then(|boot| Some(HostId { boot, time: field("time")?.to_owned() }));
    let inode = field("inode").and_then(|inode| inode.parse().ok());
    let writer = field("writer").and_then(hex).map(|id| Writer { id, inode });
    Stamp { host, at: at.unwrap_or_default(), writer }
}
