//! What racing clients were told, all of it together, must be what one register told them.

use std::sync::Arc;

use leasehold::env::{Env, Host};
use leasehold_core::backend::{Backend, Expected, Fate, Key, Version, Written};
use tokio::task::JoinSet;

use crate::setup::{Setup, key};
use crate::{Call, Fault, Faulty, Fixture, History, Limit, Need, Recorder, Refusals};

const CLIENTS: usize = 8;

/// Clients race on one name, which is absent at first: they read, write on what they saw last or
/// long ago, delete, and give up in the middle; replies are lost, requests come twice or late. Each
/// answer alone looks right. There must be an order in which all are right at once: otherwise some
/// moment had two newest states, and a lock two holders.
pub(crate) async fn races_are_linearizable(s: &Setup) {
    let race = Race::on(s.fixture);
    let mut tasks = JoinSet::new();
    for client in 0..CLIENTS {
        let racer = race.racer(s.another().await, format!("client {client}"));
        tasks.spawn(racer.run());
    }
    tasks.join_all().await;
    race.judge();
}

/// A race, seen from two sides.
pub(crate) struct Race {
    /// Whether its clients delete: only where a delete looks at the version, as theirs have to.
    deletes: bool,
    /// What the backend was asked and answered: the faults happen to its callers.
    pub(crate) inside: History,
    /// What the clients asked and heard, through the faults.
    pub(crate) outside: History,
}

impl Race {
    /// A race on a store of this kind, in which nothing has happened.
    pub(crate) fn on(fixture: &dyn Fixture) -> Race {
        let lacks = |limit: &Limit| limit.need == Need::ConditionalDelete;
        let deletes = !fixture.limits().iter().any(lacks);
        Race { deletes, inside: History::default(), outside: History::default() }
    }

    /// One who takes part.
    pub(crate) fn racer(&self, backend: Arc<dyn Backend>, client: String) -> Racer {
        let rounds = if backend.facts().least_write_interval.is_zero() { 60 } else { 20 };
        let inside = Arc::new(Recorder::new(client.clone(), backend, &self.inside));
        let network = Arc::new(Faulty::new(inside));
        let store = Arc::new(Recorder::new(client.clone(), network.clone(), &self.outside));
        let known = vec![Expected::Absent];
        let deletes = self.deletes;
        Racer { client, store, network, known, name: key("race"), written: 0, rounds, deletes }
    }

    /// The backend itself makes one attempt for each call, so that its refusals are proofs. Behind
    /// a network that repeats requests they are not.
    pub(crate) fn judge(&self) {
        let found = self.inside.check(Refusals::Prove).unwrap_or_else(|wrong| panic!("{wrong}"));
        assert!(found.landed > 0 && found.refused > 0, "too little for a proof: {found:?}");
        let outside = self.outside.check(Refusals::MayBeOfASecondCopy);
        let found = outside.unwrap_or_else(|wrong| panic!("through the faults, {wrong}"));
        assert!(found.landed > 0 && found.unknown > 0, "too little for a proof: {found:?}");
    }
}

/// A client that does anything, without reason.
pub(crate) struct Racer {
    client: String,
    store: Arc<Recorder>,
    network: Arc<Faulty>,
    /// The states that it was told of, the last one last.
    known: Vec<Expected>,
    name: Key,
    written: usize,
    rounds: usize,
    deletes: bool,
}

/// A number below `n`, by chance.
fn chance(n: usize) -> usize {
    usize::try_from(Host.unique() % 1_000_003).expect("it fits") % n
}

impl Racer {
    pub(crate) async fn run(mut self) {
        for _ in 0..self.rounds {
            self.network.clear();
            // A store that answers at once would serve one client after the other.
            tokio::task::yield_now().await;
            match chance(10) {
                0..4 => self.read().await,
                4..=7 => self.write(self.known.len() - 1).await,
                9 if self.deletes => self.delete().await,
                _ => self.write(chance(self.known.len())).await,
            }
            if chance(8) == 0 {
                self.network.land_late().await;
            }
        }
        self.network.clear();
        self.network.land_late().await;
        self.read().await;
    }

    async fn read(&mut self) {
        if chance(8) == 0 {
            self.network.nth(Call::Read, 1, Fault::LoseReply(Fate::Unknown));
        }
        // An error says nothing, and the history knows it.
        if let Ok(reading) = self.store.read(&self.name).await {
            self.learn(reading.record.map(|state| state.version));
        }
    }

    async fn write(&mut self, known: usize) {
        let expected = self.known[known].clone();
        self.written += 1;
        let bytes = format!("{} by {}", self.written, self.client).into_bytes();
        match chance(12) {
            0 | 1 => self.network.nth(Call::Write, 1, Fault::LoseReply(Fate::Unknown)),
            // Of a create the second copy could land too, when others have deleted the first.
            2 | 3 if expected != Expected::Absent => {
                self.network.nth(Call::Write, 1, Fault::Repeat);
            }
            4 => self.network.nth(Call::Write, 1, Fault::Late),
            5 => return self.give_up(&expected, &bytes).await,
            _ => {}
        }
        let late = self.network.counts().late;
        tokio::select! {
            written = self.store.write(&self.name, &expected, &bytes) => match written {
                Ok(Written::Applied(version)) => self.learn(Some(version)),
                Ok(Written::Conflict(Some(state))) => self.learn(Some(state.version)),
                Ok(Written::Conflict(None)) | Err(_) => {}
            },
            _ = self.network.until(|counts| counts.late > late) => {}
        }
    }

    /// Asks, and does not wait for the answer.
    async fn give_up(&self, expected: &Expected, bytes: &[u8]) {
        let mut write = self.store.write(&self.name, expected, bytes);
        for _ in 0..chance(4) {
            let poll = std::future::poll_fn(|cx| std::task::Poll::Ready(write.as_mut().poll(cx)));
            if poll.await.is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn delete(&mut self) {
        if let Some(Expected::Version(version)) = self.known.last().cloned()
            && let Ok(true) = self.store.delete(&self.name, &version).await
        {
            self.learn(None);
        }
    }

    fn learn(&mut self, version: Option<Version>) {
        self.known.push(version.map_or(Expected::Absent, Expected::Version));
    }
}
