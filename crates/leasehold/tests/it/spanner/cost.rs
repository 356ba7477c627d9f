//! What a lock on Spanner costs, in requests that the server counted. The figures of
//! docs/backends/spanner.md are these.

use std::sync::Arc;
use std::time::Duration;

use leasehold::Client;
use leasehold::env::{Env, Host};
use leasehold_conformance::Virtual;
use leasehold_servers::spanner::Fake;

use super::faults::{DATABASE, acquire, client, start};
use super::open;

/// Requests since the last call: reads, commits, and sessions that were made.
fn spent(server: &Fake, since: &mut usize) -> (usize, usize, usize) {
    let seen = server.seen();
    let new = &seen[*since..];
    *since = seen.len();
    let count = |method: &str| new.iter().filter(|seen| seen.method == method).count();
    let spent = (count("StreamingRead"), count("Commit"), count("CreateSession"));
    assert_eq!(spent.0 + spent.1 + spent.2, new.len(), "nothing else: {new:?}");
    spent
}

/// A free lock costs a look and a commit from cold, one commit when the last state is known, and one commit
/// to release: for a name that was never used as for one that was, and for one that was deleted. The session
/// is made once for a client.
#[tokio::test]
async fn round_trips() {
    let server = start();
    let ours = client(&server).await;
    let mut since = 0;
    let guard = acquire(&ours).await;
    assert_eq!(spent(&server, &mut since), (1, 1, 1), "cold, never used");
    guard.release().await.expect("released");
    assert_eq!(spent(&server, &mut since), (0, 1, 0), "release");
    let guard = acquire(&ours).await;
    assert_eq!(spent(&server, &mut since), (0, 1, 0), "warm");
    guard.release().await.expect("released");
    spent(&server, &mut since);
    let guard = acquire(&client(&server).await).await;
    assert_eq!(spent(&server, &mut since), (1, 1, 1), "cold, used before");
    guard.release().await.expect("released");
    let tool = open(&server.url(DATABASE));
    let key = leasehold_core::backend::Key::new("x").expect("a name");
    let record = tool.read(&key).await.expect("an answer").record.expect("a record");
    assert!(tool.delete(&key, &record.version).await.expect("an answer"));
    spent(&server, &mut since);
    let guard = acquire(&client(&server).await).await;
    assert_eq!(spent(&server, &mut since), (1, 1, 1), "cold, deleted before");
    guard.release().await.expect("released");
}

/// A client on virtual time, with the patience of the real service.
fn virtual_client(server: &Fake, host: u64) -> (Client, Arc<Virtual>) {
    let backend = open(&format!("spanner://{DATABASE}?endpoint={}", server.endpoint()));
    let env = Arc::new(Virtual::new(host));
    (Client::with_env(backend, env.clone()).expect("a client"), env)
}

/// An idle waiter and a holder, for an hour: what they cost once the waiter has waited for long.
async fn an_hour(ttl: Duration) -> (usize, usize) {
    let server = start();
    let (ours, env) = virtual_client(&server, 1);
    let (theirs, _) = virtual_client(&server, 2);
    let guard = ours.mutex("x").with_ttl(ttl).acquire().await.expect("the lock");
    let waiting = tokio::spawn(async move { theirs.mutex("x").with_ttl(ttl).acquire().await });
    // By then it has waited long enough for its slowest pace.
    Host.sleep(Duration::from_mins(20)).await;
    let mut since = server.seen().len();
    let before = env.elapsed();
    Host.sleep(Duration::from_hours(1)).await;
    let (reads, commits, _) = spent(&server, &mut since);
    assert!(guard.is_held() && env.since(before) >= Duration::from_hours(1));
    waiting.abort();
    (reads, commits)
}

/// A held lock costs one commit for each third of its ttl and nothing else: no request keeps a session or a
/// connection alive. A waiter costs one read for each third of the holder's ttl, and one each 10 s at the
/// least.
#[tokio::test(start_paused = true)]
async fn holding_and_waiting() {
    for (ttl, an_hour_of_reads) in [(10, 1080), (30, 360), (300, 360)] {
        let (reads, commits) = an_hour(Duration::from_secs(ttl)).await;
        let due = usize::try_from(3600 * 3 / ttl).expect("it fits");
        assert!(commits.abs_diff(due) <= 1, "{commits} renewals of a ttl of {ttl} s in an hour");
        let most = an_hour_of_reads * 5 / 4;
        assert!(reads > an_hour_of_reads * 3 / 4 && reads < most, "{reads} reads, ttl {ttl} s");
    }
}
