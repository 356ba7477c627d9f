//! One operation as a line that another process reads: a race of processes is judged by one of them.

use std::str::Split;
use std::time::Duration;

use leasehold_core::backend::{Expected, Key, Version};

use super::{Asked, Operation, Seen, Told};

impl Operation {
    /// Words without spaces in them.
    pub(crate) fn to_line(&self) -> String {
        let asked = match &self.asked {
            Asked::Read => "read".to_owned(),
            Asked::Write { expected, bytes } => format!("write:{}:{}", state(expected), hex(bytes)),
            Asked::Delete { version } => format!("delete:{}", hex(version.as_str())),
        };
        let told = match &self.told {
            None => "nothing".to_owned(),
            Some((at, told)) => {
                let told = match told {
                    Told::Shown(state) => format!("shown:{}", seen(state.as_ref())),
                    Told::Landed(to) => format!("landed:{}", state(to)),
                    Told::Refused(state) => format!("refused:{}", seen(state.as_ref())),
                    Told::NotSent => "not-sent".to_owned(),
                };
                format!("{}:{told}", at.as_nanos())
            }
        };
        let (client, key) = (hex(&self.client), hex(self.key.as_str()));
        format!("{client} {key} {} {asked} {told}", self.called.as_nanos())
    }

    /// What [`to_line`](Operation::to_line) made a line of.
    pub(crate) fn from_line(line: &str) -> Option<Operation> {
        let words: Vec<&str> = line.split(' ').collect();
        let [client, key, called, asked, told] = words[..] else { return None };
        let mut parts = asked.split(':');
        let asked = match parts.next()? {
            "read" => Asked::Read,
            "write" => {
                Asked::Write { expected: to_state(parts.next()?)?, bytes: to_bytes(parts.next()?)? }
            }
            "delete" => Asked::Delete { version: Version::new(to_text(parts.next()?)?) },
            _ => return None,
        };
        let mut parts = told.split(':');
        let told = match parts.next()? {
            "nothing" => None,
            at => {
                let told = match parts.next()? {
                    "shown" => to_seen(parts, Told::Shown)?,
                    "landed" => Told::Landed(to_state(parts.next()?)?),
                    "refused" => to_seen(parts, Told::Refused)?,
                    "not-sent" => Told::NotSent,
                    _ => return None,
                };
                Some((to_time(at)?, told))
            }
        };
        let key = Key::new(to_text(key)?).ok()?;
        Some(Operation { client: to_text(client)?, key, asked, called: to_time(called)?, told })
    }
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    let digits = bytes.as_ref().iter().map(|byte| format!("{byte:02x}"));
    digits.collect::<Vec<_>>().concat()
}

fn state(state: &Expected) -> String {
    match state {
        Expected::Absent => "-".to_owned(),
        Expected::Version(version) => hex(version.as_str()),
    }
}

fn seen(seen: Option<&Seen>) -> String {
    seen.map_or("-".to_owned(), |seen| {
        format!("{}:{}", hex(seen.version.as_str()), hex(&seen.bytes))
    })
}

fn to_bytes(word: &str) -> Option<Vec<u8>> {
    let digits = (0..word.len()).step_by(2).map(|at| word.get(at..at + 2));
    digits.map(|digits| u8::from_str_radix(digits?, 16).ok()).collect()
}

fn to_text(word: &str) -> Option<String> {
    String::from_utf8(to_bytes(word)?).ok()
}

fn to_time(word: &str) -> Option<Duration> {
    word.parse().ok().map(Duration::from_nanos)
}

fn to_state(word: &str) -> Option<Expected> {
    match word {
        "-" => Some(Expected::Absent),
        version => Some(Expected::Version(Version::new(to_text(version)?))),
    }
}

fn to_seen(mut parts: Split<'_, char>, told: fn(Option<Seen>) -> Told) -> Option<Told> {
    let seen = match parts.next()? {
        "-" => None,
        version => {
            let version = Version::new(to_text(version)?);
            Some(Seen { version, bytes: to_bytes(parts.next()?)? })
        }
    };
    Some(told(seen))
}
