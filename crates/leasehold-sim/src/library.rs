//! The world of the library: every client is a real [`leasehold::Client`] with its driver, every user
//! a task that calls it as a program does. What is checked is what users see.
//!
//! Each process is what it is in production, a driver on a runtime of its own with users beside it;
//! only its clocks, its timers, its random numbers and its store are the world's.

use std::sync::Arc;

use crate::fault::Options;
use crate::trace::Trace;
use crate::violation::{self, NO_PANIC, Report, Violation};
use run::Run;
use state::World;

mod accidents;
mod checks;
mod env;
mod network;
mod plan;
pub mod promises;
mod run;
mod state;
mod store;
mod tally;
mod users;

pub use plan::FAULTS;
pub use tally::Tally;

/// Lives through the world of one seed.
pub fn explore(seed: u64, options: &Options) -> Result<Report<Tally>, Box<Violation>> {
    let world = Arc::new(World::new(seed, options));
    let mut panic = None;
    {
        let mut run = Run::new(Arc::clone(&world));
        panic = violation::guarded(|| run.live()).err().or(panic);
    }
    // The guards that are left end before the state that they look at.
    world.guards().clear();
    let mut state = world.lock();
    let panicked = panic.map(|why| (state.time, NO_PANIC, why));
    if let Some((time, promise, why)) = state.broken.take().or(panicked) {
        let words = format!("{}: {why}", promise.name);
        state.note(None, "BROKEN:", 0, |_| (words, String::new()));
        return Err(Box::new(Violation {
            world: "library",
            seed,
            options: options.clone(),
            time,
            promise,
            why,
            trace: std::mem::take(&mut state.trace),
            strikes: std::mem::take(&mut state.weather.strikes),
        }));
    }
    Ok(Report {
        tally: state.tally.clone(),
        struck: state.weather.struck.clone(),
        events: state.events,
        span: state.time,
        digest: state.digest,
        trace: std::mem::take(&mut state.trace),
    })
}

/// The trace of a world that keeps its promises, for who wants to read one.
pub fn told(seed: u64, options: &Options) -> Result<Trace, Box<Violation>> {
    explore(seed, &Options { told: true, ..options.clone() }).map(|report| report.trace)
}
