//! A random world: its clients and their users, and one queue of what happens.

use std::collections::{BTreeMap, BTreeSet};

use super::any::{Input, Output};
use leasehold_core::lease::Patience;
use leasehold_core::record::{FencingToken, HolderId};

use super::client::Client;
use super::count::Count;
use super::deeds::Deeds;
use super::network::Sent;
use super::promises::BOUNDED_WORK;
use super::register::Register;
use super::resource::{Grant, Resource};
use crate::chance::Chance;
use crate::fault::{Fault, Options, Site};
use crate::host::Host;
use crate::plan::{self, Plan};
use crate::queue::Queue;
use crate::trace::Trace;
use crate::violation::Promise;
use crate::weather::Weather;

/// More than any world needs: a client that goes round in circles shall not keep it for ever.
const EVENTS_MOST: u64 = 400_000;

/// What the world is about to see.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Happening {
    /// A copy of a request reaches the store.
    Arrives {
        sent: usize,
        copy: usize,
    },
    /// The answer to it reaches the client.
    Answer {
        sent: usize,
        copy: usize,
    },
    /// The client waits for it no longer.
    TimeOut {
        sent: usize,
    },
    Wake {
        to: (usize, u64),
        wake: u64,
    },
    Begin {
        to: (usize, u64),
        patience: Patience,
    },
    LetGo {
        to: (usize, u64),
    },
    Check {
        to: (usize, u64),
    },
    Act {
        who: usize,
        process: u64,
        grant: Grant,
    },
    Lands {
        who: usize,
        grant: Grant,
    },
    Hint {
        to: usize,
    },
    /// A notification of nothing.
    FalseHint {
        to: (usize, u64),
    },
    GoesOn {
        who: usize,
        stop: u64,
    },
    Accident {
        number: u64,
    },
    Calm,
    /// The holder's process dies although the faults are over, so that others must wait it out.
    Death,
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) plan: Plan,
    pub(crate) weather: Weather,
    pub(crate) time: u64,
    pub(crate) clients: Vec<Client>,
    pub(crate) store: Register,
    pub(crate) resource: Resource,
    pub(crate) deeds: Deeds,
    /// Every request of this world.
    pub(crate) sent: Vec<Sent>,
    /// The last token and the reign of each holder id.
    pub(crate) leases: BTreeMap<HolderId, Grant>,
    /// Holders that have ended in order, and whether they had been granted the lock.
    pub(crate) departed: BTreeMap<HolderId, bool>,
    pub(crate) ended_by_operator: BTreeSet<FencingToken>,
    pub(crate) last_grant: Option<FencingToken>,
    pub(crate) last_token: Option<FencingToken>,
    /// How many changes of holder there were.
    pub(crate) reigns: u64,
    pub(crate) last_granted_at: u64,
    /// Whether any host's clock is off by more than the protocol assumes.
    pub(crate) wild: bool,
    pub(crate) count: Count,
    pub(crate) events: u64,
    pub(crate) digest: u64,
    pub(crate) broken: Option<(u64, Promise, String)>,
    pub(crate) trace: Trace,
    pub(crate) is_told: bool,
    /// Of the store's own: how wrong an age is, whose notifications go astray.
    pub(crate) chance: Chance,
    /// Reused by every step.
    pub(crate) out: Vec<Output>,
    /// How many changes were told of.
    pub(crate) hints: u64,
    queue: Queue<Happening>,
}

