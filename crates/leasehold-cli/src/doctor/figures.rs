//! What was measured on the way: latencies, the store's clock, and how often it asked for patience.

use std::time::Duration;

use serde::Serialize;

use super::report::{Finding, fail, note, ok, warn};
use crate::times;

/// Everything that was measured.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) reads: Vec<Duration>,
    /// Of writes that were applied; a refusal may be quicker.
    pub(super) writes: Vec<Duration>,
    /// What the store's clock said, in the order of the reads.
    pub(super) told: Vec<Told>,
    /// Ages that the store told, each with the time since that write was sent, which is longer.
    pub(super) ages: Vec<(Duration, Duration)>,
    /// How often the store asked for patience.
    pub(super) throttled: u64,
}

/// What the store's clock said, between two looks at ours. Unix milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Told {
    pub(super) before: u64,
    pub(super) after: u64,
    pub(super) store: u64,
}

/// The least, the median and the most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Spread {
    pub(super) least: Duration,
    pub(super) median: Duration,
    pub(super) most: Duration,
    pub(super) count: usize,
}

impl Spread {
    pub(super) fn of(spans: &[Duration]) -> Option<Spread> {
        let mut spans = spans.to_vec();
        spans.sort_unstable();
        let (&least, &most) = (spans.first()?, spans.last()?);
        Some(Spread { least, median: spans[spans.len() / 2], most, count: spans.len() })
    }

    fn answer(self) -> SpreadAnswer {
        let ms = |span: Duration| span.as_secs_f64() * 1e3;
        let (min, median, max) = (ms(self.least), ms(self.median), ms(self.most));
        SpreadAnswer { min, median, max, count: self.count }
    }
}

/// How far the store's clock is from ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Clock {
    /// By how many milliseconds it is ahead; negative where it is behind.
    pub(super) ahead: i64,
    /// By how many milliseconds that may be wrong.
    pub(super) error: i64,
    /// The steps in which it tells the time, as far as seen.
    pub(super) step: Duration,
    /// The most by which it went back between two reads.
    pub(super) back: Duration,
}

/// A clock that is further off than this is worth a word.
const FAR_OFF_MS: u64 = 60_000;

impl Figures {
    /// The longest that anything took, zero if nothing was answered.
    pub(super) fn slowest(&self) -> Duration {
        self.reads.iter().chain(&self.writes).max().copied().unwrap_or_default()
    }

    /// The store's clock, where it has told the time.
    pub(super) fn clock(&self) -> Option<Clock> {
        self.told.first()?;
        // Seconds, as in an HTTP date, or what we ourselves can tell. A backend may say by the host's
        // clock where in the second we are, but its ages are still of whole seconds.
        let has_ages = !self.ages.is_empty();
        let is_whole = self.told.iter().all(|t| t.store % 1_000 == 0)
            || has_ages && self.ages.iter().all(|(age, _)| age.subsec_nanos() == 0);
        let step_ms = if is_whole { 1_000 } else { 1 };
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        // True time at the store was in [told, told + step), somewhere between our two looks.
        let told = |t: &Told| t.store - t.store % step_ms;
        let low = |t: &Told| signed(told(t)).saturating_sub(signed(t.after));
        let high = |t: &Told| signed(told(t) + step_ms).saturating_sub(signed(t.before));
        let low = self.told.iter().map(low).max()?;
        let high = self.told.iter().map(high).min()?;
        let pairs = self.told.iter().zip(self.told.iter().skip(1));
        let back_ms = pairs.map(|(a, b)| a.store.saturating_sub(b.store)).max();
        Some(Clock {
            ahead: low / 2 + high / 2,
            error: (high / 2).saturating_sub(low / 2).abs().max(1),
            step: Duration::from_millis(step_ms),
            back: Duration::from_millis(back_ms.unwrap_or(0)),
        })
    }

    /// What the store's clock is worth. `uncertainty` is what the backend says of the ages it tells.
    pub(super) fn judge_clock(&self, uncertainty: Duration) -> Finding {
        // The one dangerous error: a living holder would be taken for dead.
        let too_old = self.ages.iter().find(|(age, passed)| *age > *passed + uncertainty);
        if let Some((age, passed)) = too_old {
            let (age, passed) = (times::exact(*age), times::exact(*passed));
            return fail(format!(
                "a state of at most {passed} was told as {age} old: holders would lose their locks"
            ));
        }
        let Some(clock) = self.clock() else {
            return note("the store has none; a dead holder is noticed after a ttl of watching");
        };
        let off = clock.ahead.unsigned_abs();
        let span = |ms: u64| times::exact(Duration::from_millis(ms));
        let side = if clock.ahead < 0 { "behind" } else { "ahead of" };
        let error = clock.error.unsigned_abs();
        let offset = match off > error {
            true => format!("{} {side} this host's (±{})", span(off), span(error)),
            false => format!("the same as this host's (±{})", span(error)),
        };
        let ages = match self.ages.is_empty() {
            true => "; it tells no ages",
            false => "",
        };
        let steps = format!("in steps of {}", times::exact(clock.step));
        if clock.back > uncertainty.max(clock.step) {
            let back = times::exact(clock.back);
            return warn(format!("{offset}, {steps}; between two reads it went back by {back}"));
        }
        match off > FAR_OFF_MS {
            true => warn(format!(
                "{offset}, {steps}{ages}; one of the two is wrong: no lock depends on it, dates do"
            )),
            false => ok(format!("{offset}, {steps}{ages}")),
        }
    }

    /// How quick the store is.
    pub(super) fn latency(&self) -> Finding {
        let show = |what: &str, spans: &[Duration]| {
            let Some(spread) = Spread::of(spans) else { return format!("{what} -") };
            let [least, median, most] = [spread.least, spread.median, spread.most].map(ms);
            format!("{what} {least}/{median}/{most} ms")
        };
        let (read, write) = (show("read", &self.reads), show("write", &self.writes));
        let patience = match self.throttled {
            0 => String::new(),
            n => format!("; asked for patience {n} times"),
        };
        note(format!("{read}, {write} (min/median/max){patience}"))
    }

    pub(super) fn answer(&self) -> FiguresAnswer {
        FiguresAnswer {
            read_ms: Spread::of(&self.reads).map(Spread::answer),
            write_ms: Spread::of(&self.writes).map(Spread::answer),
            throttled: self.throttled,
            clock: self.clock().map(|clock| ClockAnswer {
                ahead_ms: clock.ahead,
                error_ms: clock.error,
                step_ms: clock.step.as_secs_f64() * 1e3,
            }),
        }
    }
}

/// What was measured, for a program.
#[derive(Serialize)]
pub(super) struct FiguresAnswer {
    read_ms: Option<SpreadAnswer>,
    write_ms: Option<SpreadAnswer>,
    throttled: u64,
    clock: Option<ClockAnswer>,
}

#[derive(Serialize)]
struct SpreadAnswer {
    min: f64,
    median: f64,
    max: f64,
    count: usize,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the names are those of the page")]
struct ClockAnswer {
    ahead_ms: i64,
    error_ms: i64,
    step_ms: f64,
}

/// Milliseconds with two figures that count.
fn ms(span: Duration) -> String {
    let ms = span.as_secs_f64() * 1e3;
    let digits = match ms {
        ..1.0 => 2,
        ..10.0 => 1,
        _ => 0,
    };
    format!("{ms:.digits$}")
}
