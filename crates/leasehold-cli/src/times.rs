//! Times as they are typed and as they are shown: `0.5`, `300ms`, `10s`, `5m`, `1h30m`, `2d`.

use std::time::Duration;

use jiff::SpanRelativeTo;
use jiff::fmt::friendly::SpanParser;

/// The longest time that can be typed: a hundred years is for ever, and nothing overflows.
const MOST: Duration = Duration::from_hours(100 * 365 * 24);

/// Reads a time: a decimal number and a unit (`ms`, `s`, `m`, `h`, `d`), seconds where there is
/// none; or several such with falling units, as in `1h30m` and `3m 20s`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    single(text).or_else(|why| several(text).ok_or(why))
}

/// Several numbers with their units.
fn several(text: &str) -> Option<Duration> {
    let is_ours = |c: char| c.is_ascii_digit() || "msdhw. ".contains(c);
    if !text.starts_with(|c: char| c.is_ascii_digit()) || !text.chars().all(is_ours) {
        return None;
    }
    let span = SpanParser::new().parse_span(text).ok()?;
    let time = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(time).ok().filter(|time| *time <= MOST)
}

/// A number, and perhaps a unit.
fn single(text: &str) -> Result<Duration, String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    if text.starts_with('-') {
        return Err("a time cannot be negative".into());
    }
    let unit_nanos: u128 = match unit {
        "ms" => 1_000_000,
        "" | "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        "d" => 86_400 * 1_000_000_000,
        _ => return Err(not_a_time(text)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(not_a_time(text));
    }
    let too_long = || format!("{text:?} is too long a time: at most 100 years");
    let whole: u128 = match whole {
        "" => 0,
        // Only digits are left, so that too many of them is all that can be wrong.
        digits => digits.parse().map_err(|_| too_long())?,
    };
    let mut nanos = whole.checked_mul(unit_nanos).ok_or_else(too_long)?;
    // Below a nanosecond nothing counts, and 18 digits of the longest unit stay far from overflow.
    let mut scale = 1;
    for digit in fraction.bytes().take(18) {
        scale *= 10;
        nanos += u128::from(digit - b'0') * unit_nanos / scale;
    }
    let nanos = u64::try_from(nanos).map_err(|_| too_long())?;
    Some(Duration::from_nanos(nanos)).filter(|time| *time <= MOST).ok_or_else(too_long)
}

fn not_a_time(text: &str) -> String {
    format!("{text:?} is not a time: write 0.5, 300ms, 10s, 5m, 1h30m or 2d")
}

/// A duration for people: `0.3s`, `12s`, `3m 20s`, `5h 2m`, `3d 4h`.
pub(crate) fn show(span: Duration) -> String {
    let (secs, tenths) = (span.as_secs(), span.subsec_millis() / 100);
    match secs {
        0..=9 if tenths > 0 => format!("{secs}.{tenths}s"),
        0..=59 => format!("{secs}s"),
        60..=3_599 => format!("{}m {}s", secs / 60, secs % 60),
        3_600..=86_399 => format!("{}h {}m", secs / 3_600, secs % 3_600 / 60),
        _ => format!("{}d {}h", secs / 86_400, secs % 86_400 / 3_600),
    }
}

/// A measured duration for people, as exact as it may matter: `0.04 ms`, `3.1 ms`, `250 ms`, `1.2 s`.
pub(crate) fn exact(span: Duration) -> String {
    let ms = span.as_secs_f64() * 1e3;
    let (number, unit) = match ms {
        ..1.0 => (format!("{ms:.2}"), "ms"),
        ..10.0 => (format!("{ms:.1}"), "ms"),
        ..1_000.0 => (format!("{ms:.0}."), "ms"),
        ..60_000.0 => (format!("{:.1}", ms / 1e3), "s"),
        _ => return show(span),
    };
    format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let cases = [
            ("0", 0),
            ("0.5", 500),
            (".5", 500),
            ("2.", 2_000),
            ("10", 10_000),
            ("10s", 10_000),
            ("1.25s", 1_250),
            ("300ms", 300),
            ("0.5ms", 0),
            ("5m", 300_000),
            ("0.5m", 30_000),
            ("1h", 3_600_000),
            ("2d", 172_800_000),
            ("007", 7_000),
            ("1h30m", 5_400_000),
            ("1m30s", 90_000),
            ("3m 20s", 200_000),
            ("1d12h", 129_600_000),
            ("1w", 604_800_000),
            ("1m1.5s", 61_500),
            ("1s500ms", 1_500),
        ];
        for (text, ms) in cases {
            assert_eq!(parse(text).map(|t| t.as_millis()), Ok(ms), "{text}");
        }
        assert_eq!(parse("0.5ms"), Ok(Duration::from_micros(500)));
        assert_eq!(parse("0.0000000001"), Ok(Duration::ZERO));
    }

    #[test]
    fn what_is_not_a_time_is_refused_with_its_reason() {
        for text in [
            "", "s", ".", "1.2.3", "1e3", "NaN", "inf", "+5", "5sec", "10S", "٣s", "1m1h", "1h1h",
            "1h30",
        ] {
            assert!(parse(text).is_err_and(|e| e.contains("is not a time")), "{text}");
        }
        for text in ["-1", "-0.5s", "-"] {
            assert!(parse(text).is_err_and(|e| e.contains("negative")), "{text}");
        }
        for text in ["36501d", "99999999999999999999h", &"9".repeat(60)] {
            assert!(parse(text).is_err_and(|e| e.contains("too long")), "{text}");
        }
    }

    #[test]
    fn durations_are_shown_short() {
        let cases = [
            (0, "0s"),
            (300, "0.3s"),
            (12_900, "12s"),
            (200_000, "3m 20s"),
            (18_120_000, "5h 2m"),
            (273_600_000, "3d 4h"),
        ];
        for (ms, text) in cases {
            assert_eq!(show(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn measured_durations_keep_what_matters() {
        let cases = [
            (0, "0 ms"),
            (40, "0.04 ms"),
            (1_000, "1 ms"),
            (3_140, "3.1 ms"),
            (250_000, "250 ms"),
            (1_000_000, "1 s"),
            (1_250_000, "1.2 s"),
            (200_000_000, "3m 20s"),
        ];
        for (us, text) in cases {
            assert_eq!(exact(Duration::from_micros(us)), text);
        }
    }
}
