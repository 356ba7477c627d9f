//! The fake of Cloud Spanner.

pub(crate) mod client;
mod faults;
mod outside;
mod store;
mod talk;

use leasehold_servers::spanner::Fake;

use client::{Client, TABLE};

/// A fake with a table, and a client of it.
fn fake() -> (Fake, Client) {
    let fake = Fake::start();
    fake.make_database("p/i/d", &[TABLE]);
    let client = Client::of(fake.address(), "projects/p/instances/i/databases/d");
    (fake, client)
}
