//! `once`, as seen by an observer who knows everything: which runs began, how they ended, what
//! of it was recorded, and what users were told.

use std::collections::{BTreeMap, BTreeSet};

use super::any::{Event, Input};
use leasehold_core::lease::Release;
use leasehold_core::once::{Completion, Report, Settled};
use leasehold_core::record::{Earlier, FencingToken, Outcome, Progress, Record};

use super::promises::{AS_SAID, DONE_ONCE, GIVES_UP, RESUMES, TOLD_TRULY};
use super::world::World;
use crate::chance::Chance;
use crate::plan::UNCERTAINTY;

/// How a user says that a run has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Done,
    Failed,
    Withdrawn,
    Interrupted,
}

impl End {
    pub(crate) fn draw(chance: &mut Chance) -> End {
        match chance.from(0, 100) {
            0..50 => End::Done,
            50..80 => End::Failed,
            80..90 => End::Withdrawn,
            _ => End::Interrupted,
        }
    }

    /// What the state machine is told of it.
    pub(crate) fn input(self, said: String) -> Input {
        let report = Report { code: None, text: said };
        match self {
            End::Done => Input::End(Completion::Done(report)),
            End::Failed => Input::End(Completion::Failed(report)),
            End::Withdrawn => Input::Undo,
            End::Interrupted => Input::Release,
        }
    }

    pub(crate) fn of(completion: &Completion) -> End {
        match completion {
            Completion::Done(_) => End::Done,
            Completion::Failed(_) => End::Failed,
        }
    }
}

/// The key of this number.
pub(crate) fn key(number: u64) -> String {
    format!("k{number}")
}

/// What this life of a client says when it ends or saves.
pub(crate) fn said(who: usize, life: u64) -> String {
    format!("client {who} life {life}")
}

struct Run {
    key: String,
    /// As it landed, and what stood there before.
    began: Outcome,
    before: Option<Outcome>,
    recorded: Option<(End, u64)>,
    withdrawn: bool,
    /// The completion of the same key that had grown too old.
    renews: Option<FencingToken>,
    /// The number of the newest checkpoint that landed.
    saved: u64,
    told_done: bool,
    /// Reset, deleted, or too old: it counts no more.
    void: bool,
}

#[derive(Default)]
pub(crate) struct Deeds {
    runs: BTreeMap<FencingToken, Run>,
    /// The completions that count.
    done: BTreeMap<String, FencingToken>,
    /// How many runs failed, and when the last one did.
    failures: BTreeMap<String, (u64, u64)>,
    replaced: BTreeSet<String>,
    /// The same two of all times.
    given_up: BTreeSet<String>,
    once_replaced: BTreeSet<String>,
}

impl Deeds {
    /// Nothing that was counts any more.
    pub(crate) fn void(&mut self) {
        self.done.clear();
        self.failures.clear();
        self.replaced.clear();
        self.runs.values_mut().for_each(|run| run.void = true);
    }

    fn failed(&self, key: &str) -> (u64, u64) {
        self.failures.get(key).copied().unwrap_or_default()
    }
}

impl World {
    /// A write is about to land on the newest state.
    pub(crate) fn check_deed(&mut self, sent: usize, new: &Record) {
        if self.plan.once.is_none() {
            return;
        }
        let old = self.store.record().cloned();
        let was = old.as_ref().and_then(|old| Some((old.holder()?.id, old.token)));
        match new.holder().map(|h| h.id) {
            Some(id) if was == Some((id, new.token)) => self.check_progress(sent, old, new),
            Some(_) => self.check_start(sent, old.as_ref(), new),
            None => self.check_end_of_run(sent, old, new),
        }
    }

    fn check_start(&mut self, sent: usize, old: Option<&Record>, new: &Record) {
        let (who, asked) = (self.sent[sent].who, key(self.sent[sent].key));
        let Some(began) = new.outcome.clone() else {
            return self.promised(false, AS_SAID, || format!("client {who} begins nothing"));
        };
        let before = old.and_then(|old| old.outcome.clone());
        let renews = self.check_may_start(who, &asked, old);
        let same = before.as_ref().filter(|b| b.key == asked);
        let replaced = before.as_ref().filter(|b| b.key != asked);
        let resumed = same.filter(|b| b.state != Progress::Done);
        let mut earlier = before.as_ref().map_or(vec![], |b| b.earlier.clone());
        if let Some(b) = replaced {
            let done = self.deeds.done.get(&b.key).copied();
            let key = b.key.clone();
            self.deeds.replaced.insert(key.clone());
            self.deeds.once_replaced.insert(key.clone());
            earlier.insert(0, Earlier { key, done, extra: began.extra.clone() });
        }
        let wanted = Outcome {
            key: asked.clone(),
            state: Progress::Started,
            token: new.token,
            resumes: resumed.map(|b| b.token),
            failures: self.deeds.failed(&asked).0,
            ending: resumed.and_then(|b| b.ending.clone()),
            checkpoint: resumed.and_then(|b| b.checkpoint.clone()),
            earlier,
            extra: began.extra.clone(),
        };
        self.count.runs_resumed += u64::from(resumed.is_some());
        self.promised(began == wanted, RESUMES, || {
            format!("client {who} begins {began:?} and should begin {wanted:?}")
        });
        self.deeds.runs.insert(
            new.token,
            Run {
                key: asked,
                began,
                before,
                recorded: None,
                withdrawn: false,
                renews,
                saved: 0,
                told_done: false,
                void: false,
            },
        );
    }

