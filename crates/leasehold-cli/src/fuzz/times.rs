//! The target `times`: times as they are typed.

use std::time::Duration;

use leasehold_fuzz::Target;

use crate::times::{parse, show};

const WORDS: &[&str] = &[
    "ms",
    "s",
    "m",
    "h",
    "d",
    ".",
    "-",
    "+",
    "e",
    "0.5",
    "300ms",
    "99999999999999999999",
    "36500d",
    "1h30m",
    "3m 20s",
    "w",
    "3153600000",
    "inf",
    "NaN",
    " ",
    "٣",
    "\0",
];

/// A time means what its digits say, or is refused; written out it is the same time again, and shown
/// to people it is that time but for what is left out.
#[test]
fn times() {
    Target { name: "times", words: WORDS, runs: 40_000, check }.fuzz();
}

fn check(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let parsed = parse(text);
    let most = Duration::from_hours(100 * 365 * 24);
    match (&parsed, meant(text)) {
        (Ok(time), Some(nanos)) => {
            // Below the eighteenth digit and below a nanosecond nothing counts, digit by digit.
            assert!(nanos.abs_diff(time.as_nanos()) <= 20, "{text:?} is {time:?}");
            assert!(*time <= most);
        }
        (Err(why), Some(nanos)) => {
            assert!(why.contains("too long") && nanos > most.as_nanos(), "{text:?}: {why}");
        }
        (Err(why), None) => assert!(!why.contains(char::is_control), "{why}"),
        // Several numbers with their units; what each part is has been seen alone.
        (Ok(time), None) => assert_eq!(Some(*time), sum(text), "{text:?}"),
    }
    let Ok(time) = parsed else { return false };
    let written = format!("{}.{:09}", time.as_secs(), time.subsec_nanos());
    assert_eq!(parse(&written), Ok(time));
    is_shown(time);
    true
}

/// The nanoseconds that the digits say, however many; `None` where it is no time.
fn meant(text: &str) -> Option<u128> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let unit = units.into_iter().find_map(|(name, ms)| Some((text.strip_suffix(name)?, ms)));
    let (number, ms) = unit.unwrap_or((text, 1_000));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if digits().next().is_none() || !digits().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos: u128 = ms * 1_000_000;
    let add = |sum: u128, b: u8| sum.saturating_mul(10).saturating_add(u128::from(b - b'0'));
    let whole = whole.bytes().fold(0, add).saturating_mul(nanos);
    let fraction = fraction.bytes().chain(std::iter::repeat(b'0')).take(18).fold(0, add);
    Some(whole.saturating_add(fraction * nanos / 10_u128.pow(18)))
}

/// What several numbers with their units come to.
fn sum(text: &str) -> Option<Duration> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let (mut rest, mut nanos) = (text.trim(), 0);
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (digits, tail) = rest.split_at(number);
        let tail = tail.trim_start();
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(end);
        let (unit, scale) = if unit == "w" { ("d", 7) } else { (unit, 1) };
        let known = units.iter().any(|(name, _)| *name == unit);
        nanos += known.then(|| meant(&format!("{digits}{unit}")))?? * scale;
        rest = next.trim_start();
    }
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}

/// What is shown adds up to the time, but for less than its last unit.
fn is_shown(time: Duration) {
    let shown = show(time);
    let parts: Vec<&str> = shown.split(' ').collect();
    let sum: Duration = parts.iter().map(|part| parse(part).expect("a time of its own")).sum();
    let last = parts[parts.len() - 1];
    let unit = match last {
        tenths if tenths.contains('.') => Duration::from_millis(100),
        // A second that has no tenth to show.
        last if last.ends_with('s') => Duration::from_secs(1),
        last if last.ends_with('m') => Duration::from_mins(1),
        _ => Duration::from_hours(1),
    };
    assert!(parts.len() <= 2 && sum <= time && time < sum + unit, "{time:?} is shown as {shown}");
}