impl World {
    pub(crate) fn new(seed: u64, options: &Options) -> World {
        let plan = Plan::draw(seed, options);
        let calm = plan.ttl_most * 15;
        let mut weather = Weather::new(seed, plan.on, plan.ttl_most, calm, options);
        let mut clients = vec![];
        let mut wild = false;
        for (who, settings) in plan.clients.iter().enumerate() {
            let is_wild = weather.draw(Fault::WildClock, Site::new(who, 0, 0, 0), 0);
            wild |= is_wild;
            let mut chance = Chance::of(seed, plan::HOST + who as u64);
            let host = Host::draw(&mut chance, is_wild);
            clients.push(Client::new(seed, who, host, settings));
        }
        let count = Count {
            crowds: u64::from(clients.len() > 12),
            worlds_of_content_hashes: u64::from(plan.hashes),
            worlds_with_markers: u64::from(plan.marks),
            worlds_of_once: u64::from(plan.once.is_some()),
            ..Count::default()
        };
        let store = Register::new(plan.hashes, plan.marks);
        let mut world = World {
            seed,
            plan,
            weather,
            time: 0,
            clients,
            store,
            resource: Resource::default(),
            deeds: Deeds::default(),
            sent: vec![],
            leases: BTreeMap::new(),
            departed: BTreeMap::new(),
            ended_by_operator: BTreeSet::new(),
            last_grant: None,
            last_token: None,
            reigns: 0,
            last_granted_at: 0,
            wild,
            count,
            events: 0,
            digest: seed,
            broken: None,
            trace: Trace::default(),
            is_told: options.told,
            chance: Chance::of(seed, plan::STORE),
            out: vec![],
            hints: 0,
            queue: Queue::new(),
        };
        world.tell_plan();
        (0..world.clients.len()).for_each(|who| world.plan_next(who));
        world.later(calm / 60, Happening::Accident { number: 0 });
        let calm = world.weather.calm;
        world.later(calm, Happening::Calm);
        world
    }

    /// Lives through the time of faults and the calm after it, or up to the first broken promise.
    pub(crate) fn run(&mut self) {
        let end = self.weather.calm + self.plan.ttl_most * 8;
        while let Some((time, happening)) = self.queue.next() {
            if time > end {
                break;
            }
            self.time = time;
            if self.is_stale(happening) {
                continue;
            }
            self.events += 1;
            self.happens(happening);
            self.check_holders();
            if self.broken.is_some() {
                return;
            }
            if self.events > EVENTS_MOST {
                let why = || format!("more than {EVENTS_MOST} events in one world");
                return self.promised(false, BOUNDED_WORK, why);
            }
        }
        self.time = end;
        self.check_end();
    }

    /// Whether nothing comes of it: a timer that was disarmed, an answer to one who is gone. It is no
    /// event.
    fn is_stale(&self, happening: Happening) -> bool {
        let is_alive = |(who, life): (usize, u64)| self.clients[who].life == life;
        match happening {
            Happening::TimeOut { sent } => self.clients[self.sent[sent].who].awaited != Some(sent),
            Happening::Wake { to, wake } => !is_alive(to) || self.clients[to.0].wakes != wake,
            Happening::Answer { sent, .. } => {
                !is_alive((self.sent[sent].who, self.sent[sent].life))
            }
            Happening::Begin { to, .. }
            | Happening::LetGo { to }
            | Happening::Check { to }
            | Happening::FalseHint { to } => !is_alive(to),
            Happening::Act { who, process, .. } => self.clients[who].process != process,
            Happening::GoesOn { who, stop } => self.clients[who].stops != stop,
            _ => false,
        }
    }

    /// Plans what happens after this delay.
    pub(crate) fn later(&mut self, delay: u64, happening: Happening) {
        self.queue.plan(self.time + delay, happening);
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.time >= self.weather.calm
    }

    /// Notes a promise that does not hold. The world ends after this event.
    pub(crate) fn promised(&mut self, holds: bool, promise: Promise, why: impl FnOnce() -> String) {
        if !holds && self.broken.is_none() {
            self.broken = Some((self.time, promise, why()));
        }
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Arrives { sent, copy } => self.arrives(sent, copy),
            Happening::Answer { sent, copy } => self.answers(sent, copy),
            Happening::TimeOut { sent } => self.times_out(sent),
            Happening::Wake { to, .. } => self.deliver(to, Input::Wake),
            Happening::Begin { to, patience } => self.begin(to, patience),
            Happening::LetGo { to } => self.lets_go(to),
            Happening::Check { to } => self.checks(to),
            Happening::Act { who, grant, .. } => self.acts(who, grant),
            Happening::Lands { who, grant } => self.lands(who, grant),
            Happening::Hint { to } => self.is_hinted(to),
            Happening::FalseHint { to } => self.deliver(to, Input::Changed),
            Happening::GoesOn { who, .. } => self.goes_on(who),
            Happening::Accident { number } => self.accident(number),
            Happening::Calm => self.calms(),
            Happening::Death => self.holder_dies(),
        }
    }
}
