//! How processes and stores are hurt, and let go again.

use std::process::Stdio;

use rustix::process::Signal;

use crate::clock::{self, Time, millis};
use crate::plan::{Act, Hurt, Target};
use crate::procs::{self, Process, RUN};
use crate::world::{Breaking, World, name};

/// What ends a hurt.
pub(crate) enum Later {
    /// These go on; they belong to this run.
    Continue(usize, Vec<(Part, Process)>),
    Thaw,
    Heal(Vec<usize>),
}

/// Which of a run's processes it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Main,
    Keeper,
    Child,
}

impl World {
    /// Does what the plan says. If nobody is there to be hurt, nothing happens.
    pub(crate) fn hurt(&mut self, hurt: &Hurt) {
        match hurt.act {
            Act::Break => self.break_lock(self.terms.name_of(hurt.slot)),
            Act::Freeze(ms) => self.freeze(ms),
            Act::Cut(one, ms) => self.cut(one, ms),
            _ => {
                let slot = hurt.holder_of.and_then(|name| self.holder_of(name));
                if let Some((main, run)) = self.main_in(slot.unwrap_or(hurt.slot)) {
                    self.hurt_run(main, run, hurt.act);
                }
            }
        }
    }

    /// A slot whose run has a command.
    fn holder_of(&self, name: usize) -> Option<usize> {
        let mut slots = (0..self.slots.len()).filter(|slot| self.terms.name_of(*slot) == name);
        slots.find(|slot| {
            let main = self.main_in(*slot);
            main.is_some_and(|(main, _)| procs::parts(main.pid).child.is_some())
        })
    }

    fn hurt_run(&mut self, main: Process, run: usize, act: Act) {
        let (target, signal, ms) = match self.softened(run, act) {
            Act::Kill(target) => (target, Signal::KILL, None),
            Act::Stop(target, ms) => (target, Signal::STOP, Some(ms)),
            Act::Term(target) => (target, Signal::TERM, None),
            Act::Int(target) => (target, Signal::INT, None),
            Act::Break | Act::Freeze(_) | Act::Cut(..) => return,
        };
        let targets = self.targets(main, run, target);
        if targets.is_empty() {
            return;
        }
        let pids: Vec<_> = targets.iter().map(|(_, one)| one.pid.as_raw_pid()).collect();
        let (what, span) = match (signal, ms) {
            (Signal::KILL, _) => ("killed", String::new()),
            (Signal::TERM, _) => ("sent SIGTERM", String::new()),
            (Signal::INT, _) => ("sent SIGINT", String::new()),
            (_, ms) => ("stopped", format!(" for {} ms", ms.unwrap_or_default())),
        };
        self.note(&format!("run {run}: {} {pids:?} {what}{span}", target.shown()));
        for (part, process) in &targets {
            self.mark_hurt(run, *part, signal, clock::now());
            process.signal(signal);
        }
        self.tally.count(target, signal);
        if let Some(ms) = ms {
            self.later.push((clock::now() + millis(ms), Later::Continue(run, targets)));
        }
    }

    /// A command that ends leaves its family unprotected, so one that has a family is not ended alone.
    fn softened(&self, run: usize, act: Act) -> Act {
        match act {
            Act::Kill(Target::Child) | Act::Term(_) | Act::Int(_) if self.runs[run].ask.family => {
                Act::Kill(Target::Main)
            }
            act => act,
        }
    }

    fn targets(&self, main: Process, run: usize, target: Target) -> Vec<(Part, Process)> {
        let parts = procs::parts(main.pid);
        let keeper = parts.keeper.map(|keeper| (Part::Keeper, keeper));
        match target {
            Target::Main => vec![(Part::Main, main)],
            Target::Keeper => keeper.into_iter().collect(),
            Target::Child => parts.child.map(|child| (Part::Child, child)).into_iter().collect(),
            Target::MainAndKeeper => keeper.into_iter().chain([(Part::Main, main)]).collect(),
            Target::All => {
                let all = procs::with_entry(&format!("{RUN}={}", self.run_mark(run)));
                let part = |process: &Process| match process.words().get(1).map(String::as_str) {
                    _ if *process == main => Part::Main,
                    Some("__keeper") => Part::Keeper,
                    _ => Part::Child,
                };
                all.into_iter().map(|process| (part(&process), process)).collect()
            }
        }
    }

    /// Writes down what is about to be done: a moment too early, so that no excuse comes too late.
    fn mark_hurt(&mut self, run: usize, part: Part, signal: Signal, at: Time) {
        let run = &mut self.runs[run];
        run.done.hurt = true;
        run.done.term |= signal == Signal::TERM;
        run.done.int |= signal == Signal::INT;
        if !matches!(signal, Signal::KILL | Signal::STOP) {
            return;
        }
        match part {
            Part::Main => run.main_down.push((at, None)),
            Part::Keeper => run.keeper_down.push((at, None)),
            Part::Child => {}
        }
        run.done.killed_main |= part == Part::Main && signal == Signal::KILL;
        run.done.killed_child |= part == Part::Child && signal == Signal::KILL;
    }

