//! Cases on `once`, through the library's public door, on each backend.

use leasehold::{Begun, Client, Done, Failed, Once, Ran, Section};
use leasehold_core::record::Outcome;

use crate::setup::Setup;

pub(crate) mod damage;
pub(crate) mod failure;
pub(crate) mod keys;
pub(crate) mod needed;
pub(crate) mod network;
pub(crate) mod process;
pub(crate) mod race;
pub(crate) mod resume;
pub(crate) mod weather;

/// It must be ours to do.
async fn begun(once: &Once) -> Section {
    match once.begin().await {
        Ok(Begun::Section(section)) => section,
        other => panic!("it is ours to do, but: {other:?}"),
    }
}

/// It must be done already.
async fn found_done(once: &Once) -> Done {
    match once.begin().await {
        Ok(Begun::Before(done)) => done,
        other => panic!("it is done, but: {other:?}"),
    }
}

/// Everybody must have given up.
async fn found_given_up(once: &Once) -> Failed {
    match once.begin().await {
        Ok(Begun::GaveUp(failed)) => failed,
        other => panic!("it is given up, but: {other:?}"),
    }
}

/// Runs it here, now, with a section that has nothing to do.
async fn run_now(client: &Client, name: &str, key: &str) {
    let ran = client.once(name).keyed(key).run(async |_| Ok::<_, String>(())).await;
    assert!(matches!(ran, Ok(Ran::Now(()))), "{name} {key:?}: {ran:?}");
}

/// What is recorded of it.
async fn recorded(s: &Setup, name: &str) -> Option<Outcome> {
    crate::mutex::record(&s.backend(), name).await?.outcome
}
