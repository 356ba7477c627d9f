//! Requests and answers around the end of a run that are lost, late or doubled.

use leasehold::ErrorKind;
use leasehold_core::backend::{Fate, Trouble};

use super::{begun, found_done, recorded};
use crate::setup::{Setup, millis, pass, secs, soon};
use crate::{Call, Fault, Gate, Peer};

const LOST: Fault = Fault::LoseReply(Fate::Unknown);
const THROTTLED: Fate = Fate::Throttled { retry_after: None };
const AWAY: Fault = Fault::Refuse(Fate::Unknown, Trouble::Unavailable);

/// Every way in which a write can land without its caller being told so.
const LANDED_UNTOLD: [Fault; 3] = [LOST, Fault::LoseReply(THROTTLED), Fault::Repeat];

/// The reply to the write that begins a run, to the one that saves, to the one that ends it, is lost or
/// comes twice. Each is read back and counts once: nobody waits for themselves, no failure counts
/// double, and done is done.
pub(crate) async fn lost_replies_are_read_back(s: &Setup) {
    let (a, b) = (s.peer().await, s.peer().await);
    for (n, fault) in LANDED_UNTOLD.into_iter().enumerate() {
        for step in 1..=3 {
            let name = format!("x-{n}-{step}");
            let once = |peer: &Peer| peer.client.once(&*name).with_backoff(millis(10));
            a.store.clear();
            a.store.nth(Call::Write, step, fault.clone());
            let landed = a.store.counts().landed;
            let first = begun(&once(&a)).await;
            assert_eq!((first.attempt(), first.resumed()), (1, None), "{name}");
            first.save(b"row 1").await.expect("saved");
            let token = first.token();
            first.failed(None, "no disk").await.expect("recorded");
            assert_eq!(a.store.counts().landed, landed + 3, "{name}");
            let second = begun(&once(&b)).await;
            assert_eq!((second.attempt(), second.resumed()), (2, Some(token)), "{name}");
            assert_eq!(second.checkpoint(), Some(&b"row 1"[..]), "{name}");
            b.store.clear();
            b.store.nth(Call::Write, 1, fault.clone());
            second.done(None).await.expect("recorded");
            found_done(&once(&a)).await;
        }
    }
}

/// The write that says *done* lands, and its answer takes long. The others have the result before the
/// runner hears of it, and the runner is told the same in the end.
pub(crate) async fn late_answer_changes_nothing(s: &Setup) {
    let (a, b) = (s.peer().await, s.peer().await);
    for is_read_too in [false, true] {
        let name = format!("x-{is_read_too}");
        let section = begun(&a.client.once(&*name)).await;
        let (token, gate) = (section.token(), Gate::new());
        let (held_up, done) = (gate.clone(), a.store.counts().writes_done);
        a.store.when(move |r| {
            let held_up = Fault::DelayReply(held_up.clone());
            (is_read_too || r.call == Call::Write).then_some(held_up)
        });
        let ending = tokio::spawn(async move { section.done(None).await });
        a.store.until(|c| c.writes_done > done).await;
        assert_eq!(found_done(&b.client.once(&*name)).await.token, token);
        pass(secs(40)).await;
        assert_eq!(ending.is_finished(), !is_read_too, "it reads the record back");
        a.store.clear();
        gate.open();
        ending.await.expect("no panic").expect("recorded");
        assert_eq!(found_done(&a.client.once(&*name)).await.token, token);
    }
}

/// The write that says *done* is on its way for long, and its sender is cut off. If it arrives before
/// anybody takes over, it is done, and the sender is told so when it is back. If it arrives after that,
/// it finds its state gone: another runs it, and the late *done* does not end that run.
pub(crate) async fn late_completion_lands_in_time_or_never(s: &Setup) {
    for in_time in [true, false] {
        let name = format!("x-{in_time}");
        let (a, b) = (s.peer().await, s.peer().await);
        let section = begun(&a.client.once(&*name)).await;
        let token = section.token();
        a.store.nth(Call::Write, 1, Fault::Late);
        a.store.always(Fault::Hang);
        let ending = tokio::spawn(async move { section.done(None).await });
        a.store.until(|c| c.late == 1).await;
        let next = if in_time {
            assert_eq!(a.store.land_late().await, 1);
            None
        } else {
            let next = begun(&b.client.once(&*name)).await;
            assert_eq!(next.resumed(), Some(token));
            assert_eq!(a.store.land_late().await, 0, "it ended the run of another");
            Some(next)
        };
        a.store.clear();
        let ended = ending.await.expect("no panic");
        if let Some(next) = next {
            let error = ended.expect_err("it is another's");
            assert_eq!(error.kind(), ErrorKind::Superseded, "{error}");
            assert!(next.is_held());
            let token = next.token();
            next.done(None).await.expect("recorded");
            assert_eq!(found_done(&a.client.once(&*name)).await.token, token);
        } else {
            ended.expect("it is recorded");
            assert_eq!(found_done(&b.client.once(&*name)).await.token, token);
        }
    }
}

