//! Tests of the protocol: by hand-made schedules, and of the record and the rules of
//! time alone.

// A test that cannot go on has failed: panicking says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::unchecked_time_subtraction)]

mod any;
mod deadline;
mod edit;
mod fuzz;
mod once;
mod parts;
mod record;
mod schedule;
