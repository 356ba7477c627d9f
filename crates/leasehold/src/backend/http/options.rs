//! What the URLs of stores on the network share: options and their values.

use std::time::Duration;

use reqwest::Url;

/// An address that is http or https and says nothing else.
pub(in crate::backend) fn endpoint(value: &str, name: &str) -> Result<Url, String> {
    let bad = || format!("{name} is a URL such as http://127.0.0.1:4443, without a password");
    let url = Url::parse(value).map_err(|_| bad())?;
    let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    match url.scheme() {
        "http" | "https" if is_plain && url.fragment().is_none() => Ok(url),
        _ => Err(bad()),
    }
}

/// A time as it stands in a URL: `0s`, `500ms`, `2s`.
pub(in crate::backend) fn span(name: &str, value: &str) -> Result<Duration, String> {
    let bad = || format!("{name} is a time such as 0s, 500ms or 2s, up to 60s, not {value:?}");
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| is_number).ok_or_else(bad)?;
    let span = match &value[digits.len()..] {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        _ => return Err(bad()),
    };
    if span > Duration::from_mins(1) { Err(bad()) } else { Ok(span) }
}
