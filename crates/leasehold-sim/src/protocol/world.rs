//! A random world: its clients and their users, and one queue of what happens.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use leasehold_core::backend::{Fate, Trouble};
use leasehold_core::lease::{Event, Input, Lease, Loss, Memory, Output, Patience, Release};
use leasehold_core::lease::{Reply, Request};
use leasehold_core::record::{FencingToken, HolderId, WriteId};

use super::checks::Author;
use super::register::Register;
use crate::chance::{Chance, Plan};
use crate::host::Host;
use crate::tally::Tally;

/// What a client is about, as its user sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Act {
    Idle,
    Wants,
    Holds,
    LetsGo,
}

pub(crate) struct Client {
    pub(crate) host: Host,
    pub(crate) lease: Lease,
    pub(crate) holder: HolderId,
    /// Rises when the process dies.
    pub(crate) process: u64,
    /// Rises with every acquisition, and when the process dies.
    pub(crate) life: u64,
    pub(crate) act: Act,
    pub(crate) granted: Option<FencingToken>,
    pub(crate) stepped_at: u64,
    wakes: u64,
    pub(crate) awaited: Option<u64>,
    /// What came while the process stood still.
    pub(crate) inbox: Vec<Input>,
    /// Writes sent in this acquisition.
    pub(crate) writes: u64,
}

#[derive(Clone, Debug)]
pub(crate) enum Happening {
    Arrives { from: (usize, u64), number: u64, request: Request, deletions: u64, copy: u64 },
    Answer { to: (usize, u64), number: u64, reply: Reply },
    TimeOut { to: (usize, u64), number: u64 },
    Wake { to: (usize, u64), wake: u64 },
    Begin { to: (usize, u64), patience: Patience },
    LetGo { to: (usize, u64) },
    Hint { to: usize },
    GoesOn { who: usize },
    Accident,
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) chance: Chance,
    pub(crate) time: u64,
    pub(crate) clients: Vec<Client>,
    pub(crate) store: Register,
    pub(crate) authors: BTreeMap<WriteId, Author>,
    /// The last token of each holder id.
    pub(crate) leases: BTreeMap<HolderId, FencingToken>,
    /// Holders that have ended in order.
    pub(crate) departed: BTreeSet<HolderId>,
    pub(crate) ended_by_operator: BTreeSet<FencingToken>,
    pub(crate) last_grant: Option<FencingToken>,
    pub(crate) last_token: Option<FencingToken>,
    pub(crate) last_granted_at: u64,
    pub(crate) tally: Tally,
    queue: BTreeMap<(u64, u64), Happening>,
    queued: u64,
    calm: u64,
    told: bool,
    /// Which copy of each request reached the store first.
    pub(crate) first_copies: BTreeMap<(usize, u64, u64), u64>,
    /// How many deletions each read had seen.
    pub(crate) looks: BTreeMap<(usize, u64, u64), u64>,
}

impl World {
    pub(crate) fn new(seed: u64, told: bool) -> World {
        let mut chance = Chance::new(seed);
        let plan = Plan::draw(&mut chance);
        let mut clients = vec![];
        for settings in &plan.clients {
            let host = Host::draw(&mut chance);
            let holder = HolderId(chance.id());
            clients.push(Client {
                host,
                lease: Lease::new(settings.clone(), holder, Memory::default()),
                holder,
                process: 0,
                life: 0,
                act: Act::Idle,
                granted: None,
                stepped_at: 0,
                wakes: 0,
                awaited: None,
                inbox: vec![],
                writes: 0,
            });
        }
        let calm = plan.ttl_most * 10;
        let mut world = World {
            plan,
            chance,
            time: 0,
            clients,
            store: Register::default(),
            authors: BTreeMap::new(),
            leases: BTreeMap::new(),
            departed: BTreeSet::new(),
            ended_by_operator: BTreeSet::new(),
            last_grant: None,
            last_token: None,
            last_granted_at: 0,
            tally: Tally::default(),
            queue: BTreeMap::new(),
            queued: 0,
            calm,
            told,
            first_copies: BTreeMap::new(),
            looks: BTreeMap::new(),
        };
        (0..world.clients.len()).for_each(|who| world.plan_next(who));
        world.later(calm / 40, Happening::Accident);
        world
    }

