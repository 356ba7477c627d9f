//! Living through a world: takes what happens from the queue, and runs the processes that it concerns.
//!
//! Every process has what it has in production: a driver on a runtime of its own, and users beside it.
//! Whoever has something to do is run in an order that chance picks, one poll at a time; a process that
//! stands still is not polled, and one that dies is dropped as it is.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use leasehold::Client;
use leasehold::core::backend::{BackendError, Fate, Trouble, Written};
use tokio::runtime::{Builder, Runtime};

use super::env::SimEnv;
use super::network::{Answer, SimBackend};
use super::plan::{self, Thing};
use super::state::{Caller, Happening, State, World};
use super::users::User;
use crate::chance::Chance;
use crate::fault::{Fault, Site};
use crate::host::Stop;

/// Whether a task has been woken.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    woken: Arc<Woken>,
    waker: Waker,
}

impl Task {
    fn new(future: impl Future<Output = ()> + 'static) -> Task {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        Task { future: Box::pin(future), waker: Waker::from(Arc::clone(&woken)), woken }
    }
}

pub(super) struct Process {
    caller: Caller,
    // Dropped first: a process that dies takes its driver's tasks with it, and what its users drop
    // then reaches nobody.
    runtime: Runtime,
    users: Vec<Option<Task>>,
    /// For new users, until the world closes.
    client: Option<Client>,
    /// In which order its tasks run, and what happens between two of their steps.
    chance: Chance,
    /// Its driver may have something to do.
    drives: bool,
    /// How often one of its tasks was run.
    polls: u64,
}

/// One world under way.
pub(super) struct Run {
    pub(super) world: Arc<World>,
    pub(super) processes: Vec<Option<Process>>,
    pub(super) chance: Chance,
    pub(super) accidents: u64,
    over: bool,
}

/// More events than this in one world, and it does not end.
const EVENTS_MOST: u64 = 200_000;

impl Run {
    pub(super) fn new(world: Arc<World>) -> Run {
        let (seed, places, calm, ttl_most) = {
            let state = world.lock();
            (state.seed, state.places.len(), state.weather.calm, state.plan.ttl_most)
        };
        let chance = plan::stream(seed, Thing::Accidents, 0, 0);
        let processes = (0..places).map(|_| None).collect();
        let mut run = Run { world, processes, chance, accidents: 0, over: false };
        for who in 0..places - 1 {
            if run.world.lock().plan.base.plays(who) {
                run.starts(who);
            }
        }
        let mut state = run.world.lock();
        state.later(calm / 40, Happening::Accident);
        state.later(calm, Happening::Calm);
        state.later(calm + ttl_most * 6, Happening::Closing);
        drop(state);
        run
    }

    /// Until the end, or the first broken promise.
    pub(super) fn live(&mut self) {
        while !self.over {
            let happening = {
                let mut state = self.world.lock();
                let Some((time, happening)) = state.queue.next() else { break };
                state.time = time;
                happening
            };
            self.happens(happening);
            self.world.check_guards();
            let mut state = self.world.lock();
            let busy = state.events >= EVENTS_MOST;
            state.must(!busy, super::promises::BOUNDED_WORK, || "busy without an end".into());
            if state.broken.is_some() {
                break;
            }
        }
    }

    fn happens(&mut self, happening: Happening) {
        if let Some(to) = happening_to(&happening) {
            if self.delivers(to, happening) {
                self.settle(to.who);
            }
            return;
        }
        self.world.lock().events += 1;
        match happening {
            Happening::Arrives(arrival) => self.world.lock().arrives(*arrival),
            Happening::Act { key, token, holder } => self.world.lock().acts(key, token, holder),
            Happening::GoesOn { who } => self.goes_on(who),
            Happening::Starts { who } => self.starts(who),
            Happening::Accident => self.accident(),
            Happening::Calm => (0..self.processes.len()).for_each(|who| self.goes_on(who)),
            Happening::Closing => self.close(),
            Happening::Done => self.done(),
            _ => unreachable!("these are delivered"),
        }
    }

    /// Hands something to a process. False if nobody there hears it.
    fn delivers(&mut self, to: Caller, happening: Happening) -> bool {
        let mut state = self.world.lock();
        let time = state.time;
        let place = &mut state.places[to.who];
        if place.process != to.process {
            return false;
        }
        if place.host.stopped.is_some() {
            place.inbox.push(happening);
            return false;
        }
        let heard = match happening {
            Happening::Timer { due, tell, .. } => {
                let missing = due.saturating_sub(place.host.moment(time).mono);
                if tell.is_closed() {
                    false
                } else if missing.is_zero() {
                    tell.send(()).is_ok()
                } else {
                    // The host has slept: its timers come later.
                    let after = place.host.takes(missing);
                    state.later(after, Happening::Timer { to, due, tell });
                    false
                }
            }
            Happening::Answer { call, answer, .. } => {
                let teller = state.calls.remove(&call);
                let words = outcome(&answer);
                let heard = teller.is_some_and(|teller| teller.send(answer).is_ok());
                if heard {
                    let text = |_: &State| (format!("#{call}: {words}"), String::new());
                    state.note(Some(to.who), "hears", call, text);
                }
                heard
            }
            Happening::Hint { tell, .. } => {
                let heard = tell.send(()).is_ok();
                state.tally.hints += u64::from(heard);
                heard
            }
            Happening::Pause { tell, .. } => tell.send(()).is_ok(),
            Happening::Unblocked { .. } => {
                state.blocked.retain(|_, until| *until > time);
                true
            }
            _ => false,
        };
        state.events += u64::from(heard);
        heard
    }

