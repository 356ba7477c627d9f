//! What a user is told must be true, and told in time.

use super::any::{Event, Input};
use leasehold_core::deadline::{Deadline, Now};
use leasehold_core::lease::{Loss, Reply};
use leasehold_core::record::WriteId;

use super::checks::longest;
use super::client::{Act, Client};
use super::promises::{OWN_ID, RIGHTFUL_BELIEF, TOLD_FIRST, TOLD_OF_LOSS};
use super::world::World;

/// How a client stood before a step, and what the step is about.
pub(crate) struct Before {
    /// It was told that it holds, and its time is over.
    over: bool,
    /// It is answered that the record does not name it.
    denied: bool,
}

/// What a step told.
#[derive(Default)]
pub(crate) struct Told {
    granted: bool,
    lost: bool,
    suspected: bool,
}

impl Client {
    fn is_held(&self, now: Now) -> bool {
        self.lease.is_held(now.moment)
    }

    pub(crate) fn before(&self, now: Now, input: &Input, answered: bool) -> Before {
        let granted = self.granted.is_some();
        let denied = match input {
            Input::Reply(_, Reply::Read { seen, .. }) if answered && granted => {
                let holder = seen.record.as_ref().and_then(|r| r.holder());
                holder.is_none_or(|h| h.id != self.holder)
            }
            _ => false,
        };
        let holds = granted && self.act == Act::Holds;
        Before { over: holds && !self.doubts && !self.is_held(now), denied }
    }
}

impl World {
    /// After every step of the client's.
    pub(crate) fn check_step(&mut self, who: usize, now: Now, before: &Before, told: &Told) {
        let client = &self.clients[who];
        let (granted, held) = (client.granted.is_some(), client.is_held(now));
        self.promised(!held || granted, TOLD_FIRST, || {
            format!("client {who} holds and was not told so")
        });
        self.promised(!told.granted || held || told.lost || told.suspected, TOLD_FIRST, || {
            format!("client {who} is told that it holds, and does not")
        });
        self.promised(!before.over || told.lost || !granted, TOLD_OF_LOSS, || {
            format!("the time of client {who} was over before its step, and it is not told so")
        });
        self.promised(!before.denied || !held || told.granted, RIGHTFUL_BELIEF, || {
            format!("client {who} has read that the record does not name it, and believes on")
        });
    }

    /// Takes note of what is told, and checks what can be checked at once.
    pub(crate) fn check_told(&mut self, who: usize, event: &Event, told: &mut Told) {
        let client = &mut self.clients[who];
        match event {
            Event::Granted { deadline, .. } => {
                client.doubts = false;
                told.granted = true;
                self.check_deadline(who, *deadline);
            }
            Event::Renewed(deadline) => {
                client.doubts = false;
                self.check_deadline(who, *deadline);
            }
            Event::Suspected(_) => {
                client.doubts = true;
                told.suspected = true;
            }
            Event::Lost(loss) => {
                told.lost = true;
                let now = client.host.moment(self.time);
                let ttl = self.plan.clients[who].ttl;
                let early = client.deadline.is_some_and(|d| longest(d.sent, now) < ttl * 4 / 5);
                self.promised(!early || *loss != Loss::Expired, TOLD_OF_LOSS, || {
                    format!("client {who} is told that its time is over, and it is not")
                });
            }
            _ => {}
        }
    }

    /// A deadline counts from the sending of a write of this acquisition that landed.
    fn check_deadline(&mut self, who: usize, deadline: Deadline) {
        let client = &mut self.clients[who];
        client.deadline = Some(deadline);
        let life = client.life;
        let mut own = self.sent.iter().rev().filter(|s| s.who == who && s.life == life);
        let counts = own.any(|s| s.landed && s.at == deadline.sent);
        let ttl = self.plan.clients[who].ttl;
        self.promised(counts && deadline.span <= ttl * 4 / 5, RIGHTFUL_BELIEF, || {
            format!("client {who} counts from when it sent no write that landed")
        });
    }

    pub(crate) fn check_id(&mut self, who: usize, write: WriteId) {
        let last = self.clients[who].last_write.replace(write);
        self.promised(last != Some(write), OWN_ID, || {
            format!("client {who} sends two writes with the id {write}")
        });
    }
}
