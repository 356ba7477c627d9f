//! Requests and replies that are lost, late, doubled or refused.

use leasehold::ErrorKind;
use leasehold_core::backend::{Facts, Fate, Trouble};

use super::{acquired, got, held, kept, record, released};
use crate::setup::{Setup, millis, pass, secs, soon};
use crate::{Call, Fault, Faulty, Peer};

const LOST: Fault = Fault::LoseReply(Fate::Unknown);
const THROTTLED: Fate = Fate::Throttled { retry_after: None };

/// Every way in which a write can land without its caller being told so.
const LANDED_UNTOLD: [Fault; 3] = [LOST, Fault::LoseReply(THROTTLED), Fault::Repeat];

/// A lost reply to the acquiring write is not taken for failure: the lock is acquired, once. (Two
/// peers wait for themselves then, one for ever.)
pub(crate) async fn lost_reply_to_acquire(s: &Setup) {
    let (a, b) = (s.peer().await, s.peer().await);
    for (n, fault) in LANDED_UNTOLD.into_iter().enumerate() {
        let name = format!("x-{n}");
        let landed = a.store.counts().landed;
        a.store.nth(Call::Write, 1, fault.clone());
        let guard = soon("acquired", acquired(&a.client, &name)).await;
        assert_eq!(a.store.counts().landed, landed + 1, "{fault:?}");
        assert_eq!(held(&b.client, &name).await.id, guard.holder());
        assert!(guard.is_held());
        released(guard).await;
    }
}

/// A lost reply to a renewal costs nothing: the lock is kept, and nothing is renewed in vain.
pub(crate) async fn lost_reply_to_renewal(s: &Setup) {
    let Peer { client, store, env } = s.peer().await;
    for (n, fault) in LANDED_UNTOLD.into_iter().enumerate() {
        let name = format!("x-{n}");
        let guard = acquired(&client, &name).await;
        let (before, landed) = (env.elapsed(), store.counts().landed);
        store.clear();
        let why = format!("{fault:?}");
        store.when(move |r| (r.call == Call::Write && r.number % 2 == 0).then(|| fault.clone()));
        pass(secs(605)).await;
        kept(&guard, &why).await;
        let renewals = store.counts().landed - landed;
        let due = env.since(before).as_secs() / 10;
        assert!(renewals >= due && renewals <= due + 3, "{renewals} renewals, {due} were due");
        store.clear();
        released(guard).await;
    }
}

/// A renewal that hangs for ever does not hang the holder: it is told at its deadline, four fifths
/// of a ttl after its last confirmed write was *sent*, to the millisecond.
pub(crate) async fn silence_is_lost_at_the_deadline(s: &Setup) {
    let Peer { client, store, env } = s.peer().await;
    for fault in [Fault::Hang, Fault::Refuse(Fate::Unknown, Trouble::Unavailable), Fault::Late] {
        store.clear();
        let sent = env.elapsed();
        let guard = client.mutex(format!("x-{fault:?}")).acquire().await.expect("the lock");
        store.always(fault);
        let error = guard.lost().await;
        let after = env.since(sent);
        assert!(after > millis(23_900) && after <= millis(24_005), "told after {after:?}");
        assert_eq!(error.kind(), ErrorKind::Lost);
        assert!(!guard.is_held() && guard.time_left().is_zero());
    }
}

/// A slow answer buys nobody time. The holder's right counts from when its write was *sent*, and the
/// waiter's patience from when the reply was *received*; each the other way would let two overlap by
/// a round trip. (A peer's lifetime begins when the reply arrives.)
pub(crate) async fn slow_answers_buy_nothing(s: &Setup) {
    for slow_write in [1, 2] {
        let (a, b) = (s.peer().await, s.peer().await);
        let name = format!("x-{slow_write}");
        let gate = crate::Gate::new();
        a.store.nth(Call::Write, slow_write, Fault::DelayReply(gate.clone()));
        let began = a.env.elapsed();
        let mutex = a.client.mutex(&*name);
        let acquiring = tokio::spawn(async move { mutex.acquire().await });
        a.store.until(|c| c.writes == slow_write).await;
        let sent = a.env.elapsed();
        pass(secs(2)).await;
        gate.open();
        let guard = acquiring.await.expect("no panic").expect("the lock");
        a.store.always(Fault::Hang);
        guard.lost().await;
        let (after, before) = (a.env.since(sent), sent.saturating_sub(began));
        assert!(after <= millis(24_005), "told {after:?} after write {slow_write} was sent");
        assert_eq!(before.as_secs(), 10 * (slow_write - 1));

        // The waiter's only look comes back late, and nothing is heard of the holder any more.
        let gate = crate::Gate::new();
        b.store.nth(Call::Read, 1, Fault::DelayReply(gate.clone()));
        let (asked, mutex) = (b.env.elapsed(), b.client.mutex(&*name));
        let acquiring = tokio::spawn(async move { mutex.acquire().await });
        pass(secs(3)).await;
        gate.open();
        drop(acquiring.await.expect("no panic").expect("the lock"));
        let took = b.env.since(asked);
        assert!(took >= secs(33) && took <= secs(34), "taken over {took:?} after it was asked");
    }
}