/// The store is away when a run ends, for longer than a lease, and nobody else can reach it either: the
/// end is recorded when it is back. Away for longer than four ttls, it is told as unknown, and neither
/// as done nor as failed; then whoever comes next resumes it.
pub(crate) async fn store_away_is_waited_for(s: &Setup) {
    for is_done in [true, false] {
        for fault in [AWAY, Fault::Hang] {
            let Peer { client, store, env } = s.peer().await;
            let name = format!("x-{is_done}-{fault:?}").replace([' ', '{', '}', '(', ')', ','], "");
            let section = begun(&client.once(&*name)).await;
            store.always(fault.clone());
            let ending = tokio::spawn(async move {
                if is_done { section.done(None).await } else { section.failed(None, "no").await }
            });
            pass(secs(70)).await;
            assert!(!ending.is_finished(), "{name}: given up while others would still wait");
            store.clear();
            soon(&name, ending).await.expect("no panic").expect("recorded");
            let state = recorded(s, &name).await.expect("an outcome").state;
            assert_eq!(state.to_string(), if is_done { "done" } else { "failed" });

            let gone = format!("{name}-gone");
            let section = begun(&client.once(&*gone)).await;
            let (token, before) = (section.token(), env.elapsed());
            store.always(fault.clone());
            let error = section.done(None).await.expect_err("nobody answers");
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(error.to_string().contains("not known"), "{error}");
            let took = env.since(before);
            assert!(took >= secs(90) && took < secs(150), "{took:?}");
            let other = s.peer().await;
            let next = begun(&other.client.once(&*gone)).await;
            assert_eq!((next.attempt(), next.resumed()), (1, Some(token)));
        }
    }
}

/// Everything arrives and nothing is answered when a run ends. The runner cannot know, and says so;
/// the others know that it is done, and nobody runs it again.
pub(crate) async fn unheard_completion_is_done(s: &Setup) {
    let Peer { client, store, .. } = s.peer().await;
    let section = begun(&client.once("x")).await;
    let token = section.token();
    store.always(LOST);
    let error = section.done(None).await.expect_err("nobody answers");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    store.clear();
    for peer in [client, s.peer().await.client] {
        assert_eq!(found_done(&peer.once("x")).await.token, token);
    }
}

/// A saving that meets a fault is saved all the same, or says that it is not known. What was confirmed
/// is what the next one finds; renewals in between do not lose it, and of several at once the last
/// one stays.
pub(crate) async fn saving_survives_faults(s: &Setup) {
    let refused = Fault::Refuse(THROTTLED, Trouble::Unavailable);
    let mut faults = LANDED_UNTOLD.to_vec();
    faults.extend([AWAY, refused, Fault::Hang, Fault::Late]);
    for (n, fault) in faults.into_iter().enumerate() {
        let (a, b) = (s.peer().await, s.peer().await);
        let name = format!("x-{n}");
        let section = begun(&a.client.once(&*name)).await;
        section.save(b"row 1").await.expect("saved");
        a.store.nth(Call::Write, 1, fault.clone());
        section.save(b"row 2").await.unwrap_or_else(|e| panic!("{fault:?}: {e}"));
        a.store.land_late().await;
        let (one, two) = (section.save(b"row 3"), section.save(b"row 4"));
        let both = tokio::join!(one, two);
        assert!(both.0.is_ok() && both.1.is_ok(), "{fault:?}: {both:?}");
        pass(secs(100)).await;
        assert!(section.is_held(), "{fault:?}");
        a.store.cut();
        let error = section.save(b"row 5").await.expect_err("it is cut off");
        assert_eq!(error.kind(), ErrorKind::Lost, "{error}");
        let next = begun(&b.client.once(&*name)).await;
        assert_eq!(next.checkpoint(), Some(&b"row 4"[..]), "{fault:?}");
    }
}
