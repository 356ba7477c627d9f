//! Many seeds, on several threads, up to the first that breaks a promise.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::fault::{Fault, Options, Struck};
use crate::tally::Tally;
use crate::violation::{Report, Violation};

/// A kind of world.
pub type Explore<T> = fn(u64, &Options) -> Result<Report<T>, Box<Violation>>;

/// What the worlds of a campaign tell together.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Summary<T> {
    /// How many worlds.
    pub seeds: u64,
    /// How many events.
    pub events: u64,
    /// How much time went by in them, in microseconds.
    pub span: u128,
    /// What struck.
    pub struck: Struck,
    /// What happened.
    pub tally: T,
    /// A hash of everything that came out of the code under test, the same for the same seeds.
    pub digest: u64,
}

impl<T: Tally> Summary<T> {
    /// Adds one world.
    pub fn add(&mut self, report: &Report<T>) {
        self.seeds += 1;
        self.events += report.events;
        self.span += u128::from(report.span);
        self.struck.add(&report.struck);
        self.tally.add(&report.tally);
        // A sum, so that the order in which threads finish makes no difference.
        self.digest = self.digest.wrapping_add(report.digest);
    }

    fn join(&mut self, other: &Summary<T>) {
        self.seeds += other.seeds;
        self.events += other.events;
        self.span += other.span;
        self.struck.add(&other.struck);
        self.tally.add(&other.tally);
        self.digest = self.digest.wrapping_add(other.digest);
    }

    /// The figures as tables, for people and for `docs/proof.md`.
    pub fn table(&self, faults: &[Fault], threads: usize, took: Duration) -> String {
        let hours = u64::try_from(self.span / 3_600_000_000).unwrap_or(u64::MAX);
        let ms = took.as_millis().max(1);
        let pace = u128::from(self.events) * 1000 / ms / threads.max(1) as u128;
        let mut lines = vec![
            format!("{} worlds, {} events,", grouped(self.seeds), grouped(self.events)),
            format!("{} hours of true time;", grouped(hours)),
            format!("took {}.{} s on {threads} threads,", ms / 1000, ms / 100 % 10),
            format!("{} events a second on each;", grouped(u64::try_from(pace).unwrap_or(0))),
            format!("hash {:016x}", self.digest),
        ];
        let head = |what: &str| format!("\n| {what} | what | times |\n| --- | --- | ---: |");
        lines.push(head("fault"));
        for fault in faults {
            let times = grouped(self.struck.of(*fault));
            lines.push(format!("| {fault} | {} | {times} |", fault.says()));
        }
        lines.push(head("sometimes"));
        for (name, says, times) in self.tally.rows() {
            lines.push(format!("| {} | {says} | {} |", name.replace('_', " "), grouped(times)));
        }
        lines.join("\n")
    }

    /// What never happened: a run with such a thing has shown nothing of it. `faults`: the kinds that
    /// this kind of world knows.
    pub fn missing(&self, faults: &[Fault]) -> Vec<&'static str> {
        let rows = self.tally.rows();
        let happened = rows.iter().filter(|row| row.2 == 0).map(|row| row.0);
        let struck = faults.iter().filter(|f| self.struck.of(**f) == 0).map(|f| f.name());
        happened.chain(struck).collect()
    }
}

/// Lives through the worlds of these seeds. The error is the violation of the lowest seed that has
/// one. `done` is called now and then with the number of worlds so far.
pub fn campaign<T: Tally>(
    explore: Explore<T>,
    seeds: Range<u64>,
    threads: usize,
    options: &Options,
    done: &(dyn Fn(u64) + Sync),
) -> Result<Summary<T>, Box<Violation>> {
    let next = AtomicU64::new(seeds.start);
    let end = AtomicU64::new(seeds.end);
    let sum = Mutex::new(Summary::default());
    let worst: Mutex<Option<Box<Violation>>> = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                let mut own = Summary::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end.load(Ordering::Relaxed) {
                        break;
                    }
                    match explore(seed, options) {
                        Ok(report) => own.add(&report),
                        Err(violation) => {
                            // Seeds below this one are with other threads, which go on.
                            end.fetch_min(seed, Ordering::Relaxed);
                            let mut worst = worst.lock().unwrap_or_else(PoisonError::into_inner);
                            if worst.as_ref().is_none_or(|w| w.seed > seed) {
                                *worst = Some(violation);
                            }
                        }
                    }
                    if seed.is_multiple_of(256) {
                        done(seed - seeds.start);
                    }
                }
                sum.lock().unwrap_or_else(PoisonError::into_inner).join(&own);
            });
        }
    });
    match worst.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(violation) => Err(violation),
        None => Ok(sum.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

/// With a comma after every three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
