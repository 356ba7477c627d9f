//! The shortest schedule that breaks a promise, in words.

use std::fmt;

use leasehold_core::lease::Reply;
use leasehold_core::lease::inspect::Stage;
use leasehold_core::record::Record;

use crate::action::Action;
use crate::bounds::{Bounds, TICK};
use crate::essence::essence;
use crate::world::{World, name};

/// A schedule.
#[derive(Debug)]
pub struct Trace {
    /// Two lines a step: what happens, and how things stand then.
    pub steps: Vec<String>,
    /// What is broken at its end.
    pub broken: String,
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, step) in (1..).zip(&self.steps) {
            writeln!(f, "{n:3}. {step}")?;
        }
        write!(f, "     so {}", self.broken)
    }
}

/// Goes the way again, from number to number, and takes a last step.
pub(crate) fn replay(way: &[u64], last: Action, bounds: &Bounds) -> Trace {
    let mut world = World::new(bounds);
    let mut steps = vec![];
    for &number in way.iter().skip(1) {
        let mut tried = world.actions(bounds).into_iter().map(|a| (a, world.after(a, bounds)));
        let Some((action, after)) = tried.find(|(_, after)| essence(after, bounds) == number)
        else {
            break;
        };
        steps.push(tell(&world, action, &after));
        world = after;
    }
    // The names of clients may have changed sides on the way: the step that breaks it is looked for.
    let mut ends = vec![last];
    ends.extend(world.actions(bounds));
    let broken = ends.into_iter().find_map(|action| {
        let after = world.after(action, bounds);
        let broken = after.broken.clone()?;
        steps.push(tell(&world, action, &after));
        Some(broken)
    });
    Trace { steps, broken: broken.unwrap_or_else(|| "the way there was lost".into()) }
}

fn tell(before: &World, action: Action, after: &World) -> String {
    format!("{}\n       {}", deed(before, action), standing(after))
}

/// What a step is.
fn deed(world: &World, action: Action) -> String {
    let c = |who: usize| name(who);
    match action {
        Action::Acquire(who) => format!("{} wants the lock", c(who)),
        Action::Look(who) => format!("{} looks whether it is free", c(who)),
        Action::Wake(who) => format!("{} wakes", c(who)),
        Action::LetGo(who) => format!("{} is told to let go", c(who)),
        Action::Complete(who, says) => format!("{}'s run has ended: {says:?}", c(who)),
        Action::Tire(who) => format!("{} has tried to let go for a ttl", c(who)),
        Action::Crash(who) => format!("{} dies, and another takes its place", c(who)),
        Action::Pause(who) => format!("{}'s host is paused, and its clocks with it", c(who)),
        Action::GoOn(who) => format!("{}'s host goes on, and suspects it", c(who)),
        Action::Hint(who) => format!("{} is told of a change", c(who)),
        Action::Answer(who) => format!("{} is answered: {}", c(who), answer(world, who)),
        Action::Refuse(who) => format!("{} is answered: a conflict", c(who)),
        Action::RefuseTelling(who) => format!("{}'s write meets a conflict", c(who)),
        Action::TimeOut(who) => format!("{} gets no answer in time", c(who)),
        Action::Throttle(who) => format!("{} is answered: too many requests", c(who)),
        Action::NeverSent(who) => format!("{}'s request never left its host", c(who)),
        Action::Land(place) | Action::Lose(place) => {
            let fate = if matches!(action, Action::Land(_)) { "lands" } else { "is lost" };
            let Some(pending) = world.pool.get(place) else { return String::new() };
            let whose = pending.from.map_or("a dead client".into(), |who| name(who).to_string());
            let number = pending.number;
            format!("{whose}'s write {number} {fate}: {}", content(world, &pending.record))
        }
        Action::Tick => "time passes".into(),
        Action::TickWithout(who) => format!("time passes, and {}'s clock stands still", c(who)),
        Action::Force => "an operator forces the holder out".into(),
    }
}

fn answer(world: &World, who: usize) -> String {
    match world.clients[who].answer() {
        Some(Reply::Applied(_)) => "its write has landed".into(),
        Some(Reply::Read { seen, .. }) => match &seen.record {
            Some(record) => format!("it reads {}", content(world, record)),
            None => "it reads that nothing is stored".into(),
        },
        other => format!("{other:?}"),
    }
}

fn content(world: &World, record: &Record) -> String {
    let mut token = record.token.to_string();
    if let Some(o) = &record.outcome {
        token = format!("{token}, {} by {} after {} failures", o.state, o.token, o.failures);
    }
    let Some(holder) = record.holder() else { return format!("free, token {token}") };
    let who = world.clients.iter().position(|c| c.holder == holder.id);
    let who = who.map_or("one that is gone".into(), |who| name(who).to_string());
    format!("held by {who}, token {token}, renewals {}", holder.renewals)
}

fn standing(world: &World) -> String {
    let stored = world.record().map_or("nothing stored".into(), |r| content(world, r));
    let mut all = vec![format!("[{stored}]")];
    for (who, client) in world.clients.iter().enumerate() {
        let time = client.clock.as_secs() - (TICK * 1000).as_secs();
        let stage = match client.lease.stage() {
            Stage::New => "idle",
            Stage::Acquiring { .. } => "wants",
            _ if client.paused => "paused",
            Stage::Held(_) if client.lease.is_held(client.moment()) => "HOLDS",
            Stage::Held(_) => "no longer holds",
            Stage::Lost => "lost",
            Stage::Releasing { .. } => "lets go",
            Stage::Ended => "ended",
        };
        let flight = match &client.flight {
            Some(f) if f.on.is_some() => format!(", writing {}", f.number),
            Some(_) => ", reading".into(),
            None => String::new(),
        };
        all.push(format!("{} {time}s {stage}{flight}", name(who)));
    }
    all.join(" | ")
}
