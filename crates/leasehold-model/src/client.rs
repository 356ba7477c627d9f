//! One step of a client's state machine, and what its outputs do to the world.

use std::sync::Arc;

use crate::any::{Event, Input, Output};
use leasehold_core::lease::inspect::Stage;
use leasehold_core::lease::{Loss, Memory, Release, Reply, Request};
use leasehold_core::record::FencingToken;

use crate::bounds::Bounds;
use crate::fact::Fact;
use crate::world::{Flight, Pending, World, name};

impl World {
    /// Steps the production state machine of one client.
    pub(crate) fn step(&mut self, who: usize, input: Input, bounds: &Bounds) {
        let woken = matches!(input, Input::Wake);
        let by_reading = !matches!(input, Input::Reply(_, Reply::Applied(_)));
        let mut used = self.used;
        let mut out = vec![];
        let client = self.client(who);
        let now = client.now();
        let mut ids = || {
            used += 1;
            u128::from(used) << 64
        };
        client.lease.step(now, input, &mut ids, &mut out);
        self.used = used;
        let (mut sends, mut wakes, mut ended) = (0, 0, None);
        for output in out {
            match output {
                Output::Send { number, request, .. } => {
                    sends += 1;
                    self.send(who, number, request, woken, bounds);
                }
                Output::Wake(_) => wakes += 1,
                Output::Event(Event::Released(release)) => ended = Some(release),
                Output::Event(event) => self.told(who, &event, by_reading),
            }
        }
        let client = self.client(who);
        client.lease.forget_pace(now.moment);
        if !client.lease.awaits_answer() {
            client.flight = None;
        }
        let stage = client.lease.stage();
        let idle = matches!(stage, Stage::New | Stage::Lost | Stage::Ended);
        self.demand(sends <= 1, || format!("{} sends two requests at once", name(who)));
        self.demand(idle || wakes == 1, || {
            format!("{} waits for something and no wake-up is armed", name(who))
        });
        if let Some(release) = ended {
            self.depart(who, release, bounds);
        }
    }

    fn send(&mut self, who: usize, number: u64, request: Request, woken: bool, bounds: &Bounds) {
        match request {
            Request::Read if woken => {
                let answer = Some(self.read(bounds));
                self.client(who).flight = Some(Flight { number, on: None, answer });
            }
            // It has not reached the store, and may as well be sent later.
            Request::Read => {
                self.client(who).flight = None;
                self.client(who).lease.unsend_read();
            }
            Request::Write(on, record) => {
                let by = self.clients[who].holder;
                if on == *self.state() || crate::world::is_anything(&on) {
                    let same = |p: &Arc<Pending>| p.by == by;
                    if self.pool.iter().filter(|p| same(p)).count() >= bounds.writes {
                        let oldest = self.pool.iter().position(same);
                        oldest.map(|place| self.pool.remove(place));
                    }
                    let on = on.clone();
                    let says = self.clients[who].says;
                    let pending = Pending { from: Some(who), number, by, on, record, says };
                    self.pool.push(Arc::new(pending));
                }
                self.client(who).flight = Some(Flight { number, on: Some(on), answer: None });
            }
        }
    }

    fn told(&mut self, who: usize, event: &Event, by_reading: bool) {
        match event {
            Event::Granted { token, record, .. } => {
                self.check_grant(who, *token);
                self.check_run(who, *token, record.outcome.as_ref());
                let client = self.client(who);
                (client.granted, client.run) =
                    (Some(*token), record.outcome.as_ref().map(|_| *token));
                self.note(if by_reading { Fact::GrantedByReading } else { Fact::Granted });
            }
            Event::Renewed(_) => {
                self.note(if by_reading { Fact::RenewedByReading } else { Fact::Renewed });
            }
            Event::Lost(loss) => {
                self.client(who).granted = None;
                let expired = matches!(loss, Loss::Expired);
                self.note(if expired { Fact::Expired } else { Fact::LossNoticed });
            }
            Event::Suspected(_) => self.note(Fact::Suspected),
            Event::Free => self.note(Fact::FoundFree),
            Event::Answer(settled) => self.check_settled(who, settled),
            _ => {}
        }
    }

    /// A token is granted once, and later than every lower one.
    fn check_grant(&mut self, who: usize, token: FencingToken) {
        let forced = self.clients[who].forced == Some(token);
        let Some(stored) = self.stored.as_mut().map(Arc::make_mut) else { return };
        let stands = stored.record.token;
        let twice = token == stands && stored.granted;
        stored.granted |= token == stands;
        self.demand(!twice, || format!("token {token} is granted a second time"));
        self.demand(token == stands || (forced && token < stands), || {
            format!("{} is granted token {token} and {stands} stands in the record", name(who))
        });
    }

    /// An acquisition is over. If it ended in order, nothing of it is left and nothing can come.
    fn depart(&mut self, who: usize, release: Release, bounds: &Bounds) {
        let holder = self.clients[who].holder;
        self.note(match release {
            Release::Freed => Fact::Released,
            Release::NotHeld => Fact::ReleasedNothing,
            Release::Unconfirmed => Fact::ReleaseGivenUp,
        });
        if release != Release::Unconfirmed {
            let stands = self.record().and_then(|r| r.holder()).is_some_and(|h| h.id == holder);
            self.demand(!stands, || format!("{} has let go and still stands there", name(who)));
            let mut coming = self.pool.iter().filter_map(|p| p.record.holder());
            let coming = coming.any(|h| h.id == holder);
            self.demand(!coming, || {
                format!("{} has let go, and a write of it can make it hold again", name(who))
            });
        }
        self.check_told(who, release);
        let memory = self.clients[who].lease.clone().into_memory();
        self.succeed(who, bounds, if bounds.memory { memory } else { Memory::default() });
    }
}
