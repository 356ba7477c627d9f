//! A runner that went away, and the one that resumes.

use leasehold::ErrorKind;

use super::{begun, found_done, recorded, run_now};
use crate::Peer;
use crate::setup::{Setup, pass, secs, soon};

/// A runner's host dies. One ttl later, and not before, another resumes with the token of the dead run
/// and what it saved, as the same attempt: a crash is no failure. That one dies without saving, and the
/// third finds what the first saved. It fails, and what was saved is kept; it is done, and nothing is.
pub(crate) async fn crash_is_resumed(s: &Setup) {
    let (a, b, c) = (s.peer().await, s.peer().await, s.peer().await);
    let first = begun(&a.client.once("copy")).await;
    assert_eq!((first.attempt(), first.resumed(), first.checkpoint()), (1, None, None));
    for row in ["row 1", "row 2"] {
        first.save(row.as_bytes()).await.expect("saved");
    }
    a.store.cut();
    let before = b.env.elapsed();
    let second = begun(&b.client.once("copy")).await;
    let took = b.env.since(before);
    assert!(took >= secs(30) && took <= secs(31), "{took:?}");
    assert!(!first.is_held() && second.token() > first.token());
    assert_eq!((second.attempt(), second.resumed()), (1, Some(first.token())));
    assert_eq!(second.checkpoint(), Some(&b"row 2"[..]));
    b.store.cut();
    let third = begun(&c.client.once("copy")).await;
    assert_eq!((third.attempt(), third.resumed()), (1, Some(second.token())));
    assert_eq!(third.checkpoint(), Some(&b"row 2"[..]));
    third.save(b"row 3").await.expect("saved");
    let third_token = third.token();
    third.failed(None, "no disk").await.expect("recorded");
    let fourth = begun(&c.client.once("copy")).await;
    assert_eq!((fourth.attempt(), fourth.resumed()), (2, Some(third_token)));
    assert_eq!(fourth.checkpoint(), Some(&b"row 3"[..]));
    fourth.done(None).await.expect("recorded");
    assert_eq!(recorded(s, "copy").await.and_then(|o| o.checkpoint), None);
    let other = begun(&c.client.once("copy").keyed("v2")).await;
    assert_eq!((other.attempt(), other.resumed(), other.checkpoint()), (1, None, None));
}

/// A section that is let go with its work half done, in either way, is resumed at once.
pub(crate) async fn interrupted_is_resumed_at_once(s: &Setup) {
    let (a, b) = (s.peer().await, s.peer().await);
    let mut last = None;
    for by_drop in [false, true] {
        let section = begun(&a.client.once("copy")).await;
        assert_eq!(section.resumed(), last);
        section.save(b"row 1").await.expect("saved");
        last = Some(section.token());
        if by_drop {
            drop(section);
            a.client.clone().close().await;
        } else {
            section.interrupted().await.expect("let go");
        }
        let before = b.env.elapsed();
        let next = begun(&b.client.once("copy")).await;
        assert!(b.env.since(before) < secs(1));
        assert_eq!((next.attempt(), next.resumed()), (1, last));
        assert_eq!(next.checkpoint(), Some(&b"row 1"[..]));
        last = Some(next.token());
        next.interrupted().await.expect("let go");
    }
}

/// A runner that was cut off comes back when another runs, has failed or has done it: its own end, good
/// or bad, is refused, and touches nothing. Of failures a record keeps only the last one and their number,
/// so that a failure that may be among those before is told as unknown.
pub(crate) async fn late_end_is_superseded(s: &Setup) {
    for (n, is_done) in [(0, false), (1, true)] {
        for stage in ["running", "failed", "done", "replaced"] {
            let name = format!("copy-{n}-{stage}");
            let (a, b) = (s.peer().await, s.peer().await);
            let late = begun(&a.client.once(&*name)).await;
            a.store.cut();
            let next = begun(&b.client.once(&*name)).await;
            let (_running, token) = match stage {
                "running" => (Some(next), None),
                "failed" => (next.failed(None, "no").await.map(|()| None).expect("recorded"), None),
                _ => {
                    let token = next.token();
                    next.done(None).await.expect("recorded");
                    (None, Some(token))
                }
            };
            if stage == "replaced" {
                run_now(&b.client, &name, "v2").await;
            }
            let before = recorded(s, &name).await;
            a.store.clear();
            a.store.set_deaf(false);
            let ended = match is_done {
                true => late.done(None).await,
                false => late.failed(None, "late").await,
            };
            let error = ended.expect_err("it is another's");
            let is_unknown = !is_done && stage != "running";
            let kind = if is_unknown { ErrorKind::Unavailable } else { ErrorKind::Superseded };
            assert_eq!(error.kind(), kind, "{name}: {error}");
            assert!(error.to_string().contains(&name), "{error}");
            assert_eq!(recorded(s, &name).await, before, "{name}");
            if let Some(token) = token {
                assert_eq!(found_done(&a.client.once(&*name)).await.token, token);
            }
        }
    }
}

/// A runner's lease ran out while it was cut off, and nobody came meanwhile: what it did counts. Done
/// is recorded, and nobody does it again.
pub(crate) async fn late_end_counts_if_nobody_came(s: &Setup) {
    let Peer { client, store, .. } = s.peer().await;
    let section = begun(&client.once("copy")).await;
    section.set_result("9 rows");
    store.cut();
    soon("lost", section.lost()).await;
    pass(secs(300)).await;
    store.clear();
    let token = section.token();
    section.done(None).await.expect("nobody else came");
    let done = found_done(&s.peer().await.client.once("copy")).await;
    assert_eq!((done.token, done.text.as_str()), (token, "9 rows"));
}
