//! What happens to a request on its way to the store and back, and whether any fault strikes at all.

use std::time::Duration;

use crate::chance::Chance;
use crate::fault::{Fault, Faults, Options, Site, Strike, Struck};

/// What becomes of one request, drawn when it is sent.
#[derive(Default, Debug)]
pub(crate) struct Course {
    /// It provably never leaves.
    pub(crate) not_sent: bool,
    /// The copies that arrive.
    pub(crate) copies: [Option<Leg>; 2],
}

/// One copy of a request, and the answer to it.
#[derive(Debug)]
pub(crate) struct Leg {
    /// After how long it arrives, in microseconds of true time.
    pub(crate) delay: u64,
    /// Whether it is answered with a plea for patience.
    pub(crate) throttled: Option<Throttled>,
    /// How long the answer takes, if it ever arrives.
    pub(crate) reply: Option<u64>,
}

/// An answer that asks for patience.
#[derive(Debug)]
pub(crate) struct Throttled {
    /// Whether the request was served all the same.
    pub(crate) served: bool,
    pub(crate) retry_after: Option<Duration>,
}

/// A span of time in which the store is away.
#[derive(Debug)]
struct Away {
    /// `None`: for everybody.
    who: Option<usize>,
    until: u64,
    /// It answers, but refuses.
    denied: bool,
}

/// How the store is for a client at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sky {
    Clear,
    /// Nothing gets through.
    Away,
    /// Everything is refused.
    Denied,
}

/// The one place where faults are drawn, counted and left out.
pub(crate) struct Weather {
    seed: u64,
    on: Faults,
    options: Options,
    /// When the faults stop.
    pub(crate) calm: u64,
    /// The longest ttl of the world, by which delays are measured.
    ttl_most: u64,
    pub(crate) struck: Struck,
    /// Each fault that struck, if the world is told.
    pub(crate) strikes: Vec<Strike>,
    away: Vec<Away>,
}

impl Weather {
    /// `on`: the kinds that the seed has drawn. Those that the options rule out stay off.
    pub(crate) fn new(seed: u64, on: Faults, ttl_most: u64, calm: u64, options: &Options) -> Self {
        Weather {
            seed,
            on,
            options: options.clone(),
            calm: options.calm_at.map_or(calm, |at| at.min(calm)),
            ttl_most,
            struck: Struck::default(),
            strikes: vec![],
            away: vec![],
        }
    }

    /// Whether a fault that chance has drawn strikes at this place and true time.
    pub(crate) fn strikes(&mut self, drawn: bool, fault: Fault, site: Site, time: u64) -> bool {
        // In the calm a lost notification is all that still happens: nobody may depend on one.
        drawn && (time < self.calm || fault == Fault::LostHint) && self.hits(fault, site)
    }

    fn hits(&mut self, fault: Fault, site: Site) -> bool {
        if !self.on.has(fault) || self.options.without.has(fault) {
            return false;
        }
        let strike = Strike { fault, site };
        if self.options.only.as_ref().is_some_and(|only| !only.contains(&strike)) {
            return false;
        }
        self.struck.count(fault);
        if self.options.told {
            self.strikes.push(strike);
        }
        true
    }

    /// Draws whether a fault strikes, from the stream of its place.
    pub(crate) fn draw(&mut self, fault: Fault, site: Site, time: u64) -> bool {
        self.on.has(fault) && {
            let drawn = Chance::of(self.seed, site.stream(fault)).permille(fault.often());
            self.strikes(drawn, fault, site, time)
        }
    }

    /// The store goes away, for one client or for all.
    pub(crate) fn goes_away(&mut self, who: Option<usize>, until: u64, denied: bool) {
        self.away.push(Away { who, until: until.min(self.calm), denied });
    }

    pub(crate) fn sky(&mut self, who: usize, time: u64) -> Sky {
        if self.away.is_empty() {
            return Sky::Clear;
        }
        self.away.retain(|away| away.until > time);
        let here = |away: &&Away| away.who.is_none_or(|w| w == who);
        match self.away.iter().filter(here).map(|away| away.denied).min() {
            None => Sky::Clear,
            Some(true) => Sky::Denied,
            Some(false) => Sky::Away,
        }
    }

    /// What becomes of the request `number` that client `who` sends in this `life` of its own.
    pub(crate) fn course(&mut self, who: usize, life: u64, number: u64, time: u64) -> Course {
        let site = |copy| Site::new(who, life, number, copy);
        let mut chance = Chance::of(self.seed, site(0).stream(Fault::NotSent));
        let mut course = Course::default();
        let drawn = chance.permille(Fault::NotSent.often());
        if self.strikes(drawn, Fault::NotSent, site(0), time) {
            course.not_sent = true;
            return course;
        }
        course.copies[0] = self.leg(&mut chance, site(0), time, None);
        let drawn = chance.permille(Fault::Doubled.often());
        // Half of the second copies come close behind the first.
        let most = if chance.permille(500) { 40_000 } else { self.ttl_most * 3 };
        let behind = chance.from(500, most);
        if self.strikes(drawn, Fault::Doubled, site(1), time) {
            course.copies[1] = self.leg(&mut chance, site(1), time, Some(behind));
        }
        course
    }

    /// Draws the same number of times whatever strikes, so that nothing else changes with it.
    fn leg(&mut self, chance: &mut Chance, site: Site, time: u64, is: Option<u64>) -> Option<Leg> {
        let lost = chance.permille(Fault::LostRequest.often());
        let (slow, late) = (chance.permille(Fault::SlowRequest.often()), self.late(chance));
        let quick = chance.from(500, 20_000);
        let throttled = chance.permille(Fault::Throttled.often());
        let served = chance.permille(300);
        let retry_after = chance.permille(300).then(|| Duration::from_millis(50));
        let reply_lost = chance.permille(Fault::LostReply.often());
        let (slow_reply, late_reply) =
            (chance.permille(Fault::SlowReply.often()), self.late(chance));
        let quick_reply = chance.from(500, 20_000);
        if self.strikes(lost, Fault::LostRequest, site, time) {
            return None;
        }
        let delay = match is {
            Some(delay) => delay,
            None if self.strikes(slow, Fault::SlowRequest, site, time) => late,
            None => quick,
        };
        let there = time + delay;
        let throttled = self.strikes(throttled, Fault::Throttled, site, there);
        let throttled = throttled.then_some(Throttled { served, retry_after });
        let reply = if self.strikes(reply_lost, Fault::LostReply, site, there) {
            None
        } else if self.strikes(slow_reply, Fault::SlowReply, site, there) {
            Some(late_reply)
        } else {
            Some(quick_reply)
        };
        Some(Leg { delay, throttled, reply })
    }

    /// Half of what is late comes about when it is given up, the rest up to long after that.
    fn late(&self, chance: &mut Chance) -> u64 {
        let most = if chance.permille(500) { self.ttl_most / 2 } else { self.ttl_most * 3 / 2 };
        chance.from(1000, most)
    }
}
