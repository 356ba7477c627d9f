//! The servers that leasehold's tests need, each in this process, on a free loopback port, on a thread of
//! its own: [`gcs`] and [`spanner`] are stores that obey Google's rules until a test asks them to break
//! them, [`proxy`] the network in between, [`tls`] what encrypts it; [`tokens`] and [`account`] are where
//! credentials come from.
//!
//! The program `leasehold-servers` starts the first three for people and for tests with processes.

pub mod account;
mod clock;
pub mod gcs;
pub mod proxy;
pub mod spanner;
mod thread;
pub mod tls;
pub mod tokens;
mod watched;