    /// Runs a process until nobody there has anything to do.
    fn settle(&mut self, who: usize) {
        if let Some(process) = &mut self.processes[who] {
            process.drives = true;
        }
        while let Some(process) = &mut self.processes[who] {
            let mut ready: [usize; 4] = [0; 4];
            let mut count = 0;
            {
                let state = self.world.lock();
                if state.places[who].host.stopped.is_some() || state.broken.is_some() {
                    return;
                }
                for (n, task) in process.users.iter().enumerate() {
                    let Some(task) = task else { continue };
                    let blocked = state.blocked.contains_key(&(process.caller, n as u64));
                    if task.woken.0.load(Ordering::Relaxed) && !blocked {
                        ready[count] = n;
                        count += 1;
                    }
                }
            }
            let choices = count + usize::from(process.drives);
            if choices == 0 {
                return;
            }
            let pick = if choices == 1 { 0 } else { process.chance.pick(choices) };
            match ready[..count].get(pick) {
                Some(n) => process.poll(*n),
                None => {
                    process.drives = false;
                    process.runtime.block_on(tokio::task::yield_now());
                }
            }
            process.polls += 1;
            let (caller, polls) = (process.caller, process.polls);
            let drawn = process.chance.from(0, 1000);
            if drawn < 3 {
                self.between_two_steps(caller, polls, drawn);
            }
        }
    }

    /// A process may die or stand still at any moment.
    fn between_two_steps(&mut self, caller: Caller, polls: u64, drawn: u64) {
        let (crashes, freezes, aborts) = (drawn == 0, drawn == 1, drawn == 2);
        let site = Site::new(caller.who, caller.process, polls, 1);
        let mut state = self.world.lock();
        let time = state.time;
        if state.weather.strikes(crashes, Fault::Crash, site, time) {
            drop(state);
            self.crash(caller.who);
        } else if state.weather.strikes(freezes, Fault::Freeze, site, time) {
            state.stops(caller.who, Stop::Freeze);
        } else if state.weather.strikes(aborts, Fault::Cancel, site, time) {
            drop(state);
            self.abort(caller, polls);
        }
    }

    /// A task of a program is dropped wherever it is, as by a panic or by the end of its runtime.
    /// Another takes its place.
    fn abort(&mut self, caller: Caller, polls: u64) {
        let (n, user) = {
            let Some(process) = &mut self.processes[caller.who] else { return };
            let n = process.chance.pick(process.users.len());
            let Some(task) = process.users[n].take() else { return };
            let user = n as u64;
            self.world.guards().retain(|b| b.by != caller || b.user != user);
            drop(task);
            process.drives = true;
            (n, user)
        };
        let id = (caller.who as u64) << 8 | user;
        let seed = {
            let mut state = self.world.lock();
            for register in &mut state.store {
                register.waiting.remove(&id);
            }
            state.blocked.remove(&(caller, user));
            state.tally.aborts += 1;
            state.note(Some(caller.who), "loses a task", user, |_| {
                (format!("(user {user})"), String::new())
            });
            state.seed
        };
        let Some(process) = &mut self.processes[caller.who] else { return };
        let Some(client) = process.client.clone() else { return };
        let chance = plan::stream(seed, Thing::User, caller.who, polls << 20 | user);
        let acts = Cell::new(polls << 8);
        let (world, chance) = (Arc::clone(&self.world), RefCell::new(chance));
        let next = User { world, caller, number: user, client, chance, acts };
        process.users[n] = Some(Task::new(next.live()));
    }

    pub(super) fn goes_on(&mut self, who: usize) {
        let mut inbox = self.world.lock().goes_on(who);
        // What came meanwhile is taken up in any order, at once or one after another.
        let Some(process) = &mut self.processes[who] else { return };
        let mut chance = Chance::of(process.chance.next(), 0);
        let at_once = chance.permille(500);
        while !inbox.is_empty() {
            let happening = inbox.swap_remove(chance.pick(inbox.len()));
            let Some(to) = happening_to(&happening) else { continue };
            if self.delivers(to, happening) && !at_once {
                self.settle(who);
            }
        }
        self.settle(who);
    }

