//! Everything at random, around the ends of runs.

use std::sync::{Arc, Mutex, PoisonError};

use leasehold::{Begun, ErrorKind, FencingToken, Once};
use tokio::task::JoinSet;

use super::found_done;
use crate::Peer;
use crate::mutex::weather::spoil;
use crate::setup::{Setup, millis, pass, secs, soon};

const HOSTS: u64 = 3;
const KEYS: u64 = 30;

/// What the hosts were told of one key.
#[derive(Default)]
struct Told {
    /// The runs that were told that their completion is recorded.
    done: Vec<FencingToken>,
    /// The runs whose end was told as unknown.
    unknown: Vec<FencingToken>,
    /// The runs that others were told did it.
    inherited: Vec<FencingToken>,
    /// How many failures were told as recorded, and how many as unknown.
    failures: (u64, u64),
}

/// Three hosts, a store that answers every third request wrongly, thirty keys: some runs fail, some are
/// interrupted, most complete. Of each key one run is done at most, whoever inherits is told of that
/// one, none is told as done that is not, a failure is not counted twice, and what begins after it was
/// told as done is nothing.
pub(crate) async fn any_weather(s: &Setup) {
    let mut runs = 0;
    for key in 0..KEYS {
        let (name, told) = (format!("x-{key}"), Arc::new(Mutex::new(Told::default())));
        let mut hosts = JoinSet::new();
        for host in 0..HOSTS {
            let (peer, told) = (s.peer().await, Arc::clone(&told));
            let once = peer.client.once(&*name);
            spoil(&peer.store, 1_000 * key + host);
            hosts.spawn(async move { compete(&peer, &once, host, &told).await });
        }
        runs += hosts.join_all().await.into_iter().sum::<u64>();
        let done = found_done(&s.peer().await.client.once(&*name)).await;
        let told = told.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(told.done.len() <= 1, "{:?} are done", told.done);
        let ended = told.done.iter().chain(&told.unknown).any(|token| *token == done.token);
        assert!(ended, "{} is done, and nobody did it", done.token);
        for other in told.done.iter().chain(&told.inherited) {
            assert_eq!(*other, done.token, "told as done, and it is not");
        }
    }
    assert!(runs > KEYS, "{runs} runs: nothing failed and nothing was lost");
}

/// Wants it done until it is, as a fleet does whose programs are started again.
async fn compete(peer: &Peer, once: &Once, host: u64, told: &Mutex<Told>) -> u64 {
    let told = || told.lock().unwrap_or_else(PoisonError::into_inner);
    let once = once.clone().with_ttl(secs(5)).with_max_attempts(1_000).with_backoff(millis(100));
    let mut runs = 0;
    loop {
        let begun = once.begin().await;
        peer.store.land_late().await;
        let section = match begun {
            Ok(Begun::Section(section)) => section,
            Ok(Begun::Before(done)) => {
                told().inherited.push(done.token);
                return runs;
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                continue;
            }
        };
        assert!(told().done.is_empty(), "it runs, and was told as done before");
        {
            let told = told();
            let (least, most) = (told.failures.0, told.failures.0 + told.failures.1);
            let failed = section.attempt() - 1;
            assert!(failed >= least && failed <= most, "{failed} of {least} to {most} failures");
        }
        runs += 1;
        pass(millis(700)).await;
        let token = section.token();
        match (token.0 + host) % 4 {
            0 => drop(section),
            1 => {
                told().failures.1 += 1;
                let failed = section.failed(None, "no disk").await;
                let mut told = told();
                match failed.map_err(|e| e.kind()) {
                    Ok(()) => {
                        told.failures.0 += 1;
                        told.failures.1 -= 1;
                    }
                    // Perhaps it was recorded, and another run has ended since.
                    Err(kind) => {
                        assert!(matches!(kind, ErrorKind::Superseded | ErrorKind::Unavailable));
                    }
                }
            }
            _ => {
                told().unknown.push(token);
                let done = soon("it ends", section.done(None)).await;
                let mut told = told();
                match done.map_err(|e| e.kind()) {
                    Ok(()) => {
                        told.unknown.retain(|t| *t != token);
                        told.done.push(token);
                    }
                    Err(ErrorKind::Superseded) => told.unknown.retain(|t| *t != token),
                    Err(kind) => assert_eq!(kind, ErrorKind::Unavailable),
                }
            }
        }
    }
}
