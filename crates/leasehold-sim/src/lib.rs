//! Deterministic simulation: seeded worlds of clients with drifting clocks on one store, with a network,
//! hosts and operators that do what they can against them. Same seed, same world.
//!
//! [`protocol::explore`] lives through one world; [`campaign`] through many, up to the first broken
//! promise; [`shrink()`] makes the world of a broken promise smaller.

mod campaign;
mod chance;
mod fault;
mod host;
pub mod library;
mod plan;
pub mod protocol;
mod queue;
pub mod shrink;
mod tally;
mod trace;
mod violation;
mod weather;

pub use campaign::{Explore, Summary, campaign};
pub use fault::{Fault, Faults, Options, Site, Strike, Struck};
pub use shrink::shrink;
pub use tally::Tally;
pub use trace::Trace;
pub use violation::{NO_PANIC, Promise, Report, Violation};