    /// Lives through the time of faults and the calm after it.
    pub(crate) fn run(mut self) -> Tally {
        let end = self.calm + self.plan.ttl_most * 9;
        while let Some(((time, _), happening)) = self.queue.pop_first() {
            if time > end {
                break;
            }
            self.time = time;
            self.tally.events += 1;
            assert!(self.tally.events < 200_000, "busy without an end");
            if self.told {
                eprintln!("{time} {happening:?}");
            }
            self.happens(happening);
            self.check_holders();
        }
        self.time = end;
        self.check_liveness(self.calm + self.plan.ttl_most * 4);
        self.tally
    }

    pub(crate) fn later(&mut self, delay: u64, happening: Happening) {
        self.queued += 1;
        self.queue.insert((self.time + delay, self.queued), happening);
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.time >= self.calm
    }

    /// A fault of this likelihood, while there are faults.
    pub(crate) fn fault(&mut self, permille: u64) -> bool {
        let hit = self.chance.permille(permille);
        hit && !self.is_calm()
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Arrives { from, number, request, deletions, copy } => {
                self.arrives(from, number, &request, deletions, copy);
            }
            Happening::Answer { to, number, reply } => {
                self.deliver(to, Input::Reply(number, reply));
            }
            Happening::TimeOut { to, number } => {
                if self.clients[to.0].awaited == Some(number) {
                    let reply = Reply::Failed(Fate::Unknown, Trouble::Unavailable);
                    self.deliver(to, Input::Reply(number, reply));
                }
            }
            Happening::Wake { to, wake } if self.clients[to.0].wakes == wake => {
                self.deliver(to, Input::Wake);
            }
            Happening::Wake { .. } => {}
            Happening::Begin { to, patience } => self.begin(to, patience),
            Happening::LetGo { to } => {
                if self.clients[to.0].act == Act::Wants && self.clients[to.0].life == to.1 {
                    self.tally.cancels += 1;
                }
                self.deliver(to, Input::Release);
            }
            Happening::Hint { to } => {
                let news = self.store.expected();
                let client = &self.clients[to];
                if client.lease.wants_hint().is_some_and(|known| *known != news) {
                    self.tally.hints += 1;
                    self.deliver((to, self.clients[to].life), Input::Changed);
                }
            }
            Happening::GoesOn { who } => self.goes_on(who),
            Happening::Accident => self.accident(),
        }
    }

    // The users.

    pub(crate) fn plan_next(&mut self, who: usize) {
        let most = self.plan.ttl_most;
        let think = self.chance.from(0, most / 2);
        let long = most * 4;
        let patience = match self.chance.from(0, 10) {
            0 | 1 if !self.is_calm() => Patience::Try,
            2..=4 => Patience::AtMost(Duration::from_micros(self.chance.from(1000, long))),
            _ => Patience::Forever,
        };
        let to = (who, self.clients[who].life);
        self.later(think, Happening::Begin { to, patience });
    }

    fn begin(&mut self, to: (usize, u64), patience: Patience) {
        let who = to.0;
        if self.clients[who].life != to.1 || self.clients[who].act != Act::Idle {
            return;
        }
        if self.clients[who].host.stopped.is_some() {
            let again = self.plan.ttl_most / 4;
            return self.later(again, Happening::Begin { to, patience });
        }
        let forgets = self.chance.permille(200);
        let memory = self.clients[who].lease.clone().into_memory();
        self.renew_client(who, if forgets { Memory::default() } else { memory });
        self.clients[who].act = Act::Wants;
        if self.fault(self.plan.cancelled) {
            let delay = self.chance.from(0, self.plan.ttl_most * 2);
            let to = (who, self.clients[who].life);
            self.later(delay, Happening::LetGo { to });
        }
        // Some only want to know when it is free.
        let looks = self.fault(50);
        self.step(who, if looks { Input::Look(patience) } else { Input::Acquire(patience) });
    }

    pub(crate) fn renew_client(&mut self, who: usize, memory: Memory) {
        let holder = HolderId(self.chance.id());
        let client = &mut self.clients[who];
        client.lease = Lease::new(self.plan.clients[who].clone(), holder, memory);
        client.holder = holder;
        client.life += 1;
        client.act = Act::Idle;
        client.granted = None;
        client.awaited = None;
        client.wakes += 1;
        client.writes = 0;
        client.inbox.clear();
        client.stepped_at = self.time;
    }

    // The clients' processes.

    fn deliver(&mut self, to: (usize, u64), input: Input) {
        let client = &mut self.clients[to.0];
        if client.life != to.1 {
            return;
        }
        if client.host.stopped.is_some() {
            client.inbox.push(input);
        } else {
            self.step(to.0, input);
        }
    }

    pub(crate) fn step(&mut self, who: usize, input: Input) {
        let lets_go = matches!(input, Input::Release);
        let by_reading = !matches!(input, Input::Reply(_, Reply::Applied(_)));
        if let Input::Reply(number, _) = &input
            && self.clients[who].awaited == Some(*number)
        {
            self.clients[who].awaited = None;
        }
        let look = match &input {
            Input::Reply(number, Reply::Read { .. }) => {
                Some((who, self.clients[who].life, *number))
            }
            _ => None,
        };
        let deletions = look.map_or(self.store.deletions, |look| self.looks[&look]);
        let time = self.time;
        let (client, chance) = (&mut self.clients[who], &mut self.chance);
        if lets_go && client.act != Act::Idle {
            client.act = Act::LetsGo;
        }
        client.stepped_at = time;
        let mut out = vec![];
        client.lease.step(client.host.now(time), input, &mut || chance.id(), &mut out);
        let (mut sends, mut wakes) = (0, 0);
        for output in out {
            match output {
                Output::Send { number, request, timeout } => {
                    sends += 1;
                    self.send(who, (number, request, timeout), deletions);
                }
                Output::Wake(span) => {
                    wakes += 1;
                    let wake = self.arm(who, span);
                    let late = self.chance.from(0, 3000);
                    let due = self.clients[who].host.takes(span) + late;
                    let to = (who, self.clients[who].life);
                    self.later(due, Happening::Wake { to, wake });
                }
                Output::Event(event) => self.told(who, &event, by_reading),
            }
        }
        let idle = matches!(self.clients[who].act, Act::Idle);
        let lost = self.clients[who].granted.is_none() && self.clients[who].act == Act::Holds;
        assert!(sends <= 1 && wakes <= 1, "at {time} client {who} does too much at once");
        assert!(idle || lost || wakes == 1, "at {time} client {who} waits and has no wake armed");
    }

    fn arm(&mut self, who: usize, span: Duration) -> u64 {
        let client = &mut self.clients[who];
        let room = self.plan.clients[who].facts.least_write_interval * 12;
        let most = Duration::from_micros(self.plan.ttl_most) + room;
        let ends = client.lease.has_ended();
        let fine = client.awaited.is_some() || ends || span < most;
        assert!(fine, "at {} client {who} falls asleep for {span:?}", self.time);
        client.wakes += 1;
        client.wakes
    }

    fn told(&mut self, who: usize, event: &Event, by_reading: bool) {
        if self.told {
            eprintln!("{} client {who}: {event:?}", self.time);
        }
        let to = (who, self.clients[who].life);
        let tally = &mut self.tally;
        match event {
            Event::Granted { token, .. } => {
                tally.grants += 1;
                tally.grants_by_reading += u64::from(by_reading);
                tally.grants_by_the_first_write += u64::from(self.clients[who].writes == 1);
                self.clients[who].granted = Some(*token);
                self.clients[who].act = Act::Holds;
                self.last_granted_at = self.time;
                self.check_grant(who, *token);
                let long = if self.is_calm() { 4 } else { self.chance.from(1, 6) * 4 };
                let work = self.chance.from(0, self.plan.ttl_most * long / 8);
                self.later(work, Happening::LetGo { to });
            }
            Event::Renewed(_) => tally.renewals += 1,
            Event::Suspected => tally.suspicions += 1,
            Event::Lost(loss) => {
                match loss {
                    Loss::Expired => tally.expiries += 1,
                    Loss::Gone => tally.deletions_noticed += 1,
                    Loss::TakenOver(_) | Loss::Ended(_) => tally.ends_noticed += 1,
                    Loss::Unreadable(_) => panic!("nothing unreadable was stored"),
                }
                self.clients[who].granted = None;
                let delay = self.chance.from(0, self.plan.ttl_most / 2);
                self.later(delay, Happening::LetGo { to });
            }
            Event::Free => tally.found_free += 1,
            Event::NotAcquired(_) => tally.refusals += 1,
            Event::Failed(_) => tally.failures += 1,
            Event::Released(release) => {
                tally.releases += u64::from(*release == Release::Freed);
                self.clients[who].act = Act::Idle;
                self.clients[who].granted = None;
                self.check_departure(who, *release);
                self.plan_next(who);
            }
            Event::Waiting { .. } | Event::Trouble(_) => {}
        }
    }
}
