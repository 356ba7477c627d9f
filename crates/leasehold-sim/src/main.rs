//! The program behind `cargo xtask sim`: many worlds for figures, one world for its story.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::process::ExitCode;

use leasehold_sim::{
    Explore, Fault, Options, Tally, Violation, campaign, library, protocol, shrink,
};

const USAGE: &str = "\
usage: cargo xtask sim [OPTIONS]

many worlds, up to the first broken promise:
  --seeds N             how many [default: 10000]
  --first S             from which seed [default: 0]
  --threads N           on how many threads [default: one for each processor]

one world, with its story:
  --seed S              which
  --without KIND,..     faults of these kinds do not strike
  --only FAULT,..       no faults but these strike
  --clients N,..        no clients do anything but these
  --calm-at US          no faults from this microsecond on

both:
  --world NAME          protocol or library [default: protocol]
  --shrink              a broken promise is looked for in a smaller world
  --plant BUG           with this bug in the code under test; `list` shows them";

/// What was asked for.
struct Asked {
    seed: Option<u64>,
    seeds: u64,
    first: u64,
    threads: usize,
    shrinks: bool,
    world: String,
    options: Options,
}

fn main() -> ExitCode {
    match read().and_then(|asked| asked.map_or(Ok(true), |asked| start(&asked))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

/// `None` if there is nothing left to do.
fn read() -> Result<Option<Asked>, String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut asked = Asked {
        seed: None,
        seeds: 10_000,
        first: 0,
        threads,
        shrinks: false,
        world: "protocol".into(),
        options: Options::default(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        if flag == "--shrink" {
            asked.shrinks = true;
            continue;
        }
        if flag == "--help" || flag == "-h" {
            println!("{USAGE}");
            return Ok(None);
        }
        let value = arguments.next().ok_or_else(|| format!("{flag} needs a value\n\n{USAGE}"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{flag}: {value:?} is no number"));
        match flag.as_str() {
            "--seed" => asked.seed = Some(number()?),
            "--seeds" => asked.seeds = number()?,
            "--first" => asked.first = number()?,
            "--threads" => asked.threads = usize::try_from(number()?).unwrap_or(1),
            "--world" => asked.world = value,
            "--plant" => {
                if !plant(&value)? {
                    return Ok(None);
                }
            }
            _ if asked.options.set(&flag, &value)? => {}
            _ => return Err(format!("{flag} is not an option\n\n{USAGE}")),
        }
    }
    Ok(Some(asked))
}

#[cfg(feature = "planted")]
fn plant(name: &str) -> Result<bool, String> {
    use leasehold::planted as library;
    use leasehold_core::planted as protocol;
    if let Some(bug) = protocol::Bug::ALL.iter().find(|bug| bug.name() == name) {
        protocol::plant(Some(*bug));
        return Ok(true);
    }
    if let Some(bug) = library::Bug::ALL.iter().find(|bug| bug.name() == name) {
        library::plant(Some(*bug));
        return Ok(true);
    }
    for bug in protocol::Bug::ALL {
        println!("{:28} {}", bug.name(), bug.wrong());
    }
    for bug in library::Bug::ALL {
        println!("{:28} (--world library) {}", bug.name(), bug.wrong());
    }
    if name == "list" { Ok(false) } else { Err(format!("there is no bug called {name:?}")) }
}

#[cfg(not(feature = "planted"))]
fn plant(_: &str) -> Result<bool, String> {
    Err("planted bugs are compiled in only with `--features planted`".into())
}

/// A reader who has seen enough, and closes the pipe, is no failure.
fn say(text: &str) {
    writeln!(stdout(), "{text}").unwrap_or_default();
}

/// False if a promise was broken.
fn start(asked: &Asked) -> Result<bool, String> {
    match asked.world.as_str() {
        "protocol" => Ok(run(protocol::explore, protocol::FAULTS, asked)),
        "library" => Ok(run(library::explore, library::FAULTS, asked)),
        other => Err(format!("there is no world called {other:?}")),
    }
}

fn run<T: Tally>(explore: Explore<T>, faults: &[Fault], asked: &Asked) -> bool {
    match asked.seed {
        Some(seed) => one(explore, seed, asked),
        None => many(explore, faults, asked),
    }
}

fn one<T>(explore: Explore<T>, seed: u64, asked: &Asked) -> bool {
    let options = Options { told: true, ..asked.options.clone() };
    match explore(seed, &options) {
        Ok(report) => {
            let (events, span) = (report.events, report.span / 1_000_000);
            let kept = format!("every promise was kept: {events} events in {span} s");
            say(&format!("{}\n{kept}, hash {:016x}", report.trace, report.digest));
            true
        }
        Err(violation) => {
            show(explore, &violation, asked.shrinks);
            false
        }
    }
}

/// The story of a broken promise, in the smallest world that was found if that is wanted.
fn show<T>(explore: Explore<T>, violation: &Violation, shrinks: bool) {
    let told = Options { told: true, ..violation.options.clone() };
    if shrinks && let Some(shrunk) = shrink(explore, violation, 3000) {
        let (small, tried, found) = (shrunk.violation, shrunk.tried, violation.replay());
        let tried = format!("{tried} worlds were tried for a smaller one:");
        say(&format!("{}\nfound: {found}\n{tried}\n{small}", small.trace));
    } else if let Err(again) = explore(violation.seed, &told) {
        say(&format!("{}\n{again}", again.trace));
    } else {
        let why = "it did not happen again: the world depends on more than its seed";
        say(&format!("{violation}\n{why}"));
    }
}

#[expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "how long a campaign took is for people, and nothing depends on it"
)]
fn many<T: Tally>(explore: Explore<T>, faults: &[Fault], asked: &Asked) -> bool {
    let start = std::time::Instant::now();
    let shown = stderr().is_terminal();
    let done = |seeds: u64| {
        if shown {
            let pace =
                seeds * 1000 / u64::try_from(start.elapsed().as_millis()).unwrap_or(1).max(1);
            eprint!("\r{seeds} of {} worlds, {pace} a second ", asked.seeds);
            stderr().flush().unwrap_or_default();
        }
    };
    let seeds = asked.first..asked.first.saturating_add(asked.seeds);
    let result = campaign(explore, seeds, asked.threads, &asked.options, &done);
    let took = start.elapsed();
    if shown {
        eprintln!();
    }
    match result {
        Ok(summary) => {
            say(&summary.table(faults, asked.threads, took));
            let missing = summary.missing(faults);
            if !missing.is_empty() {
                say(&format!("\nnever happened: {}", missing.join(", ")));
            }
            true
        }
        Err(violation) => {
            show(explore, &violation, asked.shrinks);
            false
        }
    }
}
