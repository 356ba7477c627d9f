//! What everything in a world shares: true time, the one queue, the hosts, the store.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use leasehold::Guard;
use leasehold::core::backend::{BackendError, Key};
use leasehold::core::deadline::Moment;
use tokio::sync::oneshot;

use super::checks::Belief;
use super::network::{Answer, Arrival, Watcher};
use super::plan::{self, Plan, Thing};
use super::store::{Register, Store};
use super::tally::Tally;
use crate::chance::Chance;
use crate::fault::{Fault, Options, Site};
use crate::host::{Host, Stop};
use crate::queue::Queue;
use crate::trace::Trace;
use crate::violation::Promise;
use crate::weather::Weather;

/// One process of one client. Its number rises when it dies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Caller {
    pub(super) who: usize,
    pub(super) process: u64,
}

/// What will happen.
pub(super) enum Happening {
    /// A copy of a request reaches the store.
    Arrives(Box<Arrival>),
    /// Its answer reaches the caller.
    Answer {
        to: Caller,
        call: u64,
        answer: Result<Answer, BackendError>,
    },
    /// A driver's timer, which counts by the clock that does not count suspension.
    Timer {
        to: Caller,
        due: Duration,
        tell: oneshot::Sender<()>,
    },
    /// A user's own pause, in true time.
    Pause {
        to: Caller,
        tell: oneshot::Sender<()>,
    },
    /// The store tells that a record has changed.
    Hint {
        to: Caller,
        tell: oneshot::Sender<()>,
    },
    /// A user whose thread was blocked runs again.
    Unblocked {
        to: Caller,
    },
    /// A guarded write reaches the resource.
    Act {
        key: usize,
        token: leasehold::FencingToken,
        holder: leasehold::HolderId,
    },
    GoesOn {
        who: usize,
    },
    Starts {
        who: usize,
    },
    Accident,
    /// The faults are over.
    Calm,
    /// Users begin nothing new.
    Closing,
    /// Every user must be done by now.
    Done,
}

/// One host, and what is known of its process.
pub(super) struct Place {
    pub(super) host: Host,
    pub(super) process: u64,
    pub(super) chance: Chance,
    pub(super) requests: u64,
    /// True time for which it stood still before the stop that is on now.
    pub(super) stood: u64,
    /// What came while the process stood still.
    pub(super) inbox: Vec<Happening>,
    /// How many deletions of each key the last look at nothing had seen.
    pub(super) looks: Vec<u64>,
    /// When it last went on after a sleep or a pause, by its own clocks.
    pub(super) slept: Option<Moment>,
    /// The last pause that no clock counted.
    pub(super) doubt: Option<Doubt>,
}

/// A pause that no steady clock has counted.
pub(super) struct Doubt {
    pub(super) at: Moment,
    /// For how long its process had run when it ended.
    pub(super) ran: u64,
    /// How long it was, in true time.
    pub(super) span: u64,
}

impl Place {
    /// For how long the process has been able to run, in true time.
    pub(super) fn ran(&self, time: u64) -> u64 {
        let stands = self.host.stopped.map_or(0, |(_, since)| time - since);
        time - self.stood - stands
    }
}

/// What is shared between the users, the drivers and the network.
pub(super) struct State {
    pub(super) seed: u64,
    pub(super) time: u64,
    pub(super) plan: Plan,
    pub(super) weather: Weather,
    pub(super) tally: Tally,
    pub(super) events: u64,
    pub(super) digest: u64,
    pub(super) trace: Trace,
    pub(super) told: bool,
    pub(super) places: Vec<Place>,
    pub(super) store: Store,
    pub(super) watchers: Vec<Watcher>,
    pub(super) calls: BTreeMap<u64, oneshot::Sender<Result<Answer, BackendError>>>,
    pub(super) numbered: u64,
    pub(super) writes: u64,
    /// Users whose threads are blocked, and until when.
    pub(super) blocked: BTreeMap<(Caller, u64), u64>,
    /// Until when each release by force could strike at the latest, or when it ended.
    pub(super) forcing: Vec<u64>,
    /// Users begin nothing new.
    pub(super) closing: bool,
    pub(super) broken: Option<(u64, Promise, String)>,
    pub(super) queue: Queue<Happening>,
}

/// One world. The clients' environments and backends, and their users, each have a hand on it.
pub(super) struct World {
    state: Mutex<State>,
    /// The guards that users hold now.
    pub(super) guards: Mutex<Vec<Belief>>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}

