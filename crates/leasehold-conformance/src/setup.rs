//! What a case is given, and how a case is run.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use leasehold::Client;
use leasehold::env::{Env, Host};
use leasehold_core::backend::{Backend, BoxFuture, Key};
use leasehold_core::deadline;
use tokio::runtime::{Builder, Runtime};

use crate::report::{self, Outcome};
use crate::{CASES, Faulty, Fixture, Need, Store, Virtual, process};

/// One case of the kit.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) needs: &'static [Need],
    pub(crate) run: for<'a> fn(&'a Setup) -> BoxFuture<'a, ()>,
}

/// What time means to a case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// It runs on several threads, in real time.
    Real,
    /// It runs on one thread, on a clock that jumps to the next thing that is waited for.
    Virtual,
    /// It runs in real time and starts other processes.
    Processes,
}

impl Case {
    fn needs(&self) -> impl Iterator<Item = Need> {
        let by_kind = match self.kind {
            Kind::Real => None,
            Kind::Virtual => Some(Need::VirtualTime),
            Kind::Processes => Some(Need::Processes),
        };
        by_kind.into_iter().chain(self.needs.iter().copied())
    }

    fn runtime(&self) -> Runtime {
        let runtime = match self.kind {
            Kind::Real | Kind::Processes => {
                Builder::new_multi_thread().worker_threads(4).enable_all().build()
            }
            Kind::Virtual => Builder::new_current_thread().enable_all().start_paused(true).build(),
        };
        runtime.expect("a runtime can be started")
    }

    /// How long a case may take before it counts as hung. Generous: a busy machine is no failure.
    fn patience(&self) -> Duration {
        match self.kind {
            Kind::Real | Kind::Processes => Duration::from_mins(2),
            Kind::Virtual => Duration::from_hours(100),
        }
    }
}

/// Runs one case on one backend: what [`backend!`](crate::backend) expands to.
#[doc(hidden)]
pub fn run(fixture: &'static dyn Fixture, module: &str, name: &str) {
    if process::is_second() {
        return process::play(fixture);
    }
    let case = CASES.iter().find(|case| case.name == name).expect("the case is in the list");
    report::has(fixture.name(), CASES.iter().map(|case| case.name));
    let outcome = attempt(fixture, module, case);
    report::tell(fixture.name(), name, &outcome);
}

fn attempt(fixture: &'static dyn Fixture, module: &str, case: &Case) -> Outcome {
    let limits = fixture.limits();
    if let Some(limit) = limits.iter().find(|limit| case.needs().any(|need| need == limit.need)) {
        return Outcome::Inapplicable(limit.why);
    }
    let runtime = case.runtime();
    let ran = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let store = match fixture.create().await {
                Ok(store) => store,
                Err(missing) => return Outcome::Skipped(missing.0),
            };
            let path = module.split_once("::").map(|(_, path)| format!("{path}::{}", case.name));
            let test = path.unwrap_or_else(|| case.name.to_owned());
            let setup =
                Setup { fixture, store, test, first: Virtual::new(0), hosts: AtomicU64::new(1) };
            match within(case.patience(), (case.run)(&setup)).await {
                Some(()) => Outcome::Ran,
                None => panic!("the case hangs: not over within {:?}", case.patience()),
            }
        })
    }));
    // A task or a request that hangs must not turn a failure into a test that never ends.
    runtime.shutdown_background();
    ran.unwrap_or_else(|panic| resume_unwind(panic))
}

/// What a case is given: an empty store, and ways to come to it.
pub(crate) struct Setup {
    pub(crate) fixture: &'static dyn Fixture,
    pub(crate) store: Store,
    /// The name of the test, as the test program knows it.
    pub(crate) test: String,
    /// The virtual hosts start together with this one, which has nothing else to do.
    first: Virtual,
    hosts: AtomicU64,
}

impl Setup {
    /// The first handle on the store.
    pub(crate) fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.store.backend)
    }

    /// Another handle on the same store, opened anew if the backend can be opened twice.
    pub(crate) async fn another(&self) -> Arc<dyn Backend> {
        match &self.store.shared_url {
            Some(url) => self.fixture.open(url).await,
            None => self.backend(),
        }
    }

    /// Whether the backend's answers take no time worth mentioning: it is in this process.
    pub(crate) fn is_instant(&self) -> bool {
        self.store.shared_url.is_none()
    }

    /// Whether the fixture declared that the backend has this.
    pub(crate) fn has(&self, need: Need) -> bool {
        self.fixture.limits().iter().all(|limit| limit.need != need)
    }

    /// A ttl that is short, for cases in real time, but that the backend accepts and that a busy
    /// machine survives.
    pub(crate) fn short_ttl(&self) -> Duration {
        let least = self.store.backend.facts().least_write_interval;
        deadline::ttl_min(least).max(Duration::from_millis(600))
    }

    /// A client on this host, in real time.
    pub(crate) async fn client(&self) -> Client {
        Client::new(self.another().await).expect("a client")
    }

    /// A client on this host in real time, whose store can be made to fail.
    pub(crate) async fn faulty_client(&self) -> (Client, Arc<Faulty>) {
        let faulty = Arc::new(Faulty::new(self.another().await));
        (Client::new(faulty.clone()).expect("a client"), faulty)
    }

    /// A client on a virtual host of its own, with a store of its own that can be made to fail.
    pub(crate) async fn peer(&self) -> Peer {
        let host = self.hosts.fetch_add(1, Ordering::Relaxed);
        let store = Arc::new(Faulty::new(self.another().await));
        let env = Arc::new(self.first.another(host));
        let client = Client::with_env(store.clone(), env.clone()).expect("a client");
        Peer { client, store, env }
    }
}

/// A client on virtual time, and the levers under it.
pub(crate) struct Peer {
    pub(crate) client: Client,
    pub(crate) store: Arc<Faulty>,
    pub(crate) env: Arc<Virtual>,
}

/// A name that is a key.
pub(crate) fn key(name: &str) -> Key {
    Key::new(name).unwrap_or_else(|e| panic!("{e}"))
}

/// Lets time pass: virtual time in a virtual case, and real time where a case is about real time.
pub(crate) async fn pass(span: Duration) {
    Host.sleep(span).await;
}

/// What `future` gives, or `None` if it gives nothing within `span`.
pub(crate) async fn within<T>(span: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        got = future => Some(got),
        () = Host.sleep(span) => None,
    }
}

/// What `future` gives soon. For what needs no time but that of a busy machine.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let got = within(Duration::from_secs(30), future).await;
    got.unwrap_or_else(|| panic!("in vain: {what}"))
}

/// Short for a span in tests.
pub(crate) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Short for a span in tests.
pub(crate) const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}
