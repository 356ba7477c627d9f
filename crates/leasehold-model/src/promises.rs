//! What must hold after every step, as seen by somebody who knows everything.

use std::sync::Arc;

use leasehold_core::lease::Reply;
use leasehold_core::record::Record;

use crate::bounds::Bounds;
use crate::fact::Fact;
use crate::world::{Pending, World, is_anything, name};

impl World {
    /// At most one client believes that it holds, and it stands in the record.
    pub(crate) fn check_believers(&mut self) {
        let believers = self.clients.iter().filter(|c| c.believes()).count();
        self.demand(believers <= 1, || "two clients believe that they hold".into());
        for who in 0..self.clients.len() {
            let client = &self.clients[who];
            if !client.believes() {
                continue;
            }
            let id = self.record().and_then(|r| r.holder()).map(|h| h.id);
            let token = self.record().map(|r| r.token);
            let (named, same) = (id == Some(client.holder), token == client.granted);
            self.demand(named, || format!("{} believes, and the record names another", name(who)));
            self.demand(same, || format!("{} believes, and not by the record's token", name(who)));
        }
    }

    /// A write lands, if it still can.
    pub(crate) fn land(&mut self, place: usize, bounds: &Bounds) {
        let pending = self.pool.remove(place);
        if pending.on != *self.state() && !is_anything(&pending.on) {
            return;
        }
        self.check_write(&pending);
        if bounds.once.is_some() {
            self.check_deed(&pending, bounds);
        }
        self.store(pending.record.clone());
        let state = self.state().clone();
        let Some(from) = pending.from else { return self.note(Fact::DeadWriteLands) };
        let client = Arc::make_mut(&mut self.clients[from]);
        match client.flight.as_mut().filter(|f| f.number == pending.number) {
            Some(flight) => flight.answer = Some(Reply::Applied(state)),
            None => self.note(Fact::LateWriteLands),
        }
    }

    fn check_write(&mut self, pending: &Pending) {
        let Some(stored) = self.stored.clone() else { return };
        let (old, new) = (&stored.record, &pending.record);
        let (was, is) = (old.holder(), new.holder());
        self.demand(new.token >= old.token, || {
            format!("the token goes back from {} to {}", old.token, new.token)
        });
        let same = was.map(|h| h.id) == is.map(|h| h.id) && old.token == new.token;
        if let (Some(was), Some(is), true) = (was, is, same) {
            self.demand(is.id == pending.by, || "a lease is renewed by a stranger".into());
            let alive = is.renewals > was.renewals;
            self.demand(alive, || "a renewal shows no sign of life".into());
        } else if is.is_some() {
            let raised = new.token > old.token;
            self.demand(raised, || format!("the holder changes and the token stays {}", new.token));
        }
        if let Some(was) = was.filter(|was| was.id != pending.by) {
            let believer = self.clients.iter().position(|c| c.holder == was.id && c.believes());
            self.demand(believer.is_none(), || {
                let whose = name(believer.unwrap_or_default());
                format!("the lock of {whose} is written over while it holds")
            });
            self.note(if is.is_some() { Fact::TakenOver } else { Fact::TakenOverByGivingUp });
        }
        self.note_second_lease(old, pending);
    }

    fn note_second_lease(&mut self, old: &Record, pending: &Pending) {
        let before = old.past.as_ref().and_then(|p| p.id);
        let takes = pending.record.holder().is_some() && pending.record.token > old.token;
        if takes && before == Some(pending.by) {
            self.note(Fact::SecondLease);
        }
    }
}
