//! A client's process: the driver's part, which hands inputs to the state machine and does what comes
//! out of it.

use std::time::Duration;

use super::any::{Event, Input, Lease, Output};
use leasehold_core::backend::{Fate, Trouble};
use leasehold_core::deadline::{Deadline, Now};
use leasehold_core::lease::{Loss, Memory, Patience, Release};
use leasehold_core::lease::{Reply, Settings};
use leasehold_core::once::Once;
use leasehold_core::primitive::Any;
use leasehold_core::record::{FencingToken, HolderId, WriteId};

use super::deeds::{self, End};
use super::hearing::Told;
use super::promises::{BOUNDED_WORK, NO_SLEEPER};
use super::resource::Grant;
use super::words;
use super::world::{Happening, World};
use crate::chance::Chance;
use crate::fault::{Fault, Site};
use crate::host::{self, Host};
use crate::plan;

/// The driver looks at the clock this often at least while it holds.
pub(crate) const LOOK_AT_CLOCK: Duration = Duration::from_secs(1);

/// What a client is about, as its user sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Act {
    Idle,
    Wants,
    Holds,
    LetsGo,
}

pub(crate) struct Client {
    pub(crate) host: Host,
    pub(crate) lease: Lease,
    pub(crate) holder: HolderId,
    /// Of this life's own: what its users want, and everything else. A fault that is left out changes
    /// how many ids are drawn, and must not change what the users want.
    pub(crate) users: Chance,
    pub(crate) chance: Chance,
    /// Rises when the process dies.
    pub(crate) process: u64,
    /// Rises with every acquisition, and when the process dies.
    pub(crate) life: u64,
    pub(crate) act: Act,
    /// Since when it wants the lock, if it will wait for it.
    pub(crate) keen_since: Option<u64>,
    pub(crate) granted: Option<Grant>,
    /// Whether it was granted in this life, lost or not.
    pub(crate) was_granted: bool,
    /// `once`: which key it wants, how often it saved, its run, and how that ended.
    pub(crate) key: u64,
    pub(crate) saves: u64,
    pub(crate) run: Option<FencingToken>,
    pub(crate) end: Option<End>,
    /// As it was last told.
    pub(crate) deadline: Option<Deadline>,
    pub(crate) doubts: bool,
    pub(crate) last_write: Option<WriteId>,
    pub(crate) stepped_at: u64,
    looked_at: Now,
    pub(crate) wakes: u64,
    /// The request whose answer is waited for.
    pub(crate) awaited: Option<usize>,
    pub(crate) requests: u64,
    /// Requests since this true time, which moves on every second.
    pub(crate) busy: (u64, u64),
    /// What came while the process stood still, and the writes to the resource it was about to do.
    pub(crate) inbox: Vec<(Input, Option<u64>)>,
    pub(crate) held_back: Vec<Grant>,
    /// Writes sent in this acquisition.
    pub(crate) writes: u64,
    pub(crate) checks: u64,
    pub(crate) acts: u64,
    hints: u64,
    /// How often it stood still.
    pub(crate) stops: u64,
    /// What its steady clocks had missed when it last looked.
    pub(crate) known_hidden: u64,
    /// How often they missed something and nothing was suspected; and how often before this life.
    pub(crate) unseen: u64,
    unseen_before: u64,
}

impl Client {
    pub(crate) fn new(seed: u64, who: usize, host: Host, settings: &Settings) -> Client {
        let [users, mut chance] = life_chance(seed, who, 0);
        let holder = HolderId(chance.id());
        Client {
            looked_at: host.now(0),
            host,
            lease: Lease::new(settings.clone(), Any::of(None), holder, Memory::default()),
            holder,
            users,
            chance,
            process: 0,
            life: 0,
            act: Act::Idle,
            keen_since: None,
            granted: None,
            was_granted: false,
            key: 0,
            saves: 0,
            run: None,
            end: None,
            deadline: None,
            doubts: false,
            last_write: None,
            stepped_at: 0,
            wakes: 0,
            awaited: None,
            requests: 0,
            busy: (0, 0),
            inbox: vec![],
            held_back: vec![],
            writes: 0,
            checks: 0,
            acts: 0,
            hints: 0,
            stops: 0,
            known_hidden: 0,
            unseen: 0,
            unseen_before: 0,
        }
    }

    /// Whether its clocks missed something that it has not taken note of yet.
    pub(crate) fn is_unaware(&self) -> bool {
        self.host.is_paused() || self.host.hidden != self.known_hidden
    }

    /// How many runs failed, by the newest record that it knows.
    fn failures_seen(&self) -> u64 {
        let outcome = self.lease.record().and_then(|record| record.outcome.as_ref());
        outcome.map_or(0, |outcome| outcome.failures)
    }

    /// Whether its clocks missed something in this acquisition that it never learned of.
    pub(crate) fn unseen_in_this_life(&self) -> bool {
        self.unseen != self.unseen_before
    }
}