    /// A process begins.
    pub(super) fn starts(&mut self, who: usize) {
        let (caller, facts, users, seed) = {
            let state = self.world.lock();
            let caller = Caller { who, process: state.places[who].process };
            let facts = state.plan.base.clients[0].facts;
            (caller, facts, state.plan.users.get(who).copied(), state.seed)
        };
        let runtime = Builder::new_current_thread().build().expect("a runtime without I/O");
        let world = Arc::clone(&self.world);
        let env = SimEnv { world, caller, runtime: runtime.handle().clone() };
        let backend = SimBackend { world: Arc::clone(&self.world), caller, facts };
        let client = Client::with_env(Arc::new(backend), Arc::new(env)).expect("a driver");
        let user = |number| {
            let chance = plan::stream(seed, Thing::User, who, caller.process << 8 | number);
            let (chance, acts) = (RefCell::new(chance), Cell::new(0));
            let (world, client) = (Arc::clone(&self.world), client.clone());
            User { world, caller, number, client, chance, acts }
        };
        let users = match users {
            Some(users) => (0..users).map(|n| Some(Task::new(user(n).live()))).collect(),
            None => vec![Some(Task::new(user(0).probe()))],
        };
        let client = Some(client).filter(|_| !self.world.lock().closing);
        let chance = plan::stream(seed, Thing::Process, who, 1 + caller.process);
        let process = Process { caller, runtime, users, client, chance, drives: true, polls: 0 };
        self.processes[who] = Some(process);
        self.settle(who);
    }

    /// A process dies.
    pub(super) fn crash(&mut self, who: usize) {
        let Some(mut process) = self.processes[who].take() else { return };
        {
            let mut state = self.world.lock();
            state.goes_on(who);
            state.places[who].process += 1;
            for register in &mut state.store {
                register.waiting.retain(|id, _| (id >> 8) as usize != who);
            }
            state.note(Some(who), "dies", 0, |_| (String::new(), String::new()));
            let after = process.chance.from(1000, state.plan.ttl_most);
            state.later(after, Happening::Starts { who });
        }
        let Process { runtime, users, client, .. } = process;
        runtime.shutdown_background();
        drop((users, client));
        self.world.guards().retain(|belief| belief.by.who != who);
    }

    /// Whether all users of all processes have come to their end.
    fn all_done(&self) -> bool {
        self.processes.iter().flatten().all(|p| p.users.iter().all(Option::is_none))
    }

    fn close(&mut self) {
        self.processes.iter_mut().flatten().for_each(|process| process.client = None);
        let mut state = self.world.lock();
        state.closing = true;
        // At worst all of them wait for the same lock and hold it one after another.
        let users: u64 = state.plan.users.iter().sum();
        let each = state.plan.ttl_most + state.handover_most();
        let after = state.plan.ttl_most * 3 + users * each;
        state.later(after, Happening::Done);
    }

    /// Everybody must have ended; then somebody new takes every lock; then it is over.
    fn done(&mut self) {
        let all = self.all_done();
        let newcomer = self.processes.len() - 1;
        let first = self.processes[newcomer].is_none();
        self.world.lock().check_done(all, first);
        for process in self.processes.iter().flatten() {
            let alive = process.runtime.metrics().num_alive_tasks();
            self.world.lock().check_driver(process.caller, alive);
        }
        if !all || !first {
            self.over = true;
            return;
        }
        self.starts(newcomer);
        let mut state = self.world.lock();
        let after = state.plan.ttl_most * 4 + 2_000_000;
        state.later(after, Happening::Done);
    }
}

fn outcome(answer: &Result<Answer, BackendError>) -> &'static str {
    match answer {
        Ok(Answer::Written(Written::Applied(_))) => "it landed",
        Ok(Answer::Written(Written::Conflict(_))) => "another was first",
        Ok(Answer::Reading(..) | Answer::Listed(_)) => "what stands there",
        Err(e) => match (e.fate, e.trouble) {
            (_, Trouble::Denied) => "denied",
            (Fate::NotSent, _) => "never sent",
            (Fate::Throttled { .. }, _) => "patience, please",
            (Fate::Unknown, _) => "nothing",
        },
    }
}

fn happening_to(happening: &Happening) -> Option<Caller> {
    match happening {
        Happening::Answer { to, .. }
        | Happening::Timer { to, .. }
        | Happening::Pause { to, .. }
        | Happening::Hint { to, .. }
        | Happening::Unblocked { to } => Some(*to),
        _ => None,
    }
}

impl Process {
    fn poll(&mut self, n: usize) {
        let Some(task) = &mut self.users[n] else { return };
        task.woken.0.store(false, Ordering::Relaxed);
        let mut cx = Context::from_waker(&task.waker);
        if let Poll::Ready(()) = task.future.as_mut().poll(&mut cx) {
            self.users[n] = None;
        }
        self.drives = true;
    }
}
