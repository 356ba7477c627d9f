//! The fencing token rises at every change of holder, whatever happened in between.

use leasehold::env::Env;
use leasehold::{ErrorKind, FencingToken, Forced, State};

use super::{acquired, got, held, record, released, stored, uproot};
use crate::Peer;
use crate::setup::{Setup, key, millis, pass, secs, soon};

/// Release, crash, force and deletion, in every order of two: a storage that remembers the highest
/// token must refuse each holder that came before.
pub(crate) async fn rises_whatever_happens(s: &Setup) {
    let b = s.peer().await;
    let mut last = FencingToken(0);
    for (first, second) in (0..4).flat_map(|a| (0..4).map(move |b| (a, b))) {
        for end in [first, second] {
            let a = s.peer().await;
            let mutex = a.client.mutex("x").with_ttl(secs(1));
            let guard = soon("it comes free", mutex.acquire()).await.expect("the lock");
            assert!(guard.token() > last, "{} after {last}, in {first}, {second}", guard.token());
            last = guard.token();
            match end {
                0 => released(guard).await,
                1 => {
                    a.store.cut();
                    // Its process is gone: nobody drops a guard there.
                    std::mem::forget(guard);
                }
                2 => drop(b.client.force_release("x", "a test").await.expect("forced")),
                _ => {
                    uproot(&s.backend(), "x").await;
                    in_time(s, &b, last).await;
                }
            }
        }
    }
}

/// Waits until time is ahead of the token. Holders change less often than once a millisecond, which
/// virtual time and this test do not know.
async fn in_time(s: &Setup, peer: &Peer, token: FencingToken) {
    loop {
        let reading = s.backend().read(&key("x")).await.expect("an answer");
        // A record that was forced or repaired is one ahead.
        if reading.unix_ms.unwrap_or(peer.env.now().unix_ms) > token.0 + 1 {
            return;
        }
        pass(millis(1)).await;
    }
}

/// What forcing does: the holder learns of it with the reason, the token rises although nobody got
/// it, the next gets the lock at once, and a lock that nobody holds is left alone.
pub(crate) async fn rises_when_forced(s: &Setup) {
    let (a, b) = (s.peer().await, s.peer().await);
    assert_eq!(b.client.force_release("x", "a test").await.expect("an answer"), Forced::Absent);
    assert_eq!(stored(&s.backend(), "x").await, None, "nothing was written");
    let guard = a.client.mutex("x").with_label("alice").acquire().await.expect("the lock");
    let forced = b.client.force_release("x", "stuck since Monday").await.expect("forced");
    let Forced::Released { holder, token } = forced else { panic!("{forced:?}") };
    assert_eq!((holder.label.as_str(), holder.token), ("alice", guard.token()));
    assert!(token > guard.token());
    let error = soon("the holder hears", guard.lost()).await;
    assert_eq!(error.kind(), ErrorKind::Lost);
    assert!(error.to_string().contains("stuck since Monday"), "{error}");
    assert!(!guard.is_held());
    let status = b.client.status("x").await.expect("an answer");
    assert_eq!((status.state, status.token), (State::Free, Some(token)));
    assert_eq!(status.past.and_then(|p| p.reason).as_deref(), Some("stuck since Monday"));
    let next = got(&b.client, "x").await;
    assert!(next.token() > token);
}

/// An operator deletes the record of a held lock. The holder has lost it, and does not re-create
/// it: a record that comes back from the dead would take the lock from whoever came next.
pub(crate) async fn rises_after_deletion(s: &Setup) {
    let (a, b) = (s.peer().await, s.peer().await);
    let guard = acquired(&a.client, "x").await;
    uproot(&s.backend(), "x").await;
    let error = soon("the holder notices", guard.lost()).await;
    assert_eq!(error.kind(), ErrorKind::Lost);
    assert!(error.to_string().contains("deleted"), "{error}");
    pass(secs(3600)).await;
    assert_eq!(stored(&s.backend(), "x").await, None, "re-created");
    let token = guard.token();
    assert_eq!(guard.release().await.expect_err("it was lost").kind(), ErrorKind::Lost);
    assert_eq!(stored(&s.backend(), "x").await, None, "re-created by the release");
    assert!(got(&b.client, "x").await.token() > token);
}

/// Looking does not touch: `status` and `list` tell what there is, and write nothing.
pub(crate) async fn is_shown(s: &Setup) {
    let Peer { client, store, .. } = s.peer().await;
    assert_eq!(client.status("x").await.expect("an answer").state, State::Absent);
    assert!(client.list("").await.expect("an answer").is_empty());
    let guard = client.mutex("x").with_label("alice").acquire().await.expect("the lock");
    released(got(&client, "y/z").await).await;
    let writes = store.counts().writes;
    let status = client.status("x").await.expect("an answer");
    assert_eq!((status.state, status.token), (State::Held, Some(guard.token())));
    assert_eq!(status.holder.map(|h| h.label).as_deref(), Some("alice"));
    assert_eq!(status.location, s.backend().locate(&key("x")));
    let all = client.list("").await.expect("an answer");
    let all: Vec<_> = all.iter().map(|s| (s.name.as_str(), s.state)).collect();
    assert_eq!(all, [("x", State::Held), ("y/z", State::Free)]);
    assert_eq!(client.list("y").await.expect("an answer").len(), 1);
    assert_eq!(store.counts().writes, writes, "looking wrote");
    assert_eq!(held(&client, "x").await.token, guard.token());
    assert_eq!(record(&s.backend(), "x").await.expect("a record").token, guard.token());
}
