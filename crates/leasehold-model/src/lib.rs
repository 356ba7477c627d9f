//! A model checker for the protocol: every interleaving of a few clients on one store, with every
//! fault of the network, explored until nothing new is left.
//!
//! What is checked is `leasehold_core::lease::Lease` itself, cloned and stepped; there is no model of
//! it. The rest of the [`world`](World) is a register, the writes on their way, and clocks that
//! tick. [`essence`] says which worlds are alike, and why the space is finite although schedules are
//! as long as they like. [`check`] explores it and gives the shortest schedule that breaks a promise.

mod action;
mod any;
mod bounds;
mod client;
mod essence;
mod fact;
pub mod forms;
mod once;
mod promises;
mod search;
mod trace;
mod world;

pub use action::Action;
pub use bounds::{Bounds, TICK};
pub use essence::essence;
pub use fact::{Fact, Facts};
pub use search::{Outcome, check, check_on};
pub use trace::Trace;
pub use world::{Client, Flight, Pending, Says, Stored, World};
