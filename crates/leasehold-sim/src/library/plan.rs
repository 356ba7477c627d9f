//! What a seed draws before its world begins, beyond what the world of the protocol has too.

use leasehold::core::backend::Key;

use crate::chance::Chance;
use crate::fault::{Fault, Options};
use crate::plan;

/// The kinds of faults that this world knows. Clocks beyond the assumed bound are left to the world
/// of the protocol, which has a word on every write.
pub const FAULTS: &[Fault] = Fault::ALL.split_at(Fault::WildClock as usize).0;

/// What a stream of chance is for. Faults have streams of their own.
#[derive(Clone, Copy)]
pub(super) enum Thing {
    Plan = 1,
    Host,
    /// The ids and the scheduling of a process.
    Process,
    User,
    Accidents,
}

/// The stream of this thing.
pub(super) fn stream(seed: u64, thing: Thing, who: usize, number: u64) -> Chance {
    Chance::of(seed, 1 << 63 | (thing as u64) << 56 | (who as u64) << 40 | number)
}

pub(super) struct Plan {
    /// The faults, the store, the clients.
    pub(super) base: plan::Plan,
    /// The longest ttl, in microseconds.
    pub(super) ttl_most: u64,
    /// How many tasks use each client at once.
    pub(super) users: Vec<u64>,
    pub(super) keys: Vec<Key>,
}

impl Plan {
    pub(super) fn draw(seed: u64, options: &Options) -> Plan {
        let mut base = plan::Plan::draw(seed, options);
        base.on.set(Fault::WildClock, false);
        let mut chance = stream(seed, Thing::Plan, 0, 0);
        let most = if base.clients.len() > 4 { 1 } else { 3 };
        let users = (0..base.clients.len()).map(|who| (who, chance.from(1, most + 1)));
        let users = users.map(|(who, count)| if base.plays(who) { count } else { 0 }).collect();
        // Now and then a ttl beyond what a holder lets pass without a look at its clocks.
        let long = if chance.permille(150) { 5 } else { 1 };
        for settings in &mut base.clients {
            settings.ttl *= long;
        }
        let keys = ["lock", "group/lock"].into_iter().take(1 + chance.pick(2));
        let keys = keys.map(|name| Key::new(name).expect("a good name")).collect();
        Plan { ttl_most: base.ttl_most * u64::from(long), base, users, keys }
    }
}
