//! The driver: the only loop that awaits. It feeds the state machine of [`leasehold_core::lease`]
//! with time, replies and commands, and does what it says.
//!
//! Every acquisition is a task of its own on the driver's thread. What the user holds (the future of
//! an `acquire`, a guard) owns no state of the protocol: dropping it is one message. Nothing of the
//! user's runs on the driver's thread, where it could hold up every lock of the client: a callback is
//! called where the user waits.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use leasehold_core::backend::Key;
use leasehold_core::deadline::Now;
use leasehold_core::lease::{Input, Lease, Patience, Release, Settings};
use leasehold_core::primitive::Primitive;
use leasehold_core::record::{HolderId, Record};
use tokio::sync::{mpsc, oneshot, watch};

use crate::client::{Client, Lane, Leaving, Shared};
use crate::env::Env;
use crate::error::Error;
use crate::guard::{Guard, Standing};
use crate::holder::HeldBy;
use crate::mutex::{OnWait, Waiting};
use crate::status::stopped;

pub(crate) mod request;
mod session;

use session::Session;

/// What an acquisition came to.
#[derive(Debug)]
pub(crate) enum Outcome<P: Primitive> {
    /// It is ours.
    Granted(Grant<P>),
    /// Another has it.
    Held(HeldBy),
    /// Time is up, and nobody is known to have it.
    TimeIsUp(Late),
    /// It is free, and we were only to look.
    Free,
    /// There is nothing to wait for.
    Answer(P::Answer),
}

/// What holding is, and what else the primitive makes of it.
#[derive(Debug)]
pub(crate) struct Grant<P: Primitive> {
    pub(crate) guard: Guard,
    /// As it was granted.
    pub(crate) record: Box<Record>,
    /// Tells the driver more than that it lets go.
    pub(crate) wire: Wire<P>,
    /// The number of the newest ask that is in the record.
    pub(crate) asked: watch::Receiver<u64>,
}

/// What was going on when the time was up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Late {
    /// Others of this process wanted the same name before.
    Queued,
    /// The store had not answered.
    Unanswered,
    /// It had failed, and its backoff was not over.
    Resting,
    /// It was to be taken.
    Free,
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Late::Queued => "another task of this process was still ahead of it",
            Late::Unanswered => "the store did not answer in that time",
            Late::Resting => "it has failed, and it is too early for the next attempt",
            Late::Free => "it was free, and could not be taken in that time",
        })
    }
}

/// What the holder can tell the driver, beside that it lets go.
#[derive(Debug)]
pub(crate) enum Command<P: Primitive> {
    /// Have this, the ask of this number, written into the record.
    Ask(u64, P::Ask),
    /// Let go with this end, or as if it had never been held; say what became of it.
    End(Option<P::End>, oneshot::Sender<Release>, Leaving),
}

/// The holder's way to the driver, which reads it before the guard's release.
#[derive(Debug)]
pub(crate) struct Wire<P: Primitive> {
    shared: Arc<Shared>,
    commands: Option<mpsc::UnboundedSender<Command<P>>>,
}

impl<P: Primitive> Wire<P> {
    /// Reaches nobody only if the driver is gone, and then the lease is lost soon.
    pub(crate) fn send(&self, command: Command<P>) {
        if let Some(commands) = &self.commands {
            let _ = commands.send(command);
        }
    }
}

impl<P: Primitive> Drop for Wire<P> {
    fn drop(&mut self) {
        if self.shared.is_forked() {
            // The driver that its end would wake is in another process.
            std::mem::forget(self.commands.take());
        }
    }
}

/// What the driver is asked for.
pub(crate) struct Order<P: Primitive> {
    pub(crate) key: Key,
    pub(crate) primitive: P,
    pub(crate) settings: Settings,
    pub(crate) patience: Patience,
    /// Only to wait until it is free.
    pub(crate) look: bool,
    /// For a caller who wants to hear of the wait: the newest state of it.
    pub(crate) news: Option<watch::Sender<Option<Waiting>>>,
}

pub(crate) type Answer<P> = Result<Outcome<P>, Error>;

/// Takes a lock, or waits until it is free. Dropping the future settles whatever is under way.
pub(crate) async fn perform<P: Primitive>(
    client: &Client,
    mut order: Order<P>,
    on_wait: Option<&OnWait>,
) -> Answer<P> {
    let shared = &client.0;
    shared.check_process()?;
    let mut told = None;
    if on_wait.is_some() {
        let (news, receiver) = watch::channel(None);
        (order.news, told) = (Some(news), Some(receiver));
    }
    let (answer, answered) = oneshot::channel();
    let (let_go, letting_go) = mpsc::unbounded_channel();
    let mut leash = Leash { shared, let_go: Some(let_go.clone()) };
    shared.spawn(acquisition(Arc::clone(shared), order, answer, let_go, letting_go));
    let answer = match (on_wait, told) {
        (Some(on_wait), Some(told)) => hear(answered, told, on_wait).await,
        _ => answered.await,
    };
    leash.let_go = None;
    answer.unwrap_or_else(|_| stopped())
}

