//! The test servers tested, through real TCP, by a client that knows nothing of them.

mod client;
mod faults;
mod outside;
mod program;
mod proxy;
mod refusals;
mod spanner;
mod store;
