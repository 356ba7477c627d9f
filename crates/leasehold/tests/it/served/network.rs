//! The network between us and a server: silent, cut, or one-way, for shorter and for longer than a lease.
//!
//! It is there once for each kind of server; what is different is in the `faults` beside it.

use leasehold::{Client, ErrorKind};
use leasehold_servers::proxy::{Mode, Proxy};

use super::faults::{Fake, Fault, READ, RENEWAL, TTL, When};
use super::faults::{acquire, client, count, script, start, url_at};

/// A client behind a proxy of its own.
async fn behind(server: &Fake) -> (Client, Proxy) {
    let proxy = Proxy::start(server.address());
    (leasehold::connect(&url_at(proxy.address())).await.expect("a client"), proxy)
}

/// The ways in which a network can be away.
const AWAY: [Mode; 3] = [Mode::BlackHole, Mode::Reset, Mode::DropReplies];

/// The network is away for less than a lease: the holder keeps its lock, and nobody else gets in.
#[tokio::test]
async fn a_short_outage_is_survived() {
    for away in AWAY {
        let server = start();
        let (ours, proxy) = behind(&server).await;
        let guard = acquire(&ours).await;
        proxy.set(away);
        let theirs = client(&server).await;
        let other = theirs.mutex("x").with_ttl(TTL).with_timeout(TTL / 3).acquire().await;
        assert_eq!(other.expect_err("held").kind(), ErrorKind::Timeout, "{away:?}");
        proxy.set(Mode::Pass);
        let before = count(&server, RENEWAL);
        server.until_done(RENEWAL, before + 2).await;
        assert!(guard.is_held(), "{away:?}");
        guard.release().await.expect("released");
    }
}

/// The network is away from the holder alone, for longer than its lease. It stops before the other gets
/// the lock, by its own clock and without an answer, and cannot undo what the other has.
#[tokio::test]
async fn a_long_outage_is_lost_before_another_holds() {
    for away in AWAY {
        let server = start();
        let (ours, proxy) = behind(&server).await;
        let theirs = client(&server).await;
        let guard = acquire(&ours).await;
        let token = guard.token();
        let waiting = tokio::spawn(async move { acquire(&theirs).await });
        proxy.set(away);
        let lost = guard.lost().await;
        assert!(
            !guard.is_held() && !waiting.is_finished(),
            "{away:?}: told before the other has it"
        );
        assert!(lost.to_string().contains("could not be renewed"), "{away:?}: {lost}");
        let next = waiting.await.expect("no panic");
        assert!(next.token() > token, "{away:?}");
        proxy.set(Mode::Pass);
        assert!(guard.release().await.is_err(), "{away:?}: it was lost");
        ours.close().await;
        assert!(next.is_held());
        let status = client(&server).await.status("x").await.expect("a status");
        assert_eq!(status.token, Some(next.token()), "{away:?}");
        next.release().await.expect("released");
    }
}

/// The store is away for everybody and comes back: whoever waited gets the lock.
#[tokio::test]
async fn a_store_that_comes_back_is_used() {
    let server = start();
    let ours = client(&server).await;
    script(&server, When::Any, None, Fault::Close);
    let waiting = tokio::spawn(async move { acquire(&ours).await });
    // Several attempts have come to nothing before it is there.
    server.until_seen(READ, 3).await;
    server.heal();
    waiting.await.expect("no panic").release().await.expect("released");
}

/// A slow network costs time and nothing else.
#[tokio::test]
async fn a_slow_network_is_no_fault() {
    let server = start();
    let (ours, proxy) = behind(&server).await;
    proxy.set(Mode::Delay(TTL / 20));
    let guard = acquire(&ours).await;
    server.until_done(RENEWAL, 3).await;
    assert!(guard.is_held());
    guard.release().await.expect("released");
}

/// A VPN, a NAT or a failover forgets all open connections without a sign, and serves new ones at once. Many
/// were idle: the next renewal that gets no answer leaves them all behind, and the one after it goes through.
#[tokio::test]
async fn connections_that_are_forgotten_cost_one_attempt() {
    let server = start();
    let (ours, proxy) = behind(&server).await;
    let guard = acquire(&ours).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..12 {
        let mutex = ours.mutex(format!("idle-{n}"));
        tasks.spawn(async move { mutex.acquire().await.expect("the lock").release().await });
    }
    assert!(tasks.join_all().await.iter().all(Result::is_ok));
    proxy.forget_open();
    let before = count(&server, RENEWAL);
    server.until_done(RENEWAL, before + 3).await;
    assert!(guard.is_held());
    guard.release().await.expect("released");
}
