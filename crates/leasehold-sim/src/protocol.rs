//! The world of the protocol: state machines of [`leasehold_core::lease`] under test, checked after
//! every event by somebody who knows everything.

use crate::fault::{Fault, Options};
use crate::trace::Trace;
use crate::violation::{self, NO_PANIC, Report, Violation};
use world::World;

mod accidents;
mod any;
mod checks;
mod client;
mod count;
mod deeds;
mod hearing;
mod network;
pub mod promises;
mod register;
mod resource;
mod users;
mod waiting;
mod words;
mod world;

pub use count::Count;

/// The kinds of faults that this world knows: all.
pub const FAULTS: &[Fault] = Fault::ALL;

/// Lives through the world of one seed.
pub fn explore(seed: u64, options: &Options) -> Result<Report<Count>, Box<Violation>> {
    let mut world = World::new(seed, options);
    let panic = violation::guarded(|| world.run()).err();
    let panicked = panic.map(|why| (world.time, NO_PANIC, why));
    if let Some((time, promise, why)) = world.broken.take().or(panicked) {
        world.tell_broken(promise, &why);
        return Err(Box::new(Violation {
            world: "protocol",
            seed,
            options: options.clone(),
            time,
            promise,
            why,
            trace: std::mem::take(&mut world.trace),
            strikes: std::mem::take(&mut world.weather.strikes),
        }));
    }
    Ok(Report {
        tally: world.count,
        struck: world.weather.struck.clone(),
        events: world.events,
        span: world.time,
        digest: world.digest,
        trace: std::mem::take(&mut world.trace),
    })
}

/// The trace of a world that keeps its promises, for who wants to read one.
pub fn told(seed: u64, options: &Options) -> Result<Trace, Box<Violation>> {
    explore(seed, &Options { told: true, ..options.clone() }).map(|report| report.trace)
}