/// The answers hang, but the writes arrive: what is not known to have landed counts for nothing.
pub(crate) async fn unheard_renewals_count_for_nothing(s: &Setup) {
    let Peer { client, store, env } = s.peer().await;
    let sent = env.elapsed();
    let guard = acquired(&client, "x").await;
    store.always(Fault::DelayReply(crate::Gate::new()));
    guard.lost().await;
    let after = env.since(sent);
    assert!(after <= millis(24_005), "told after {after:?}");
    assert!(store.counts().landed > 1, "the renewals landed");
}

/// An outage shorter than what is left of the lease is survived, and one transient error is none.
pub(crate) async fn short_outage_is_survived(s: &Setup) {
    let Peer { client, store, .. } = s.peer().await;
    let guard = acquired(&client, "x").await;
    for fault in [
        Fault::Refuse(Fate::Unknown, Trouble::Unavailable),
        Fault::Refuse(Fate::NotSent, Trouble::Unavailable),
        Fault::Refuse(THROTTLED, Trouble::Unavailable),
        // A holder whose credentials ran out has until its deadline to renew them.
        Fault::Refuse(Fate::NotSent, Trouble::Denied),
        Fault::Hang,
        LOST,
    ] {
        // From before the next renewal until shortly before the deadline.
        store.always(fault.clone());
        pass(secs(13)).await;
        store.clear();
        pass(secs(9)).await;
        kept(&guard, &format!("{fault:?}")).await;
        pass(secs(30)).await;
        kept(&guard, &format!("{fault:?}")).await;
    }
    released(guard).await;
}

/// An outage longer than the lease: the holder is told in time, another takes over, and the first
/// touches nothing of it when the network is back.
pub(crate) async fn long_outage_is_lost(s: &Setup) {
    let (a, b) = (s.peer().await, s.peer().await);
    let first = acquired(&a.client, "x").await;
    a.store.cut();
    let second = acquired(&b.client, "x").await;
    assert!(!first.is_held());
    a.store.clear();
    a.store.set_deaf(false);
    pass(secs(100)).await;
    assert_eq!(first.release().await.expect_err("it was lost").kind(), ErrorKind::Lost);
    assert!(second.is_held());
    let stored = record(&s.backend(), "x").await.expect("a record");
    assert_eq!(stored.holder().map(|h| h.id), Some(second.holder()));
    // Everybody is away for longer than a ttl: the record still names the second, and it frees it
    // when it lets go, so that nobody waits for a lease that nobody believes in.
    b.store.cut();
    soon("lost", second.lost()).await;
    b.store.clear();
    drop(second);
    b.client.clone().close().await;
    drop(got(&a.client, "x").await);
}

/// A store that says no says no at once: waiting would not help. (A peer retried 403 for ever.)
pub(crate) async fn denial_is_told_at_once(s: &Setup) {
    let Peer { client, store, env } = s.peer().await;
    for (trouble, kind) in
        [(Trouble::Denied, ErrorKind::Denied), (Trouble::Invalid, ErrorKind::Invalid)]
    {
        for call in [Call::Read, Call::Write] {
            store.clear();
            let fault = Fault::Refuse(Fate::NotSent, trouble);
            store.when(move |r| (r.call == call).then(|| fault.clone()));
            let before = env.elapsed();
            let error = client.mutex("x").acquire().await.expect_err("it is refused");
            assert_eq!(error.kind(), kind);
            assert!(env.since(before) < secs(1), "{call:?} {trouble:?}");
            let text = error.to_string();
            let place = s.backend().locate(&crate::setup::key("x"));
            assert!(text.contains(&place), "{text}");
        }
    }
    store.clear();
    drop(got(&client, "x").await);
}

