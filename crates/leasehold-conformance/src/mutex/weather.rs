//! Everything at random.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use leasehold::{FencingToken, Guard};
use leasehold_core::backend::{Fate, Trouble};
use tokio::task::JoinSet;

use super::{acquired, released};
use crate::setup::{Setup, millis, pass, secs, soon};
use crate::{Fault, Faulty, Virtual};

const HOSTS: usize = 3;

/// Who believes to hold, until when, and the highest token that any holder used.
struct Beliefs {
    clock: Virtual,
    until: Mutex<[Duration; HOSTS]>,
    highest: Mutex<FencingToken>,
}

/// Ten minutes of everything at random, on three hosts: never do two believe to hold, tokens only
/// rise, and when the network is well again everybody gets the lock.
pub(crate) async fn any_weather(s: &Setup) {
    let beliefs = Arc::new(Beliefs {
        clock: Virtual::new(99),
        until: Mutex::default(),
        highest: Mutex::new(FencingToken(0)),
    });
    let mut hosts = JoinSet::new();
    for host in 0..HOSTS {
        let number = u64::try_from(host).expect("it fits");
        let (peer, beliefs) = (s.peer().await, Arc::clone(&beliefs));
        spoil(&peer.store, 7 + number);
        hosts.spawn(async move {
            let mut turns = 0;
            while peer.env.elapsed() < secs(600) {
                let acquired = peer.client.mutex("x").with_ttl(secs(5)).acquire().await;
                peer.store.land_late().await;
                let Ok(guard) = acquired else { continue };
                turns += u32::from(beliefs.turn(host, &guard, &peer.store).await);
                beliefs.let_go(host);
                // Now and then it just goes away.
                if turns % 4 == 0 {
                    drop(guard);
                } else {
                    let _ = guard.release().await;
                }
            }
            peer.store.clear();
            let guard = soon("well again", acquired(&peer.client, "x")).await;
            assert!(beliefs.turn(host, &guard, &peer.store).await);
            beliefs.let_go(host);
            released(guard).await;
            turns
        });
    }
    let turns = hosts.join_all().await;
    assert!(turns.iter().all(|&n| n > 5), "{turns:?}");
}

impl Beliefs {
    /// Works in steps as long as the lock is held, as a careful program does.
    async fn turn(&self, host: usize, guard: &Guard, store: &Faulty) -> bool {
        for step in 0..10 {
            if !guard.is_held() {
                return false;
            }
            self.believe(host, guard);
            if step == 5 {
                store.land_late().await;
            }
            pass(millis(300)).await;
        }
        true
    }

    fn believe(&self, host: usize, guard: &Guard) {
        let now = self.clock.elapsed();
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        for (other, until) in until.iter().enumerate() {
            assert!(other == host || *until <= now, "{host} holds and {other} until {until:?}");
        }
        until[host] = now + guard.time_left();
        let mut highest = self.highest.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(*highest <= guard.token(), "{} after {highest}", guard.token());
        *highest = guard.token();
    }

    fn let_go(&self, host: usize) {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)[host] = Duration::ZERO;
    }
}

/// Every third request meets a fault, by a generator with this seed.
pub(crate) fn spoil(store: &Faulty, seed: u64) {
    let mut state = seed;
    store.when(move |_| {
        let next = state.wrapping_mul(6_364_136_223_846_793_005);
        state = next.wrapping_add(1_442_695_040_888_963_407);
        match (state >> 33) % 21 {
            0 => Some(Fault::Refuse(Fate::Unknown, Trouble::Unavailable)),
            1 => Some(Fault::Refuse(Fate::NotSent, Trouble::Unavailable)),
            2 => Some(Fault::LoseReply(Fate::Unknown)),
            3 => Some(Fault::Repeat),
            4 => Some(Fault::Hang),
            5 => Some(Fault::LoseReply(Fate::Throttled { retry_after: None })),
            6 => Some(Fault::Late),
            _ => None,
        }
    });
}
