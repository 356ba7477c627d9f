//! The protocol of leasehold: what a lock is, when it is held, and when another may take it.
//!
//! A lock is one small [`Record`](record::Record) under one [`Key`](backend::Key), changed only by
//! compare-and-swap. A process that writes itself into the record as the holder has a *lease*: the right to
//! hold for a *ttl*, renewed while it lives. Every change of holder raises the *fencing token*.
//!
//! | module | what it fixes |
//! | --- | --- |
//! | [`backend`] | the contract of a store: a linearizable register per key |
//! | [`record`] | what stands under a key, and its one encoding |
//! | [`deadline`] | when a holder must stop and when a waiter may start: every margin and its reason |
//! | [`change`] | what holders do to a record |
//! | [`register`] | part of a machine: what was read, what may still land, what a reply proves |
//! | [`silence`] | part of a machine: since when a holder shows no sign of life |
//! | [`pace`] | part of a machine: polls, backoff, courtesy, write limits; no promise rests on it |
//! | [`link`] | the three parts together: how a machine speaks with the store |
//! | [`lease`] | one acquisition from first look to release, as a state machine on these parts |
//! | [`edit`] | one change by a person (break, reset, delete), as a state machine on these parts |
//! | [`primitive`] | the seam: what a primitive decides |
//! | [`mutex`], [`once`] | the primitives |
//!
//! This crate has no clock, no randomness, no I/O and no async runtime. Time, fresh ids and replies
//! are handed in, requests and events are handed out, so that the same code runs under the driver of
//! the `leasehold` crate, under a simulator and under a model checker.

/// A line of a wrong variant of the protocol, of which nothing is compiled without the feature
/// `planted`: `planted!(Bug: let x = wrong)` gives the `x` above another value, and
/// `planted!(Bug: statement)` does something more.
#[cfg(feature = "planted")]
macro_rules! planted {
    ($bug:ident: let $right:ident = $wrong:expr) => {
        let $right =
            if $crate::planted::is_planted($crate::planted::Bug::$bug) { $wrong } else { $right };
    };
    ($bug:ident: $wrong:stmt) => {
        if $crate::planted::is_planted($crate::planted::Bug::$bug) {
            $wrong
        }
    };
}
#[cfg(not(feature = "planted"))]
macro_rules! planted {
    ($($nothing:tt)*) => {};
}

pub mod admin;
pub mod backend;
pub mod change;
mod context;
pub mod deadline;
pub mod edit;
pub mod lease;
pub mod link;
pub mod mutex;
pub mod once;
pub mod pace;
#[cfg(feature = "planted")]
pub mod planted;
pub mod primitive;
pub mod record;
pub mod register;
pub mod silence;
