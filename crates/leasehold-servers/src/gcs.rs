//! A fake of Google Cloud Storage: the part of its JSON API that a lock needs, and the faults that a lock
//! must survive.
//!
//! Without a [`Rule`] it behaves as Google documents: linearizable, conditions checked in the same step as
//! the write, generations that rise for ever. What is looser in other emulators is kept strict here.

mod answer;
mod chance;
mod request;
mod script;
mod server;
mod store;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

pub use script::{Bearer, Fault, Odd, Rule, Seen, When};

use chance::Chance;

use crate::thread::Listening;
use crate::watched::PATIENCE;
use server::{Gate, Shared, State};

/// The environment variable with the address, `http://HOST:PORT`, of somebody else's emulator.
pub const OUTSIDE: &str = "LEASEHOLD_GCS_SERVER";

/// The address of a fake-gcs-server, `http://HOST:PORT`: an opinion on the API that is not ours.
///
/// The error is what a test says after `SKIPPED: `.
pub fn outside() -> Result<String, String> {
    std::env::var(OUTSIDE).ok().filter(|address| !address.is_empty()).ok_or_else(|| {
        "fake-gcs-server: not started; `cargo xtask test` does that where Go is installed"
            .to_owned()
    })
}

/// A fake of the JSON API in this process, on a thread of its own; ends when dropped, and with it every
/// connection and every write that was to land later.
#[derive(Debug)]
pub struct Fake {
    shared: Arc<Shared>,
    listening: Listening,
}

impl Fake {
    /// Starts it on a free loopback port, without a bucket.
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

    /// A URL for leasehold: `place` is `BUCKET` or `BUCKET/PREFIX`, on this server, with no least time
    /// between writes and 20 ms between reads.
    pub fn url(&self, place: &str) -> String {
        format!("gs://{place}?endpoint={}&write-interval=0s&poll-interval=20ms", self.endpoint())
    }

    /// Makes a bucket as `leasehold init` would: uniform access, not public, nothing that deletes by itself.
    pub fn make_bucket(&self, name: &str) {
        let access = r#"{"uniformBucketLevelAccess":{"enabled":true},
                         "publicAccessPrevention":"enforced"}"#;
        self.make_bucket_as(name, &format!(r#"{{"iamConfiguration":{access}}}"#));
    }

    /// Makes a bucket with these settings, a JSON object such as `{"lifecycle":{"rule":[..]}}`. They are
    /// shown to whoever asks for the bucket; they have no effect.
    pub fn make_bucket_as(&self, name: &str, settings: &str) {
        let settings: Map<String, Value> =
            serde_json::from_str(settings).expect("the settings of a bucket are a JSON object");
        self.shared.lock().store.make_bucket(name, settings);
    }

    /// One write or deletion per object and `interval`; one sooner after the last that was done is answered
    /// 429. `None`, as it is at the start: as many as come.
    pub fn limit_writes(&self, interval: Option<Duration>) {
        self.shared.lock().store.write_interval = interval;
    }

    /// The rights that callers have, like `storage.objects.get`; `None`, as it is at the start: all that
    /// they ask for. Only the answer to that question depends on it.
    pub fn allow(&self, rights: Option<Vec<String>>) {
        self.shared.lock().store.rights = rights;
    }

    /// From now on only requests with a bearer token that `is_valid` says yes to are carried out; the others
    /// are answered 401. At the start everybody may do everything.
    pub fn accept(&self, is_valid: impl Fn(&str) -> bool + Send + 'static) {
        self.shared.lock().gate = Gate(Some(Box::new(is_valid)));
    }

    /// Puts the server's clocks forward: what is stored is that much older, and its last write that much
    /// longer ago, without waiting.
    pub fn advance_clock(&self, by: Duration) {
        self.shared.lock().store.ahead += by;
    }

    /// Adds a rule behind the others. They are tried in this order, and the first that fits and is not used
    /// up acts.
    pub fn script(&self, rule: Rule) {
        self.shared.lock().script.add(rule);
    }

    /// From now on about one request in so many, of those that no rule is for, goes wrong in a way that is
    /// drawn from the seed: never in a way that no honest store could have.
    pub fn fail_at_random(&self, one_in: NonZeroU64, seed: u64) {
        self.shared.lock().script.chance = Some(Chance::new(one_in, seed));
    }

    /// Forgets all rules, and nothing fails at random any more. What hangs goes on hanging.
    pub fn heal(&self) {
        self.shared.lock().script.clear();
    }

    /// Every request that arrived so far, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.lock().seen.clone()
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