    /// The completion that is done again because it is too old, if there is one.
    fn check_may_start(
        &mut self,
        who: usize,
        asked: &str,
        old: Option<&Record>,
    ) -> Option<FencingToken> {
        let once = self.plan.once?;
        let (failures, failed_at) = self.deeds.failed(asked);
        let mut renews = None;
        if let Some(done) = self.deeds.done.get(asked).copied() {
            let at = self.deeds.runs.get(&done).and_then(|run| Some(run.recorded?.1));
            let age = (self.time - at.unwrap_or_default()) * self.plan.store_rate / 1_000_000;
            // Who wrote it since made its age a matter of wall clocks, which say anything here.
            let rewritten = old.is_none_or(|old| old.token != done);
            let stale = once.valid_for.is_some_and(|most| age + UNCERTAINTY >= most || rewritten);
            self.promised(stale, DONE_ONCE, || {
                format!("client {who} begins {asked}, which token {done} did {age} us ago")
            });
            self.count.runs_of_the_too_old += 1;
            renews = Some(done);
            self.deeds.done.remove(asked);
            self.deeds.failures.remove(asked);
            if let Some(run) = self.deeds.runs.get_mut(&done) {
                run.void = true;
            }
            return renews;
        }
        let replaced = self.deeds.replaced.contains(asked);
        self.promised(!replaced, DONE_ONCE, || {
            format!("client {who} begins {asked}, which a later key replaced")
        });
        self.promised(failures < once.max_attempts, GIVES_UP, || {
            format!("client {who} begins {asked}, of which {failures} runs have failed")
        });
        let fresh = old.and_then(|old| old.outcome.as_ref());
        let waits = fresh.is_some_and(|o| o.state == Progress::Failed && o.key == asked);
        if waits && !self.wild {
            let due = once.backoff << failures.saturating_sub(1);
            let waited = self.time - failed_at;
            self.promised(waited * 11 / 10 + 1000 >= due, GIVES_UP, || {
                format!("client {who} begins {asked} {waited} us after failure {failures}")
            });
        }
        renews
    }

    /// A renewal changes nothing but the checkpoint, and that to what its sender saved.
    fn check_progress(&mut self, sent: usize, old: Option<Record>, new: &Record) {
        let (who, life) = (self.sent[sent].who, self.sent[sent].life);
        let Some(mut before) = old.and_then(|old| old.outcome) else { return };
        let Some(after) = &new.outcome else {
            return self.promised(false, AS_SAID, || format!("client {who} forgets its run"));
        };
        let is_new = before.checkpoint != after.checkpoint;
        before.checkpoint.clone_from(&after.checkpoint);
        let text = after.checkpoint.as_ref().map(|c| String::from_utf8_lossy(&c.0).into_owned());
        let number =
            text.as_deref().and_then(|t| t.strip_prefix(&said(who, life))?.trim().parse().ok());
        self.promised(before == *after && (!is_new || number.is_some()), AS_SAID, || {
            format!("client {who} renews, and its run is {after:?} after {before:?}")
        });
        if let (true, Some(number), Some(run)) =
            (is_new, number, self.deeds.runs.get_mut(&new.token))
        {
            run.saved = number;
            self.count.checkpoints += 1;
        }
    }

    /// Nobody holds after this write.
    fn check_end_of_run(&mut self, sent: usize, old: Option<Record>, new: &Record) {
        let (who, life, end) = {
            let from = &self.sent[sent];
            (from.who, from.life, from.end)
        };
        let author = self.sent[sent].holder;
        let own = old.as_ref().and_then(|old| Some((old.holder()?.id == author, old.token)));
        let before = old.and_then(|old| old.outcome);
        let after = new.outcome.clone();
        let token = own.filter(|(own, _)| *own).map(|(_, token)| token);
        let run = token.and_then(|token| self.deeds.runs.get(&token));
        let (Some(token), Some(run), Some(begun)) = (token, run, &before) else {
            let kept = before == after;
            return self.promised(kept, AS_SAID, || {
                format!("client {who} frees a record that is not its own, and leaves {after:?}")
            });
        };
        let mut wanted = begun.clone();
        let ending = after.as_ref().and_then(|o| o.ending.clone());
        match end {
            None | Some(End::Withdrawn) => {
                self.promised(after == run.before, AS_SAID, || {
                    format!("client {who} ran nothing, and leaves {after:?}")
                });
                return self.undo(token);
            }
            Some(End::Interrupted) => {}
            Some(End::Done) => {
                wanted.state = Progress::Done;
                (wanted.resumes, wanted.checkpoint) = (None, None);
            }
            Some(End::Failed) => {
                wanted.state = Progress::Failed;
                wanted.failures += 1;
            }
        }
        if end != Some(End::Interrupted) {
            let own = ending.filter(|e| e.token == token && e.text == said(who, life));
            wanted.ending = own;
        }
        self.promised(after.as_ref() == Some(&wanted), AS_SAID, || {
            format!("client {who} ends its run as {end:?}, and leaves {after:?}")
        });
        self.note_end(token, end);
    }

