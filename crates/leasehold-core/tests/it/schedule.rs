//! A bench on which one or two acquisitions are driven by hand against one register. The test says
//! when a request reaches the store, when (or whether) its answer arrives, and what the clocks say.

use std::time::Duration;

use leasehold_core::backend::{Expected, Facts, Fate, Trouble};
use leasehold_core::deadline::{Moment, Now};
use leasehold_core::lease::{Failure, Loss, Memory, Patience, Release, Reply, Request, Settings};
use leasehold_core::once::{Completion, Once};
use leasehold_core::primitive::Any;
use leasehold_core::record::{FencingToken, Holder, HolderId, Record};

mod acquiring;
mod holding;
mod once;
mod once_outcome;
mod pacing;
mod register;
mod releasing;
mod trouble;
mod waiting;

use crate::any::{Event, Input, Lease, Output};
use register::Register;

/// The first client.
const A: usize = 0;
/// The second client.
const B: usize = 1;
/// A third one.
const C: usize = 2;

/// Where the store's clock stands when a test begins.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// What a host's wall clock says: not what the store's does.
const HOST_MS: u64 = 1_600_000_000_000;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn settings(ttl: Duration) -> Settings {
    Settings {
        ttl,
        takeover_delay: Duration::ZERO,
        label: "a test".into(),
        facts: Facts {
            least_write_interval: Duration::ZERO,
            clock_uncertainty: secs(2),
            least_poll: ms(100),
            notifies: false,
        },
    }
}

/// What a client wants.
#[derive(Clone)]
struct Wish {
    settings: Settings,
    once: Option<Once>,
}

impl Wish {
    fn lease(&self, holder: HolderId, memory: Memory) -> Lease {
        Lease::new(self.settings.clone(), Any::of(self.once.clone()), holder, memory)
    }
}

impl From<Settings> for Wish {
    fn from(settings: Settings) -> Wish {
        Wish { settings, once: None }
    }
}

/// A request between its client and the store.
#[derive(Clone, Debug)]
struct Flight {
    number: u64,
    request: Request,
    timeout: Duration,
    /// What the store answered, once the request has reached it.
    answer: Option<Reply>,
}

struct Client {
    wish: Wish,
    lease: Lease,
    /// Time that only the clock counts which counts suspension.
    suspended: Duration,
    flight: Option<Flight>,
    wake: Option<Duration>,
    events: Vec<(Duration, Event)>,
    /// How many requests were sent.
    requests: usize,
    /// Whether something is still to come: begun, and neither lost nor ended.
    awaits: bool,
    grants: u128,
}

/// One register, its clients, and the time.
struct Bench {
    time: Duration,
    clients: Vec<Client>,
    store: Register,
    ids: u128,
    /// What is added to fresh ids, for a test that wants a certain "random" number.
    unlucky: bool,
}

impl Bench {
    /// One client, with a ttl of 30 seconds.
    fn one() -> Bench {
        Bench::with([settings(secs(30))])
    }

    /// Two clients, both with a ttl of 30 seconds.
    fn two() -> Bench {
        Bench::with([settings(secs(30)), settings(secs(30))])
    }

    fn with(wishes: impl IntoIterator<Item = impl Into<Wish>>) -> Bench {
        let wishes = wishes.into_iter().map(Into::into).zip(1..);
        let clients = wishes.map(|(wish, n): (Wish, u128)| Client {
            lease: wish.lease(HolderId(n << 64), Memory::default()),
            wish,
            suspended: Duration::ZERO,
            flight: None,
            wake: None,
            events: vec![],
            requests: 0,
            awaits: false,
            grants: n << 64,
        });
        let clients = clients.collect();
        let store = Register::default();
        Bench { time: secs(1000), clients, store, ids: 0, unlucky: false }
    }

    // What the clients do.

    fn acquire(&mut self, who: usize) {
        self.acquire_with(who, Patience::Forever);
    }

    fn acquire_with(&mut self, who: usize, patience: Patience) {
        self.clients[who].awaits = true;
        self.step(who, Input::Acquire(patience));
    }

    /// Gives up: stops waiting, or releases.
    fn release(&mut self, who: usize) {
        self.clients[who].awaits = true;
        self.step(who, Input::Release);
    }

    /// The run has ended like this.
    fn complete(&mut self, who: usize, completion: Completion) {
        self.clients[who].awaits = true;
        self.step(who, Input::End(completion));
    }

    /// Lets go as if it had never held.
    fn undo(&mut self, who: usize) {
        self.clients[who].awaits = true;
        self.step(who, Input::Undo);
    }

    fn suspect(&mut self, who: usize) {
        self.step(who, Input::Suspect);
    }

    fn hint(&mut self, who: usize) {
        self.step(who, Input::Changed);
    }

    fn wake(&mut self, who: usize) {
        self.step(who, Input::Wake);
    }

