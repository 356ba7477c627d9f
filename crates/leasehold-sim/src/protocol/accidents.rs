//! What happens to hosts, and what operators do.

use leasehold_core::lease::{Input, Memory};
use leasehold_core::mutex::{self, Force};
use leasehold_core::record::WriteId;

use super::world::{Happening, World};
use crate::host::Stop;

impl World {
    pub(crate) fn accident(&mut self) {
        if self.is_calm() {
            for who in 0..self.clients.len() {
                self.goes_on(who);
            }
            return;
        }
        let pace = self.chance.from(1000, self.plan.ttl_most / 2);
        self.later(pace, Happening::Accident);
        let who = usize::try_from(self.chance.from(0, self.clients.len() as u64)).unwrap();
        match self.chance.from(0, 6) {
            0 if self.plan.crashes => self.crash(who),
            1 if self.plan.freezes => self.stop(who, Stop::Freeze),
            2 if self.plan.suspends => self.stop(who, Stop::Suspend),
            3 if self.plan.pauses => self.stop(who, Stop::Pause),
            4 if self.plan.forces && self.store.state.is_some() => self.force(),
            5 if self.plan.deletes && self.chance.permille(500) => self.delete(),
            _ => {}
        }
    }

    fn crash(&mut self, who: usize) {
        self.tally.crashes += 1;
        self.clients[who].host.go_on(self.time);
        self.renew_client(who, Memory::default());
        self.clients[who].process += 1;
        self.plan_next(who);
    }

    fn stop(&mut self, who: usize, stop: Stop) {
        if self.clients[who].host.stopped.is_some() {
            return;
        }
        match stop {
            Stop::Freeze => self.tally.freezes += 1,
            Stop::Suspend => self.tally.suspends += 1,
            Stop::Pause => self.tally.pauses += 1,
        }
        self.clients[who].host.stopped = Some((stop, self.time));
        let span = self.chance.from(1000, self.plan.ttl_most * 5 / 2);
        self.later(span, Happening::GoesOn { who });
    }

    pub(crate) fn goes_on(&mut self, who: usize) {
        let Some(stop) = self.clients[who].host.go_on(self.time) else { return };
        if stop == Stop::Pause {
            self.step(who, Input::Suspect);
        }
        // What came meanwhile is taken up in any order.
        let mut inbox = std::mem::take(&mut self.clients[who].inbox);
        while !inbox.is_empty() {
            let pick = usize::try_from(self.chance.from(0, inbox.len() as u64)).unwrap();
            let input = inbox.swap_remove(pick);
            self.step(who, input);
        }
        self.step(who, Input::Wake);
    }

    fn end_by_operator(&mut self) {
        let record = self.store.record().filter(|r| r.holder().is_some());
        if let Some(token) = record.map(|r| r.token) {
            self.ended_by_operator.insert(token);
        }
    }

    fn force(&mut self) {
        self.tally.forced += 1;
        self.end_by_operator();
        let force = Force { by: "chance".into(), reason: String::new(), unix_ms: 0 };
        let before = self.store.record().expect("there is one");
        let record = mutex::force_release(before, &force, WriteId(self.chance.id()));
        assert!(Some(record.token) > self.last_token, "forcing did not raise the token");
        self.last_token = Some(record.token);
        self.put(record);
    }

    fn delete(&mut self) {
        self.tally.deleted += u64::from(self.store.state.is_some());
        self.end_by_operator();
        self.store.state = None;
        self.store.deletions += 1;
        self.hint();
    }
}