fn life_chance(seed: u64, who: usize, life: u64) -> [Chance; 2] {
    let stream = plan::LIFE + ((who as u64) << 32) + 2 * life;
    [Chance::of(seed, stream), Chance::of(seed, stream + 1)]
}

impl World {
    /// A new acquisition of the client's, or its new process.
    pub(crate) fn renew_client(&mut self, who: usize, memory: Memory) {
        let (seed, time) = (self.seed, self.time);
        let client = &mut self.clients[who];
        client.life += 1;
        [client.users, client.chance] = life_chance(seed, who, client.life);
        let holder = HolderId(client.chance.id());
        let settings = self.plan.clients[who].clone();
        let mut primitive = Any::of(None);
        if let Some(once) = self.plan.once {
            // Some are late to learn of the newest key.
            let mut chance = Chance::of(seed, plan::ONCE + ((who as u64) << 32) + client.life);
            let late = [0, 0, 0, 0, 0, 0, 0, 1, 1, 2][chance.pick(10)];
            client.key = (time / once.period).saturating_sub(late);
            primitive = Any::Once(Once {
                key: deeds::key(client.key),
                max_attempts: once.max_attempts,
                backoff: Duration::from_micros(once.backoff),
                valid_for: once.valid_for.map(Duration::from_micros),
            });
        }
        client.saves = 0;
        client.run = None;
        client.end = None;
        client.lease = Lease::new(settings, primitive, holder, memory);
        client.holder = holder;
        client.act = Act::Idle;
        client.keen_since = None;
        client.granted = None;
        client.was_granted = false;
        client.deadline = None;
        client.doubts = false;
        client.awaited = None;
        client.requests = 0;
        client.hints = 0;
        client.wakes += 1;
        client.writes = 0;
        client.inbox.clear();
        client.stepped_at = time;
        client.looked_at = client.host.now(time);
        client.known_hidden = client.host.hidden;
        client.unseen_before = client.unseen;
    }

    /// To a process that lives: it takes the input when it runs.
    pub(crate) fn deliver(&mut self, to: (usize, u64), input: Input) {
        let client = &mut self.clients[to.0];
        if client.host.stopped.is_some() {
            client.inbox.push((input, None));
        } else {
            self.step(to.0, input, None);
        }
    }

    pub(crate) fn times_out(&mut self, sent: usize) {
        let to = (self.sent[sent].who, self.sent[sent].life);
        let reply = Reply::Failed(Fate::Unknown, Trouble::Unavailable);
        self.deliver(to, Input::Reply(self.sent[sent].number, reply));
    }

    /// The driver cares for a notification only while the lease does.
    pub(crate) fn is_hinted(&mut self, to: usize) {
        let client = &self.clients[to];
        if client.lease.wants_hint().is_some_and(|known| !self.store.is(known)) {
            self.count.hints += 1;
            self.deliver((to, client.life), Input::Changed);
        }
    }

    /// As the driver does it: first the clocks, then the input. `deletions`: how many the answer
    /// among the inputs has seen.
    pub(crate) fn step(&mut self, who: usize, input: Input, deletions: Option<u64>) {
        let client = &mut self.clients[who];
        let now = client.host.now(self.time);
        let suspicious = host::is_suspicious(client.looked_at, now, self.plan.clients[who].ttl);
        if client.host.hidden != client.known_hidden {
            client.known_hidden = client.host.hidden;
            client.unseen += u64::from(!suspicious);
            self.count.unseen_pauses += u64::from(!suspicious);
        }
        client.looked_at = now;
        if suspicious {
            self.take(who, Input::Suspect, None);
        }
        self.take(who, input, deletions);
    }

    fn take(&mut self, who: usize, input: Input, deletions: Option<u64>) {
        let time = self.time;
        self.tell_input(who, &input);
        let mut out = std::mem::take(&mut self.out);
        let client = &mut self.clients[who];
        let by_reading = !matches!(input, Input::Reply(_, Reply::Applied(_)));
        let awaited = client.awaited.map(|sent| self.sent[sent].number);
        let answered = matches!(&input, Input::Reply(number, _) if awaited == Some(*number));
        if answered {
            client.awaited = None;
        }
        let end = match &input {
            Input::Release => Some(End::Interrupted),
            Input::End(completion) => Some(End::of(completion)),
            Input::Undo => Some(End::Withdrawn),
            _ => None,
        };
        if end.is_some() && client.act != Act::Idle {
            client.end = client.end.or(end.filter(|_| client.act == Act::Holds));
            client.act = Act::LetsGo;
            client.keen_since = None;
        }
        client.stepped_at = time;
        let now = client.host.now(time);
        let before = client.before(now, &input, answered);
        let (lease, chance) = (&mut client.lease, &mut client.chance);
        lease.step(now, input, &mut || chance.id(), &mut out);
        let deletions = deletions.unwrap_or(self.store.deletions);
        let told = self.do_all(who, &mut out, by_reading, deletions);
        self.out = out;
        self.check_step(who, now, &before, &told);
    }