/// Waits for the answer, and calls the caller's callback meanwhile.
async fn hear<T>(
    mut answered: oneshot::Receiver<T>,
    mut told: watch::Receiver<Option<Waiting>>,
    on_wait: &OnWait,
) -> Result<T, oneshot::error::RecvError> {
    loop {
        tokio::select! {
            // What was said before the answer is told before it.
            biased;
            Ok(()) = told.changed() => {
                let waiting = told.borrow_and_update().clone();
                if let Some(waiting) = waiting {
                    on_wait(&waiting);
                }
            }
            answer = &mut answered => return answer,
        }
    }
}

/// Says that nobody waits, if it is dropped while somebody does.
struct Leash<'a> {
    shared: &'a Shared,
    let_go: Option<mpsc::UnboundedSender<Leaving>>,
}

impl Drop for Leash<'_> {
    fn drop(&mut self) {
        planted!(CancelLeaksGrant: return);
        if let Some(let_go) = self.let_go.take() {
            let _ = let_go.send(self.shared.leaving());
        }
    }
}

/// One acquisition, from the queue of this process to the end of its release.
async fn acquisition<P: Primitive>(
    shared: Arc<Shared>,
    mut order: Order<P>,
    answer: oneshot::Sender<Answer<P>>,
    let_go: mpsc::UnboundedSender<Leaving>,
    mut letting_go: mpsc::UnboundedReceiver<Leaving>,
) {
    let began = shared.env.now();
    let lane = shared.lane(&order.key);
    // A call that does not wait, or does not want the lock, needs no place in the queue.
    let queues = order.patience != Patience::Try && !order.look;
    let turn = if queues {
        match queue(&shared, &lane, &order, began, &mut letting_go).await {
            Turn::Ours(permit) => Some(permit),
            Turn::TimeIsUp => {
                let holder = lane.holder.borrow().clone();
                let outcome = holder.map_or(Outcome::TimeIsUp(Late::Queued), Outcome::Held);
                drop(answer.send(Ok(outcome)));
                return;
            }
            Turn::Unwanted(_leaving) => return,
        }
    } else {
        None
    };
    let recalled = shared.recall(&order.key).await;
    let now = shared.env.now();
    if let Patience::AtMost(most) = order.patience {
        let left = most.saturating_sub(now.moment.longest_since(began.moment));
        planted!(TimeInQueueForgotten: let left = most);
        order.patience = Patience::AtMost(left.max(Duration::from_millis(1)));
    }
    let memory = lane.memory.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    let memory = memory.and(recalled.clone(), now.moment);
    let holder = HolderId(shared.env.unique());
    let lease = Lease::new(order.settings.clone(), order.primitive.clone(), holder, memory);
    let first = match order.look {
        true => Input::Look(order.patience),
        false => Input::Acquire(order.patience),
    };
    let (standing, _) = watch::channel(Standing::Released);
    let (commands, commanded) = mpsc::unbounded_channel();
    let session = Session {
        shared,
        lane,
        turn,
        order,
        lease,
        holder,
        began,
        looked_at: now,
        answer: Some(answer),
        settling: None,
        let_go: Some((let_go, commands)),
        standing,
        late: Late::Unanswered,
        trouble: watch::Sender::new(None),
        asked: watch::Sender::new(0),
        ending: None,
        request: None,
        wake: None,
        hint: None,
        spent: None,
        noted: recalled,
    };
    session.run(first, letting_go, commanded).await;
}

enum Turn {
    Ours(tokio::sync::OwnedSemaphorePermit),
    TimeIsUp,
    /// Nobody waits for it any more.
    Unwanted(Option<Leaving>),
}

/// Waits behind the others of this process that want the same name.
async fn queue<P: Primitive>(
    shared: &Shared,
    lane: &Lane,
    order: &Order<P>,
    began: Now,
    letting_go: &mut mpsc::UnboundedReceiver<Leaving>,
) -> Turn {
    let mut holder = lane.holder.subscribe();
    let turn = Arc::clone(&lane.turn).acquire_owned();
    tokio::pin!(turn);
    let patience = async {
        match order.patience {
            Patience::AtMost(most) => shared.env.sleep(most).await,
            Patience::Forever | Patience::Try => std::future::pending().await,
        }
    };
    tokio::pin!(patience);
    loop {
        tokio::select! {
            biased;
            leaving = letting_go.recv() => return Turn::Unwanted(leaving),
            permit = &mut turn => match permit {
                Ok(permit) => return Turn::Ours(permit),
                // The semaphore is never closed.
                Err(_) => return Turn::Unwanted(None),
            },
            () = &mut patience => return Turn::TimeIsUp,
            Ok(()) = holder.changed(), if order.news.is_some() => {
                let held_by = holder.borrow_and_update().clone();
                if let (Some(news), Some(_)) = (&order.news, &held_by) {
                    let waited = shared.env.now().moment.longest_since(began.moment);
                    news.send_replace(Some(Waiting::new(held_by, waited, None)));
                }
            }
        }
    }
}

/// Draws fresh ids from the environment.
pub(crate) fn ids(env: &dyn Env) -> impl FnMut() -> u128 {
    move || env.unique()
}
