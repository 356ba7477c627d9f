//! What happens to hosts and to the store, and what operators do with the store's own tools.

use super::run::Run;
use super::state::{Caller, Happening, State};
use crate::fault::{Fault, Site};
use crate::host::Stop;

impl Run {
    pub(super) fn accident(&mut self) {
        let (ttl_most, clients, calm, time) = {
            let state = self.world.lock();
            (state.plan.ttl_most, state.plan.users.len(), state.is_calm(), state.time)
        };
        if calm {
            return;
        }
        self.accidents += 1;
        let after = self.chance.from(1000, ttl_most / 2);
        let who = self.chance.pick(clients);
        let kinds = [
            Fault::Crash,
            Fault::Freeze,
            Fault::Suspend,
            Fault::Pause,
            Fault::WallJump,
            Fault::Outage,
            Fault::Cut,
            Fault::Denied,
            Fault::Delete,
        ];
        let kind = kinds[self.chance.pick(kinds.len())];
        let (everybody, span) = (self.chance.permille(500), self.chance.from(1000, ttl_most * 2));
        let more = self.chance.next();
        let mut state = self.world.lock();
        state.later(after, Happening::Accident);
        let site = Site::new(who, 0, self.accidents, 2);
        if !state.weather.strikes(true, kind, site, time) {
            return;
        }
        let until = time + span;
        match kind {
            Fault::Crash => {
                drop(state);
                self.crash(who);
            }
            Fault::Freeze => state.stops(who, Stop::Freeze),
            Fault::Suspend => state.stops(who, Stop::Suspend),
            Fault::Pause => state.stops(who, Stop::Pause),
            Fault::WallJump => {
                let by = i64::try_from(more % 20_000).unwrap_or_default() - 10_000;
                state.places[who].host.wall_jumps(by);
            }
            Fault::Outage => state.weather.goes_away(None, until, false),
            Fault::Cut => state.weather.goes_away(Some(who), until, false),
            Fault::Denied => {
                let whom = (!everybody).then_some(who);
                state.weather.goes_away(whom, until, true);
            }
            _ => state.operator(more),
        }
    }
}

impl State {
    /// Deletes a record or writes something else over it.
    fn operator(&mut self, more: u64) {
        let key = usize::try_from(more >> 8).unwrap_or_default() % self.store.len();
        let register = &mut self.store[key];
        if register.slot.is_none() {
            return;
        }
        if let Some(record) = register.record().filter(|r| r.holder().is_some()) {
            let token = record.token;
            register.ended_by_operator.insert(token);
        }
        if more.is_multiple_of(4) {
            // Something of its own every time, because a version never comes back.
            let bytes = match more % 3 {
                0 => format!("not a record {more}"),
                1 => format!("{{\"format\": 2, \"of\": \"a later version {more}\"}}"),
                _ => format!("{{\"format\": 1, \"kind\": \"mutex\", \"cut off\": {more}"),
            };
            let nobody = Caller { who: self.places.len() - 1, process: 0 };
            register.free_since = None;
            self.tally.damaged += 1;
            self.put(key, bytes.into_bytes(), None, nobody);
        } else {
            register.slot = None;
            register.deletions += 1;
            register.free_since = Some(self.time);
            self.tally.deleted += 1;
            self.hint(key);
        }
        self.note(None, "an operator was here", more, |s| (String::new(), s.standing(key)));
    }
}
