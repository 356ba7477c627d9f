//! The target `name`: what strangers call a lock.

use leasehold_core::backend::{Key, is_invisible};
use leasehold_fuzz::Target;

const WORDS: &[&str] = &[
    "/",
    "//",
    ".",
    "..",
    "/./",
    "/../",
    " ",
    "\t",
    "\n",
    "\0",
    "\u{1b}",
    "\u{7f}",
    "\u{85}",
    "\u{a0}",
    "\u{ad}",
    "\u{61c}",
    "\u{180e}",
    "\u{200b}",
    "\u{200f}",
    "\u{2028}",
    "\u{202e}",
    "\u{205f}",
    "\u{2060}",
    "\u{206f}",
    "\u{3000}",
    "\u{feff}",
    "\u{fff9}",
    "\u{e0001}",
    "\u{e007f}",
    "~",
    "%2F",
    "é",
    "東",
    "🔒",
];

/// A name is taken if and only if the documentation says so, as it is, byte for byte; a refusal can
/// be shown on a terminal, however hostile the name.
#[test]
fn name() {
    Target { name: "name", words: WORDS, runs: 40_000, check }.fuzz();
}

fn check(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    match Key::new(text) {
        Ok(key) => {
            assert!(is_a_name(text), "{text:?} was taken");
            assert_eq!((key.as_str(), key.to_string().as_str()), (text, text));
            true
        }
        Err(bad) => {
            assert!(!is_a_name(text), "{text:?} was refused");
            let words = bad.to_string();
            let bad = words.chars().find(|&c| c.is_control() || is_invisible(c));
            assert!(bad.is_none() && words.len() < 2000, "{words}");
            false
        }
    }
}

/// The section "Names" of `docs/protocol.md`.
fn is_a_name(text: &str) -> bool {
    let refused = |c: char| {
        let n = u32::from(c);
        let alone = [0xAD, 0x061C, 0x180E, 0xFEFF];
        let ranges = [
            (0x00, 0x1F),
            (0x7F, 0x9F),
            (0x200B, 0x200F),
            (0x2028, 0x202E),
            (0x2060, 0x206F),
            (0xFFF9, 0xFFFB),
            (0xE_0000, 0xE_007F),
        ];
        alone.contains(&n) || ranges.iter().any(|(first, last)| (*first..=*last).contains(&n))
    };
    (1..=200).contains(&text.len())
        && !text.contains(refused)
        && !text.starts_with(char::is_whitespace)
        && !text.ends_with(char::is_whitespace)
        && text.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}
