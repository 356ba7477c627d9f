//! A fake of Cloud Spanner: the part of its gRPC API that a lock needs, and the faults that a lock must
//! survive.
//!
//! Without a [`Rule`] it behaves as Google documents: a commit is applied whole or not at all, in the order
//! of its mutations, and commits have strictly rising times. What is looser in the emulators is kept strict
//! here. It has single-use transactions and strong reads alone, and answers everything else with
//! UNIMPLEMENTED.

mod admin;
mod chance;
mod ddl;
mod request;
mod script;
mod server;
mod status;
mod store;
mod table;
mod value;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

pub use script::{Fault, Rule, Seen, When};
/// What a request is answered with.
pub use tonic::Code;

use chance::Chance;
use server::{Shared, State};
use store::Database;

use crate::thread::Listening;
use crate::watched::PATIENCE;

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
    shared: Arc<Shared>,
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
        let shared = Arc::new(Shared::new());
        let served = Arc::clone(&shared);
        let serve = move |connection| server::serve(connection, Arc::clone(&served));
        Ok(Fake { listening: Listening::start(address, serve)?, shared })
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

    /// Makes an instance, `PROJECT/INSTANCE`, without a database.
    pub fn make_instance(&self, place: &str) {
        let (project, instance) = place.split_once('/').expect("it is PROJECT/INSTANCE");
        let name = format!("projects/{project}/instances/{instance}");
        self.shared.state.lock().store.instances.insert(name);
    }

    /// Makes a database, `PROJECT/INSTANCE/DATABASE`, and its instance where there is none, and carries out
    /// these statements, like `CREATE TABLE ..`. Panics where they cannot be.
    #[track_caller]
    pub fn make_database(&self, place: &str, statements: &[&str]) {
        let (instance, id) = place.rsplit_once('/').expect("it is PROJECT/INSTANCE/DATABASE");
        self.make_instance(instance);
        let mut database = Database::default();
        let statements: Vec<String> = statements.iter().map(|&text| text.to_owned()).collect();
        let changed = database.change(&statements);
        assert!(changed.is_ok(), "{changed:?}");
        let name = format!("projects/{}/databases/{id}", instance.replace('/', "/instances/"));
        self.shared.state.lock().store.databases.insert(name, database);
    }

    /// The statements that made the tables of a database, `PROJECT/INSTANCE/DATABASE`; `None`: there is no
    /// such database.
    pub fn statements(&self, place: &str) -> Option<Vec<String>> {
        let mut ids = place.split('/');
        let mut id = || ids.next().unwrap_or_default();
        let name = format!("projects/{}/instances/{}/databases/{}", id(), id(), id());
        Some(self.shared.state.lock().store.databases.get(&name)?.statements.clone())
    }

    /// The rights that callers have, like `spanner.databases.read`; `None`, as it is at the start: all that
    /// they ask for. Only the answer to that question depends on it.
    pub fn allow(&self, rights: Option<Vec<String>>) {
        self.shared.state.lock().store.rights = rights;
    }

    /// Puts the server's clock forward: what is stored is that much older without waiting.
    pub fn advance_clock(&self, by: Duration) {
        self.shared.state.lock().store.ahead += by;
    }

    /// Forgets all sessions, as Spanner may at any time.
    pub fn drop_sessions(&self) {
        self.shared.state.lock().store.drop_sessions();
    }

    /// Closes every connection. What was asked on them and not answered stays unanswered.
    pub fn close_connections(&self) {
        self.shared.closed.send_replace(());
    }

    /// Adds a rule behind the others. They are tried in this order, and the first that fits and is not used
    /// up acts.
    pub fn script(&self, rule: Rule) {
        self.shared.state.lock().script.add(rule);
    }

    /// From now on about one request in so many, of those that no rule is for, goes wrong in a way that is
    /// drawn from the seed: never in a way that no honest store could have.
    pub fn fail_at_random(&self, one_in: NonZeroU64, seed: u64) {
        self.shared.state.lock().script.chance = Some(Chance::new(one_in, seed));
    }

    /// Forgets all rules, and nothing fails at random any more. What hangs goes on hanging.
    pub fn heal(&self) {
        self.shared.state.lock().script.clear();
    }

    /// Every request that arrived so far, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.state.lock().seen.clone()
    }

    /// How many requests of a method, like `Commit`, have arrived so far.
    pub fn count(&self, method: &str) -> usize {
        let state = self.shared.state.lock();
        state.seen.iter().filter(|seen| seen.method == method).count()
    }

    /// Blocks until `n` requests of this kind have arrived since the start. For a caller whose client runs on
    /// another thread. Panics after a minute, with what was seen.
    #[track_caller]
    pub fn await_seen(&self, when: When, n: usize) {
        let came = self.shared.state.block_until(self.listening.handle(), has(when, n, |_| true));
        assert!(came, "{}", self.did_not_come(when, n));
    }

    /// The same for requests that were carried out: [`Fault::Late`] ones are only some time after they
    /// arrived.
    #[track_caller]
    pub fn await_done(&self, when: When, n: usize) {
        let came = self.shared.state.block_until(self.listening.handle(), has(when, n, is_done));
        assert!(came, "{}", self.did_not_come(when, n));
    }

    /// [`await_seen`](Fake::await_seen) for a caller that must not block its thread.
    pub async fn until_seen(&self, when: When, n: usize) {
        let came = self.shared.state.until(self.listening.handle(), has(when, n, |_| true)).await;
        assert!(came, "{}", self.did_not_come(when, n));
    }

    /// [`await_done`](Fake::await_done) for a caller that must not block its thread.
    pub async fn until_done(&self, when: When, n: usize) {
        let came = self.shared.state.until(self.listening.handle(), has(when, n, is_done)).await;
        assert!(came, "{}", self.did_not_come(when, n));
    }

    fn did_not_come(&self, when: When, n: usize) -> String {
        format!("{n} requests of kind {when:?} did not come in {PATIENCE:?}: {:#?}", self.seen())
    }
}

fn is_done(seen: &Seen) -> bool {
    seen.outcome.is_some()
}

/// Whether so many requests of this kind were seen.
fn has(when: When, n: usize, is_meant: fn(&Seen) -> bool) -> impl Fn(&State) -> bool + Send + Sync {
    move |state| {
        let meant = state.seen.iter().filter(|seen| when.fits(seen.when) && is_meant(seen));
        meant.count() >= n
    }
}