    fn go_on(&mut self, run: usize, targets: &[(Part, Process)]) {
        let mut down = vec![];
        for (part, process) in targets {
            // Who is dead stays down.
            if process.signal(Signal::CONT) && Process::living(process.pid) == Some(*process) {
                down.push(*part);
            }
        }
        let at = clock::now();
        self.note(&format!("run {run}: continued"));
        let run = &mut self.runs[run];
        let spans = [(Part::Main, &mut run.main_down), (Part::Keeper, &mut run.keeper_down)];
        for (part, spans) in spans {
            if down.contains(&part) {
                spans.iter_mut().filter(|span| span.1.is_none()).for_each(|s| s.1 = Some(at));
            }
        }
    }

    fn break_lock(&mut self, lock: usize) {
        let mut command = self.command(lock, None);
        command.args(["break", &name(lock), "--reason", "chaos", "--json"]).stdout(Stdio::piped());
        command.stderr(Stdio::null());
        let from = clock::now();
        self.note(&format!("name {lock}: break"));
        match command.spawn() {
            Ok(child) => self.breaking.push(Breaking { child, name: lock, from }),
            Err(error) => self.found.push(format!("the program cannot be started: {error}")),
        }
    }

    fn is_away(&self) -> bool {
        let to_come = self.later.iter().any(|(_, later)| !matches!(later, Later::Continue(..)));
        to_come || !self.healing.is_empty()
    }

    fn freeze(&mut self, ms: u64) {
        let Some(freezer) = self.store.freezer.as_ref().filter(|_| !self.is_away()) else { return };
        let from = clock::now();
        // Whatever becomes of us, it is thawed.
        let told = self.undo.within(ms + 5_000, &freezer.thaw);
        let frozen = told.map_err(|e| e.to_string()).and_then(|()| freezer.freeze());
        match frozen {
            Ok(()) => {
                self.away.push((from, None));
                self.later.push((clock::now() + millis(ms), Later::Thaw));
                self.tally.freeze(ms > self.terms.ttl_ms_most());
                self.note(&format!("the store is frozen for {ms} ms"));
            }
            Err(why) => self.found.push(format!("the store cannot be frozen: {why}")),
        }
    }

    fn thaw(&mut self) {
        if let Some(freezer) = &self.store.freezer
            && let Err(why) = freezer.thaw()
        {
            self.found.push(format!("the store cannot be thawed: {why}"));
        }
        let _ = self.undo.undone();
        self.back();
        self.note("the store is thawed");
    }

    /// The store is there again.
    fn back(&mut self) {
        let now = clock::now();
        self.away.iter_mut().filter(|span| span.1.is_none()).for_each(|span| span.1 = Some(now));
    }

    fn cut(&mut self, one: Option<usize>, ms: u64) {
        let Some(net) = self.net.as_ref().filter(|_| !self.is_away()) else { return };
        let spaces: Vec<usize> = one.map_or_else(|| (0..net.count()).collect(), |one| vec![one]);
        let from = clock::now();
        let problems: Vec<_> = spaces.iter().filter_map(|space| net.cut(*space).err()).collect();
        self.found.extend(problems);
        self.away.push((from, None));
        self.note(&format!("the namespaces {spaces:?} are cut off for {ms} ms"));
        self.tally.cut(ms > self.terms.ttl_ms_most(), one.is_none());
        self.later.push((clock::now() + millis(ms), Later::Heal(spaces)));
    }

    fn heal(&mut self, spaces: &[usize]) {
        let (Some(net), Some(address)) = (&self.net, &self.store_address) else { return };
        for &space in spaces {
            self.found.extend(net.heal(space).err());
            match net.reaching(&self.us, space, address) {
                Ok(child) => self.healing.push((child, space)),
                Err(why) => self.found.push(why),
            }
        }
        self.note(&format!("the links of the namespaces {spaces:?} are up again"));
    }

    /// The store is there again once every namespace has reached it, and not when the links are up: a
    /// run that begins in between has good reason to hear nothing.
    pub(crate) fn hear_healed(&mut self) {
        if self.healing.is_empty() {
            return;
        }
        for (mut child, space) in std::mem::take(&mut self.healing) {
            match child.try_wait() {
                Ok(None) => self.healing.push((child, space)),
                Ok(Some(status)) if status.success() => {
                    self.note(&format!("the namespace {space} reaches the store again"));
                }
                _ => self.found.push(format!(
                    "the namespace {space} does not reach the store although its link is up"
                )),
            }
        }
        if self.healing.is_empty() {
            self.back();
        }
    }

    /// Ends the hurts whose time has come.
    pub(crate) fn act_due(&mut self, now: Time) {
        let (due, later) = std::mem::take(&mut self.later).into_iter().partition(|l| l.0 <= now);
        self.later = later;
        let due: Vec<(Time, Later)> = due;
        for (_, due) in due {
            match due {
                Later::Continue(run, targets) => self.go_on(run, &targets),
                Later::Thaw => self.thaw(),
                Later::Heal(spaces) => self.heal(&spaces),
            }
        }
    }

    /// Ends every hurt.
    pub(crate) fn undo_all_hurts(&mut self) {
        self.act_due(Time::MAX);
    }
}
