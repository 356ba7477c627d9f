//! What locks in this store come to: the shortest ttl, requests and money.

use std::time::Duration;

use leasehold::core::admin::Prices;
use leasehold::core::backend::Facts;
use leasehold::core::deadline::{POLL_STEPS, TTL_DEFAULT, renewal_due, ttl_min};
use serde::Serialize;

use super::report::{Finding, note};
use crate::times;

/// A ttl is at least so many times the slowest request that was seen: then a renewal, which has a third
/// of it, can fail twice and be made again, with room for a day that is worse than this one.
const SLOWEST: u32 = 20;

const DAY: Duration = Duration::from_hours(24);

/// The shortest ttl, the one that is recommended, and what a day costs with it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Plan {
    pub(super) ttl_least: Duration,
    pub(super) ttl: Duration,
    /// The longest time between two looks of a waiter.
    pub(super) poll: Duration,
    prices: Option<Prices>,
}

impl Plan {
    pub(super) fn new(facts: Facts, slowest: Duration, prices: Option<Prices>) -> Plan {
        let ttl_least = round_up(ttl_min(facts.least_write_interval).max(slowest * SLOWEST));
        let ttl = ttl_least.max(TTL_DEFAULT);
        // As `deadline::Poll` has it, once the wait is a long one.
        let poll = (ttl / 3).min(facts.least_poll * POLL_STEPS).max(facts.least_poll);
        Plan { ttl_least, ttl, poll, prices }
    }

    /// Writes a day of a held lock: its renewals.
    fn writes(self) -> u128 {
        DAY.as_millis() / renewal_due(self.ttl).as_millis().max(1)
    }

    /// Reads a day of one that waits.
    fn reads(self) -> u128 {
        DAY.as_millis() / self.poll.as_millis().max(1)
    }

    /// US dollars for so many requests, at cents for a million.
    fn dollars(requests: u128, million: u64) -> f64 {
        let requests = f64::from(u32::try_from(requests).unwrap_or(u32::MAX));
        let million = f64::from(u32::try_from(million).unwrap_or(u32::MAX));
        requests * million / 1e8
    }

    pub(super) fn dollars_held(self) -> Option<f64> {
        Some(Plan::dollars(self.writes(), self.prices?.million_writes))
    }

    pub(super) fn dollars_waiting(self) -> Option<f64> {
        Some(Plan::dollars(self.reads(), self.prices?.million_reads))
    }

    pub(super) fn held(self) -> Finding {
        let source = self.prices.map(|p| format!(" ({})", p.source)).unwrap_or_default();
        let cost = self.dollars_held().map(money).unwrap_or_default();
        let ttl = times::show(self.ttl);
        note(format!("{} writes a day with a ttl of {ttl}{cost}{source}", self.writes()))
    }

    pub(super) fn waiting(self) -> Finding {
        let cost = self.dollars_waiting().map(money).unwrap_or_default();
        let poll = times::show(self.poll);
        note(format!("{} reads a day, one in {poll} once it has waited long{cost}", self.reads()))
    }

    pub(super) fn answer(self) -> PlanAnswer {
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        PlanAnswer {
            ttl_ms_min: ms(self.ttl_least),
            ttl_ms: ms(self.ttl),
            writes_a_day_held: u64::try_from(self.writes()).ok(),
            reads_a_day_waiting: u64::try_from(self.reads()).ok(),
            usd_a_day_held: self.dollars_held(),
            usd_a_day_waiting: self.dollars_waiting(),
            prices: self.prices.map(|prices| prices.source),
        }
    }
}

/// What locks come to, for a program.
#[derive(Serialize)]
pub(super) struct PlanAnswer {
    ttl_ms_min: u64,
    ttl_ms: u64,
    writes_a_day_held: Option<u64>,
    reads_a_day_waiting: Option<u64>,
    usd_a_day_held: Option<f64>,
    usd_a_day_waiting: Option<f64>,
    prices: Option<&'static str>,
}

/// `, $0.043 a day`: two figures that count.
fn money(dollars: f64) -> String {
    let digits = match dollars {
        d if d >= 1.0 => 2,
        d if d >= 0.1 => 2,
        d if d >= 0.01 => 3,
        _ => 4,
    };
    format!(": ${dollars:.digits$}")
}

/// To a span that a person would have chosen.
fn round_up(span: Duration) -> Duration {
    let step = match span.as_millis() {
        0..=1_000 => 100,
        1_001..=10_000 => 1_000,
        _ => 5_000,
    };
    let ms = span.as_nanos().div_ceil(1_000_000).next_multiple_of(step);
    Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITED: Facts = Facts {
        least_write_interval: Duration::from_secs(1),
        clock_uncertainty: Duration::from_secs(2),
        least_poll: Duration::from_secs(1),
        notifies: false,
    };

    /// Somebody reads the costs before a bill comes. A lock of 30 s in a bucket is renewed every 10 s,
    /// 8,640 times a day, and at 5 dollars for a million writes that is 4.32 cents.
    #[test]
    fn a_day_costs_what_the_price_list_says() {
        let prices = Prices { million_reads: 40, million_writes: 500, source: "a list" };
        let plan = Plan::new(LIMITED, Duration::from_millis(90), Some(prices));
        assert_eq!((plan.writes(), plan.reads()), (8_640, 8_640));
        assert_eq!(plan.held().fact, "8640 writes a day with a ttl of 30s: $0.043 (a list)");
        assert_eq!(
            plan.waiting().fact,
            "8640 reads a day, one in 10s once it has waited long: $0.0035"
        );
        let plan = Plan::new(LIMITED, Duration::ZERO, None);
        assert_eq!(plan.held().fact, "8640 writes a day with a ttl of 30s");
    }

    /// A ttl has room for the store's limit and for its slowest answer, and looks as if chosen.
    #[test]
    fn the_least_ttl_follows_the_limit_and_the_slowest_request() {
        let unlimited = Facts { least_write_interval: Duration::ZERO, ..LIMITED };
        let least = |facts, ms| Plan::new(facts, Duration::from_millis(ms), None).ttl_least;
        assert_eq!(least(unlimited, 0), Duration::from_millis(100));
        assert_eq!(least(unlimited, 12), Duration::from_millis(300));
        assert_eq!(least(unlimited, 120), Duration::from_secs(3));
        assert_eq!(least(LIMITED, 120), Duration::from_secs(10));
        assert_eq!(least(LIMITED, 620), Duration::from_secs(15));
        assert_eq!(Plan::new(LIMITED, Duration::from_secs(3), None).ttl, Duration::from_mins(1));
    }
}
