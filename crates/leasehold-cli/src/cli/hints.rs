//! What to type instead: added to an error of the parser.

use std::ffi::OsString;

use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Words that other tools have, and ours for the same.
const OTHERS: &[(&str, &str)] = &[
    ("lock", "`leasehold run NAME -- CMD` for a command, or `leasehold acquire NAME` for a script"),
    ("exec", "`leasehold run NAME -- CMD`"),
    ("watch", "`leasehold wait NAME`, or `watch leasehold list`"),
    ("delete", "`leasehold forget NAME`"),
    ("rm", "`leasehold forget NAME`"),
    ("prune", "`leasehold forget --older-than TIME`"),
    ("version", "`leasehold --version`"),
];

/// A hint for what was typed, if there is a good one.
pub(crate) fn hint(error: &Error, words: &[OsString]) -> Option<String> {
    let said = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let unknown = said(ContextKind::InvalidArg)?;
            separated(unknown, words)
        }
        ErrorKind::InvalidSubcommand => {
            let typed = said(ContextKind::InvalidSubcommand)?;
            let (_, ours) = OTHERS.iter().find(|(other, _)| *other == typed)?;
            Some(format!("instead of `{typed}` there is {ours}"))
        }
        _ => None,
    }
}

/// A command without `--` before it, as flock and others take it.
fn separated(unknown: &str, words: &[OsString]) -> Option<String> {
    let has_command = words.iter().any(|word| word == "run" || word == "once");
    if !has_command || unknown.starts_with('-') || words.iter().any(|word| word == "--") {
        return None;
    }
    let at = words.iter().position(|word| word == unknown)?;
    let quoted = |word: &OsString| {
        let word = word.to_string_lossy();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
        match !word.is_empty() && word.chars().all(is_plain) {
            true => word.into_owned(),
            false => format!("'{}'", word.replace('\'', r"'\''")),
        }
    };
    let join = |words: &[OsString]| words.iter().map(quoted).collect::<Vec<_>>().join(" ");
    let (ours, command) = words.split_at(at);
    Some(format!("put `--` before the command: leasehold {} -- {}", join(ours), join(command)))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    fn hint_for(words: &[&str]) -> Option<String> {
        let words: Vec<OsString> = words.iter().map(Into::into).collect();
        let typed = std::iter::once(OsString::from("leasehold")).chain(words.clone());
        hint(&Cli::try_parse_from(typed).expect_err("a mistake"), &words)
    }

    #[test]
    fn what_was_meant_is_told() {
        assert_eq!(
            hint_for(&["run", "-n", "deploy", "echo", "it's", "-n"]).as_deref(),
            Some("put `--` before the command: leasehold run -n deploy -- echo 'it'\\''s' -n")
        );
        assert_eq!(hint_for(&["run", "deploy", "--no-such-option", "--", "x"]), None);
        assert_eq!(hint_for(&["status", "x", "y"]), None);
        assert!(
            hint_for(&["lock", "x"]).is_some_and(|hint| hint.contains("leasehold acquire NAME"))
        );
        assert_eq!(hint_for(&["frobnicate"]), None);
    }
}
