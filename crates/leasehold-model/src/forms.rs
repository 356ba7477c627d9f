//! The searches that are made, and how many states each has. A change of the protocol, of the faults
//! or of what makes worlds alike shows here.

use std::time::Duration;

use crate::bounds::Bounds;
use crate::fact::Fact;

/// One search.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// What it is called.
    pub name: &'static str,
    /// What may happen.
    pub bounds: Bounds,
    /// How many states there are, or how many until a promise is broken.
    pub states: u64,
    /// What has to happen somewhere.
    pub sometimes: &'static [Fact],
}

const QUIET: Bounds = Bounds { memory: true, ..Bounds::CALM };

/// A ttl of five ticks, of which the holder believes in four: the margin is one tick, and one clock
/// may fall behind by one tick in five.
const DRIFTING: Bounds = Bounds { ttl: Duration::from_secs(5), drift: Some(5), ..QUIET };

const ALWAYS: [Fact; 7] = [
    Fact::Granted,
    Fact::Renewed,
    Fact::Released,
    Fact::ReleasedNothing,
    Fact::Expired,
    Fact::TakenOver,
    Fact::RaceLost,
];

const ONCE: [Fact; 6] = [
    Fact::Resumed,
    Fact::Inherited,
    Fact::GaveUp,
    Fact::RecordedAfterLoss,
    Fact::Superseded,
    Fact::Undone,
];

/// What every test run does.
pub const SHORT: &[Form] = &[
    Form { name: "a perfect network", bounds: QUIET, states: 27_140, sometimes: &ALWAYS },
    Form {
        name: "a bad network",
        bounds: Bounds { losses: true, doubles: true, throttles: true, writes: 2, ..QUIET },
        states: 402_834,
        sometimes: &[
            Fact::GrantedByReading,
            Fact::RenewedByReading,
            Fact::LateWriteLands,
            Fact::DoubleRefused,
            Fact::ThrottledAndLanded,
            Fact::TakenOverByGivingUp,
            Fact::OutdatedAnswer,
        ],
    },
    Form {
        name: "crashes",
        bounds: Bounds { crashes: true, never_sent: true, tires: true, tells: true, ..QUIET },
        states: 331_315,
        sometimes: &[Fact::DeadWriteLands, Fact::ReleaseGivenUp],
    },
    Form {
        name: "operators",
        bounds: Bounds { forces: true, hints: true, looks: true, ..QUIET },
        states: 260_016,
        sometimes: &[Fact::Forced, Fact::LossNoticed, Fact::FoundFree, Fact::SecondLease],
    },
    Form {
        name: "suspicions",
        bounds: Bounds { suspicions: true, ..QUIET },
        states: 223_500,
        sometimes: &[Fact::Suspected],
    },
    Form {
        name: "once",
        bounds: Bounds { once: Some(1), ..Bounds::CALM },
        states: 129_280,
        sometimes: &ONCE,
    },
    Form { name: "drift", bounds: DRIFTING, states: 341_773, sometimes: &ALWAYS },
];

/// What takes minutes.
pub const LONG: &[Form] = &[
    Form {
        name: "every fault of the network, and crashes",
        bounds: Bounds {
            losses: true,
            doubles: true,
            throttles: true,
            never_sent: true,
            tells: true,
            tires: true,
            crashes: true,
            hints: true,
            writes: 2,
            ..QUIET
        },
        states: 3_492_800,
        sometimes: &ALWAYS,
    },
    Form {
        name: "drift, a bad network, and crashes",
        bounds: Bounds { losses: true, doubles: true, throttles: true, crashes: true, ..DRIFTING },
        states: 6_904_804,
        sometimes: &ALWAYS,
    },
    Form {
        name: "a store with a clock",
        bounds: Bounds { clock: true, ..QUIET },
        states: 362_628,
        sometimes: &ALWAYS,
    },
    Form {
        name: "three clients",
        bounds: Bounds { clients: 3, ..QUIET },
        states: 2_145_027,
        sometimes: &ALWAYS,
    },
    Form {
        name: "once, and a run may fail twice",
        bounds: Bounds { once: Some(2), ..QUIET },
        states: 349_723,
        sometimes: &ONCE,
    },
    Form {
        name: "once, with losses",
        bounds: Bounds { losses: true, once: Some(1), ..Bounds::CALM },
        states: 818_334,
        sometimes: &ONCE,
    },
    Form {
        name: "once, with crashes",
        bounds: Bounds { crashes: true, once: Some(1), ..Bounds::CALM },
        states: 522_927,
        sometimes: &ONCE,
    },
];

/// One clock falls behind by one tick in four, which is more than the margin covers: this one must
/// break a promise, or the others have shown nothing of drift.
pub const TOO_MUCH_DRIFT: Bounds = Bounds { drift: Some(4), ..DRIFTING };
