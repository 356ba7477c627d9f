//! The target `state-file`: the content of a state, by any writer.

use std::time::Duration;

use leasehold_core::backend::MAX_RECORD_BYTES;
use leasehold_fuzz::Target;

use super::super::layout::{self, Stamp};

const WORDS: &[&str] = &[
    "leasehold-file 1 ",
    "boot=",
    "time=",
    "at=",
    "writer=",
    "inode=",
    "length=",
    "\n\n",
    "-",
    " ",
    "\n",
    "=",
    "{",
    "}",
    "6f1b1f6e-0f3f-4f0a-9d53-2f7e3f1c8a11",
    "time:[4026531834]",
    "18446744073709551615",
    "0123456789abcdef0123456789abcdef",
];

/// What stands in front of a record is taken off and read, or all of it is the record; nothing of
/// the record is lost, and what we write ourselves is read as it was meant.
#[test]
fn state_file() {
    Target { name: "state-file", words: WORDS, runs: 40_000, check }.fuzz();
}

fn check(content: &[u8]) -> bool {
    let most = |bytes: &[u8]| bytes[..bytes.len().min(MAX_RECORD_BYTES + 1)].to_vec();
    let (stamp, record) = layout::dissect(content);
    assert!(record == most(record));
    let rest = &content[content.iter().position(|&b| b == b'\n').map_or(0, |at| at + 1)..];
    let is_filled = |whole: &[u8]| {
        let after = whole.strip_prefix(record);
        record == most(whole) || after.is_some_and(|after| after.iter().all(|&b| b == b'\n'))
    };
    assert!(record == most(content) || is_filled(rest));
    let unknown = Stamp { host: None, at: Duration::ZERO, writer: None };
    // Whatever is longer than it has to be is read as what was written.
    let mut written = layout::compose(&unknown, most(content).as_slice());
    layout::fill(&mut written, content.len());
    assert!(layout::dissect(&written) == (Some(unknown), &most(content)[..]));
    let Some(stamp) = stamp else { return false };
    // Longer names than a kernel gives may not leave room for the rest.
    if stamp.host.as_ref().is_none_or(|host| host.boot.len() <= 64 && host.time.len() <= 64) {
        let again = layout::compose(&stamp, record);
        let at = if stamp.host.is_some() { stamp.at } else { Duration::ZERO };
        assert!(layout::dissect(&again) == (Some(Stamp { at, ..stamp }), record));
    }
    true
}
