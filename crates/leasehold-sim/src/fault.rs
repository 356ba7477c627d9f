//! The kinds of faults, and the name of each single one, so that a world can be told to go without.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

macro_rules! faults {
    ($($kind:ident $name:literal $often:literal $says:literal,)+) => {
        /// A kind of fault. In each seed, each kind is on in half of the cases, so that none hides
        /// another ("swarm testing").
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Fault {
            $(#[doc = $says] $kind,)+
        }

        impl Fault {
            /// Every kind.
            pub const ALL: &[Fault] = &[$(Fault::$kind,)+];

            /// How it is called on the command line.
            pub fn name(self) -> &'static str {
                match self { $(Fault::$kind => $name,)+ }
            }

            /// What it is, for people.
            pub fn says(self) -> &'static str {
                match self { $(Fault::$kind => $says,)+ }
            }

            /// In how many of a thousand cases it strikes where it is on.
            pub(crate) fn often(self) -> u64 {
                match self { $(Fault::$kind => $often,)+ }
            }
        }
    };
}

faults! {
    NotSent "not-sent" 50 "a request proven never to have left",
    LostRequest "lost-request" 150 "a copy of a request that never arrives",
    SlowRequest "slow-request" 100 "a request that arrives up to one and a half ttl late",
    Doubled "doubled" 150 "a request delivered twice, the second up to three ttl late",
    Throttled "throttled" 100 "an answer that asks for patience, whether or not the write landed",
    LostReply "lost-reply" 150 "an answer that never arrives",
    SlowReply "slow-reply" 100 "an answer that arrives up to one and a half ttl late",
    Outage "outage" 1000 "the store is away for everybody for a while",
    Cut "cut" 1000 "the store is away for one client for a while",
    Denied "denied" 1000 "the store refuses its service to everybody or to one for a while",
    LostHint "lost-hint" 200 "a notification that never arrives, in the calm too",
    FalseHint "false-hint" 20 "a notification of nothing, after an event of the client's",
    Crash "crash" 1000 "a process dies and starts again with an empty memory",
    Freeze "freeze" 1000 "a process stands still, its clocks run",
    FrozenAct "frozen-act" 100 "a process stands still between its check and its act",
    Suspend "suspend" 1000 "a host sleeps: one of its two steady clocks stands",
    Pause "pause" 1000 "a machine stands and none of its steady clocks counts it",
    WallJump "wall-jump" 1000 "a wall clock jumps, forward or back",
    Break "break" 1000 "an operator takes the lock from its holder",
    Delete "delete" 1000 "an operator deletes the record",
    Cancel "cancel" 300 "a user gives up waiting, at any moment",
    WildClock "wild-clock" 250 "a host's clocks are off by up to a third, beyond the assumed bound",
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(name: &str) -> Result<Fault, String> {
        let found = Fault::ALL.iter().find(|f| f.name() == name).copied();
        found.ok_or_else(|| format!("there is no kind of fault called {name:?}"))
    }
}

/// A set of kinds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Faults(u32);

impl Faults {
    /// Whether the kind is in the set.
    pub fn has(self, fault: Fault) -> bool {
        self.0 & (1 << fault as u32) != 0
    }

    /// Adds or removes a kind.
    pub fn set(&mut self, fault: Fault, on: bool) {
        let bit = 1 << fault as u32;
        self.0 = if on { self.0 | bit } else { self.0 & !bit };
    }

    /// The kinds in the set.
    pub fn iter(self) -> impl Iterator<Item = Fault> {
        Fault::ALL.iter().copied().filter(move |f| self.has(*f))
    }
}

/// Where a fault strikes: a client, which of its lives, a number within it, which copy. Places of
/// faults that are no request's use the fields they need. A place means the same in two worlds of
/// one seed that differ only in other faults.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Site(u64);

impl Site {
    pub(crate) fn new(who: usize, life: u64, number: u64, copy: u64) -> Site {
        Site((who as u64) << 48 | (life & 0xF_FFFF) << 28 | (number & 0xF_FFFF) << 8 | copy)
    }

    /// For [`Chance::of`](crate::chance::Chance::of).
    pub(crate) fn stream(self, fault: Fault) -> u64 {
        self.0 ^ (fault as u64 + 1) << 58
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (life, number) = (self.0 >> 28 & 0xF_FFFF, self.0 >> 8 & 0xF_FFFF);
        write!(f, "{}.{life}.{number}.{}", self.0 >> 48, self.0 & 0xFF)
    }
}

impl FromStr for Site {
    type Err = String;

    fn from_str(text: &str) -> Result<Site, String> {
        let parts: Vec<u64> = text.split('.').filter_map(|part| part.parse().ok()).collect();
        match parts.as_slice() {
            [who, life, number, copy] => Ok(Site(who << 48 | life << 28 | number << 8 | copy)),
            _ => Err(format!("{text:?} is no place of a fault: client.life.number.copy")),
        }
    }
}

/// One single fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Strike {
    /// Of which kind.
    pub fault: Fault,
    /// Where.
    pub site: Site,
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.fault, self.site)
    }
}

impl FromStr for Strike {
    type Err = String;

    fn from_str(text: &str) -> Result<Strike, String> {
        let (fault, site) = text.split_once(':').ok_or_else(|| format!("no ':' in {text:?}"))?;
        Ok(Strike { fault: fault.parse()?, site: site.parse()? })
    }
}

/// How often each kind struck.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Struck([u64; Fault::ALL.len()]);

impl Struck {
    pub(crate) fn count(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    /// How often this kind struck.
    pub fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    pub(crate) fn add(&mut self, other: &Struck) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum += more;
        }
    }
}

/// How a world is to differ from what its seed says. The default changes nothing.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Options {
    /// Whether to keep the [trace](crate::Trace) and the list of faults.
    pub told: bool,
    /// Kinds of faults that do not strike.
    pub without: Faults,
    /// The only clients that do anything.
    pub clients: Option<BTreeSet<usize>>,
    /// The only faults that strike.
    pub only: Option<BTreeSet<Strike>>,
    /// When the faults stop, in microseconds of true time.
    pub calm_at: Option<u64>,
}

fn listed<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(",")
}

fn read_list<T: FromStr>(text: &str) -> Result<Vec<T>, String> {
    let read = |item: &str| item.parse().map_err(|_| format!("{item:?} is not one of these"));
    text.split(',').filter(|item| !item.is_empty()).map(read).collect()
}

impl Options {
    /// Takes one option of the command line. False if it is none of these.
    pub fn set(&mut self, flag: &str, value: &str) -> Result<bool, String> {
        match flag {
            "--without" => {
                read_list(value)?.into_iter().for_each(|f: Fault| self.without.set(f, true));
            }
            "--only" => self.only = Some(read_list(value)?.into_iter().collect()),
            "--clients" => self.clients = Some(read_list(value)?.into_iter().collect()),
            "--calm-at" => {
                let at = value.parse().map_err(|_| format!("{value:?} is no number"))?;
                self.calm_at = Some(at);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// As they are typed: nothing, or each with a space before it.
impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.without != Faults::default() {
            write!(f, " --without {}", listed(self.without.iter()))?;
        }
        if let Some(clients) = &self.clients {
            write!(f, " --clients {}", listed(clients))?;
        }
        if let Some(at) = self.calm_at {
            write!(f, " --calm-at {at}")?;
        }
        match &self.only {
            Some(only) if only.is_empty() => f.write_str(" --only ''"),
            Some(only) => write!(f, " --only {}", listed(only)),
            None => Ok(()),
        }
    }
}
