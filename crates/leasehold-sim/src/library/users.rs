//! The users of a client: tasks that call the library as programs do, and change their minds.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use leasehold::core::deadline::EDIT_PATIENCE;
use leasehold::{Attempt, Client, Error, ErrorKind, Forced, Guard, Mutex};
use tokio::sync::oneshot;

use super::env::heard;
use super::promises::{ALL_END, CALLS_END, DRIVER_LIVES, ONE_GUARD, RECORD_RISES, SECTION_IS_HELD};
use super::state::{Caller, Happening, World};
use crate::chance::Chance;
use crate::fault::Fault;

/// One task of a program.
pub(super) struct User {
    pub(super) world: Arc<World>,
    pub(super) caller: Caller,
    /// Which of its client's.
    pub(super) number: u64,
    pub(super) client: Client,
    pub(super) chance: RefCell<Chance>,
    /// How many things it has done that a fault could meet.
    pub(super) acts: Cell<u64>,
}

impl User {
    /// Lives until the world closes, then closes the client.
    pub(super) async fn live(self) {
        loop {
            self.sleep(self.from(0, self.ttl_most() / 2)).await;
            if self.world.lock().closing {
                break;
            }
            let key = self.chance.borrow_mut().pick(self.world.lock().plan.keys.len());
            match self.from(0, 20) {
                0..=5 => self.acquire(key, None).await,
                // A time limit that ends while a write is on its way.
                6 => self.acquire(key, Some(self.from(1000, 60_000))).await,
                7 | 8 => self.acquire(key, Some(self.from(1000, self.ttl_most() * 4))).await,
                9 | 10 => self.try_acquire(key).await,
                11..=14 => self.run(key).await,
                15 => self.wait_until_free(key).await,
                16 => self.look(key).await,
                17 => self.list().await,
                18 if self.strikes(Fault::Break) => self.force(key).await,
                _ => self.close().await,
            }
        }
        self.close().await;
    }

    /// Takes each lock once, after everybody else has gone.
    pub(super) async fn probe(self) {
        let keys = self.world.lock().plan.keys.len();
        for key in 0..keys {
            let guard = match self.mutex(key).acquire().await {
                Err(e) if e.kind() == ErrorKind::Corrupt => {
                    self.force(key).await;
                    self.mutex(key).acquire().await
                }
                other => other,
            };
            match guard {
                Ok(guard) => {
                    self.world.lock().tally.probes += 1;
                    self.granted(&guard, key);
                    self.release(guard, key, false).await;
                }
                Err(e) => self.must_not(&e),
            }
        }
        self.close().await;
    }

    // What they are.

    fn from(&self, least: u64, end: u64) -> u64 {
        self.chance.borrow_mut().from(least, end)
    }

    fn ttl_most(&self) -> u64 {
        self.world.lock().plan.ttl_most
    }

    fn id(&self) -> u64 {
        (self.caller.who as u64) << 8 | self.number
    }

    fn strikes(&self, fault: Fault) -> bool {
        self.acts.set(self.acts.get() + 1);
        let number = self.number << 16 | self.acts.get();
        self.world.lock().strikes(fault, self.caller, number)
    }

    async fn sleep(&self, span: u64) {
        let (tell, told) = oneshot::channel();
        let to = self.caller;
        self.world.lock().later(span, Happening::Pause { to, tell });
        heard(told).await;
    }

    async fn sleep_if(&self, span: Option<u64>) {
        match span {
            Some(span) => self.sleep(span).await,
            None => std::future::pending().await,
        }
    }

    fn mutex(&self, key: usize) -> Mutex {
        let (name, settings) = {
            let state = self.world.lock();
            let who = self.caller.who % state.plan.base.clients.len();
            (state.plan.keys[key].to_string(), state.plan.base.clients[who].clone())
        };
        let mutex = self.client.mutex(name).with_ttl(settings.ttl);
        let mutex = mutex.with_takeover_delay(settings.takeover_delay);
        let mutex = mutex.with_label(format!("client {}", self.caller.who));
        if self.from(0, 3) > 0 {
            return mutex;
        }
        let world = Arc::clone(&self.world);
        mutex.on_wait(move |_| world.lock().tally.waits_told += 1)
    }

