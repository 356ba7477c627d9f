//! Every short schedule of one change by a person: before each of its requests the record may change
//! hands, be broken by another, deleted or damaged, and each answer may be good, lost on its way back,
//! late or never sent. What the person is told must be true of what was done, and one call makes one
//! change at the most. An operator was once told that nobody had held a lock whose section was still at
//! work, because the answer to the write that broke it was lost.

use std::time::Duration;

use leasehold_core::backend::{Expected, Facts, Fate, Trouble, Version};
use leasehold_core::change;
use leasehold_core::deadline::{EDIT_PATIENCE, Moment, Now};
use leasehold_core::edit::{
    BreakEdit, BreakResult, Change, Damage, DeleteEdit, DeleteResult, Edit, Failure, Force, Input,
    Output, ResetEdit, ResetResult, force_release,
};
use leasehold_core::lease::{Reply, Request, Seen};
use leasehold_core::once::{self, Completion, Report};
use leasehold_core::record::{BadRecord, FencingToken, Holder, HolderId, Kind, Record, WriteId};
use leasehold_core::register::Told;

const FACTS: Facts = Facts {
    least_write_interval: Duration::ZERO,
    clock_uncertainty: Duration::ZERO,
    least_poll: Duration::from_millis(10),
    notifies: false,
};

/// How an answer can come. The last two are of writes only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Good,
    Lost,
    NotSent,
    /// The answer is lost, and the write arrives just before the next request, if it still can.
    Late,
}

const WAYS: [Way; 4] = [Way::Good, Way::Lost, Way::NotSent, Way::Late];

/// What others do before a request arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Event {
    Nothing,
    Renews,
    /// Who holds releases; the next one enters where it is free.
    Turns,
    TakesOver,
    Breaks,
    Damages,
}

const EVENTS: [Event; 6] =
    [Event::Nothing, Event::Renews, Event::Turns, Event::TakesOver, Event::Breaks, Event::Damages];

/// What the store holds: nothing, bytes that are no record, or a record.
#[derive(Clone, Debug)]
enum Stored {
    Nothing,
    Damage,
    Record(Box<Record>),
}

struct World {
    stored: Stored,
    version: u64,
    others: u64,
    /// A write or a deletion of ours that is still on its way.
    late: Option<(Expected, Option<Record>)>,
    /// How many of our changes landed.
    landed: u32,
    /// Whether the answer to one of ours was ever in doubt.
    doubted: bool,
}

fn holder(id: u64) -> Holder {
    Holder {
        id: HolderId(u128::from(id)),
        label: format!("holder {id}"),
        ttl_ms: 30_000,
        renewals: 0,
        acquired_unix_ms: 1,
        takeover_delay_ms: 0,
        extra: serde_json::Map::new(),
    }
}

impl World {
    fn new(stored: Stored) -> World {
        World { stored, version: 1, others: 1, late: None, landed: 0, doubted: false }
    }

    fn state(&self) -> Expected {
        match self.stored {
            Stored::Nothing => Expected::Absent,
            _ => Expected::Version(Version::new(format!("v{}", self.version))),
        }
    }

    fn put(&mut self, stored: Stored) {
        self.stored = stored;
        self.version += 1;
    }

    /// A fresh id of another's write or of another holder.
    fn fresh(&mut self) -> u64 {
        self.others += 1;
        self.others
    }

    fn enter(&mut self, before: Option<&Record>) -> Record {
        let (id, write) = (self.fresh(), WriteId(u128::from(self.fresh()) << 64));
        let kind = before.map_or(Kind::Mutex, |b| b.kind);
        change::enter(before, (kind, FencingToken(100)), holder(id), write, 50)
    }

    fn happens(&mut self, event: Event) {
        let write = WriteId(u128::from(self.fresh()) << 64);
        let record = match &self.stored {
            Stored::Record(record) => Some((**record).clone()),
            Stored::Nothing | Stored::Damage => None,
        };
        let held = record.as_ref().and_then(|r| r.holder().cloned());
        let is_absent = matches!(self.stored, Stored::Nothing);
        let next = match (event, record, held) {
            (Event::Damages, ..) => return self.put(Stored::Damage),
            (Event::Renews, Some(record), Some(_)) => change::renew(&record, write),
            (Event::Turns, Some(record), Some(held)) => {
                change::leave(Some(&record), (record.kind, FencingToken(1)), held.id, write, 50)
            }
            (Event::Turns, None, _) if is_absent => self.enter(None),
            (Event::Turns, Some(record), None) | (Event::TakesOver, Some(record), Some(_)) => {
                self.enter(Some(&record))
            }
            (Event::Breaks, Some(record), Some(_)) => {
                let force = Force { by: "another".into(), reason: "else".into(), unix_ms: 60 };
                force_release(&record, &force, write)
            }
            _ => return,
        };
        self.put(Stored::Record(Box::new(next)));
    }

