//! The program behind `cargo xtask sim`: many worlds for figures, one world for its story.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use leasehold_sim::{
    Explore, Fault, Options, Tally, Violation, campaign, library, protocol, shrink,
};

/// Lives through many worlds up to the first broken promise, or tells the story of one.
#[derive(Parser)]
#[command(bin_name = "cargo xtask sim")]
struct Asked {
    /// How many worlds
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    seeds: u64,
    /// From which seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    first: u64,
    /// On how many threads [default: one for each processor]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// One world, with its story
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Faults of these kinds do not strike
    #[arg(long, value_name = "KIND,..")]
    without: Option<String>,
    /// No faults but these strike
    #[arg(long, value_name = "FAULT,..")]
    only: Option<String>,
    /// No clients do anything but these
    #[arg(long, value_name = "N,..")]
    clients: Option<String>,
    /// No faults from this microsecond on
    #[arg(long, value_name = "US")]
    calm_at: Option<String>,
    /// Who lives in it: state machines, or clients with their driver
    #[arg(long, value_enum, default_value_t = World::Protocol)]
    world: World,
    /// Look for a smaller world in which the promise is broken too
    #[arg(long)]
    shrink: bool,
    /// Plant this bug in the code under test; `list` shows them
    #[arg(long, value_name = "BUG")]
    plant: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum World {
    Protocol,
    Library,
}

impl Asked {
    fn options(&self) -> Result<Options, String> {
        let mut options = Options::default();
        for (flag, value) in [
            ("--without", &self.without),
            ("--only", &self.only),
            ("--clients", &self.clients),
            ("--calm-at", &self.calm_at),
        ] {
            if let Some(value) = value {
                options.set(flag, value).map_err(|why| format!("{flag}: {why}"))?;
            }
        }
        Ok(options)
    }

    fn threads(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.unwrap_or_else(processors).max(1)
    }
}

fn main() -> ExitCode {
    match start(&Asked::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

/// False if a promise was broken.
fn start(asked: &Asked) -> Result<bool, String> {
    let options = asked.options()?;
    if let Some(bug) = &asked.plant
        && !plant(bug)?
    {
        return Ok(true);
    }
    Ok(match asked.world {
        World::Protocol => run(protocol::explore, protocol::FAULTS, asked, &options),
        World::Library => run(library::explore, library::FAULTS, asked, &options),
    })
}

fn run<T: Tally>(explore: Explore<T>, faults: &[Fault], asked: &Asked, options: &Options) -> bool {
    match asked.seed {
        Some(seed) => one(explore, seed, asked, options),
        None => many(explore, faults, asked, options),
    }
}

/// Plants the bug. False if there was only a list to show.
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

fn one<T>(explore: Explore<T>, seed: u64, asked: &Asked, options: &Options) -> bool {
    let options = Options { told: true, ..options.clone() };
    match explore(seed, &options) {
        Ok(report) => {
            let (events, span) = (report.events, report.span / 1_000_000);
            let kept = format!("every promise was kept: {events} events in {span} s");
            say(&format!("{}\n{kept}, hash {:016x}", report.trace, report.digest));
            true
        }
        Err(violation) => {
            show(explore, &violation, asked.shrink);
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
fn many<T: Tally>(explore: Explore<T>, faults: &[Fault], asked: &Asked, options: &Options) -> bool {
    let threads = asked.threads();
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
    let result = campaign(explore, seeds, threads, options, &done);
    let took = start.elapsed();
    if shown {
        eprintln!();
    }
    match result {
        Ok(summary) => {
            say(&summary.table(faults, threads, took));
            let missing = summary.missing(faults);
            if !missing.is_empty() {
                say(&format!("\nnever happened: {}", missing.join(", ")));
            }
            true
        }
        Err(violation) => {
            show(explore, &violation, asked.shrink);
            false
        }
    }
}