/// A store that does not answer is told as that, about a ttl later, and not waited for for ever.
pub(crate) async fn silence_is_told_in_time(s: &Setup) {
    for fault in [Fault::Hang, Fault::Refuse(Fate::Unknown, Trouble::Unavailable)] {
        let Peer { client, store, env } = s.peer().await;
        store.always(fault.clone());
        let before = env.elapsed();
        let error = client.mutex("x").acquire().await.expect_err("nobody answers");
        let took = env.since(before);
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(took >= secs(20) && took <= secs(60), "{fault:?}: {took:?}");
        let before = env.elapsed();
        let error = client.mutex("x").with_timeout(secs(3)).acquire().await.expect_err("silence");
        assert!(env.since(before) <= millis(3_100), "{error}");
    }
}

/// A store that asks for patience gets it: nothing is sent before the time it named, and the lock is
/// acquired in the end.
pub(crate) async fn patience_is_had(s: &Setup) {
    let Peer { client, store, env } = s.peer().await;
    let fate = Fate::Throttled { retry_after: Some(secs(3)) };
    store.nth(Call::Write, 1, Fault::Refuse(fate, Trouble::Unavailable));
    let before = env.elapsed();
    let guard = acquired(&client, "x").await;
    let took = env.since(before);
    assert!(took >= secs(3) && took < secs(6), "{took:?}");
    assert_eq!(store.counts().writes, 2);
    released(guard).await;
}

/// A store with a limit of one write a second is not asked for more, by nobody: neither by a holder
/// nor by rivals that lose races. And a ttl that its limit cannot serve is refused before anything
/// is sent.
pub(crate) async fn write_limit_is_kept(s: &Setup) {
    let slow = Facts { least_write_interval: secs(1), ..s.backend().facts() };
    let store = std::sync::Arc::new(Faulty::new(s.another().await).with_facts(slow));
    let env = std::sync::Arc::new(crate::Virtual::new(1));
    let client = leasehold::Client::with_env(store.clone(), env).expect("a client");
    let error = client.mutex("x").with_ttl(secs(5)).acquire().await.expect_err("too short");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!((store.counts().reads, store.counts().writes), (0, 0));
    let guard = client.mutex("x").with_ttl(secs(10)).acquire().await.expect("the lock");
    pass(secs(100)).await;
    assert!(guard.is_held());
    assert!(store.counts().writes <= 40, "{:?}", store.counts());
    released(guard).await;
}

/// A read that shows an older state than one seen before (a replica, a cache) proves nothing: not
/// that the lock is free, not that it is lost.
pub(crate) async fn stale_read_proves_nothing(s: &Setup) {
    let (a, b) = (s.peer().await, s.peer().await);
    released(got(&a.client, "x").await).await;
    let free = s.backend().read(&crate::setup::key("x")).await.expect("an answer");
    let guard = acquired(&a.client, "x").await;
    assert_eq!(held(&b.client, "x").await.id, guard.holder());
    // From now on every read of the waiter, and every other of the holder, is of yesterday.
    let (stale, also) = (free.clone(), free);
    b.store.when(move |r| (r.call == Call::Read).then(|| Fault::Answer(stale.clone())));
    a.store.when(move |r| {
        let stale = r.call == Call::Read && r.number % 2 == 0;
        stale.then(|| Fault::Answer(also.clone()))
    });
    let refused = b.client.mutex("x").with_timeout(secs(10)).acquire().await;
    let kind = refused.expect_err("it is held").kind();
    assert!(matches!(kind, ErrorKind::Timeout | ErrorKind::Unavailable), "{kind:?}");
    assert_eq!(b.store.counts().writes, 0);
    a.store.nth(Call::Write, 1, LOST);
    pass(secs(60)).await;
    assert!(guard.is_held());
    released(guard).await;
}

/// What the protocol costs: from cold a look and a write, warm one write, a release one write, and a
/// renewal one write per third of a ttl.
pub(crate) async fn costs_what_it_says(s: &Setup) {
    let Peer { client, store, .. } = s.peer().await;
    let spent = |since: crate::Counts| {
        let now = store.counts();
        (now.reads - since.reads, now.writes - since.writes)
    };
    let since = store.counts();
    let guard = acquired(&client, "x").await;
    assert_eq!(spent(since), (1, 1), "cold");
    let since = store.counts();
    released(guard).await;
    assert_eq!(spent(since), (0, 1), "release");
    let since = store.counts();
    let guard = acquired(&client, "x").await;
    assert_eq!(spent(since), (0, 1), "warm");
    let since = store.counts();
    pass(secs(101)).await;
    let (reads, writes) = spent(since);
    assert_eq!((reads, writes), (0, 10), "renewals");
    released(guard).await;
}
