//! What the lock protects: one resource that checks tokens, and one beside it that does not.

use leasehold_core::record::FencingToken;

use super::checks::shown;
use super::promises::FENCED;
use super::world::{Happening, World};
use crate::fault::{Fault, Site};
use crate::host::Stop;

/// A right to write: a token, and the ordinal of the change of holder that it came with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Grant {
    pub(crate) token: FencingToken,
    pub(crate) reign: u64,
}

#[derive(Default)]
pub(crate) struct Resource {
    highest: Option<FencingToken>,
    /// The latest reign it has accepted a write of, in the order of the store.
    reign: u64,
    /// The same of the one without a fence.
    unfenced: u64,
}

impl World {
    /// A holder looks whether it still holds, before it writes.
    pub(crate) fn checks(&mut self, to: (usize, u64)) {
        let client = &mut self.clients[to.0];
        if client.host.stopped.is_some() {
            return self.later(self.plan.ttl_most / 8, Happening::Check { to });
        }
        let holds = client.lease.is_held(client.host.moment(self.time));
        let Some(grant) = client.granted.filter(|_| holds) else { return };
        client.checks += 1;
        let (number, think) = (client.checks, client.chance.from(1, 500));
        let again = client.chance.from(self.plan.ttl_most / 16, self.plan.ttl_most / 3);
        let process = self.clients[to.0].process;
        self.later(think, Happening::Act { who: to.0, process, grant });
        self.later(again, Happening::Check { to });
        self.saves(to.0);
        let site = Site::new(to.0, to.1, number, 8);
        if self.weather.draw(Fault::FrozenAct, site, self.time) {
            self.stop(to.0, Stop::Freeze, site);
        }
    }

    /// It writes, whatever has happened meanwhile.
    pub(crate) fn acts(&mut self, who: usize, grant: Grant) {
        let client = &mut self.clients[who];
        if client.host.stopped.is_some() {
            client.held_back.push(grant);
            return;
        }
        client.acts += 1;
        let site = Site::new(who, client.life, client.acts, 9);
        let late = client.chance.from(1000, self.plan.ttl_most * 3 / 2);
        let quick = client.chance.from(500, 5_000);
        let slow = self.weather.draw(Fault::SlowRequest, site, self.time);
        let delay = if slow { late } else { quick };
        self.tell(who, || {
            (format!("writes with token {} to the resource", grant.token), {
                if slow { format!("arrives {} ms late", late / 1000) } else { String::new() }
            })
        });
        self.later(delay, Happening::Lands { who, grant });
    }

    pub(crate) fn lands(&mut self, who: usize, grant: Grant) {
        let fence = &mut self.resource;
        if grant.reign < fence.unfenced {
            self.count.stale_acts_unfenced += 1;
        }
        fence.unfenced = fence.unfenced.max(grant.reign);
        let accepted = Some(grant.token) >= fence.highest;
        let (last, highest) = (fence.reign, fence.highest);
        if accepted {
            self.count.acts += 1;
            let one_reign = Some(grant.token) > highest || grant.reign == last;
            (fence.highest, fence.reign) = (Some(grant.token), grant.reign);
            self.promised(grant.reign >= last && one_reign, FENCED, || {
                format!(
                    "client {who} wrote with token {} of reign {} after {} of reign \
                     {last} was accepted",
                    grant.token,
                    grant.reign,
                    shown(highest)
                )
            });
        } else {
            self.count.stale_acts_refused += 1;
        }
        self.tell_of("resource", || {
            let verdict = if accepted { "accepts" } else { "refuses" };
            let what = format!("{verdict} token {} of client {who}", grant.token);
            (what, format!("highest {}", highest.unwrap_or(grant.token).max(grant.token)))
        });
    }
}