    /// The next acquisition of the same process, which knows what the one before knew.
    fn again(&mut self, who: usize) {
        let client = &mut self.clients[who];
        let memory = client.lease.clone().into_memory();
        client.grants += 1;
        client.lease = client.wish.lease(HolderId(client.grants), memory);
        client.forget();
    }

    /// The next acquisition begins with this.
    fn knows(&mut self, who: usize, memory: Memory) {
        let client = &mut self.clients[who];
        client.grants += 1;
        client.lease = client.wish.lease(HolderId(client.grants), memory);
        client.forget();
    }

    /// The process dies, and another takes its place that knows nothing.
    fn crash(&mut self, who: usize) -> Option<Flight> {
        let client = &mut self.clients[who];
        client.grants += 1;
        let fresh = client.wish.lease(HolderId(client.grants), Memory::default());
        client.lease = fresh;
        let left = client.flight.take();
        client.forget();
        left
    }

    // What the network does.

    /// The request reaches the store. Its answer is on the way.
    fn arrive(&mut self, who: usize) {
        let time = self.time;
        let flight = self.clients[who].flight.as_mut().expect("nothing was sent");
        assert!(flight.answer.is_none(), "it arrived before");
        flight.answer = Some(self.store.serve(&flight.request, time));
    }

    /// The answer of a request that reached the store arrives.
    fn answer(&mut self, who: usize) {
        let flight = self.clients[who].flight.take().expect("nothing was sent");
        let reply = flight.answer.expect("it never reached the store");
        self.step(who, Input::Reply(flight.number, reply));
    }

    /// The request reaches the store and is answered at once.
    fn serve(&mut self, who: usize) {
        self.arrive(who);
        self.answer(who);
    }

    /// No answer in time: the client gives the request up, and nobody knows what became of it.
    fn time_out(&mut self, who: usize) -> Flight {
        self.fail(who, Fate::Unknown, Trouble::Unavailable)
    }

    fn fail(&mut self, who: usize, fate: Fate, trouble: Trouble) -> Flight {
        self.reply(who, Reply::Failed(fate, trouble))
    }

    /// The client is answered this, whatever the store would say.
    fn reply(&mut self, who: usize, reply: Reply) -> Flight {
        let flight = self.clients[who].flight.take().expect("nothing was sent");
        self.step(who, Input::Reply(flight.number, reply));
        flight
    }

    /// The request leaves the client's hands and is lost, or lands later.
    fn divert(&mut self, who: usize) -> Flight {
        self.clients[who].flight.clone().expect("nothing was sent")
    }

    /// A request that was given up, or a second copy, reaches the store. True if it is a write that
    /// took effect.
    fn land(&mut self, flight: &Flight) -> bool {
        matches!(self.store.serve(&flight.request, self.time), Reply::Applied(_))
    }

    // What time does.

    /// Time passes on all hosts. Wakes come when they are due; requests stay where they are.
    fn pass(&mut self, span: Duration) {
        self.pass_while(span, |_| false);
    }

    /// Time passes, and every request is served at once.
    fn run(&mut self, span: Duration) {
        self.pass_while(span, |_| true);
    }

    /// Time passes, and the requests of one client are served at once.
    fn run_only(&mut self, who: usize, span: Duration) {
        self.pass_while(span, |i| i == who);
    }

    fn pass_while(&mut self, span: Duration, served: impl Fn(usize) -> bool) {
        let end = self.time + span;
        assert!(end < secs(100_000), "what was waited for never comes");
        for _ in 0..100_000 {
            let due = (0..self.clients.len()).find(|&i| self.flies(i) && served(i));
            if let Some(who) = due {
                self.serve(who);
                continue;
            }
            let wakes = self.clients.iter().enumerate().filter_map(|(i, c)| Some((c.wake?, i)));
            let Some((at, who)) = wakes.min().filter(|(at, _)| *at <= end) else {
                self.time = end;
                return;
            };
            self.time = self.time.max(at);
            self.wake(who);
        }
        panic!("the clients are busy without an end");
    }

    /// Time passes and this client's process does nothing: it was stopped, and its clock was not.
    fn freeze(&mut self, who: usize, span: Duration, served: impl Fn(usize) -> bool) {
        let wake = self.clients[who].wake.take();
        self.pass_while(span, |i| i != who && served(i));
        self.clients[who].wake = wake;
    }

    /// The host sleeps: only one of its two clocks counts it.
    fn suspend(&mut self, who: usize, span: Duration) {
        self.clients[who].suspended += span;
    }

    fn now(&self, who: usize) -> Now {
        let mono = self.time;
        let boot = self.time + self.clients[who].suspended;
        let host_ms = HOST_MS + u64::try_from(self.time.as_millis()).unwrap();
        Now { moment: Moment { boot, mono }, unix_ms: host_ms }
    }

    // What came of it.

    fn flies(&self, who: usize) -> bool {
        self.clients[who].flight.is_some()
    }

    fn request(&self, who: usize) -> &Request {
        &self.clients[who].flight.as_ref().expect("nothing was sent").request
    }

