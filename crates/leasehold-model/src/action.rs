//! What can happen next in a world, and what comes of it.

use std::sync::Arc;
use std::time::Duration;

use crate::any::Input;
use leasehold_core::backend::{Fate, Trouble};
use leasehold_core::edit::{self, Force};
use leasehold_core::lease::inspect::Stage;
use leasehold_core::lease::{Memory, Patience, Reply};
use leasehold_core::record::WriteId;

use crate::bounds::{Bounds, TICK};
use crate::essence;
use crate::fact::{Fact, Facts};
use crate::world::{Pending, Says, World, is_anything};

/// One step. Clients and pending writes are told by their place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// A client begins to acquire.
    Acquire(usize),
    /// A client begins to look.
    Look(usize),
    /// A client is woken. A read that it sends reads at once: being woken may come late instead.
    Wake(usize),
    /// The user of a client lets go, or no longer waits.
    LetGo(usize),
    /// The user of a client says how its run has ended.
    Complete(usize, Says),
    /// A client that lets go has tried for a ttl.
    Tire(usize),
    /// A process dies, and another takes its place.
    Crash(usize),
    /// A host is paused in a way that no clock of it counts.
    Pause(usize),
    /// A paused host goes on, and suspects it.
    GoOn(usize),
    /// A client is told that the record may have changed.
    Hint(usize),
    /// An answer arrives.
    Answer(usize),
    /// A write is refused without a word.
    Refuse(usize),
    /// A write is refused, and the answer with the winning record sets out.
    RefuseTelling(usize),
    /// No answer comes in time.
    TimeOut(usize),
    /// The store asks for patience.
    Throttle(usize),
    /// The request is proven not to have left the host.
    NeverSent(usize),
    /// A write lands.
    Land(usize),
    /// A write is lost for good.
    Lose(usize),
    /// Time passes for everybody.
    Tick,
    /// Time passes for everybody but one.
    TickWithout(usize),
    /// An operator forces the lock free.
    Force,
}

impl World {
    /// Everything that can happen next.
    pub fn actions(&self, bounds: &Bounds) -> Vec<Action> {
        let mut all = vec![Action::Tick];
        let drifts = bounds.drift.is_some_and(|ticks| self.even >= ticks);
        if bounds.forces && self.record().is_some_and(|r| r.holder().is_some()) {
            all.push(Action::Force);
        }
        for (place, pending) in self.pool.iter().enumerate() {
            all.push(Action::Land(place));
            let alike = |p: &&Arc<Pending>| p.by == pending.by;
            if pending.from.is_some() && self.pool.iter().filter(alike).count() >= bounds.writes {
                all.push(Action::Lose(place));
            }
        }
        for who in 0..self.clients.len() {
            if drifts {
                all.push(Action::TickWithout(who));
            }
            self.of_client(who, bounds, &mut all);
            self.of_network(who, bounds, &mut all);
        }
        all
    }

    fn of_client(&self, who: usize, bounds: &Bounds, all: &mut Vec<Action>) {
        let client = &self.clients[who];
        if bounds.crashes {
            all.push(Action::Crash(who));
        }
        if client.paused {
            return all.push(Action::GoOn(who));
        }
        match client.lease.stage() {
            Stage::New => {
                all.push(Action::Acquire(who));
                if bounds.looks {
                    all.push(Action::Look(who));
                }
                return;
            }
            Stage::Lost => {
                all.push(Action::LetGo(who));
                self.of_run(who, bounds, all);
            }
            Stage::Acquiring { .. } | Stage::Held(_) => {
                all.extend([Action::LetGo(who), Action::Wake(who)]);
                self.of_run(who, bounds, all);
                if bounds.hints && client.lease.wants_hint().is_some() {
                    all.push(Action::Hint(who));
                }
            }
            Stage::Releasing { .. } => {
                all.push(Action::Wake(who));
                if bounds.tires {
                    all.push(Action::Tire(who));
                }
            }
            Stage::Ended => {}
        }
        // A pause matters to who may come to believe by a write that was sent before it. To all others
        // it is a delay, and each of their steps may be delayed anyway.
        let held = matches!(client.lease.stage(), Stage::Held(_));
        let hopes = matches!(client.lease.stage(), Stage::Acquiring { .. });
        if bounds.suspicions && (held || (hopes && !client.lease.open().is_empty())) {
            all.push(Action::Pause(who));
        }
    }

    fn of_network(&self, who: usize, bounds: &Bounds, all: &mut Vec<Action>) {
        let client = &self.clients[who];
        let Some(flight) = client.flight.as_ref().filter(|_| !client.paused) else { return };
        let landed = matches!(flight.answer, Some(Reply::Applied(_)));
        if flight.answer.is_some() {
            all.push(Action::Answer(who));
        }
        if bounds.losses {
            all.push(Action::TimeOut(who));
        }
        let Some(on) = &flight.on else { return };
        if bounds.throttles {
            all.push(Action::Throttle(who));
        }
        let on_its_way = self.pool.iter().any(|p| p.from == Some(who) && p.number == flight.number);
        if bounds.never_sent && on_its_way {
            all.push(Action::NeverSent(who));
        }
        // What was answered with a refusal already had its answer.
        let refused = matches!(flight.answer, Some(Reply::Read { .. }));
        if on != self.state() && !is_anything(on) && (!landed || bounds.doubles) {
            if !refused {
                all.push(Action::Refuse(who));
            }
            if bounds.tells {
                all.push(Action::RefuseTelling(who));
            }
        }
    }

