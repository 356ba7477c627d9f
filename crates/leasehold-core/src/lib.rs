//! The protocol of leasehold: what a lock is, when it is held, and when another may take it.
//!
//! A lock is one small [`Record`](record::Record) under one [`Key`](backend::Key), changed only by
//! compare-and-swap. Whoever writes itself into the record as the holder has a *lease*: the right to
//! hold for a *ttl*, renewed while it lives. Every change of holder raises the *fencing token*.
//!
//! | module | what it fixes |
//! | --- | --- |
//! | [`backend`] | the contract of a store: a linearizable register per key |
//! | [`record`] | what stands under a key, and its one encoding |
//! | [`deadline`] | when a holder must stop and when a waiter may start: every margin and its reason |
//! | [`mutex`] | what acquiring, renewing, releasing and forcing do to a record |
//! | [`lease`] | one acquisition from first look to release, as a state machine |
//!
//! This crate has no clock, no randomness, no I/O and no async runtime. Time, fresh ids and replies
//! are handed in, requests and events are handed out, so that the same code runs under the driver of
//! the `leasehold` crate, under a simulator and under a model checker.

pub mod backend;
pub mod deadline;
pub mod lease;
pub mod mutex;
pub mod record;
