//! One state of the world: a register, a few clients, and the writes on their way between them.
//!
//! Everything in it is concrete, as it would be outside: ids, versions, tokens and clocks only ever
//! rise. That two worlds are alike all the same is the business of [`essence`](crate::essence).

use std::sync::Arc;
use std::time::Duration;

use crate::any::Lease;
use leasehold_core::backend::{Expected, Facts as StoreFacts, Version};
use leasehold_core::deadline::{Moment, Now};
use leasehold_core::lease::{Memory, Reply, Seen, Settings};
use leasehold_core::once::Once;
use leasehold_core::primitive::Any;
use leasehold_core::record::{FencingToken, HolderId, Outcome, Record};

use crate::bounds::{Bounds, TICK};
use crate::fact::{Fact, Facts};

/// The wall clock of every host and of the store. It decides nothing.
const UNIX_MS: u64 = 1_000_000;

/// What stands in the register.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The condition that it meets: its version, which never comes back.
    pub state: Expected,
    /// The record.
    pub record: Record,
    /// When it landed, by the store's clock.
    pub landed: Duration,
    /// Whether the token that stands there has been granted to somebody.
    pub granted: bool,
    /// The outcome that stood there before the holder's run began.
    pub before: Option<Outcome>,
}

/// A write that may still land.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The client that sent it, if its acquisition still lives.
    pub from: Option<usize>,
    /// The number of the request.
    pub number: u64,
    /// The acquisition that sent it.
    pub by: HolderId,
    /// On what.
    pub on: Expected,
    /// What.
    pub record: Record,
    /// How the sender's run had ended.
    pub says: Says,
}

/// What the user of an acquisition says of its run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Says {
    /// Nothing yet, or that there was none.
    #[default]
    Nothing,
    /// It was interrupted.
    Interrupted,
    /// It did what was to be done.
    Done,
    /// It failed.
    Failed,
}

/// The request that a client waits for.
#[derive(Clone, Debug)]
pub struct Flight {
    /// Its number.
    pub number: u64,
    /// The state that it is conditioned on, if it is a write.
    pub on: Option<Expected>,
    /// The answer on its way back.
    pub answer: Option<Reply>,
}

/// A client: a process with one acquisition after another.
#[derive(Clone, Debug)]
pub struct Client {
    /// The acquisition.
    pub lease: Lease,
    /// Its id.
    pub holder: HolderId,
    /// Its steady clocks.
    pub clock: Duration,
    /// Its host stands still, and so do its clocks.
    pub paused: bool,
    /// The request that it waits for.
    pub flight: Option<Flight>,
    /// The token that it was granted, until it is told of the loss.
    pub granted: Option<FencingToken>,
    /// The token of a lease of this acquisition that an operator ended.
    pub forced: Option<FencingToken>,
    /// The token of its run, lost or not, and how that ended.
    pub run: Option<FencingToken>,
    /// What its user said of it, and what of that has landed.
    pub says: Says,
    /// What has landed of it.
    pub recorded: Says,
}

/// The world.
#[derive(Clone, Debug)]
pub struct World {
    /// The register.
    pub stored: Option<Arc<Stored>>,
    /// Who is there. A step changes one of them, and the next world shares the others.
    pub clients: Vec<Arc<Client>>,
    /// The writes that may still land. Those on a state that is gone never will, and are left out.
    pub pool: Vec<Arc<Pending>>,
    /// True time.
    pub time: Duration,
    /// Ticks since a clock stood still, as far as it matters.
    pub even: u8,
    /// The last version and the last id that were given out.
    pub(crate) used: u64,
    /// What the last step made happen.
    pub facts: Facts,
    /// What the last step broke.
    pub broken: Option<String>,
}

/// What the clients want.
fn settings(bounds: &Bounds) -> Settings {
    Settings {
        ttl: bounds.ttl,
        takeover_delay: Duration::ZERO,
        label: String::new(),
        facts: StoreFacts {
            least_write_interval: Duration::ZERO,
            clock_uncertainty: Duration::ZERO,
            least_poll: TICK / 10,
            notifies: bounds.hints,
        },
    }
}

fn primitive(bounds: &Bounds) -> Any {
    Any::of(bounds.once.map(|most| Once {
        key: String::new(),
        max_attempts: u64::from(most),
        backoff: Duration::ZERO,
        valid_for: None,
    }))
}

impl Client {
    /// What its clocks say.
    pub fn moment(&self) -> Moment {
        Moment { boot: self.clock, mono: self.clock }
    }

    /// What it is told of the time.
    pub fn now(&self) -> Now {
        Now { moment: self.moment(), unix_ms: UNIX_MS }
    }