    fn did(&self, what: &str) {
        let more = self.number;
        self.world
            .lock()
            .note(Some(self.caller.who), what, more, |_| (format!("(user {more})"), String::new()));
    }

    /// A call that must return within this much time of its process, if it returns at all.
    async fn within<T>(&self, limit: u64, what: &str, call: impl Future<Output = T>) -> T {
        let ran = || {
            let state = self.world.lock();
            state.places[self.caller.who].ran(state.time)
        };
        let began = ran();
        let result = call.await;
        let took = ran() - began;
        let who = self.caller.who;
        self.world.lock().must(took <= limit, CALLS_END, || {
            format!("client {who}: {what} took {took} us of {limit}")
        });
        result
    }

    /// The longest that a release may take: a ttl by a slow clock.
    fn release_most(&self) -> u64 {
        self.ttl_most() * 10 / 9 + 20_000
    }

    // What they do.

    async fn acquire(&self, key: usize, timeout: Option<u64>) {
        let mutex = match timeout {
            Some(span) => self.mutex(key).with_timeout(Duration::from_micros(span)),
            None => self.mutex(key),
        };
        let cancels = self.strikes(Fault::Cancel).then(|| self.from(0, self.ttl_most() * 2));
        let limit = timeout.map_or(u64::MAX, |span| span * 10 / 9 + 20_000);
        if timeout.is_none() && cancels.is_none() {
            self.waits(key);
        }
        self.did("wants it");
        let result = tokio::select! {
            biased;
            result = self.within(limit, "acquire", mutex.acquire()) => Some(result),
            () = self.sleep_if(cancels) => None,
        };
        self.waits_no_more(key);
        match result {
            Some(Ok(guard)) => self.hold(guard, key).await,
            Some(Err(error)) => self.failed(key, &error).await,
            None => {
                self.did("gives up");
                self.world.lock().tally.cancels += 1;
            }
        }
    }

    async fn try_acquire(&self, key: usize) {
        let limit = self.ttl_most() * 3 + 500_000;
        let mutex = self.mutex(key);
        match self.within(limit, "try_acquire", mutex.try_acquire()).await {
            Ok(Attempt::Acquired(guard)) => self.hold(guard, key).await,
            Ok(Attempt::Held(_)) => self.world.lock().tally.refusals += 1,
            Err(error) => self.failed(key, &error).await,
        }
    }

    async fn run(&self, key: usize) {
        let (held, holder) = (Cell::new(false), Cell::new(None));
        let mutex = self.mutex(key);
        self.waits(key);
        self.did("wants to run a section");
        let result = mutex
            .run(async |guard| {
                self.waits_no_more(key);
                holder.set(Some(guard.holder()));
                self.granted(guard, key);
                self.work(guard, key).await;
                // A guard that is in doubt may prove right by its release.
                held.set(guard.is_held() || self.world.lock().stands(key, guard));
            })
            .await;
        self.waits_no_more(key);
        match (result, holder.get()) {
            (Ok(()), holder) => {
                let mut state = self.world.lock();
                state.tally.sections += 1;
                let was = held.get();
                state.must(was, SECTION_IS_HELD, || "a section counts that was lost".into());
                if let Some(holder) = holder {
                    state.released(self.caller, key, holder);
                }
            }
            (Err(error), None) => self.failed(key, &error).await,
            (Err(error), Some(_)) => {
                self.must_not(&error);
                let stopped = error.kind() == ErrorKind::Lost;
                self.world.lock().tally.sections_stopped += u64::from(stopped);
            }
        }
    }

    async fn wait_until_free(&self, key: usize) {
        let span = self.from(1000, self.ttl_most() * 3);
        let mutex = self.mutex(key).with_timeout(Duration::from_micros(span));
        let limit = span * 10 / 9 + 20_000;
        match self.within(limit, "wait_until_free", mutex.wait_until_free()).await {
            Ok(()) => self.world.lock().tally.found_free += 1,
            Err(error) => self.failed(key, &error).await,
        }
    }