impl World {
    pub(super) fn new(seed: u64, options: &Options) -> World {
        let plan = Plan::draw(seed, options);
        let calm = plan.ttl_most * 8;
        let place = |who| Place {
            host: Host::draw(&mut plan::stream(seed, Thing::Host, who, 0), false),
            process: 0,
            chance: plan::stream(seed, Thing::Process, who, 0),
            requests: 0,
            stood: 0,
            inbox: vec![],
            looks: vec![0; plan.keys.len()],
            slept: None,
            doubt: None,
        };
        // One more for somebody who comes when all is over.
        let places = (0..=plan.base.clients.len()).map(place).collect();
        let state = State {
            seed,
            time: 0,
            weather: Weather::new(seed, plan.base.on, plan.ttl_most, calm, options),
            tally: Tally::default(),
            events: 0,
            digest: seed,
            trace: Trace::default(),
            told: options.told,
            places,
            store: plan.keys.iter().map(|_| Register::default()).collect(),
            watchers: vec![],
            calls: BTreeMap::new(),
            numbered: 0,
            writes: 0,
            blocked: BTreeMap::new(),
            forcing: vec![],
            closing: false,
            broken: None,
            queue: Queue::new(),
            plan,
        };
        World { state: Mutex::new(state), guards: Mutex::default() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn guards(&self) -> MutexGuard<'_, Vec<Belief>> {
        self.guards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A guard is in use from now on: it is watched after every event.
    pub(super) fn watch(&self, by: Caller, user: u64, key: usize, guard: Arc<Guard>) {
        self.guards().push(Belief::new(by, user, key, guard));
    }

    /// Its user does not rely on it any more.
    pub(super) fn unwatch(&self, guard: &Arc<Guard>) {
        self.guards().retain(|belief| !Arc::ptr_eq(&belief.guard, guard));
    }
}

impl State {
    pub(super) fn later(&mut self, delay: u64, what: Happening) {
        self.queue.plan(self.time + delay, what);
    }

    /// Since when no fault has struck, and no lock was forced.
    pub(super) fn unharmed_since(&self) -> u64 {
        let forced = self.forcing.iter().map(|until| self.time.min(*until)).max();
        self.weather.calm.max(forced.unwrap_or_default())
    }

    pub(super) fn is_calm(&self) -> bool {
        self.time >= self.weather.calm
    }

    pub(super) fn key(&self, key: &Key) -> usize {
        self.plan.keys.iter().position(|k| k == key).expect("only these keys are used")
    }

    /// Whether a fault strikes, drawn from the stream of its place.
    pub(super) fn strikes(&mut self, fault: Fault, by: Caller, number: u64) -> bool {
        let site = Site::new(by.who, by.process, number, 0);
        self.weather.draw(fault, site, self.time)
    }

    /// Notes what happened: always in the digest, and in the trace where it is kept.
    pub(super) fn note(
        &mut self,
        who: Option<usize>,
        what: &str,
        more: u64,
        text: impl FnOnce(&State) -> (String, String),
    ) {
        let mut digest = self.digest ^ self.time ^ more.rotate_left(32);
        for byte in what.bytes() {
            digest = (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
        let who_hash = who.map_or(u64::MAX, |who| who as u64);
        self.digest = (digest ^ who_hash).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
        if self.told {
            let name = match who {
                Some(who) if who < self.plan.users.len() => format!("client {who}"),
                Some(_) => "newcomer".into(),
                None => "store".into(),
            };
            let (text, then) = text(self);
            let what = if text.is_empty() { what.to_owned() } else { format!("{what} {text}") };
            self.trace.tell(self.time, &name, what, then);
        }
    }

    /// A promise is broken unless this holds. The first one counts.
    pub(super) fn must(&mut self, holds: bool, promise: Promise, why: impl FnOnce() -> String) {
        if !holds && self.broken.is_none() {
            self.broken = Some((self.time, promise, why()));
        }
    }

    pub(super) fn stops(&mut self, who: usize, stop: Stop) {
        let time = self.time;
        let place = &mut self.places[who];
        if place.host.stopped.is_some() {
            return;
        }
        place.host.stopped = Some((stop, time));
        let span = place.chance.from(1000, self.plan.ttl_most * 5 / 2);
        self.later(span, Happening::GoesOn { who });
        self.note(Some(who), "stands still:", span, |_| (format!("{stop:?}"), String::new()));
    }

    /// The host goes on. What came meanwhile is handed back.
    pub(super) fn goes_on(&mut self, who: usize) -> Vec<Happening> {
        let time = self.time;
        let place = &mut self.places[who];
        let Some((_, since)) = place.host.stopped else { return vec![] };
        let stop = place.host.go_on(time);
        place.stood += time - since;
        let at = place.host.moment(time);
        match stop {
            Some(Stop::Pause) => {
                let ran = time - place.stood;
                place.slept = Some(at);
                place.doubt = Some(Doubt { at, ran, span: time - since });
            }
            Some(Stop::Suspend) => place.slept = Some(at),
            Some(Stop::Freeze) | None => {}
        }
        let inbox = std::mem::take(&mut place.inbox);
        self.note(Some(who), "goes on", 0, |_| (String::new(), String::new()));
        inbox
    }
}
