//! The target `state-file`: the content of a state, whoever wrote it.

use leasehold_core::backend::MAX_RECORD_BYTES;
use leasehold_fuzz::Target;

use super::super::layout;

const WORDS: &[&str] = &[
    "leasehold-file 1 ",
    "boot=",
    "time=",
    "at=",
    "writer=",
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
    let header = content.len() - content.iter().position(|&b| b == b'\n').map_or(0, |at| at + 1);
    assert!(record == most(content) || record == most(&content[content.len() - header..]));
    let (none, all) = (layout::compose(None, content), most(content));
    assert!(layout::dissect(&none) == (None, &all[..]));
    let Some(stamp) = stamp else { return false };
    // Longer names than a kernel gives may not leave room for the rest.
    if stamp.host.boot.len() <= 64 && stamp.host.time.len() <= 64 {
        let again = layout::compose(Some(&stamp), record);
        assert!(layout::dissect(&again) == (Some(stamp), record));
    }
    true
}
