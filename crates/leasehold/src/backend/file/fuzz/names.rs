//! The target `file-names`: names of locks as names of directories, and names of files that others
//! put there.

use leasehold_core::backend::{Key, Version};
use leasehold_fuzz::Target;

use super::super::layout::{self, Decoded, Entry, Tag};

const WORDS: &[&str] = &[
    "head-",
    "gone-",
    "state-",
    "spare-",
    "00000000000000000007",
    "18446744073709551615",
    "18446744073709551616",
    "0123456789abcdef0123456789abcdef",
    "-",
    "~",
    "%",
    "%2F",
    "%2E",
    "%41",
    "%2f",
    ".",
    "..",
    "/",
    ".new-",
    ".trash-",
    ".alive",
    "name",
    "\n",
    "é",
    "東",
    "A",
];

/// Every name has a directory of its own, one component below ours that is nobody else's and tells
/// the name again; and what others put there is taken for ours only if we would have named it so.
#[test]
fn file_names() {
    Target { name: "file-names", words: WORDS, runs: 40_000, check }.fuzz();
}

fn check(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let names: Vec<&str> = text.split('\n').take(3).collect();
    let mut good = false;
    for name in &names {
        good |= found(name);
    }
    let keys: Vec<Key> = names.iter().filter_map(|name| Key::new(*name).ok()).collect();
    for key in &keys {
        is_the_place_of(key);
        for other in keys.iter().filter(|other| *other != key) {
            assert_ne!(layout::directory(key.as_str()), layout::directory(other.as_str()));
        }
    }
    good
}

/// A name that stands on the disk.
fn found(name: &str) -> bool {
    match Entry::of(name) {
        Entry::Head(head) => assert_eq!(head.to_string(), name),
        Entry::Spare(state) => assert_eq!(state.spare(), name),
        Entry::State(state) => assert_eq!(state.file(), name),
        Entry::Other => {}
    }
    if let Some(tag) = Tag::of(&Version::new(name)) {
        assert_eq!(tag.version().as_str(), name);
    }
    match layout::decode(name) {
        Decoded::Key(key) => assert_eq!(layout::directory(key.as_str()), name),
        Decoded::Cut => assert!(name.contains('~')),
        Decoded::Foreign => return Entry::of(name) != Entry::Other,
    }
    true
}

fn is_the_place_of(key: &Key) {
    let place = layout::directory(key.as_str());
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-%~".contains(&b);
    assert!((1..=200).contains(&place.len()) && place.bytes().all(is_plain), "{place}");
    assert!(!place.starts_with('.'), "{place} is hidden, or one of our own");
    let told = layout::decode(&place);
    let wanted = if layout::is_cut(key) { Decoded::Cut } else { Decoded::Key(key.clone()) };
    assert_eq!(told, wanted);
}
