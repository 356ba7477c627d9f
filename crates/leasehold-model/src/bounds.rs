//! What a world may do: how many clients, how time passes, and which faults there are.
//!
//! Time goes in ticks, and between two of them anything may happen in any order. What a tick hides:
//!
//! * Two spans that differ by less than a tick are the same. With a ttl of two ticks a holder believes
//!   until the second one after it sent, and a waiter takes over from the second one after it saw: all
//!   of the margin lies between two ticks. Where clocks agree the margin is not needed, so this is
//!   harder on the protocol than life. Where they drift, the ttl is five ticks and the margin is one.
//! * Pauses between requests are shorter than a tick. They end at any time, see `Lease::forget_pace`.
//!
//! Not in any world, and left to the simulator: clocks of one host that disagree because it slept,
//! wall clocks, unequal ttls, takeover delays, deleted or damaged records, dead holders that the
//! store knows of, and who waits in vain. A waiter whose patience ends does what one does that is
//! told to let go, which may happen at any time.

use std::time::Duration;

/// How far every clock goes at one tick.
pub const TICK: Duration = Duration::from_secs(1);

/// The bounds of one search. Nothing in them limits the length of a schedule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// How many clients there are.
    pub clients: usize,
    /// The ttl of every lease.
    pub ttl: Duration,
    /// One clock may stand still at a tick, once in so many ticks. `None`: all go alike.
    pub drift: Option<u8>,
    /// How many writes of one acquisition can still land at a time. Sending one more loses one of
    /// those before it for good.
    pub writes: usize,
    /// Requests and answers get lost, and writes land after their senders gave them up.
    pub losses: bool,
    /// A request lands, and the answer is that to its second copy: a refusal.
    pub doubles: bool,
    /// "Too many requests" for a write that lands all the same.
    pub throttles: bool,
    /// "It never left this host", which is always true.
    pub never_sent: bool,
    /// A refusal comes with the record that won.
    pub tells: bool,
    /// Whoever lets go gives up trying after a ttl, and what it sent may still land.
    pub tires: bool,
    /// A process remembers what its last acquisition knew.
    pub memory: bool,
    /// Processes die and start again without memory.
    pub crashes: bool,
    /// Hosts are paused in a way that no clock of theirs counts, and suspect it when they go on.
    pub suspicions: bool,
    /// The store hints at changes, rightly or not.
    pub hints: bool,
    /// An operator forces holders out.
    pub forces: bool,
    /// Some clients only look.
    pub looks: bool,
    /// The store has a clock, and tells how long a state has stood.
    pub clock: bool,
    /// The clients want one and the same run, and give up after so many failures. A run may
    /// begin at once after a failure.
    pub once: Option<u8>,
}

impl Bounds {
    /// Two clients, one clock, a perfect network. Requests and answers still take as long as they
    /// like, and every client may cancel, let go or begin anew at any time.
    pub const CALM: Bounds = Bounds {
        clients: 2,
        ttl: Duration::from_secs(2),
        drift: None,
        writes: 1,
        losses: false,
        doubles: false,
        throttles: false,
        never_sent: false,
        tells: false,
        tires: false,
        memory: false,
        crashes: false,
        suspicions: false,
        hints: false,
        forces: false,
        looks: false,
        clock: false,
        once: None,
    };
}
