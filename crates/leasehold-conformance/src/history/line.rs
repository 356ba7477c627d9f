//! One operation as a line that a person reads.

use std::fmt;
use std::time::Duration;

use leasehold_core::backend::Expected;

use super::{Asked, Operation, Seen, Told};

impl Operation {
    /// The operation in words, with its times counted from `start`.
    pub(super) fn since(&self, start: Duration) -> impl fmt::Display {
        let micros = |at: Duration| at.saturating_sub(start).as_micros();
        let end = self.told.as_ref().map_or("?".to_owned(), |(at, _)| micros(*at).to_string());
        let asked = match &self.asked {
            Asked::Read => "read".to_owned(),
            Asked::Write { expected, bytes } => {
                format!("write {} over {}", text(bytes), state(expected))
            }
            Asked::Delete { version } => format!("delete {:?}", version.as_str()),
        };
        let told = match &self.told {
            None => "no answer".to_owned(),
            Some((_, Told::Shown(seen))) => shown(seen.as_ref()),
            Some((_, Told::Landed(Expected::Absent))) => "deleted".to_owned(),
            Some((_, Told::Landed(to))) => format!("landed as {}", state(to)),
            Some((_, Told::Refused(None))) => "refused".to_owned(),
            Some((_, Told::Refused(seen))) => format!("refused for {}", shown(seen.as_ref())),
            Some((_, Told::NotSent)) => "not sent".to_owned(),
        };
        let (from, client) = (micros(self.called), &self.client);
        format!("{from:>8}..{end:<8} {client}: {asked} -> {told}")
    }
}

fn state(state: &Expected) -> String {
    match state {
        Expected::Absent => "nothing".to_owned(),
        Expected::Version(version) => format!("{:?}", version.as_str()),
    }
}

fn shown(seen: Option<&Seen>) -> String {
    seen.map_or("nothing".to_owned(), |seen| {
        format!("{} as {:?}", text(&seen.bytes), seen.version.as_str())
    })
}

/// The first bytes, with what is no plain text escaped.
fn text(bytes: &[u8]) -> String {
    let short = &bytes[..bytes.len().min(40)];
    let dots = if short.len() < bytes.len() { "…" } else { "" };
    format!("\"{}{dots}\"", short.escape_ascii())
}
