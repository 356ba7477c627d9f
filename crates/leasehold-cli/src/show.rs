//! What reaches a terminal: every text from outside goes through [`clean`].

use std::fmt::Write as _;
use std::io::{ErrorKind, IsTerminal, Write as _};
use std::sync::OnceLock;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use leasehold::core::backend::is_invisible;
use serde::Serialize;

use crate::exit::{Exit, Failure};

/// A text in which nothing can move a cursor, ring, recolour, rename a window, hide or reverse its
/// neighbours: such characters are written as `\u{1b}`. Labels and reasons are claims of strangers.
pub(crate) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hostile(c) {
            // Writing to a string cannot fail.
            let _ = write!(out, "{}", c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// A value for programs. It may reach a terminal all the same, so what [`clean`] escapes is escaped
/// here too, as JSON does it; but for line feeds, such characters only stand in texts.
pub(crate) fn json(value: &impl Serialize) -> String {
    // What we serialize has texts for keys, and nothing in it fails.
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let mut out = String::new();
    for c in text.chars().chain(['\n']) {
        if c != '\n' && is_hostile(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

pub(crate) fn is_hostile(c: char) -> bool {
    c.is_control() || is_invisible(c) || is_more_invisible(c)
}

/// What names may contain and terminals should not: soft hyphens, the Arabic letter mark,
/// interlinear annotations, variation selectors and the invisible tag alphabet.
fn is_more_invisible(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
        | '\u{180B}'..='\u{180E}' | '\u{206A}'..='\u{206F}' | '\u{3164}' | '\u{FFA0}'
        | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}')
}

/// A line of ours on stderr. It may contain texts from outside; they come out clean.
pub(crate) fn say(text: &str) {
    // A caller that closed stderr does not want to hear us, and that is no reason to fail.
    let _ = writeln!(std::io::stderr(), "leasehold: {}", clean(text));
}

/// A moment for people, in their own time zone.
pub(crate) fn date(unix_ms: u64) -> String {
    let moment = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    match moment {
        Some(moment) => {
            let local = moment.to_zoned(TimeZone::system());
            local.strftime("%Y-%m-%d %H:%M:%S %z").to_string()
        }
        None => "?".into(),
    }
}

/// A time of today for people: `12:03:04`.
pub(crate) fn clock(unix_ms: u64) -> String {
    date(unix_ms).split(' ').nth(1).unwrap_or("?").to_owned()
}

/// A moment for programs: RFC 3339, in UTC.
pub(crate) fn rfc3339(unix_ms: u64) -> Option<String> {
    let moment = Timestamp::from_millisecond(i64::try_from(unix_ms).ok()?).ok()?;
    Some(moment.to_string())
}

/// Why something that was printed did not arrive, once that has happened.
static UNWRITTEN: OnceLock<std::io::Error> = OnceLock::new();

/// Writes results to stdout. What could not be written decides how we end: see [`unwritten`].
pub(crate) fn print(text: &str) {
    print_bytes(text.as_bytes());
}

/// The same for what is not ours and is printed as it is.
pub(crate) fn print_bytes(bytes: &[u8]) {
    note(write_bytes(bytes));
}

/// Remembers that a result was not written. A reader that left early (`| head`) has what it wanted.
pub(crate) fn note(written: std::io::Result<()>) {
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
    {
        let _ = UNWRITTEN.set(error);
    }
}

/// The failure of a command whose results were not written.
pub(crate) fn unwritten() -> Option<Failure> {
    let why = UNWRITTEN.get()?;
    let message = format!("what was to be printed could not be written to stdout: {why}");
    Some(Failure::new(Exit::NotWritten, message))
}

/// Writes to stdout, for a reader without whom nothing may go on.
pub(crate) fn write(text: &str) -> std::io::Result<()> {
    write_bytes(text.as_bytes())
}

fn write_bytes(bytes: &[u8]) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    out.write_all(bytes).and_then(|()| out.flush())
}

/// How wide results may be: as the terminal is, at most 100 columns, and 100 where there is none.
pub(crate) fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    size.map_or(100, |size| usize::from(size.ws_col).clamp(40, 100))
}

/// Whether a person watches stderr.
pub(crate) fn is_watched() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_hostile_label_cannot_speak_to_the_terminal() {
        // Window title by OSC, colours and cursor by CSI (7 and 8 bit), bell, backspace, a reversed
        // file name, an invisible tag.
        let hostile = [
            "\x1b]0;owned\x07",
            "\x1b]52;c;cm0gLXJm\x1b\\",
            "\x1b[2J\x1b[31mred",
            "\u{9b}31mred\u{9d}0;t\u{9c}",
            "a\x08\x08b\rc\nd\te\x7f",
            "gpj.\u{202e}exe",
            "\u{2066}x\u{2069}\u{200b}\u{feff}\u{61c}",
            "tag\u{e0041}\u{e0062}",
            "soft\u{ad}hyphen",
        ];
        for text in hostile {
            let shown = clean(text);
            let bad = shown.chars().find(|&c| c.is_control() || is_invisible(c));
            assert_eq!(bad, None, "{shown}");
            assert!(shown.contains("\\u{"), "{shown}");
        }
        assert_eq!(clean("\x1b[31m"), "\\u{1b}[31m");
    }

    /// Somebody looks at `status --json` on a terminal, and a label has a control sequence of one
    /// character, which JSON does not escape. It comes out escaped, and is the same to a program.
    #[test]
    fn json_cannot_speak_to_the_terminal_either() {
        let label = serde_json::json!({ "label": "\u{9b}31m\u{7f} gpj.\u{202e}exe \u{e0041}" });
        let shown = json(&label);
        assert!(!shown.replace('\n', "").contains(is_hostile), "{shown}");
        assert!(shown.contains("\\u009b31m\\u007f gpj.\\u202eexe \\udb40\\udc41"), "{shown}");
        assert_eq!(serde_json::from_str::<Value>(&shown).ok(), Some(label));
    }

    #[test]
    fn an_honest_label_stays_as_it_is() {
        for text in ["alice@web-1:4711", "Zoë: Größe ≥ 3", "東京 🚀", "back\\slash 'quote' \"x\""]
        {
            assert_eq!(clean(text), text);
        }
    }

    #[test]
    fn dates_out_of_range_are_not_guessed() {
        assert_eq!(date(u64::MAX), "?");
        assert_eq!(rfc3339(u64::MAX), None);
        assert_eq!(rfc3339(0).as_deref(), Some("1970-01-01T00:00:00Z"));
    }
}
