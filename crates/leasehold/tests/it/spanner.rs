//! `spanner://`: the conformance kit on two servers that were written apart from each other, and what the
//! kit cannot know: the faults of gRPC, the rows, the cost in requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use leasehold::backend::spanner::SpannerBackend;
use leasehold_conformance::{Apart, Fixture, Limit, Missing, Need, Store};
use leasehold_core::backend::{Backend, BoxFuture};
use leasehold_servers::spanner;

mod admin;
mod answers;
mod cost;
mod faults;
#[path = "served/network.rs"]
#[cfg_attr(feature = "gcs", expect(clippy::duplicate_mod, reason = "the same on another server"))]
mod network;
mod patient;
mod rows;

use patient::Patient;

/// The statement that makes a table, as docs/backends/spanner.md has it.
const TABLE: &str = "CREATE TABLE leasehold (name STRING(256) NOT NULL, version INT64 NOT NULL, \
    record BYTES(MAX) NOT NULL, written TIMESTAMP NOT NULL \
    OPTIONS (allow_commit_timestamp = true)) PRIMARY KEY (name, version)";

/// A backend of this URL, fit for virtual time.
fn open(url: &str) -> Arc<dyn Backend> {
    let rest = url.strip_prefix("spanner://").expect("a URL of ours");
    let backend = SpannerBackend::open(rest).unwrap_or_else(|e| panic!("{url}: {e}"));
    Arc::new(Apart::new(Arc::new(backend)))
}

/// Makes the database and the table that a URL names.
async fn make(url: &str) {
    let backend = open(url);
    let admin = backend.admin().expect("a database can be made");
    admin.init(false).await.unwrap_or_else(|e| panic!("{url}: {e}"));
}

/// What Spanner cannot do, whoever serves it.
const NO_HINTS: Limit = Limit { need: Need::Notification, why: "Spanner does not call back" };

mod fake {
    //! Our own server, in this process: strict where others are not.

    use super::*;

    struct Fake;

    impl Fixture for Fake {
        fn name(&self) -> &'static str {
            "spanner"
        }

        fn create(&self) -> BoxFuture<'_, Result<Store, Missing>> {
            let server = spanner::Fake::start();
            server.make_database("kit/kit/kit", &[TABLE]);
            let backend = open(&server.url("kit/kit/kit"));
            let shared_url = Some(backend.url());
            Box::pin(async { Ok(Store { backend, shared_url, keep: Box::new(server) }) })
        }

        fn open<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Arc<dyn Backend>> {
            Box::pin(async move { open(url) })
        }

        fn limits(&self) -> &'static [Limit] {
            &[NO_HINTS]
        }
    }

    leasehold_conformance::backend!(Fake);
}

mod emulator {
    //! Google's emulator: an opinion that is not ours. It serves one commit at a time and has all others
    //! aborted, so the kit looks at it through [`Patient`].

    use super::*;

    /// A backend of this URL that asks again when another commit was in the way.
    fn open(url: &str) -> Arc<dyn Backend> {
        let rest = url.strip_prefix("spanner://").expect("a URL of ours");
        let backend = SpannerBackend::open(rest).unwrap_or_else(|e| panic!("{url}: {e}"));
        Arc::new(Apart::new(Arc::new(Patient::new(backend))))
    }

    struct Emulator;

    impl Fixture for Emulator {
        fn name(&self) -> &'static str {
            "spanner (emulator)"
        }

        fn create(&self) -> BoxFuture<'_, Result<Store, Missing>> {
            static LAST: AtomicU64 = AtomicU64::new(0);
            let n = LAST.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                let endpoint = spanner::outside().map_err(Missing)?;
                // It has at most a hundred databases in one instance.
                let instance = format!("kit-{}-{n}", std::process::id());
                let url =
                    format!("spanner://kit/{instance}/kit?endpoint={endpoint}&poll-interval=20ms");
                make(&url).await;
                let backend = open(&url);
                let shared_url = Some(backend.url());
                Ok(Store { backend, shared_url, keep: Box::new(()) })
            })
        }

        fn open<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Arc<dyn Backend>> {
            Box::pin(async move { open(url) })
        }

        fn limits(&self) -> &'static [Limit] {
            &[NO_HINTS]
        }
    }

    leasehold_conformance::backend!(Emulator);
}