    /// What comes of it.
    #[must_use]
    pub fn after(&self, action: Action, bounds: &Bounds) -> World {
        let mut world = self.clone();
        world.facts = Facts::default();
        world.act(action, bounds);
        world.check_believers();
        essence::drop_doubles(&mut world, bounds);
        world
    }

    fn act(&mut self, action: Action, bounds: &Bounds) {
        match action {
            Action::Acquire(who) => self.step(who, Input::Acquire(Patience::Forever), bounds),
            Action::Look(who) => self.step(who, Input::Look(Patience::Forever), bounds),
            Action::Wake(who) => self.step(who, Input::Wake, bounds),
            Action::LetGo(who) => {
                self.says(who, Says::Interrupted);
                self.step(who, Input::Release, bounds);
            }
            Action::Complete(who, says) => {
                self.says(who, says);
                self.step(who, says.input(), bounds);
            }
            Action::Tire(who) => {
                let now = self.clients[who].moment();
                self.client(who).lease.tire(now);
                self.step(who, Input::Wake, bounds);
            }
            Action::Crash(who) => self.succeed(who, bounds, Memory::default()),
            Action::Pause(who) => self.client(who).paused = true,
            Action::GoOn(who) => {
                self.client(who).paused = false;
                self.step(who, Input::Suspect, bounds);
            }
            Action::Hint(who) => self.step(who, Input::Changed, bounds),
            Action::Answer(who) => {
                let flight = self.client(who).flight.as_mut();
                let Some(reply) = flight.and_then(|f| f.answer.take()) else { return };
                self.reply(who, reply, bounds);
            }
            Action::Refuse(who) => {
                self.note_refusal(who);
                self.reply(who, Reply::Conflict, bounds);
            }
            Action::RefuseTelling(who) => {
                self.note_refusal(who);
                let reply = self.read(bounds);
                if let Some(flight) = &mut self.client(who).flight {
                    flight.answer = Some(reply);
                }
            }
            Action::TimeOut(who) => self.fail(who, Fate::Unknown, bounds),
            Action::Throttle(who) => {
                if matches!(self.clients[who].answer(), Some(Reply::Applied(_))) {
                    self.note(Fact::ThrottledAndLanded);
                }
                self.fail(who, Fate::Throttled { retry_after: None }, bounds);
            }
            Action::NeverSent(who) => {
                let number = self.clients[who].flight.as_ref().map(|f| f.number);
                self.pool.retain(|p| p.from != Some(who) || Some(p.number) != number);
                self.fail(who, Fate::NotSent, bounds);
            }
            Action::Land(place) => self.land(place, bounds),
            Action::Lose(place) => drop(self.pool.remove(place)),
            Action::Tick => self.tick(None, bounds),
            Action::TickWithout(who) => self.tick(Some(who), bounds),
            Action::Force => self.force(),
        }
    }

    fn note_refusal(&mut self, who: usize) {
        match self.clients[who].answer() {
            Some(Reply::Applied(_)) => self.note(Fact::DoubleRefused),
            _ => self.note(Fact::RaceLost),
        }
    }

    fn fail(&mut self, who: usize, fate: Fate, bounds: &Bounds) {
        self.reply(who, Reply::Failed(fate, Trouble::Unavailable), bounds);
    }

    fn reply(&mut self, who: usize, reply: Reply, bounds: &Bounds) {
        let Some(flight) = self.client(who).flight.take() else { return };
        let outdated = match &reply {
            Reply::Applied(state) => state != self.state(),
            Reply::Read { seen, .. } => seen.state != *self.state(),
            _ => false,
        };
        if outdated {
            self.note(Fact::OutdatedAnswer);
        }
        self.step(who, Input::Reply(flight.number, reply), bounds);
    }

    fn tick(&mut self, without: Option<usize>, bounds: &Bounds) {
        self.time += TICK;
        for who in (0..self.clients.len()).filter(|who| Some(*who) != without) {
            let client = self.client(who);
            client.clock += if client.paused { Duration::ZERO } else { TICK };
            // Whatever has begun to let go may take any time: see `forget_pace`.
            client.lease.forget_pace(client.moment());
        }
        self.even = match without {
            Some(_) => 1,
            None => (self.even + 1).min(bounds.drift.unwrap_or_default()),
        };
    }

    /// What the operator did is known to the world, but not yet to the holder.
    fn force(&mut self) {
        let write = WriteId(self.fresh());
        let Some(before) = self.record() else { return };
        let Some(holder) = before.holder().map(|h| h.id) else { return };
        let token = before.token;
        let force = Force { by: String::new(), reason: String::new(), unix_ms: 0 };
        let after = edit::force_release(before, &force, write);
        let raised = after.token > token;
        self.demand(raised, || "a force-release did not raise the token".into());
        for client in self.clients.iter_mut().filter(|c| c.holder == holder) {
            Arc::make_mut(client).forced = Some(token);
        }
        self.note(Fact::Forced);
        self.store(after);
    }
}
