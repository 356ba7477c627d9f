//! `once`: what its users may say, what must hold, and what of it makes worlds alike.

use leasehold_core::lease::{Release, inspect::Stage};
use leasehold_core::once::{Completion, Report, Settled};
use leasehold_core::record::{Ended, FencingToken, Outcome, Progress, Record};

use crate::action::Action;
use crate::any::{Input, View};
use crate::bounds::Bounds;
use crate::fact::Fact;
use crate::world::{Client, Pending, Says, World, name};

impl Says {
    /// As the state machine is told. An interruption is a release.
    pub(crate) fn input(self) -> Input {
        match self {
            Says::Nothing | Says::Interrupted => Input::Undo,
            Says::Done => Input::End(Completion::Done(Report::default())),
            Says::Failed => Input::End(Completion::Failed(Report::default())),
        }
    }
}

impl World {
    /// What the user of a run can say of it.
    pub(crate) fn of_run(&self, who: usize, bounds: &Bounds, all: &mut Vec<Action>) {
        let runs = !matches!(self.clients[who].lease.stage(), Stage::Acquiring { .. });
        if bounds.once.is_some() && runs {
            let ends = [Says::Nothing, Says::Done, Says::Failed];
            all.extend(ends.map(|says| Action::Complete(who, says)));
        }
    }

    /// The first word counts, and only that of who was granted a run.
    pub(crate) fn says(&mut self, who: usize, says: Says) {
        let client = self.client(who);
        if client.run.is_some() && client.says == Says::Nothing {
            client.says = says;
        }
    }

    /// A write lands on the newest state.
    pub(crate) fn check_deed(&mut self, pending: &Pending, bounds: &Bounds) {
        let stored = self.stored.clone();
        let old = stored.as_ref().map(|s| &s.record);
        let (was, is) = (old.and_then(|r| r.outcome.as_ref()), pending.record.outcome.as_ref());
        let token = pending.record.token;
        let by = old.and_then(|r| r.holder()).map(|h| h.id);
        let same = old.is_some_and(|r| r.token == token);
        match pending.record.holder() {
            Some(_) if same => {
                self.demand(was == is, || "a renewal changes what was done".into());
            }
            Some(_) => self.check_start(was, is, token, bounds),
            None if by == Some(pending.by) => {
                let before = stored.as_ref().and_then(|s| s.before.as_ref());
                self.check_end(pending, (before, was, is), token);
            }
            None => {
                self.demand(was == is, || "who frees another's lease changes what was done".into());
            }
        }
    }

    fn check_start(
        &mut self,
        was: Option<&Outcome>,
        is: Option<&Outcome>,
        token: FencingToken,
        bounds: &Bounds,
    ) {
        let done = was.is_some_and(|o| o.state == Progress::Done);
        self.demand(!done, || "what is done is begun again".into());
        let failures = was.map_or(0, |o| o.failures);
        let most = u64::from(bounds.once.unwrap_or_default());
        self.demand(failures < most, || format!("a run begins after {failures} failures"));
        let began = is.is_some_and(|o| (o.state, o.token) == (Progress::Started, token));
        self.demand(began, || "a run begins, and the record does not say so".into());
        let known = is.is_some_and(|o| {
            (o.resumes, o.failures) == (was.map(|w| w.token), failures)
                && o.ending == was.and_then(|w| w.ending.clone())
        });
        self.demand(known, || "a run forgets what was before".into());
        if was.is_some() {
            self.note(Fact::Resumed);
        }
    }

    fn check_end(
        &mut self,
        pending: &Pending,
        (before, was, is): (Option<&Outcome>, Option<&Outcome>, Option<&Outcome>),
        token: FencingToken,
    ) {
        let failures = was.map_or(0, |o| o.failures);
        let ends = |state: Progress, failures: u64| {
            is.is_some_and(|o| {
                let by = o.ending.as_ref().map(|e| e.token);
                (o.state, o.failures, o.token, by) == (state, failures, token, Some(token))
            })
        };
        let fine = match pending.says {
            Says::Nothing => is == before,
            Says::Interrupted => is == was,
            Says::Done => ends(Progress::Done, failures),
            Says::Failed => ends(Progress::Failed, failures + 1),
        };
        self.demand(fine, || {
            format!("the record says {is:?} of a run that ended with {:?}", pending.says)
        });
        if pending.says == Says::Nothing {
            self.note(Fact::Undone);
        }
        let sender = self.clients.iter().position(|c| c.holder == pending.by);
        if let Some(who) = sender.filter(|_| matches!(pending.says, Says::Done | Says::Failed)) {
            self.client(who).recorded = pending.says;
        }
    }