    async fn look(&self, key: usize) {
        let (name, before) = {
            let state = self.world.lock();
            (state.plan.keys[key].to_string(), state.store[key].record().map(|r| r.token))
        };
        // A look has no time limit of its own.
        let status = tokio::select! {
            biased;
            status = self.client.status(&name) => status,
            () = self.sleep(self.ttl_most()) => return,
        };
        let Ok(status) = status else { return };
        let mut state = self.world.lock();
        state.tally.looks += 1;
        let fine = status
            .token
            .is_none_or(|t| Some(t) >= before && Some(t) <= state.store[key].last_token);
        state.must(fine, RECORD_RISES, || {
            format!("a look shows {:?} after {before:?}", status.token)
        });
    }

    async fn list(&self) {
        tokio::select! {
            biased;
            listed = self.client.list("") => {
                self.world.lock().tally.lists += u64::from(listed.is_ok());
            }
            () = self.sleep(self.ttl_most()) => {}
        }
    }

    async fn force(&self, key: usize) {
        let name = self.world.lock().plan.keys[key].to_string();
        self.did("forces it");
        let number = {
            let mut state = self.world.lock();
            let until = state.time + u64::try_from(EDIT_PATIENCE.as_micros()).unwrap_or(u64::MAX);
            state.forcing.push(until);
            state.forcing.len() - 1
        };
        let forced = tokio::select! {
            biased;
            forced = self.client.force_release(&name, "a test of force") => forced,
            () = self.sleep(self.ttl_most()) => return,
        };
        let mut state = self.world.lock();
        state.forcing[number] = state.time;
        match forced {
            Ok(Forced::Released { .. }) => state.tally.forced += 1,
            Ok(Forced::Repaired { .. }) => state.tally.repaired += 1,
            Ok(_) | Err(_) => {}
        }
    }

    async fn close(&self) {
        self.did("closes");
        self.client.clone().close().await;
        let mut state = self.world.lock();
        state.tally.closes += 1;
        let settled = state.time > state.weather.calm + state.plan.ttl_most * 2;
        if settled && state.plan.users.get(self.caller.who) == Some(&1) {
            state.check_closed(self.caller);
        }
    }

    async fn failed(&self, key: usize, error: &Error) {
        self.must_not(error);
        let kind = error.kind();
        let repairs = {
            let mut state = self.world.lock();
            let calm = state.is_calm();
            let tally = &mut state.tally;
            match kind {
                ErrorKind::Timeout => tally.timeouts += 1,
                ErrorKind::Corrupt => tally.corrupt += 1,
                _ => tally.failures += 1,
            }
            kind == ErrorKind::Corrupt && (calm || self.chance.borrow_mut().permille(300))
        };
        if repairs {
            self.force(key).await;
        } else if kind == ErrorKind::Timeout && self.from(0, 2) == 0 {
            self.close().await;
        }
    }

    /// Errors that no user may ever see.
    fn must_not(&self, error: &Error) {
        let mut state = self.world.lock();
        let (who, kind) = (self.caller.who, error.kind());
        let text = error.to_string();
        state.note(Some(who), "is told", kind as u64, |_| (text.clone(), String::new()));
        let stopped = text.contains("driver of this client has stopped");
        state.must(!stopped, DRIVER_LIVES, || format!("client {who}: {text}"));
        let settled = state.time > state.unharmed_since() + state.plan.ttl_most * 3;
        let fine = matches!(kind, ErrorKind::Timeout | ErrorKind::Corrupt) || !settled;
        state.must(fine, ALL_END, || format!("client {who}: {text}"));
    }

    fn waits(&self, key: usize) {
        let mut state = self.world.lock();
        let time = state.time;
        let others = state.store[key].waiting.keys().any(|id| id >> 8 == self.id() >> 8);
        state.tally.second_in_process += u64::from(others);
        state.store[key].waiting.insert(self.id(), time);
    }

    fn waits_no_more(&self, key: usize) {
        self.world.lock().store[key].waiting.remove(&self.id());
    }

    // Holding.

    fn granted(&self, guard: &Guard, key: usize) {
        let (held, deadline) = (guard.is_held(), guard.deadline());
        self.world.lock().granted(self.caller, key, guard.token(), deadline, held);
    }

