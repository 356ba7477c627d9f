//! The world of the protocol: state machines of [`leasehold_core::lease`] under test, checked after
//! every event by somebody who knows everything.

use crate::tally::Tally;
use world::World;

mod accidents;
mod checks;
mod network;
mod register;
mod world;

/// Lives through the world of one seed. Panics where a promise is broken. `told` prints what happens.
pub fn explore(seed: u64, told: bool) -> Tally {
    World::new(seed, told).run()
}
