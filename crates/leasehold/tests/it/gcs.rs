//! `gs://`: the conformance kit on two servers that were written apart from each other, and what the kit
//! cannot know: the faults of HTTP, the cost in requests, the limit on writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use leasehold::backend::gcs::GcsBackend;
use leasehold_conformance::{Apart, Fixture, Limit, Missing, Need, Store};
use leasehold_core::backend::{Backend, BoxFuture};
use leasehold_servers::gcs;

mod admin;
mod answers;
mod cost;
mod credentials;
mod faults;
mod limit;
#[path = "served/network.rs"]
mod network;

/// A backend of this URL, fit for virtual time.
fn open(url: &str) -> Arc<dyn Backend> {
    let rest = url.strip_prefix("gs://").expect("a URL of ours");
    let backend = GcsBackend::open(rest).unwrap_or_else(|e| panic!("{url}: {e}"));
    Arc::new(Apart::new(Arc::new(backend)))
}

/// What a bucket cannot do, whoever serves it.
const NO_HINTS: Limit = Limit { need: Need::Notification, why: "a bucket does not call back" };

mod fake {
    //! Our own server, in this process: strict where others are not.

    use super::*;

    struct Fake;

    impl Fixture for Fake {
        fn name(&self) -> &'static str {
            "gcs"
        }

        fn create(&self) -> BoxFuture<'_, Result<Store, Missing>> {
            let server = gcs::Fake::start();
            server.make_bucket("kit");
            let backend = open(&server.url("kit/locks"));
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

mod fake_gcs_server {
    //! The server that others test against: an opinion that is not ours.

    use super::*;

    struct FakeGcsServer;

    impl Fixture for FakeGcsServer {
        fn name(&self) -> &'static str {
            "gcs (fake-gcs-server)"
        }

        fn create(&self) -> BoxFuture<'_, Result<Store, Missing>> {
            static LAST: AtomicU64 = AtomicU64::new(0);
            let n = LAST.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                let endpoint = gcs::outside().map_err(Missing)?;
                let bucket = format!("kit-{}-{n}", std::process::id());
                let url = format!(
                    "gs://{bucket}/locks?endpoint={endpoint}&write-interval=0s\
                     &poll-interval=20ms&project=kit"
                );
                let backend = open(&url);
                let admin = backend.admin().expect("a bucket can be made");
                admin.init(false).await.unwrap_or_else(|e| panic!("{url}: {e}"));
                let shared_url = Some(backend.url());
                Ok(Store { backend, shared_url, keep: Box::new(()) })
            })
        }

        fn open<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Arc<dyn Backend>> {
            Box::pin(async move { open(url) })
        }

        fn limits(&self) -> &'static [Limit] {
            &[
                NO_HINTS,
                Limit {
                    need: Need::ConditionalDelete,
                    why: "fake-gcs-server ignores the condition of a delete",
                },
            ]
        }
    }

    leasehold_conformance::backend!(FakeGcsServer);
}