    async fn hold(&self, guard: Guard, key: usize) {
        self.granted(&guard, key);
        let guard = Arc::new(guard);
        self.world.watch(self.caller, self.number, key, Arc::clone(&guard));
        let lost = tokio::select! {
            biased;
            error = guard.lost() => Some(error),
            () = self.work(&guard, key) => None,
        };
        if let Some(error) = &lost {
            self.world.told(&guard);
            self.did("is told of its loss");
            self.world.lock().tally.lost_told += 1;
            self.must_not_be_other(error);
            if self.from(0, 2) > 0 {
                self.sleep(self.from(0, self.ttl_most())).await;
            }
        }
        self.world.unwatch(&guard);
        let Some(guard) = Arc::into_inner(guard) else { return };
        match self.from(0, 8) {
            0..=3 => self.release(guard, key, lost.is_some()).await,
            4 => self.release_and_leave(guard).await,
            _ => {
                drop(guard);
                self.did("drops its guard");
                self.world.lock().tally.drops += 1;
                if self.from(0, 3) == 0 {
                    self.close().await;
                }
            }
        }
    }

    fn must_not_be_other(&self, error: &Error) {
        let (who, text, kind) = (self.caller.who, error.to_string(), error.kind());
        let mut state = self.world.lock();
        state.must(kind == ErrorKind::Lost, DRIVER_LIVES, || format!("client {who}: {text}"));
    }

    async fn release(&self, guard: Guard, key: usize, lost: bool) {
        let holder = guard.holder();
        self.did("releases");
        let result = self.within(self.release_most(), "release", guard.release()).await;
        match result {
            Ok(()) => {
                self.did("has released");
                let mut state = self.world.lock();
                state.must(!lost, SECTION_IS_HELD, || "a lost lock was released".into());
                state.released(self.caller, key, holder);
            }
            Err(error) => {
                self.world.lock().tally.releases_failed += 1;
                if !lost {
                    self.must_not(&error);
                }
            }
        }
    }

    async fn release_and_leave(&self, guard: Guard) {
        let span = self.from(0, 30_000);
        self.did("releases, and does not wait");
        tokio::select! {
            biased;
            _ = guard.release() => {}
            () = self.sleep(span) => self.world.lock().tally.releases_abandoned += 1,
        }
    }

    /// Works for a while under the lock.
    async fn work(&self, guard: &Guard, key: usize) {
        let (mut left, ttl) = {
            let state = self.world.lock();
            let most = if state.is_calm() { 2 } else { self.from(1, 12) };
            (self.from(0, state.plan.ttl_most * most / 4), state.plan.ttl_most)
        };
        while left > 0 {
            let span = self.from(1, (ttl / 4).min(left) + 1);
            self.sleep(span).await;
            left -= span;
            self.write(guard, key).await;
        }
    }

    /// Asks whether the lock is held, and writes to what it guards.
    async fn write(&self, guard: &Guard, key: usize) {
        if !guard.is_held() {
            return;
        }
        let sent = guard.deadline().sent;
        if let Some(other) = self.world.rival(self.caller.who, key, guard, sent) {
            self.world.lock().must(false, ONE_GUARD, || other);
        }
        // Its thread may be blocked between the check and the act, or the act be slow to arrive.
        let blocked = self.strikes(Fault::FrozenAct).then(|| self.from(1000, self.ttl_most() * 2));
        let slow = self.strikes(Fault::SlowRequest);
        let delay = self.from(0, if slow { self.ttl_most() * 3 / 2 } else { 20_000 });
        let (token, holder) = (guard.token(), guard.holder());
        {
            let mut state = self.world.lock();
            let act = Happening::Act { key, token, holder };
            state.later(blocked.unwrap_or(0) + delay, act);
            if let Some(span) = blocked {
                let until = state.time + span;
                state.blocked.insert((self.caller, self.number), until);
                state.later(span, Happening::Unblocked { to: self.caller });
            }
        }
        if let Some(span) = blocked {
            self.sleep(span).await;
        }
    }
}