    /// A run is told what was before it.
    pub(crate) fn check_run(&mut self, who: usize, token: FencingToken, told: Option<&Outcome>) {
        let stands = self.record().filter(|r| r.token == token);
        let wrong = stands.is_some_and(|r| r.outcome.as_ref() != told);
        self.demand(!wrong, || format!("{} is told {told:?} of its run", name(who)));
    }

    /// Neither a completion nor a last failure is ever taken back here.
    pub(crate) fn check_settled(&mut self, who: usize, told: &Settled) {
        let stands = self.record().and_then(|r| r.outcome.as_ref());
        let holds = match told {
            Settled::Done { token, .. } => {
                stands.is_some_and(|o| (o.state, o.token) == (Progress::Done, *token))
            }
            Settled::Failed { failures, .. } => {
                stands.is_some_and(|o| (o.state, o.failures) == (Progress::Failed, *failures))
            }
            Settled::Outdated { .. } => false,
        };
        self.demand(holds, || format!("{} is told {told:?}, and that is wrong", name(who)));
        self.note(match told {
            Settled::Done { .. } => Fact::Inherited,
            _ => Fact::GaveUp,
        });
    }

    /// A runner is told what became of the end of its run.
    pub(crate) fn check_told(&mut self, who: usize, release: Release) {
        let client = &self.clients[who];
        let (says, recorded, held) = (client.says, client.recorded, client.granted.is_some());
        if !matches!(says, Says::Done | Says::Failed) {
            return;
        }
        let holds = match release {
            Release::Freed => recorded == says,
            Release::NotHeld => recorded == Says::Nothing,
            Release::Unconfirmed => true,
        };
        self.demand(holds, || {
            format!("{} said {says:?} and is told {release:?}, and that is wrong", name(who))
        });
        match release {
            Release::Freed if !held => self.note(Fact::RecordedAfterLoss),
            Release::Freed
                if self.record().is_some_and(|r| Some(r.token) != client_run(self, who)) =>
            {
                self.note(Fact::RecordedByReading);
            }
            Release::NotHeld => self.note(Fact::Superseded),
            _ => {}
        }
    }
}

fn client_run(world: &World, who: usize) -> Option<FencingToken> {
    world.clients[who].run
}

// What makes worlds alike.

/// How far a thing has come. Of the tokens in it matters only what is in [`relation`]: all else compares
/// them with those of the state before.
pub(crate) fn outcome(outcome: Option<&Outcome>) -> u8 {
    let Some(o) = outcome else { return 0 };
    let state = match o.state {
        Progress::Started => 1,
        Progress::Done => 2,
        Progress::Failed => 3,
    };
    state | u8::try_from(o.failures.min(7)).unwrap_or_default() << 2
}

/// What a record says to a client of its run: whether that ended last, and how its lease ended. It is
/// asked only by who has a run whose end may have to be recorded.
pub(crate) fn relation(record: &Record, client: &Client, view: &View<'_>) -> u8 {
    let ends = view.end.is_some();
    let may_end = !matches!(view.stage, Stage::New | Stage::Releasing { .. } | Stage::Ended);
    let names_us = record.holder().is_some_and(|h| h.id == client.holder);
    if names_us || (!ends && (!may_end || record.outcome.is_none())) {
        return 0;
    }
    let ending = record.outcome.as_ref().and_then(|o| o.ending.as_ref()).map(|e| e.token);
    let is_ours = ending.is_some() && ending == view.granted;
    let past = record.past.as_ref().filter(|p| p.id == Some(client.holder));
    let past = past.map_or(0, |p| match p.ended {
        Ended::Released => 1,
        Ended::TakenOver => 2,
        Ended::Forced | Ended::Reset => 3,
    });
    u8::from(is_ours) | past << 1
}

/// What a client knows of its run and what is known of it.
pub(crate) fn client(world: &World, who: usize, view: &View<'_>) -> [u8; 3] {
    let (client, stored) = (&world.clients[who], world.record());
    let completion = match view.end {
        None if view.undoes => 3,
        None => 0,
        Some(Completion::Done(_)) => 1,
        Some(Completion::Failed(_)) => 2,
    };
    let told = completion | (client.says as u8) << 2 | (client.recorded as u8) << 4;
    // What it would put back, as long as its own write stands there or may come to.
    let stands = stored.and_then(|r| r.holder()).is_some_and(|h| h.id == client.holder);
    let may_stand = stands || world.pool.iter().any(|p| p.from == Some(who));
    let replaced = view.replaced.as_ref().filter(|_| may_stand && !matches!(completion, 1 | 2));
    [told, outcome(replaced), stored.map_or(0, |record| relation(record, client, view))]
}
