//! The users: when they want the lock, for how long they wait and hold, when they give up.

use std::time::Duration;

use super::any::Input;
use leasehold_core::lease::{Memory, Patience};
use leasehold_core::record::FencingToken;

use super::client::{Act, is_keen};
use super::deeds::{self, End};
use super::world::{Happening, World};
use crate::chance::Chance;
use crate::fault::{Fault, Site};
use crate::plan;

impl World {
    pub(crate) fn plan_next(&mut self, who: usize) {
        if !self.plan.plays(who) {
            return;
        }
        let (most, calm) = (self.plan.ttl_most, self.is_calm());
        let client = &mut self.clients[who];
        let think = client.users.from(0, most / 2);
        let some = Duration::from_micros(client.users.from(1000, most * 4));
        let patience = match client.users.from(0, 10) {
            0 | 1 if !calm => Patience::Try,
            2..=4 => Patience::AtMost(some),
            _ => Patience::Forever,
        };
        let to = (who, client.life);
        self.later(think, Happening::Begin { to, patience });
    }

    pub(crate) fn begin(&mut self, to: (usize, u64), patience: Patience) {
        let (who, time) = (to.0, self.time);
        let client = &mut self.clients[who];
        if client.act != Act::Idle {
            return;
        }
        if client.host.stopped.is_some() {
            let again = self.plan.ttl_most / 4;
            return self.later(again, Happening::Begin { to, patience });
        }
        // The next user of this process, or the first of another.
        let forgets = client.users.permille(200);
        let memory = client.lease.clone().into_memory();
        self.renew_client(who, if forgets { Memory::default() } else { memory });
        let client = &mut self.clients[who];
        client.act = Act::Wants;
        let delay = client.users.from(0, self.plan.ttl_most * 2);
        // Some only want to know when it is free.
        let looks = client.users.permille(50) && time < self.weather.calm;
        client.keen_since = (!looks && is_keen(patience)).then_some(time);
        let to = (who, client.life);
        if self.weather.draw(Fault::Cancel, Site::new(who, to.1, 0, 0), time) {
            self.later(delay, Happening::LetGo { to });
        }
        self.step(who, if looks { Input::Look(patience) } else { Input::Acquire(patience) }, None);
    }

    pub(crate) fn lets_go(&mut self, to: (usize, u64)) {
        let client = &self.clients[to.0];
        if client.act == Act::Wants && client.awaited_write(&self.sent) {
            self.count.cancelled_with_open_writes += 1;
        }
        self.deliver(to, self.end_of_run(to.0));
    }

    /// How the user lets go: of a run, most often by saying how it ended.
    fn end_of_run(&self, who: usize) -> Input {
        let client = &self.clients[who];
        if self.plan.once.is_none() || client.act != Act::Holds {
            return Input::Release;
        }
        let stream = plan::ONCE + (1 << 58) + ((who as u64) << 32) + client.life;
        let end = End::draw(&mut Chance::of(self.seed, stream));
        end.input(deeds::said(who, client.life))
    }

    /// A run saves how far it has come, now and then.
    pub(crate) fn saves(&mut self, who: usize) {
        let client = &mut self.clients[who];
        if self.plan.once.is_none() || client.granted.is_none() || client.saves > 5 {
            return;
        }
        client.saves += 1;
        let (number, life) = (client.saves, client.life);
        let text = format!("{} {number}", deeds::said(who, life));
        self.step(who, Input::Ask(number, text.into_bytes()), None);
    }

    pub(crate) fn is_granted(&mut self, who: usize, token: FencingToken, by_reading: bool) {
        let (most, calm) = (self.plan.ttl_most, self.is_calm());
        let client = &mut self.clients[who];
        let count = &mut self.count;
        count.grants += 1;
        count.grants_by_reading += u64::from(by_reading);
        count.grants_by_the_first_write += u64::from(client.writes == 1);
        client.granted = self.leases.get(&client.holder).copied().filter(|g| g.token == token);
        client.was_granted = true;
        client.act = Act::Holds;
        client.keen_since = None;
        let long = client.users.from(1, 6);
        let work = client.users.from(0, most * if calm { 1 } else { long } / 2);
        let first = client.users.from(1, most / 4);
        let to = (who, client.life);
        self.last_granted_at = self.time;
        self.check_grant(who, token);
        self.later(work, Happening::LetGo { to });
        self.later(first, Happening::Check { to });
    }
}
