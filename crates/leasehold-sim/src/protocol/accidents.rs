//! What happens to hosts and to the store, and what operators do.

use super::any::Input;
use leasehold_core::edit::{self, Force};
use leasehold_core::lease::Memory;
use leasehold_core::record::WriteId;

use super::checks::shown;
use super::client::LOOK_AT_CLOCK;
use super::promises::TOKENS_RISE;
use super::world::{Happening, World};
use crate::chance::Chance;
use crate::fault::{Fault, Site};
use crate::host::Stop;
use crate::plan;

/// What can happen by accident, each as often as the others.
const ACCIDENTS: [Fault; 10] = [
    Fault::Crash,
    Fault::Freeze,
    Fault::Suspend,
    Fault::Pause,
    Fault::WallJump,
    Fault::Outage,
    Fault::Cut,
    Fault::Denied,
    Fault::Break,
    Fault::Delete,
];

impl World {
    /// Every accident is drawn from a stream of its own, so that none depends on another.
    pub(crate) fn accident(&mut self, number: u64) {
        if self.is_calm() {
            return;
        }
        let mut chance = Chance::of(self.seed, plan::ACCIDENT + number);
        let pace = chance.from(1000, self.plan.ttl_most / 3);
        self.later(pace, Happening::Accident { number: number + 1 });
        let who = chance.pick(self.clients.len());
        let fault = ACCIDENTS[chance.pick(ACCIDENTS.len())];
        let site = Site::new(who, 0, number, 0);
        if fault == Fault::Break && self.store.state.is_none()
            || fault == Fault::Delete && chance.permille(500)
            || !self.weather.draw(fault, site, self.time)
        {
            return;
        }
        let span = chance.from(1000, self.plan.ttl_most * 5 / 2);
        // The store is away as often as anything else happens, but most often not for long.
        let away = if chance.permille(700) { span / 8 } else { span };
        match fault {
            Fault::Crash => self.crash(who),
            Fault::Freeze => self.stop(who, Stop::Freeze, site),
            Fault::Suspend => self.stop(who, Stop::Suspend, site),
            Fault::Pause => self.stop(who, Stop::Pause, site),
            Fault::Outage => self.goes_away(None, away, false),
            Fault::Cut => self.goes_away(Some(who), away, false),
            Fault::Denied => self.goes_away(chance.permille(500).then_some(who), away, true),
            Fault::Break => self.force(WriteId(chance.id()), chance.permille(300)),
            Fault::Delete => self.delete(),
            _ => {
                let by = i64::try_from(span / 1000).unwrap_or_default();
                self.jump(who, if chance.permille(500) { by } else { -by });
            }
        }
    }

    pub(crate) fn calms(&mut self) {
        (0..self.clients.len()).for_each(|who| self.goes_on(who));
        self.later(self.plan.ttl_most * 2, Happening::Death);
    }

    pub(crate) fn holder_dies(&mut self) {
        let holder = self.clients.iter().position(|client| client.granted.is_some());
        if let Some(who) = holder.filter(|_| self.plan.on.has(Fault::Crash)) {
            self.count.deaths_in_the_calm += 1;
            self.crash(who);
        }
    }

    fn crash(&mut self, who: usize) {
        self.tell(who, || ("crashes, and starts again".into(), String::new()));
        self.clients[who].host.go_on(self.time);
        self.renew_client(who, Memory::default());
        let client = &mut self.clients[who];
        client.process += 1;
        client.stops += 1;
        client.held_back.clear();
        self.plan_next(who);
    }

    pub(crate) fn stop(&mut self, who: usize, how: Stop, site: Site) {
        let client = &mut self.clients[who];
        if client.host.stopped.is_some() {
            return;
        }
        client.host.stopped = Some((how, self.time));
        client.stops += 1;
        let stop = client.stops;
        let mut chance = Chance::of(self.seed, site.stream(Fault::Freeze) ^ plan::STORE);
        let span = chance.from(1000, self.plan.ttl_most * 5 / 2);
        self.later(span, Happening::GoesOn { who, stop });
        self.tell(who, || {
            let what = match how {
                Stop::Freeze => "is frozen",
                Stop::Suspend => "sleeps, with its host",
                Stop::Pause => "is paused, with its machine",
            };
            (format!("{what} for {} ms", span / 1000), String::new())
        });
    }

    pub(crate) fn goes_on(&mut self, who: usize) {
        let client = &mut self.clients[who];
        let Some(stop) = client.host.go_on(self.time) else { return };
        let grants = std::mem::take(&mut client.held_back);
        // What came meanwhile is taken up in any order.
        let mut inbox = std::mem::take(&mut client.inbox);
        self.tell(who, || ("goes on".into(), String::new()));
        for grant in grants {
            self.acts(who, grant);
        }
        if stop != Stop::Freeze {
            // Timers count what the steady clock counts that stood, so they are late by as much.
            let woken = inbox.iter().position(|(input, _)| *input == Input::Wake);
            if let Some(at) = woken {
                inbox.swap_remove(at);
                let client = &mut self.clients[who];
                let most = client.host.takes(LOOK_AT_CLOCK);
                let late = client.chance.from(0, most);
                let (to, wake) = ((who, client.life), client.wakes);
                self.later(late, Happening::Wake { to, wake });
            }
        }
        while !inbox.is_empty() {
            let pick = self.clients[who].chance.pick(inbox.len());
            let (input, deletions) = inbox.swap_remove(pick);
            self.step(who, input, deletions);
        }
        if stop == Stop::Freeze {
            self.step(who, Input::Wake, None);
        }
    }

    fn goes_away(&mut self, who: Option<usize>, span: u64, denied: bool) {
        let beyond = span > self.plan.ttl_most;
        self.count.outages_beyond_a_ttl += u64::from(beyond);
        self.count.outages_within_a_ttl += u64::from(!beyond);
        self.weather.goes_away(who, self.time + span, denied);
        self.tell_of("store", || {
            let what = if denied { "refuses its service" } else { "is away" };
            let whom = who.map_or("everybody".into(), |who| format!("client {who}"));
            (format!("{what} for {} ms, for {whom}", span / 1000), String::new())
        });
    }

    fn jump(&mut self, who: usize, by_ms: i64) {
        self.clients[who].host.wall_jumps(by_ms);
        self.tell(who, || (format!("has its wall clock set by {by_ms} ms"), String::new()));
    }

    fn end_by_operator(&mut self) {
        let record = self.store.record().filter(|r| r.holder().is_some());
        if let Some(token) = record.map(|r| r.token) {
            self.ended_by_operator.insert(token);
        }
    }

    /// Takes the lock from its holder; of `once` perhaps the outcome too.
    fn force(&mut self, write: WriteId, all: bool) {
        self.end_by_operator();
        let force = Force { by: "chance".into(), reason: String::new(), unix_ms: 0 };
        let Some(before) = self.store.record() else { return };
        let record = if all && self.plan.once.is_some() {
            self.deeds.void();
            self.count.resets += 1;
            edit::reset(before, &force.by, &force.reason, 0, write)
        } else {
            edit::force_release(before, &force, write)
        };
        let (token, last) = (record.token, self.last_token);
        self.promised(Some(token) > last, TOKENS_RISE, || {
            format!("a break wrote token {token} after {}", shown(last))
        });
        self.last_token = Some(token);
        self.put(record, None);
        self.tell_of("operator", || ("breaks the lock".into(), String::new()));
    }

    fn delete(&mut self) {
        self.end_by_operator();
        self.deeds.void();
        self.store.delete(self.time);
        self.hint();
        self.tell_of("operator", || ("deletes the record".into(), String::new()));
    }
}