    fn do_all(
        &mut self,
        who: usize,
        out: &mut Vec<Output>,
        by_reading: bool,
        deletions: u64,
    ) -> Told {
        let mut told = Told::default();
        let (mut sends, mut wakes) = (0, 0);
        for output in out.drain(..) {
            self.digest(who, &output);
            match output {
                Output::Send { number, request, timeout } => {
                    sends += 1;
                    self.send(who, (number, request, timeout), deletions);
                }
                Output::Wake(span) => {
                    wakes += 1;
                    self.arm(who, span);
                }
                Output::Event(event) => {
                    self.check_told(who, &event, &mut told);
                    self.check_told_of_deed(who, &event);
                    self.hears(who, &event, by_reading);
                }
            }
        }
        let client = &self.clients[who];
        let idle = client.act == Act::Idle;
        let lost = client.granted.is_none() && client.act == Act::Holds;
        self.promised(sends <= 1 && wakes <= 1, BOUNDED_WORK, || {
            format!("client {who} sends {sends} requests and arms {wakes} wakes in one step")
        });
        self.promised(idle || lost || wakes > 0, NO_SLEEPER, || {
            format!("client {who} waits for something and has no wake armed")
        });
        if self.plan.notifies && !idle {
            self.hint_falsely(who);
        }
        told
    }

    fn hint_falsely(&mut self, who: usize) {
        let client = &mut self.clients[who];
        client.hints += 1;
        let to = (who, client.life);
        let site = Site::new(who, client.life, client.hints, 0);
        if self.weather.draw(Fault::FalseHint, site, self.time) {
            self.later(1000, Happening::FalseHint { to });
        }
    }

    fn arm(&mut self, who: usize, span: Duration) {
        let client = &mut self.clients[who];
        let room = self.plan.clients[who].facts.least_write_interval * 12;
        let most = Duration::from_micros(self.plan.ttl_most) + room;
        let fine = client.awaited.is_some() || client.lease.has_ended() || span < most;
        client.wakes += 1;
        let (to, wake) = ((who, client.life), client.wakes);
        let span = if client.granted.is_some() { span.min(LOOK_AT_CLOCK) } else { span };
        let due = client.host.takes(span) + client.chance.from(0, 3000);
        self.later(due, Happening::Wake { to, wake });
        self.promised(fine, NO_SLEEPER, || format!("client {who} falls asleep for {span:?}"));
    }

    fn hears(&mut self, who: usize, event: &Event, by_reading: bool) {
        self.tell_event(who, event);
        let to = (who, self.clients[who].life);
        match event {
            Event::Granted { token, .. } => self.is_granted(who, *token, by_reading),
            Event::Renewed(_) => self.count.renewals += 1,
            Event::Suspected(_) => self.count.suspicions += 1,
            Event::Lost(loss) => {
                let count = &mut self.count;
                match loss {
                    Loss::Expired => count.expiries += 1,
                    Loss::Gone => count.deletions_noticed += 1,
                    Loss::TakenOver(_) | Loss::Ended(_) | Loss::Unreadable(_) => {
                        count.ends_noticed += 1;
                    }
                }
                let client = &mut self.clients[who];
                client.granted = None;
                let delay = client.users.from(0, self.plan.ttl_most / 2);
                self.later(delay, Happening::LetGo { to });
            }
            Event::Free => self.count.found_free += 1,
            Event::NotAcquired { .. } => {
                self.count.refusals += 1;
                self.clients[who].keen_since = None;
            }
            Event::Failed(_) => {
                self.count.failures += 1;
                self.clients[who].keen_since = None;
            }
            Event::Released(release) => {
                self.count.releases += u64::from(*release == Release::Freed);
                self.check_departure(who, *release);
                let client = &mut self.clients[who];
                client.act = Act::Idle;
                client.keen_since = None;
                client.granted = None;
                self.plan_next(who);
            }
            Event::Answer(_) => {
                self.last_granted_at = self.time;
                self.clients[who].keen_since = None;
            }
            Event::Waiting { .. } | Event::Trouble(_) | Event::Resting(_) | Event::Asked(_) => {}
        }
    }

    /// Takes what came out into the hash of the world.
    fn digest(&mut self, who: usize, output: &Output) {
        let failures = self.clients[who].failures_seen();
        let (kind, number) = words::fingerprint(output, failures);
        let mix = self.time ^ (who as u64) << 48 ^ kind << 56 ^ number.rotate_left(17);
        self.digest = (self.digest ^ mix).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }
}

/// Whether this patience ends only with the lock, or with time.
pub(crate) fn is_keen(patience: Patience) -> bool {
    patience != Patience::Try
}