    /// A change of ours arrives.
    fn arrives(&mut self, on: &Expected, record: Option<Record>) -> bool {
        let fits = self.state() == *on;
        if fits {
            self.landed += 1;
            self.put(record.map_or(Stored::Nothing, |record| Stored::Record(Box::new(record))));
        }
        fits
    }

    fn reads(&self, number: u64) -> Input {
        let told = Told { age: Some(Duration::from_secs(1)), orphaned: false, unix_ms: Some(1000) };
        let seen = |record| Seen { state: self.state(), record };
        let record = match &self.stored {
            Stored::Nothing => None,
            Stored::Record(record) => Some((**record).clone()),
            Stored::Damage => {
                let bad = BadRecord::Corrupt("a test".into());
                let damage = Damage { state: self.state(), bytes: b"{".to_vec(), bad, told };
                return Input::Damaged(number, damage);
            }
        };
        let Told { age, orphaned, unix_ms } = told;
        Input::Reply(number, Reply::Read { seen: seen(record), age, orphaned, unix_ms })
    }

    /// One request of the edit; `None` of `change` reads.
    fn answers(
        &mut self,
        number: u64,
        way: Way,
        change: Option<(Expected, Option<Record>)>,
    ) -> Input {
        if let Some((on, record)) = self.late.take() {
            self.arrives(&on, record);
        }
        let fate = if way == Way::NotSent { Fate::NotSent } else { Fate::Unknown };
        let failed = Input::Reply(number, Reply::Failed(fate, Trouble::Unavailable));
        self.doubted |= change.is_some() && matches!(way, Way::Lost | Way::Late);
        let Some((on, record)) = change else {
            return if way == Way::Good { self.reads(number) } else { failed };
        };
        match way {
            Way::NotSent => failed,
            Way::Late => {
                self.late = Some((on, record));
                failed
            }
            Way::Lost => {
                self.arrives(&on, record);
                failed
            }
            Way::Good => {
                let deletes = record.is_none();
                match (self.arrives(&on, record), deletes) {
                    (done, true) => Input::Deleted(number, done),
                    (true, false) => Input::Reply(number, Reply::Applied(self.state())),
                    (false, false) => {
                        // It may be the answer to a second copy of a write that landed.
                        self.doubted = true;
                        Input::Reply(number, Reply::Conflict)
                    }
                }
            }
        }
    }
}

/// Runs one edit under the schedule that `choices` names, and gives how it ended.
fn run<C: Change>(change: C, world: &mut World, choices: &[usize]) -> Result<C::Result, Failure> {
    let (mut edit, mut id, mut time) = (Edit::new(change, FACTS), 0_u128, Duration::ZERO);
    let (mut input, mut choices) = (Input::Wake, choices.iter());
    loop {
        let mut out = vec![];
        let mut fresh = || {
            id += 1;
            id
        };
        let now = Now { moment: Moment { boot: time, mono: time }, unix_ms: 1000 };
        edit.step(now, input, &mut fresh, &mut out);
        let (mut asked, mut wake) = (None, None);
        for output in out {
            match output {
                Output::Send(sent) => {
                    let change = match sent.request {
                        Request::Read => None,
                        Request::Write(on, record) => Some((on, Some(record))),
                    };
                    asked = Some((sent.number, change));
                }
                Output::Delete { number, on, .. } => asked = Some((number, Some((on, None)))),
                Output::Wake(after) => wake = Some(after),
                Output::End(result) => {
                    assert!(edit.has_ended());
                    return result;
                }
            }
        }
        input = match asked {
            Some((number, change)) => {
                let choice = choices.next().copied().unwrap_or(0);
                world.happens(EVENTS[choice / WAYS.len()]);
                world.answers(number, WAYS[choice % WAYS.len()], change)
            }
            None => {
                time += wake.expect("it waits for something").max(Duration::from_millis(1));
                assert!(time <= EDIT_PATIENCE + Duration::from_secs(1), "it does not end");
                Input::Wake
            }
        };
    }
}

