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
use leasehold_core::once::{Completion, Settled};
use leasehold_core::record::HolderId;
use tokio::sync::{mpsc, oneshot, watch};

use crate::client::{Client, Lane, Leaving, Shared};
use crate::env::Env;
use crate::error::Error;
use crate::guard::{Guard, Standing};
use crate::holder::HeldBy;
use crate::mutex::{OnWait, Waiting};
use crate::status::stopped;

mod request;
mod session;

use session::Session;

/// What an acquisition came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is ours.
    Granted(Guard),
    /// Another has it.
    Held(HeldBy),
    /// Time is up, and nobody is known to have it.
    TimeIsUp(Late),
    /// It is free, and we were only to look.
    Free,
    /// There is nothing to run.
    Settled(Settled),
}

/// What was going on when the time was up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Late {
    /// Others of this process wanted the same name before.
    Queued,
    /// The store had not answered.
    Unanswered,
    /// It had failed, and its backoff was not over.
    BackingOff,
    /// It was to be taken.
    Free,
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Late::Queued => "another task of this process was still ahead of it",
            Late::Unanswered => "the store did not answer in that time",
            Late::BackingOff => "it has failed, and it is too early for the next attempt",
            Late::Free => "it was free, and could not be taken in that time",
        })
    }
}

/// What whoever holds tells the driver.
#[derive(Debug)]
pub(crate) enum Command {
    /// Nobody wants it any more.
    LetGo(Leaving),
    /// Save the checkpoint of this number.
    Save(u64, Vec<u8>),
    /// The run ended like this; say what became of recording it.
    Complete(Completion, oneshot::Sender<Release>, Leaving),
}

/// What the driver is asked for.
pub(crate) struct Order {
    pub(crate) key: Key,
    pub(crate) settings: Settings,
    pub(crate) patience: Patience,
    /// Only to wait until it is free.
    pub(crate) look: bool,
    /// For a caller who wants to hear of the wait: the newest state of it.
    pub(crate) news: Option<watch::Sender<Option<Waiting>>>,
}

pub(crate) type Answer = Result<Outcome, Error>;

/// Takes a lock, or waits until it is free. Dropping the future settles whatever is under way.
pub(crate) async fn perform(client: &Client, mut order: Order, on_wait: Option<&OnWait>) -> Answer {
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
async fn hear(
    mut answered: oneshot::Receiver<Answer>,
    mut told: watch::Receiver<Option<Waiting>>,
    on_wait: &OnWait,
) -> Result<Answer, oneshot::error::RecvError> {
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
    let_go: Option<mpsc::UnboundedSender<Command>>,
}

impl Drop for Leash<'_> {
    fn drop(&mut self) {
        planted!(CancelLeaksGrant: return);
        if let Some(let_go) = self.let_go.take() {
            let _ = let_go.send(Command::LetGo(self.shared.leaving()));
        }
    }
}

/// One acquisition, from the queue of this process to the end of its release.
async fn acquisition(
    shared: Arc<Shared>,
    mut order: Order,
    answer: oneshot::Sender<Answer>,
    let_go: mpsc::UnboundedSender<Command>,
    mut letting_go: mpsc::UnboundedReceiver<Command>,
) {
    let began = shared.env.now();
    let lane = shared.lane(&order.key);
    // Whoever does not wait, or does not want it, needs no place in the queue.
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
    let lease = Lease::new(order.settings.clone(), holder, memory);
    let first = match order.look {
        true => Input::Look(order.patience),
        false => Input::Acquire(order.patience),
    };
    let (standing, _) = watch::channel(Standing::Released);
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
        let_go: Some(let_go),
        standing,
        late: Late::Unanswered,
        trouble: watch::Sender::new(None),
        saved: watch::Sender::new(0),
        completing: None,
        request: None,
        wake: None,
        hint: None,
        spent: None,
        noted: recalled,
    };
    session.run(first, letting_go).await;
}

enum Turn {
    Ours(tokio::sync::OwnedSemaphorePermit),
    TimeIsUp,
    /// Nobody waits for it any more.
    Unwanted(Option<Command>),
}

/// Waits behind the others of this process that want the same name.
async fn queue(
    shared: &Shared,
    lane: &Lane,
    order: &Order,
    began: Now,
    letting_go: &mut mpsc::UnboundedReceiver<Command>,
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
