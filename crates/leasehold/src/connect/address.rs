//! How a URL is read, once for all stores: `docs/protocol.md` has the rules, and `docs/url-vectors.json`
//! pins them. Two clients that read one URL differently would use two places, and both would hold.

use std::fmt::Write as _;

/// What stands behind `://`: `host/path?options`.
pub(crate) struct Address<'a> {
    /// Taken as it stands: a bucket, a project. A directory has none.
    #[cfg(any(feature = "gcs", feature = "spanner"))]
    pub(crate) host: &'a str,
    /// Percent-decoded; empty, or with the slash in front.
    pub(crate) path: Vec<u8>,
    query: &'a str,
}

impl<'a> Address<'a> {
    pub(crate) fn read(rest: &'a str) -> Result<Address<'a>, String> {
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let end = place.find('/').unwrap_or(place.len());
        Ok(Address {
            #[cfg(any(feature = "gcs", feature = "spanner"))]
            host: &place[..end],
            path: percent_decode(&place[end..])?,
            query,
        })
    }

    /// The segments of the path, of which none is empty, `.` or `..`; one slash at the end is nothing.
    #[cfg(any(feature = "gcs", feature = "spanner"))]
    pub(crate) fn segments(&self) -> Result<Vec<&str>, String> {
        let path = str::from_utf8(&self.path).map_err(|_| "the path is not UTF-8".to_owned())?;
        let mut segments: Vec<&str> = path.split('/').skip(1).collect();
        segments.pop_if(|last| last.is_empty());
        let hidden = |c: &char| c.is_control() || leasehold_core::backend::is_invisible(*c);
        if let Some(c) = path.chars().find(hidden) {
            return Err(format!("the path contains the hidden character U+{:04X}", u32::from(c)));
        }
        match segments.iter().any(|segment| matches!(*segment, "" | "." | "..")) {
            true => Err(format!("the path {path:?} has an empty segment, \".\" or \"..\"")),
            false => Ok(segments),
        }
    }

    /// Hands out each option with its value. `set` refuses a name that it does not know.
    pub(crate) fn options(
        &self,
        mut set: impl FnMut(&str, &str) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut names = vec![];
        for option in self.query.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let bytes = percent_decode(value)?;
            let value = String::from_utf8(bytes).map_err(|_| format!("{value:?} is not UTF-8"))?;
            set(name, &value)?;
            if names.contains(&name) {
                return Err(format!("the option {name} is given twice"));
            }
            names.push(name);
        }
        Ok(())
    }
}

/// The bytes that a URL's text stands for.
fn percent_decode(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = tail;
            continue;
        }
        // A number's parser would take `+1` for two digits.
        let digit = |at: usize| tail.get(at).and_then(|d| char::from(*d).to_digit(16));
        let byte = digit(0).zip(digit(1)).and_then(|(a, b)| u8::try_from(a * 16 + b).ok());
        bytes.push(byte.ok_or_else(|| {
            format!("{text:?} has a % without two hexadecimal digits; write %25 for %")
        })?);
        rest = &tail[2..];
    }
    Ok(bytes)
}

/// Percent-encodes what would mean something else in a URL, and what a person could not see.
pub(crate) fn percent_encode(bytes: &[u8], stays: &[u8]) -> String {
    let mut url = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) || stays.contains(&byte) {
            url.push(char::from(byte));
        } else {
            let _ = write!(url, "%{byte:02X}");
        }
    }
    url
}