/// Tries every schedule of `depth` requests, and checks each ending by `is_true(result, landed)`.
fn every_schedule<C: Change>(
    depth: u32,
    change: &C,
    stored: &Stored,
    deletes: bool,
    is_true: impl Fn(&C::Result, bool) -> bool,
) {
    let ways = EVENTS.len() * WAYS.len();
    for number in 0..ways.pow(depth) {
        let choices: Vec<_> = (0..depth).map(|at| number / ways.pow(at) % ways).collect();
        let mut world = World::new(stored.clone());
        let end = run(change.clone(), &mut world, &choices);
        let story = || {
            let step = |c: &usize| (EVENTS[c / WAYS.len()], WAYS[c % WAYS.len()]);
            choices.iter().map(step).collect::<Vec<_>>()
        };
        // A name that others used again after its deletion may be deleted again.
        let most = if deletes { depth } else { 1 };
        assert!(world.landed <= most, "{} changes by one call: {:?}", world.landed, story());
        match &end {
            Ok(result) => {
                assert!(is_true(result, world.landed > 0), "{result:?}: {:?}", story());
                assert!(
                    world.late.is_none() || world.landed > 0 || {
                        // What is on its way cannot land any more.
                        let (on, record) = world.late.take().expect("it is");
                        !world.arrives(&on, record)
                    },
                    "{result:?} and then it landed: {:?}",
                    story()
                );
            }
            // That it is not known is said only where an answer was lost.
            Err(Failure::NotKnown) => assert!(world.doubted, "{:?}", story()),
            Err(Failure::Backend(_) | Failure::Unreadable(_)) => {}
            Err(Failure::Busy) => panic!("it never wins: {:?}", story()),
        }
    }
}

fn held() -> Record {
    change::enter(None, (Kind::Mutex, FencingToken(5)), holder(1), WriteId(1 << 64), 1)
}

/// Breaking a lock that is held, free or damaged.
#[test]
fn what_a_break_says_is_what_it_did() {
    let is_true = |result: &BreakResult, landed: bool| match result {
        BreakResult::Released(..) | BreakResult::Repaired(_) => landed,
        BreakResult::WasFree
        | BreakResult::Absent
        | BreakResult::Changed(_)
        | BreakResult::Gone(..) => !landed,
    };
    let any = BreakEdit::new("us".into(), "a test".into());
    let mut one = any.clone();
    one.token = Some(FencingToken(5));
    every_schedule(3, &any, &Stored::Nothing, false, is_true);
    every_schedule(3, &any, &Stored::Damage, false, is_true);
    let held = Stored::Record(Box::new(held()));
    every_schedule(4, &any, &held, false, is_true);
    every_schedule(3, &one, &held, false, is_true);
}

fn done() -> Record {
    let start = (Kind::Once, FencingToken(5));
    let mut begun = change::enter(None, start, holder(1), WriteId(1 << 64), 1);
    once::start(&mut begun, None, "v1");
    let mut done = change::leave(Some(&begun), start, HolderId(1), WriteId(2 << 64), 2);
    once::complete(&mut done, &Completion::Done(Report::default()), "holder 1", 2);
    done
}

/// Resetting an outcome, which others may replace or forget meanwhile.
#[test]
fn what_a_reset_says_is_what_it_did() {
    let reset = ResetEdit::new("us".into(), "a test".into());
    let is_true = |result: &ResetResult, landed: bool| match result {
        ResetResult::Forgotten(..) => landed,
        _ => !landed,
    };
    every_schedule(4, &reset, &Stored::Record(Box::new(done())), false, is_true);
}

/// Deleting the record of a free name.
#[test]
fn what_a_deletion_says_is_what_it_did() {
    let free = change::leave(
        Some(&held()),
        (Kind::Mutex, FencingToken(5)),
        HolderId(1),
        WriteId(2 << 64),
        2,
    );
    let is_true = |result: &DeleteResult, landed: bool| match result {
        DeleteResult::Deleted(_) => landed,
        // Of a deletion that landed unheard, others can have made anew what stands there.
        DeleteResult::Absent => !landed,
        _ => true,
    };
    every_schedule(4, &DeleteEdit::default(), &Stored::Record(Box::new(free)), true, is_true);
}
