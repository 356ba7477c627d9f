//! One acquisition under way: waits for whatever comes first, steps, does what comes out.

use std::future::Future;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use leasehold_core::backend::{BoxFuture, Expected, Trouble};
use leasehold_core::deadline::{self, Now};
use leasehold_core::lease::{Event, Failure, Input, Lease, Loss, Output, Release, Reply, Watch};
use leasehold_core::primitive::Primitive;
use leasehold_core::record::{Ended, HolderId, Record};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use super::{Answer, Command, Grant, Late, Order, Outcome, Wire, ids, request};
use crate::client::{Lane, Leaving, Shared};
use crate::error::{Error, ErrorKind};
use crate::guard::{Guard, LOOK_AT_CLOCK, Standing, expired};
use crate::holder::{HeldBy, Span};
use crate::mutex::Waiting;
use crate::once::Failed;
use crate::status::{remedy, used_as};

pub(super) struct Session<P: Primitive> {
    pub(super) shared: Arc<Shared>,
    pub(super) lane: Arc<Lane>,
    /// Our place at the head of the queue of this process.
    pub(super) turn: Option<OwnedSemaphorePermit>,
    pub(super) order: Order<P>,
    pub(super) lease: Lease<P>,
    pub(super) holder: HolderId,
    pub(super) began: Now,
    pub(super) looked_at: Now,
    pub(super) answer: Option<oneshot::Sender<Answer<P>>>,
    /// An acquisition that ended without the lock may still have something to settle.
    pub(super) settling: Option<Leaving>,
    /// For the guard, and for what else the holder says.
    pub(super) let_go: Option<(mpsc::UnboundedSender<Leaving>, mpsc::UnboundedSender<Command<P>>)>,
    pub(super) standing: watch::Sender<Standing>,
    /// What is said if the time is up now, and nobody holds.
    pub(super) late: Late,
    /// The last trouble, in words; none if the last request was answered well.
    pub(super) trouble: watch::Sender<Option<String>>,
    /// The number of the newest ask that is in the record.
    pub(super) asked: watch::Sender<u64>,
    /// Who waits for an end to be recorded.
    pub(super) ending: Option<oneshot::Sender<Release>>,
    pub(super) request: Option<BoxFuture<'static, (u64, Reply, Option<String>)>>,
    pub(super) wake: Option<BoxFuture<'static, ()>>,
    pub(super) hint: Option<(Expected, BoxFuture<'static, ()>)>,
    /// The state that the last hint was about. Should it prove unchanged, no other hint is asked for
    /// before the next wake-up, so that a backend that cries wolf costs no more than a poll.
    pub(super) spent: Option<Expected>,
    /// What the next process of this host finds, should we end now.
    pub(super) noted: Watch,
}

/// Waits for what is there, and for ever where nothing is.
async fn whichever<T>(future: Option<impl Future<Output = T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

impl<P: Primitive> Session<P> {
    pub(super) async fn run(
        mut self,
        first: Input<P>,
        mut letting_go: mpsc::UnboundedReceiver<Leaving>,
        mut commands: mpsc::UnboundedReceiver<Command<P>>,
    ) {
        let mut leaving = vec![];
        self.step(first);
        while !self.lease.has_ended() {
            let input = tokio::select! {
                biased;
                // Before the release: a holder says how it ends, and then goes.
                Some(command) = commands.recv() => {
                    let input = match command {
                        Command::Ask(number, ask) => Input::Ask(number, ask),
                        Command::End(end, tell, message) => {
                            leaving.push(message);
                            self.ending = Some(tell);
                            end.map_or(Input::Undo, Input::End)
                        }
                    };
                    planted!(CloseReturnsEarly: leaving.clear());
                    input
                }
                // There is always a sender: ours until the guard has it, then the guard's, which
                // says so when it goes.
                Some(message) = letting_go.recv() => {
                    leaving.push(message);
                    planted!(CloseReturnsEarly: leaving.clear());
                    Input::Release
                }
                (number, reply, trouble) = whichever(self.request.as_mut()) => {
                    self.request = None;
                    self.trouble.send_replace(trouble);
                    if !matches!(reply, Reply::Failed(..)) {
                        self.late = Late::Free;
                    }
                    Input::Reply(number, reply)
                }
                () = whichever(self.hint.as_mut().map(|(_, hint)| hint)) => {
                    self.spent = self.hint.take().map(|(since, _)| since);
                    Input::Changed
                }
                () = whichever(self.wake.as_mut()) => {
                    self.wake = None;
                    self.spent = None;
                    Input::Wake
                }
            };
            self.step(input);
        }
        if self.let_go.is_some() && self.lease.watch() != self.noted {
            // It ended without the lock. `close` waits for this, too.
            self.shared.note(&self.order.key, self.lease.watch()).await;
        }
        let memory = self.lease.into_memory();
        *self.lane.memory.lock().unwrap_or_else(PoisonError::into_inner) = memory;
        // Only now may the next in the queue begin, and `close` return.
        drop(self.turn);
        drop((leaving, self.settling));
    }

    fn step(&mut self, input: Input<P>) {
        let now = self.shared.env.now();
        let env = Arc::clone(&self.shared.env);
        let mut out = vec![];
        if self.is_suspicious(now) {
            self.lease.step(now, Input::Suspect, &mut ids(&*env), &mut out);
        }
        self.looked_at = now;
        self.lease.step(now, input, &mut ids(&*env), &mut out);
        self.wake = None;
        for output in out {
            match output {
                Output::Send { number, request, timeout } => {
                    let (shared, key) = (Arc::clone(&self.shared), self.order.key.clone());
                    let answer = request::send(shared, key, request, timeout);
                    self.request = Some(Box::pin(async move {
                        let (reply, trouble) = answer.await;
                        (number, reply, trouble)
                    }));
                }
                Output::Wake(after) => self.arm(after),
                Output::Event(event) => self.tell(event, now),
            }
        }
        self.follow();
    }

    /// Whether the wall clock ran far ahead of the steady ones since the last look, as after a pause
    /// of the whole machine that the steady clocks did not count.
    fn is_suspicious(&self, now: Now) -> bool {
        planted!(PauseUnseen: return false);
        let wall = Duration::from_millis(now.unix_ms.saturating_sub(self.looked_at.unix_ms));
        let steady = now.moment.longest_since(self.looked_at.moment);
        wall > steady.saturating_add(deadline::suspicious_jump(self.order.settings.ttl))
    }

    fn arm(&mut self, after: Duration) {
        planted!(LossWaitsForReply: if self.request.is_some() { return });
        let granted = self.answer.is_none();
        planted!(TimerCountsSleep: let granted = false);
        let after = if granted { after.min(LOOK_AT_CLOCK) } else { after };
        self.wake = Some(self.shared.env.sleep(after));
    }

    /// Listens for a change of the state that the lease would like to hear of.
    fn follow(&mut self) {
        let wanted = self.lease.wants_hint().filter(|_| self.shared.backend.facts().notifies);
        let Some(state) = wanted else { return };
        let follows = self.hint.as_ref().is_some_and(|(since, _)| since == state);
        if follows || self.spent.as_ref() == Some(state) {
            return;
        }
        let (shared, key) = (Arc::clone(&self.shared), self.order.key.clone());
        let since = state.clone();
        let hint = async move { shared.backend.changed(&key, &since).await };
        self.hint = Some((state.clone(), Box::pin(hint)));
    }

    fn tell(&mut self, event: Event<P>, now: Now) {
        match event {
            Event::Granted { deadline, record, .. } => {
                self.standing.send_replace(Standing::Held(deadline));
                self.grant(record, now);
            }
            Event::Renewed(deadline) => {
                self.standing.send_replace(Standing::Held(deadline));
            }
            Event::Suspected(deadline) => {
                self.standing.send_replace(Standing::Suspect(deadline));
            }
            Event::Lost(loss) => {
                let error = self.lost(&loss);
                self.standing.send_replace(Standing::Lost(error));
                // The others of this process need not wait until the user lets go.
                self.lane.holder.send_replace(None);
                self.turn = None;
            }
            Event::Waiting { holder, token, expires_in } => {
                let held_by = HeldBy::new(&holder, token, now.unix_ms, Some(expires_in));
                self.lane.holder.send_replace(Some(held_by.clone()));
                self.tell_waiter(Some(held_by), None, now);
                self.note_at_first();
            }
            Event::Trouble(_) => {
                let holder = self.lane.holder.borrow().clone();
                self.tell_waiter(holder, None, now);
            }
            Event::Free => self.answer(Ok(Outcome::Free)),
            Event::Resting(_) => {
                self.lane.holder.send_replace(None);
                self.late = Late::Resting;
                self.tell_waiter(None, self.lease.record().and_then(Failed::shown_by), now);
            }
            Event::Answer(answer) => self.answer(Ok(Outcome::Answer(answer))),
            Event::Asked(number) => drop(self.asked.send_replace(number)),
            Event::NotAcquired { rival, rests } => {
                if rests {
                    self.late = Late::Resting;
                }
                let rival = rival.map(|(h, token)| HeldBy::new(&h, token, now.unix_ms, None));
                self.answer(Ok(rival.map_or(Outcome::TimeIsUp(self.late), Outcome::Held)));
            }
            Event::Failed(failure) => {
                let error = self.failure(&failure);
                self.answer(Err(error));
            }
            Event::Released(release) => self.released(release),
        }
    }

    /// A waiter that is killed leaves what it saw first. What it sees later it leaves at its end.
    fn note_at_first(&mut self) {
        if self.noted == Watch::default() {
            self.noted = self.lease.watch();
            let (shared, key) = (Arc::clone(&self.shared), self.order.key.clone());
            let watch = self.noted.clone();
            self.shared.spawn(async move { shared.note(&key, watch).await });
        }
    }

    fn answer(&mut self, answer: Answer<P>) {
        if let Some(asker) = self.answer.take() {
            if !matches!(answer, Ok(Outcome::Granted(_))) {
                self.settling = Some(self.shared.leaving());
                planted!(RefusalUnsettled: self.settling = None);
            }
            planted!(CancelLeaksGrant: return std::mem::forget(asker.send(answer)));
            // Nobody there: a guard in the answer is dropped with it, and so released.
            drop(asker.send(answer));
        }
    }

    fn grant(&mut self, record: Box<Record>, now: Now) {
        let Some((let_go, commands)) = self.let_go.take() else { return };
        let token = record.token;
        let guard = Guard {
            shared: Arc::clone(&self.shared),
            key: self.order.key.clone(),
            holder: self.holder,
            token,
            past: record.past.clone(),
            ttl: self.order.settings.ttl,
            standing: self.standing.subscribe(),
            trouble: self.trouble.subscribe(),
            let_go: Some(let_go),
        };
        let us = HeldBy {
            id: self.holder,
            label: self.order.settings.label.clone(),
            token,
            ttl: self.order.settings.ttl,
            renewals: 0,
            since_unix_ms: now.unix_ms,
            held_for: Duration::ZERO,
            expires_in: None,
        };
        self.lane.holder.send_replace(Some(us));
        let asked = self.asked.subscribe();
        let wire = Wire { shared: Arc::clone(&self.shared), commands: Some(commands) };
        self.answer(Ok(Outcome::Granted(Grant { guard, record, wire, asked })));
    }

    fn tell_waiter(&self, held_by: Option<HeldBy>, failed: Option<Failed>, now: Now) {
        if let (Some(news), true) = (&self.order.news, self.answer.is_some()) {
            let waited = now.moment.longest_since(self.began.moment);
            let mut waiting = Waiting::new(held_by, waited, self.trouble.borrow().clone());
            waiting.failed = failed;
            news.send_replace(Some(waiting));
        }
    }

    fn released(&mut self, release: Release) {
        self.lane.holder.send_replace(None);
        if let Some(ending) = self.ending.take() {
            let _ = ending.send(release);
        }
        if matches!(*self.standing.borrow(), Standing::Lost(_)) {
            return;
        }
        let (key, place) = (&self.order.key, self.shared.backend.url());
        let doubted = matches!(*self.standing.borrow(), Standing::Suspect(_));
        let standing = match release {
            Release::Freed => Standing::Released,
            Release::Unconfirmed if doubted => Standing::Lost(Error::new(
                ErrorKind::Lost,
                format!(
                    "the wall clock jumped while the lock {key:?} at {place} was held, as after a \
                     pause of this machine, and the store did not confirm that it was held to the \
                     end: {}",
                    self.trouble.borrow().as_deref().unwrap_or("no answer"),
                ),
            )),
            Release::NotHeld => Standing::Lost(Error::new(
                ErrorKind::Lost,
                format!("the lock {key:?} at {place} was not ours any more when it was released"),
            )),
            Release::Unconfirmed => Standing::Lost(Error::new(
                ErrorKind::Unavailable,
                format!(
                    "cannot release {key:?} at {place}: {}; its lease ends by itself {} after the \
                     last renewal",
                    self.trouble.borrow().as_deref().unwrap_or("no answer"),
                    Span(self.order.settings.ttl),
                ),
            )),
        };
        self.standing.send_replace(standing);
    }

    fn lost(&self, loss: &Loss) -> Error {
        let (key, place) = (&self.order.key, self.shared.backend.locate(&self.order.key));
        let trouble = self.trouble.borrow();
        let why = match loss {
            Loss::Expired => return expired(&self.shared, key, trouble.as_deref()),
            Loss::TakenOver(by) => format!("it was taken over by {:?}", by.label),
            Loss::Ended(Some(past)) if matches!(past.ended, Ended::Forced | Ended::Reset) => {
                format!(
                    "{:?} {} it: {:?}",
                    past.by.as_deref().unwrap_or("somebody"),
                    if past.ended == Ended::Reset { "reset" } else { "force-released" },
                    past.reason.as_deref().unwrap_or_default(),
                )
            }
            Loss::Ended(_) => "another took it over and released it".into(),
            Loss::Gone => "its record was deleted".into(),
            Loss::Unreadable(bad) => {
                let file = trouble.as_deref().unwrap_or_default();
                format!("its record was overwritten: {bad}: {file}")
            }
        };
        Error::new(ErrorKind::Lost, format!("lost the lock {key:?} at {place}: {why}"))
    }

    fn failure(&self, failure: &Failure) -> Error {
        let key = &self.order.key;
        let place = self.shared.backend.locate(key);
        let said = self.trouble.borrow();
        let trouble = said.as_deref().unwrap_or("no answer");
        let (kind, why) = match failure {
            Failure::Backend(kind) => {
                let hint = match kind {
                    Trouble::Denied => "; get the permission, then try again",
                    Trouble::Unavailable | Trouble::Invalid | Trouble::Corrupt => "",
                };
                ((*kind).into(), format!("{trouble}{hint}"))
            }
            Failure::Unreadable(bad) => {
                let file = said.as_deref().unwrap_or(&place);
                (ErrorKind::Corrupt, format!("{bad}; {}", remedy(bad, file)))
            }
            Failure::WrongKind(kind) => {
                let why = format!("the name is in use {}: choose another", used_as(*kind));
                (ErrorKind::Invalid, why)
            }
            Failure::Stale => (
                ErrorKind::Unavailable,
                "the store keeps answering with an older state than it showed before".into(),
            ),
        };
        Error::new(kind, format!("cannot acquire {key:?} at {place}: {why}"))
    }
}
