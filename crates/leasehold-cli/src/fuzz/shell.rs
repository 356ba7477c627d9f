//! The target `shell`: what a shell evaluates of `leasehold acquire NAME`.

use leasehold_fuzz::Target;
use serde_json::Value;

use crate::script::{BIND, shell_code};

const WORDS: &[&str] = &[
    "\"name\":",
    "\"token\":",
    "\"holder\":",
    "\"backend\":",
    "\"deadline\":",
    "\"session\":",
    "'",
    "\\\\",
    "$(x)",
    "`x`",
    ";",
    "\\n",
    "|",
    "&",
    "#",
    "*",
    "~",
    "{\"x\":1}",
    "[1]",
    "null",
    "true",
    "-1",
    "1e5",
    "\"",
];

/// Whatever a session says of its lock, the shell gets assignments of exactly that and nothing to
/// execute but the one command that is ours; and of anything less than all, an error.
#[test]
fn shell() {
    Target { name: "shell", words: WORDS, runs: 20_000, check }.fuzz();
}

fn check(bytes: &[u8]) -> bool {
    let Ok(lock) = serde_json::from_slice::<Value>(bytes) else { return false };
    let wanted = |field: &str| match &lock[field] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    for is_unbound in [false, true] {
        let code = shell_code(&lock, is_unbound);
        let group = code.strip_prefix("{\n").and_then(|code| code.strip_suffix(":\n}\n"));
        let mut commands = commands(group.expect("a group")).into_iter();
        for field in ["name", "token", "holder", "backend", "deadline", "session"] {
            let assigned = format!("LEASEHOLD_{}={}", field.to_uppercase(), wanted(field));
            assert_eq!(commands.next(), Some(vec!["export".to_owned(), assigned]), "{code}");
        }
        if is_unbound {
            let bind = commands.next().expect("it is bound");
            let session = lock["session"].as_str().unwrap_or_default();
            assert_eq!(bind[1..], [BIND, session, "$$"], "{code}");
        }
        assert_eq!(commands.next(), None, "{code}");
    }
    true
}

/// The words of each line, as a shell reads them, if nothing is for the shell to do but to take off
/// quotes, to put its own pid for `$$`, and to go on after `&&`, with which each line ends.
fn commands(code: &str) -> Vec<Vec<String>> {
    let mut commands = vec![];
    let (mut words, mut word) = (vec![], None::<String>);
    let mut rest = code.chars();
    while let Some(c) = rest.next() {
        match c {
            ' ' => words.extend(word.take()),
            '&' => {
                assert_eq!((word.take(), rest.next(), rest.next()), (None, Some('&'), Some('\n')));
                commands.push(std::mem::take(&mut words));
            }
            '\'' => {
                let text = word.get_or_insert_default();
                loop {
                    match rest.next().expect("the quote is closed") {
                        '\'' => break,
                        c => text.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(rest.next().expect("something quoted")),
            '$' => {
                assert_eq!((word.take(), rest.next()), (None, Some('$')), "{code}");
                word = Some("$$".into());
            }
            c => {
                assert!(c.is_ascii_alphanumeric() || "_=./+-".contains(c), "{c:?} is bare: {code}");
                word.get_or_insert_default().push(c);
            }
        }
    }
    assert!(words.is_empty() && word.is_none(), "the last line has no end");
    commands
}