    fn reads(&self, who: usize) -> bool {
        self.flies(who) && matches!(self.request(who), Request::Read)
    }

    /// The record that is being written, and on which state.
    fn writes(&self, who: usize) -> (&Expected, &Record) {
        match self.request(who) {
            Request::Write(expected, record) => (expected, record),
            Request::Read => panic!("it reads"),
        }
    }

    fn held(&self, who: usize) -> bool {
        self.clients[who].lease.is_held(self.now(who).moment)
    }

    fn requests(&mut self, who: usize) -> usize {
        std::mem::take(&mut self.clients[who].requests)
    }

    /// What was told since the last question.
    fn events(&mut self, who: usize) -> Vec<Event> {
        self.timed_events(who).into_iter().map(|(_, event)| event).collect()
    }

    fn timed_events(&mut self, who: usize) -> Vec<(Duration, Event)> {
        std::mem::take(&mut self.clients[who].events)
    }

    /// The token that was granted since the last question, if one was.
    fn granted(&mut self, who: usize) -> Option<FencingToken> {
        let mut tokens = self.events(who).into_iter().filter_map(|event| match event {
            Event::Granted { token, .. } => Some(token),
            _ => None,
        });
        let token = tokens.next();
        assert_eq!(tokens.next(), None, "granted twice");
        token
    }

    fn lost(&mut self, who: usize) -> Option<Loss> {
        self.events(who).into_iter().find_map(|event| match event {
            Event::Lost(loss) => Some(loss),
            _ => None,
        })
    }

    fn failed(&mut self, who: usize) -> Option<Failure> {
        self.events(who).into_iter().find_map(|event| match event {
            Event::Failed(failure) => Some(failure),
            _ => None,
        })
    }

    fn released(&mut self, who: usize) -> Option<Release> {
        self.events(who).into_iter().find_map(|event| match event {
            Event::Released(release) => Some(release),
            _ => None,
        })
    }

    /// Acquires at once, every request served, and says which token.
    fn hold(&mut self, who: usize) -> FencingToken {
        self.acquire(who);
        while self.flies(who) {
            self.serve(who);
        }
        self.requests(who);
        self.granted(who).expect("the lock was free")
    }

    fn record(&self) -> Record {
        self.store.record().expect("nothing is stored")
    }

    fn holder(&self) -> Option<Holder> {
        self.record().holder().cloned()
    }

    /// Steps one client and checks what must hold after every step.
    fn step(&mut self, who: usize, input: Input) {
        let now = self.now(who);
        let lets_go = matches!(input, Input::Release | Input::End(_) | Input::Undo);
        let (ids, unlucky) = (&mut self.ids, self.unlucky);
        let mut fresh = || {
            *ids += 1;
            assert!(*ids < 100_000, "this has no end");
            // Jitter looks at the low bits, so those are mixed; ids stay unique by the high ones.
            let low = if unlucky { 0 } else { ids.wrapping_mul(0x9E37_79B9_7F4A_7C15) & 0xFFFF };
            *ids << 64 | low
        };
        let longest = self.clients.iter().map(|c| c.wish.settings.ttl).max().unwrap_or_default();
        let client = &mut self.clients[who];
        let mut out = vec![];
        client.lease.step(now, input, &mut fresh, &mut out);
        client.wake = None;
        let (mut sends, mut woken) = (0, None);
        for output in out {
            match output {
                Output::Send { number, request, timeout } => {
                    sends += 1;
                    // A request in flight is given up only with what it was for.
                    assert!(
                        client.flight.is_none() || lets_go || !client.awaits || client.gave_up()
                    );
                    client.flight = Some(Flight { number, request, timeout, answer: None });
                }
                Output::Wake(span) => {
                    assert_eq!(woken, None, "two wakes");
                    woken = Some(span);
                    client.wake = Some(self.time + span);
                }
                Output::Event(event) => {
                    if matches!(event, Event::Lost(_) | Event::Released(_)) {
                        client.awaits = false;
                        client.flight = None;
                    }
                    client.events.push((self.time, event));
                }
            }
        }
        assert!(sends <= 1, "two requests at once");
        client.requests += sends;
        assert!(!client.awaits || woken.is_some(), "something is awaited and no wake is armed");
        if client.awaits && client.flight.is_none() {
            assert!(woken < Some(longest), "idle, and asleep for {woken:?}");
        }
    }
}

impl Client {
    fn forget(&mut self) {
        self.flight = None;
        self.wake = None;
        self.awaits = false;
        self.events.clear();
        self.requests = 0;
    }

    /// Whether the last thing told is that the lock will not be had.
    fn gave_up(&self) -> bool {
        let last = self.events.last();
        let ends = |e: &Event| {
            matches!(
                e,
                Event::Failed(_) | Event::NotAcquired { .. } | Event::Answer(_) | Event::Free
            )
        };
        last.is_some_and(|(_, e)| ends(e))
    }
}
