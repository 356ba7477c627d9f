//! The harness, tested: it acquits `leasehold`, convicts impostors, cuts what it says it cuts, and
//! leaves nothing behind.

mod bucket;
mod convicted;
mod cut;
mod database;
mod harness;
mod once;
mod short;