    /// Whether it believes to hold, by a lease that no operator has ended. Nobody believes anything
    /// while paused, and whoever goes on has a suspicion before anything else.
    pub fn believes(&self) -> bool {
        let forced = self.forced.is_some() && self.forced == self.granted;
        self.lease.is_held(self.moment()) && !forced && !self.paused
    }

    /// The state that its outstanding write is conditioned on.
    pub fn writes_on(&self) -> Option<&Expected> {
        self.flight.as_ref()?.on.as_ref()
    }

    /// The answer on its way to it.
    pub fn answer(&self) -> Option<&Reply> {
        self.flight.as_ref()?.answer.as_ref()
    }
}

impl World {
    /// Nothing is stored, and nobody has begun.
    pub fn new(bounds: &Bounds) -> World {
        let mut world = World {
            stored: None,
            clients: vec![],
            pool: vec![],
            time: TICK * 1000,
            even: bounds.drift.unwrap_or_default(),
            used: 0,
            facts: Facts::default(),
            broken: None,
        };
        for _ in 0..bounds.clients {
            let holder = HolderId(world.fresh());
            world.clients.push(Arc::new(Client {
                lease: Lease::new(settings(bounds), primitive(bounds), holder, Memory::default()),
                holder,
                clock: TICK * 1000,
                paused: false,
                flight: None,
                granted: None,
                forced: None,
                run: None,
                says: Says::Nothing,
                recorded: Says::Nothing,
            }));
        }
        world
    }

    /// One client, to be changed.
    pub(crate) fn client(&mut self, who: usize) -> &mut Client {
        Arc::make_mut(&mut self.clients[who])
    }

    /// An id that nobody has used. Its low bits, which stand for chance, are zero.
    pub(crate) fn fresh(&mut self) -> u128 {
        self.used += 1;
        u128::from(self.used) << 64
    }

    /// The condition that the newest state meets.
    pub fn state(&self) -> &Expected {
        self.stored.as_ref().map_or(&Expected::Absent, |s| &s.state)
    }

    /// The record that stands there.
    pub fn record(&self) -> Option<&Record> {
        self.stored.as_ref().map(|s| &s.record)
    }

    /// A change of the register: whatever is conditioned on the state before is dead.
    pub(crate) fn store(&mut self, record: Record) {
        self.used += 1;
        let old = self.stored.take();
        let same = old.as_ref().is_some_and(|s| s.record.token == record.token);
        let granted = old.as_ref().is_some_and(|s| s.granted && same);
        let before = match old.as_ref().filter(|_| record.holder().is_some()) {
            Some(old) if same => old.before.clone(),
            Some(old) => old.record.outcome.clone(),
            None => None,
        };
        let state = Expected::Version(Version::new(self.used.to_string()));
        let landed = self.time;
        self.stored = Some(Arc::new(Stored { state, record, landed, granted, before }));
        self.pool.retain(|p| is_anything(&p.on));
    }

    /// The store's answer to a read.
    pub(crate) fn read(&self, bounds: &Bounds) -> Reply {
        let age = self.stored.as_ref().filter(|_| bounds.clock);
        Reply::Read {
            seen: Seen { state: self.state().clone(), record: self.record().cloned() },
            age: age.map(|s| self.time.saturating_sub(s.landed)),
            orphaned: false,
            unix_ms: Some(UNIX_MS),
        }
    }

    /// Notes that something happened.
    pub(crate) fn note(&mut self, fact: Fact) {
        self.facts.note(fact);
    }

    /// Notes what went wrong, of which the first counts.
    pub(crate) fn demand(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.broken.is_none() {
            self.broken = Some(what());
        }
    }

    /// The next acquisition of a client: what was on its way has no sender any more.
    pub(crate) fn succeed(&mut self, who: usize, bounds: &Bounds, memory: Memory) {
        let holder = HolderId(self.fresh());
        for pending in self.pool.iter_mut().filter(|p| p.from == Some(who)) {
            Arc::make_mut(pending).from = None;
        }
        let client = self.client(who);
        client.lease = Lease::new(settings(bounds), primitive(bounds), holder, memory);
        client.holder = holder;
        client.paused = false;
        client.flight = None;
        client.granted = None;
        client.forced = None;
        client.run = None;
        client.says = Says::Nothing;
        client.recorded = Says::Nothing;
    }
}

/// What people call a client.
pub(crate) fn name(who: usize) -> char {
    char::from(b'A' + u8::try_from(who).unwrap_or_default())
}

/// The condition that every state meets. The contract has none; some planted bugs do.
#[cfg(feature = "planted")]
pub(crate) fn is_anything(expected: &Expected) -> bool {
    leasehold_core::planted::is_anything(expected)
}

/// The condition that every state meets: the contract has none.
#[cfg(not(feature = "planted"))]
pub(crate) fn is_anything(_: &Expected) -> bool {
    false
}