    fn note_end(&mut self, token: FencingToken, end: Option<End>) {
        let time = self.time;
        let Some(run) = self.deeds.runs.get_mut(&token) else { return };
        let Some(end) = end.filter(|end| matches!(end, End::Done | End::Failed)) else { return };
        run.recorded = Some((end, time));
        let key = run.key.clone();
        if end == End::Done {
            self.count.runs_done += 1;
            self.deeds.done.insert(key, token);
            return;
        }
        self.count.runs_failed += 1;
        let failures = self.deeds.failed(&key).0 + 1;
        if self.plan.once.is_some_and(|once| failures >= once.max_attempts) {
            self.deeds.given_up.insert(key.clone());
        }
        self.deeds.failures.insert(key, (failures, time));
    }

    /// It is as if this run had never begun.
    fn undo(&mut self, token: FencingToken) {
        self.count.runs_undone += 1;
        let Some(run) = self.deeds.runs.get_mut(&token) else { return };
        run.withdrawn = true;
        let (key, renews, void) = (run.key.clone(), run.renews, run.void);
        let before = run.before.as_ref().map(|b| (b.key.clone(), b.failures));
        if let Some((before, failures)) = before.filter(|_| !void) {
            if before != key {
                self.deeds.replaced.remove(&before);
            } else if let Some(done) = renews {
                self.deeds.done.insert(key.clone(), done);
                if failures > 0 {
                    self.deeds.failures.insert(key, (failures, 0));
                }
                if let Some(run) = self.deeds.runs.get_mut(&done) {
                    run.void = false;
                }
            }
        }
    }

    /// What the user is told of it.
    pub(crate) fn check_told_of_deed(&mut self, who: usize, event: &Event) {
        let Some(once) = self.plan.once else { return };
        let asked = key(self.clients[who].key);
        let runs = &self.deeds.runs;
        let (holds, promise) = match event {
            Event::Granted { token, record, .. } => {
                // A later run may have done it where an operator broke the lock before the answer to
                // this one's acquiring came: that two may believe then is not for this promise.
                let done = |r: &Run| r.key == asked && r.told_done && !r.void;
                let again = runs.iter().any(|(earlier, r)| earlier < token && done(r));
                self.promised(!again, DONE_ONCE, || {
                    format!("client {who} runs {asked}, of which another was told that it is done")
                });
                self.clients[who].run = Some(*token);
                let began = self.deeds.runs.get(token).map(|run| &run.began);
                (began == record.outcome.as_ref(), RESUMES)
            }
            Event::Asked(number) => {
                let run = self.clients[who].run.and_then(|token| runs.get(&token));
                (run.is_some_and(|run| run.saved >= *number), TOLD_TRULY)
            }
            Event::Answer(Settled::Done { token, .. }) => {
                self.count.inherited += 1;
                let run = runs.get(token).filter(|run| run.key == asked);
                (run.is_some_and(|r| r.recorded.is_some_and(|r| r.0 == End::Done)), TOLD_TRULY)
            }
            Event::Answer(Settled::Failed { failures, .. }) => {
                self.count.given_up += 1;
                let known = self.deeds.given_up.contains(&asked);
                (known && *failures == once.max_attempts, TOLD_TRULY)
            }
            Event::Answer(Settled::Outdated { .. }) => {
                self.count.outdated += 1;
                (self.deeds.once_replaced.contains(&asked), TOLD_TRULY)
            }
            Event::Resting(_) => {
                self.count.backoffs += 1;
                return;
            }
            Event::Released(release) => (self.told_end(who, *release), TOLD_TRULY),
            _ => return,
        };
        self.promised(holds, promise, || format!("client {who} is told of {asked}: {event:?}"));
    }

    /// Whether it is true what the runner is told of the recording of its end.
    fn told_end(&mut self, who: usize, release: Release) -> bool {
        let client = &self.clients[who];
        let late = client.granted.is_none();
        let (Some(token), Some(end)) = (client.run, client.end) else { return true };
        let Some(run) = self.deeds.runs.get_mut(&token) else { return false };
        let recorded = run.recorded.map(|(end, _)| end);
        let count = &mut self.count;
        match (release, end) {
            (Release::Freed, End::Withdrawn) => run.withdrawn,
            (_, End::Interrupted | End::Withdrawn) => true,
            (Release::Freed, _) => {
                run.told_done |= end == End::Done;
                count.completions_after_a_loss += u64::from(late);
                recorded == Some(end)
            }
            (Release::NotHeld, _) => {
                count.superseded += 1;
                recorded.is_none() || run.void
            }
            (Release::Unconfirmed, _) => {
                count.unconfirmed_ends += 1;
                true
            }
        }
    }
}
