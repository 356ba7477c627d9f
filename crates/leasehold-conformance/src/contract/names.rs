//! A name is a name, whatever is in it: no two of them meet, and `list` gives them back.

use leasehold_core::backend::{Expected, Key};

use super::{at, create, delete, list, put, read};
use crate::setup::{Setup, key};

/// What people call locks, and what would break an adapter that builds paths, URLs, SQL or patterns
/// from names without care.
const ODD: &[&str] = &[
    "x",
    "X",
    "report",
    "Report",
    "REPORT",
    "a b",
    "a  b",
    "a/b",
    "a/b/c",
    "a%2Fb",
    "a%2fb",
    "a%252Fb",
    "%",
    "%%",
    "%00",
    "100%",
    "a_b",
    "a~b",
    "~",
    "~root",
    "..x",
    "...",
    "x..",
    "x.",
    ".x",
    "-x",
    "--help",
    "a\\b",
    "a:b",
    "a*b",
    "a?b",
    "a#b",
    "a&b=c",
    "a'b",
    "a\"b",
    "'; DROP TABLE locks; --",
    "$HOME",
    "`id`",
    "{x}",
    "[x]",
    "<x>",
    "a|b",
    "a;b",
    "a@b",
    "a+b",
    "a,b",
    "nul",
    "CON",
    "lost+found",
    ".lock",
    ".tmp",
    "x.lock",
    "x.tmp",
    // Composed and decomposed, and one that folds to two letters.
    "caf\u{e9}",
    "cafe\u{301}",
    "stra\u{df}e",
    "strasse",
    "STRASSE",
    "\u{130}stanbul",
    "istanbul",
    "\u{65e5}\u{672c}\u{8a9e}",
    "\u{1f512}",
    "\u{43f}\u{440}\u{438}\u{432}\u{435}\u{442}",
];

/// Every odd name has a record of its own, and all are listed, each once, in order.
pub(crate) async fn stay_apart(s: &Setup) {
    each_its_own(s, ODD.iter().map(|&name| name.to_owned()).collect()).await;
}

/// The longest names, and names that differ only after a long prefix: an adapter that cuts or
/// hashes must not let two meet, and must still list them whole. Escaping may triple a name.
pub(crate) async fn long_ones_stay_apart(s: &Setup) {
    let prefix = "p".repeat(Key::MAX_BYTES - 1);
    let wide = "\u{1f512}".repeat(Key::MAX_BYTES / 4 - 1);
    let mut names: Vec<String> = ["a", "b", "A", "B", "%", "."]
        .iter()
        .flat_map(|end| [format!("{prefix}{end}"), format!("{wide}{end}"), format!("{wide}x{end}")])
        .collect();
    names.push(prefix);
    names.push("\u{1f512}".repeat(Key::MAX_BYTES / 4));
    names.push("a/".repeat(Key::MAX_BYTES / 2 - 1) + "a");
    names.push("%2F".repeat(Key::MAX_BYTES / 3));
    each_its_own(s, names).await;
}

async fn each_its_own(s: &Setup, mut names: Vec<String>) {
    let (ours, theirs) = (s.backend(), s.another().await);
    let mut versions = vec![];
    for name in &names {
        versions.push(create(&ours, &key(name), name.as_bytes()).await);
    }
    for name in &names {
        let seen = read(&theirs, &key(name)).await.unwrap_or_else(|| panic!("{name:?} is gone"));
        assert_eq!(String::from_utf8_lossy(&seen.bytes), *name);
    }
    for (name, version) in names.iter().zip(&versions) {
        put(&theirs, &key(name), &at(version), format!("{name} again").as_bytes()).await;
    }
    for name in &names {
        let seen = read(&ours, &key(name)).await.unwrap_or_else(|| panic!("{name:?} is gone"));
        assert_eq!(String::from_utf8_lossy(&seen.bytes), format!("{name} again"));
    }
    names.sort();
    assert_eq!(list(&theirs, "").await, names);
}

/// `list` takes its prefix literally, gives nothing but what starts with it, and forgets what was
/// deleted. A pattern character in a prefix once deleted another's lock in a peer.
pub(crate) async fn are_listed_by_prefix(s: &Setup) {
    let backend = s.backend();
    let names = ["a", "a%", "a%b", "a/b", "a_", "a_b", "ab", "axb", "b", "\u{e9}a", "\u{e9}b"];
    let mut versions = vec![];
    for name in names {
        versions.push(create(&backend, &key(name), name.as_bytes()).await);
    }
    let cases: [(&str, &[&str]); 9] = [
        ("", &names),
        ("a", &["a", "a%", "a%b", "a/b", "a_", "a_b", "ab", "axb"]),
        ("a%", &["a%", "a%b"]),
        ("a_", &["a_", "a_b"]),
        ("a/", &["a/b"]),
        ("axb", &["axb"]),
        ("\u{e9}", &["\u{e9}a", "\u{e9}b"]),
        ("A", &[]),
        ("zz/../a", &[]),
    ];
    for (prefix, expected) in cases {
        assert_eq!(list(&backend, prefix).await, expected, "with the prefix {prefix:?}");
    }
    for (name, version) in names.iter().zip(&versions).take(10) {
        assert!(delete(&backend, &key(name), version).await);
    }
    assert_eq!(list(&backend, "").await, ["\u{e9}b"]);
    assert!(list(&s.another().await, "a").await.is_empty());
    let again = backend.write(&key("ab"), &Expected::Absent, b"again").await;
    assert!(again.is_ok());
    assert_eq!(list(&backend, "a").await, ["ab"]);
}
