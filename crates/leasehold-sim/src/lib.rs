//! Deterministic simulation: seeded worlds of clients with drifting clocks on one store, with a network,
//! hosts and operators that do what they can against them. Same seed, same world.

// A check that fails ends its world: panicking says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::unchecked_time_subtraction)]

mod chance;
mod host;
pub mod protocol;
mod tally;

pub use tally::Tally;
