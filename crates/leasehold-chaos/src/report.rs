//! The end: a table, or what was violated with the lines of the logs around it.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use rustix::process::Signal;

use crate::check::Written;
use crate::clock::{self, Time};
use crate::log;
use crate::plan::Target;
use crate::run::Run;
use crate::verdict::{Facts, Seen, Violation};
use crate::world::{World, name};

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// By target: main, keeper, command, all of a run, main and keeper.
    kills: [u64; 5],
    stops: [u64; 5],
    signals: u64,
    /// Shorter and longer than every ttl.
    freezes: [u64; 2],
    cuts: [u64; 2],
    cuts_of_all: u64,
    pub(crate) broken: u64,
}

impl Tally {
    pub(crate) fn count(&mut self, target: Target, signal: Signal) {
        match signal {
            Signal::KILL => self.kills[target as usize] += 1,
            Signal::STOP => self.stops[target as usize] += 1,
            _ => self.signals += 1,
        }
    }

    pub(crate) fn freeze(&mut self, is_long: bool) {
        self.freezes[usize::from(is_long)] += 1;
    }

    pub(crate) fn cut(&mut self, is_long: bool, is_all: bool) {
        self.cuts[usize::from(is_long)] += 1;
        self.cuts_of_all += u64::from(is_all);
    }
}

/// How many violations are told in full.
const TOLD: usize = 5;

/// How many more are told in a line.
const LISTED: usize = 100;

/// How many lines of the logs are shown before and after.
const AROUND: usize = 12;

/// Prints the verdict: the code to end with, the directory, and whether that is to be kept.
pub(crate) fn close(
    world: &World,
    again: &str,
    length: Time,
    keep: bool,
) -> (ExitCode, PathBuf, bool) {
    let (runs, breaks, away) = (&world.runs, &world.breaks, &world.away);
    let facts = Facts { terms: &world.terms, runs, breaks, away, store_fails: world.store.fails };
    let mut seen = Seen::default();
    let mut violations = vec![];
    let names = 0..world.terms.names;
    let written: Vec<_> = names.map(|n| Written::read(&world.dir, &name(n))).collect();
    for (n, written) in written.iter().enumerate() {
        violations.extend(facts.judge(n, written, &mut seen));
    }
    violations.extend(facts.judge_ends(&World::by_run(&written)));
    let found = world.found.iter().cloned();
    violations.extend(found.map(|what| Violation { name: None, at: clock::now(), what }));
    print!("{}", table(world, &seen, length));
    if violations.is_empty() {
        if keep {
            println!("logs: {}", world.dir.display());
        }
        return (ExitCode::SUCCESS, world.dir.clone(), keep);
    }
    violations.sort_by_key(|violation| violation.at);
    for violation in violations.iter().take(TOLD) {
        print!("{}", told(world, violation));
    }
    println!("\n{} violations", violations.len());
    for violation in violations.iter().skip(TOLD).take(LISTED) {
        println!("  at {}: {}", clock::shown(violation.at), violation.what);
    }
    println!("logs:      {}", world.dir.display());
    println!("the same plan again, though not the same timing:\n  {again}");
    (ExitCode::FAILURE, world.dir.clone(), true)
}

fn code(run: &Run) -> Option<i32> {
    run.ended.and_then(|(_, status)| status.code())
}

fn table(world: &World, seen: &Seen, length: Time) -> String {
    let (runs, tally) = (&world.runs, &world.tally);
    let lost = |unhurt: bool| {
        let lost = runs.iter().filter(|run| code(run) == Some(79));
        lost.filter(|run| !unhurt || !run.done.hurt && !met_trouble(world, run)).count()
    };
    let not_acquired = runs.iter().filter(|run| code(run) == Some(75)).count();
    let by_target = |n: [u64; 5]| {
        let [main, keeper, command, all, both] = n;
        let sum: u64 = n.iter().sum();
        format!(
            "{sum}: leasehold {main}, keeper {keeper}, command {command}, all of them {all}, \
             leasehold and keeper {both}"
        )
    };
    let [short, long] = tally.freezes;
    let [short_cuts, long_cuts] = tally.cuts;
    let rows = [
        ("time", format!("{:.0} s", clock::seconds(length))),
        ("runs", format!("{}, not acquired {not_acquired}", runs.len())),
        (
            "sections",
            format!("{}, ended by themselves {}", seen.sections, seen.ended_by_themselves),
        ),
        ("tokens", seen.tokens.to_string()),
        ("takeovers", seen.takeovers.to_string()),
        ("kills", by_target(tally.kills)),
        ("stops", by_target(tally.stops)),
        ("SIGTERM and SIGINT", tally.signals.to_string()),
        ("broken by hand", tally.broken.to_string()),
        ("store frozen", format!("shorter than a ttl {short}, longer {long}")),
        (
            "links cut",
            format!("shorter {short_cuts}, longer {long_cuts}, all at once {}", tally.cuts_of_all),
        ),
        ("lost (exit 79)", format!("{}, of these without our doing {}", lost(false), lost(true))),
        (
            "writes to the resource",
            format!("{}, stale and refused {}", seen.accepted, seen.refused),
        ),
        ("longest time without a holder", format!("{:.2} s", clock::seconds(seen.longest_gap))),
        (
            "beside the next one, not promised",
            format!("nobody left to watch {}, broken by hand {}", seen.unwatched, seen.broken),
        ),
        ("overlaps", seen.overlaps.to_string()),
    ];
    let line = |(title, value): &(&str, String)| format!("{title:<34} {value}\n");
    rows.iter().map(line).collect::<Vec<_>>().concat()
}

/// Whether the store was away from it, or its lock broken by hand.
fn met_trouble(world: &World, run: &Run) -> bool {
    let ended = run.ended.map_or(Time::MAX, |(at, _)| at);
    let meets = |from: Time, to: Time| from <= ended && to >= run.started;
    world.away.iter().any(|(from, to)| meets(*from, to.unwrap_or(Time::MAX)))
        || world.breaks.iter().any(|b| b.name == run.ask.name && meets(b.from, b.to))
}

/// One violation, and what the logs say around it.
fn told(world: &World, violation: &Violation) -> String {
    let mut text = format!("\nVIOLATION at {}: {}\n", clock::shown(violation.at), violation.what);
    let mut lines: Vec<(Time, String)> = vec![];
    let mut add = |path: PathBuf, whose: &str| {
        let log = fs::read(path).unwrap_or_default();
        for line in String::from_utf8_lossy(&log).lines() {
            let (at, rest) = line.split_once(' ').unwrap_or(("0", line));
            lines.push((at.parse().unwrap_or(0), format!("{whose:<8} {rest}")));
        }
    };
    add(world.dir.join("journal"), "harness");
    if let Some(n) = violation.name {
        add(log::path(&world.dir, &name(n)), "command");
    }
    lines.sort();
    // That somebody still lives is worth a line only where it is between others' lines.
    let mut shown: Vec<(Time, String)> = vec![];
    for line in lines {
        let is_same = shown.last().is_some_and(|last| {
            last.1 == line.1 && line.1.ends_with("alive") && line.0 < violation.at
        });
        if is_same {
            shown.pop();
        }
        shown.push(line);
    }
    let here = shown.partition_point(|(at, _)| *at < violation.at);
    let around = here.saturating_sub(AROUND)..(here + AROUND).min(shown.len());
    for (at, line) in &shown[around] {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {} {line}", clock::shown(*at));
    }
    text
}
