//! What holding means.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use leasehold_core::backend::Key;
use leasehold_core::deadline::Deadline;
use leasehold_core::record::{FencingToken, HolderId, Past};
use tokio::sync::{mpsc, watch};

use crate::client::{Leaving, Shared};
use crate::env::Env;
use crate::error::{Error, ErrorKind};
use crate::status::stopped;

/// How often a holder looks at the clock at least, because timers do not count suspension.
pub(crate) const LOOK_AT_CLOCK: Duration = Duration::from_secs(1);

/// How an acquisition that was granted stands. Written by the driver, read by the guard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// Held until the deadline, unless renewed.
    Held(Deadline),
    /// The host's clocks jumped: not to be relied on until the next renewal.
    Suspect(Deadline),
    /// Held no longer, and what to say of it.
    Lost(Error),
    /// The release is settled.
    Released,
}

impl Standing {
    fn deadline(&self) -> Option<Deadline> {
        match self {
            Standing::Held(deadline) | Standing::Suspect(deadline) => Some(*deadline),
            Standing::Lost(_) | Standing::Released => None,
        }
    }
}

/// The value that means holding: it exists because a lock was acquired, and dropping it releases.
///
/// It can be held no longer although it exists: the lease was lost. [`is_held`](Guard::is_held) asks,
/// [`lost`](Guard::lost) waits for it, and [`token`](Guard::token) lets the system that is written to refuse
/// what comes too late. No check on this side can: a process may be frozen between the check and the
/// act.
///
/// **Dropping** it sends the release, from anywhere: outside a runtime, during its shutdown, in a
/// panic. Nobody waits for it then ([`Client::close`](crate::Client::close) does); should it fail,
/// the lease ends after its ttl. In a forked child the guard counts as not held, and dropping it
/// does nothing.
///
/// A guard that is not kept is dropped at once, with the lock. The compiler says so:
///
/// ```compile_fail
/// #![deny(unused_must_use)]
/// # async fn deploy(client: leasehold::Client) -> Result<(), leasehold::Error> {
/// client.mutex("deploy").acquire().await?; // released at the end of this line
/// # Ok(())
/// # }
/// ```
///
/// Kept, it is held to the end of its scope:
///
/// ```
/// #![deny(unused_must_use)]
/// # async fn deploy(client: leasehold::Client) -> Result<(), leasehold::Error> {
/// let _guard = client.mutex("deploy").acquire().await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "the lock is released as soon as the guard is dropped"]
pub struct Guard {
    pub(crate) shared: Arc<Shared>,
    pub(crate) key: Key,
    pub(crate) holder: HolderId,
    pub(crate) token: FencingToken,
    pub(crate) past: Option<Past>,
    pub(crate) ttl: Duration,
    pub(crate) standing: watch::Receiver<Standing>,
    pub(crate) trouble: watch::Receiver<Option<String>>,
    /// Tells the driver to let go.
    pub(crate) let_go: Option<mpsc::UnboundedSender<Leaving>>,
}

impl Guard {
    /// The lock's name.
    pub fn name(&self) -> &str {
        self.key.as_str()
    }

    /// The fencing token of this acquisition: higher than that of every acquisition of this name
    /// before, whatever happened in between.
    pub fn token(&self) -> FencingToken {
        self.token
    }

    /// The id of this acquisition, which no other has.
    pub fn holder(&self) -> HolderId {
        self.holder
    }

    /// Who held before, and how that ended, as far as the record tells. Someone whose lease was
    /// [taken over](leasehold_core::record::Ended::TakenOver) may have left work half done.
    pub fn past(&self) -> Option<&Past> {
        self.past.as_ref()
    }

    /// Until when the lock is held unless it is renewed again, on this host's steady clocks. Zero
    /// span when it is lost.
    pub fn deadline(&self) -> Deadline {
        planted!(DoubtIsHeld: if let Standing::Suspect(deadline) = &*self.standing.borrow() {
            return *deadline; });
        match &*self.standing.borrow() {
            Standing::Held(deadline) if !self.shared.is_forked() => *deadline,
            _ => Deadline { sent: self.shared.env.now().moment, span: Duration::ZERO },
        }
    }

    /// How long the lock is held even if nothing is heard from the store again.
    pub fn time_left(&self) -> Duration {
        self.deadline().left(self.shared.env.now().moment)
    }

    /// Whether the lock is held now: a comparison with a clock that counts suspension, not a flag.
    /// Never waits.
    pub fn is_held(&self) -> bool {
        planted!(GuardIsAFlag: return matches!(&*self.standing.borrow(), Standing::Held(_)));
        !self.time_left().is_zero()
    }

    /// Waits until the lock is held no longer, and says why. Resolves at the deadline at the latest,
    /// whatever hangs, on any executor. Cancel-safe; may be called any number of times, also at once.
    ///
    /// It borrows the guard; [`lost_owned`](Guard::lost_owned) is the same for a task of its own.
    pub async fn lost(&self) -> Error {
        self.lost_owned().await
    }

    /// The same as [`lost`](Guard::lost), in a future that borrows nothing: for a task of its own.
    ///
    /// The future does not hold the lock. After the guard is released or dropped it resolves too, with
    /// [`Lost`](ErrorKind::Lost), when the release is settled and at the deadline at the latest. Until
    /// then it keeps the client's driver alive. Dropping it does nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), leasehold::Error> {
    /// let client = leasehold::connect("memory://").await?;
    /// let guard = client.mutex("deploy").acquire().await?;
    ///
    /// let lost = guard.lost_owned();
    /// let alarm = tokio::spawn(async move {
    ///     let why = lost.await;
    ///     eprintln!("stop the deployment: {why}");
    /// });
    ///
    /// // The work, with the guard at hand.
    /// alarm.abort(); // it is done: what follows is no loss
    /// guard.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn lost_owned(&self) -> impl Future<Output = Error> + Send + use<> {
        let (shared, key) = (Arc::clone(&self.shared), self.key.clone());
        let (mut standing, trouble) = (self.standing.clone(), self.trouble.clone());
        async move {
            loop {
                let known = standing.borrow_and_update().clone();
                if let Some(lost) = over(&shared, &key, &standing, &trouble) {
                    return lost;
                }
                if change(&mut standing, &known, &*shared.env).await.is_err() {
                    let lost = over(&shared, &key, &standing, &trouble);
                    return lost.unwrap_or_else(|| held_no_longer(&shared, &key));
                }
            }
        }
    }

    /// Why the lock is known to be held no longer, where it is.
    pub(crate) fn over(&self) -> Option<Error> {
        over(&self.shared, &self.key, &self.standing, &self.trouble)
    }

    /// What the newest renewal met, in words for a person, if it failed; while the lease lasts, others
    /// follow. Never waits.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    /// Follows the renewals, for a helper that has to be told every new deadline.
    pub fn renewals(&self) -> Renewals {
        let told = self.standing.borrow().deadline();
        let (env, process) = (Arc::clone(&self.shared.env), self.shared.process);
        Renewals { standing: self.standing.clone(), told, env, process }
    }

    /// Releases, and waits until the store has confirmed it.
    ///
    /// `Ok` means that the lock was ours to the end and is free. Where that was in doubt (the wall clock
    /// jumped, as after a pause of the machine) the release itself proves it: it lands only on the record
    /// that we left. [`Lost`](ErrorKind::Lost) means
    /// that it had been lost before, and is said at once; should the record still be ours, it is
    /// freed behind this answer ([`Client::close`](crate::Client::close) waits for that).
    /// `Unavailable` or `Denied` means that the work was done under
    /// the lock but the store did not take the release: the lease ends after its ttl.
    ///
    /// Dropping the future lets the release go on.
    pub async fn release(mut self) -> Result<(), Error> {
        let before = self.over();
        self.leave();
        planted!(ReleaseNotAwaited: return Ok(()));
        planted!(DoubtUnproven: if matches!(*self.standing.borrow(), Standing::Suspect(_)) {
            return Ok(()); });
        if let Some(lost) = before {
            return Err(lost);
        }
        let over = self.standing.wait_for(|s| matches!(s, Standing::Released | Standing::Lost(_)));
        match over.await.as_deref() {
            Ok(Standing::Lost(error)) => Err(error.clone()),
            Ok(_) => Ok(()),
            Err(_) => stopped(),
        }
    }

    fn leave(&mut self) {
        let Some(let_go) = self.let_go.take() else { return };
        if self.shared.is_forked() {
            // The driver that it would wake at its end is in another process.
            std::mem::forget(let_go);
        } else {
            // Fails only if the driver is gone, and then the lease ends by itself.
            let _ = let_go.send(self.shared.leaving());
        }
    }
}

/// Why a lock is known to be held no longer, where it is. A doubt is no such knowledge. This does not
/// depend on the driver: it compares the deadline with the clock.
fn over(
    shared: &Shared,
    key: &Key,
    standing: &watch::Receiver<Standing>,
    trouble: &watch::Receiver<Option<String>>,
) -> Option<Error> {
    if shared.is_forked() {
        return Some(shared.forked(ErrorKind::Lost));
    }
    match &*standing.borrow() {
        Standing::Lost(error) => Some(error.clone()),
        Standing::Released => Some(held_no_longer(shared, key)),
        Standing::Held(deadline) | Standing::Suspect(deadline) => {
            let over = deadline.is_past(shared.env.now().moment);
            over.then(|| expired(shared, key, trouble.borrow().as_deref()))
        }
    }
}

fn held_no_longer(shared: &Shared, key: &Key) -> Error {
    let place = shared.backend.url();
    Error::new(ErrorKind::Lost, format!("the lock {key:?} at {place} is held no longer"))
}

/// What is said when a deadline has passed.
pub(crate) fn expired(shared: &Shared, key: &Key, trouble: Option<&str>) -> Error {
    let place = shared.backend.locate(key);
    let why = trouble.unwrap_or("was this process paused?");
    let message =
        format!("lost the lock {key:?} at {place}: it could not be renewed in time: {why}");
    Error::new(ErrorKind::Lost, message)
}

/// Waits until something changes, the deadline passes, or it is time to look at the clock again. The
/// time does not rely on the driver. Fails when the driver has nothing more to say.
async fn change(
    standing: &mut watch::Receiver<Standing>,
    known: &Standing,
    env: &dyn Env,
) -> Result<(), watch::error::RecvError> {
    let left = known.deadline().map_or(Duration::MAX, |d| d.left(env.now().moment));
    tokio::select! {
        biased;
        changed = standing.changed() => changed,
        () = env.alarm(left.min(LOOK_AT_CLOCK)) => Ok(()),
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        planted!(DropForgotten: return std::mem::forget(self.let_go.take()));
        self.leave();
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guard({:?}, token {}, {:?} left)", self.key, self.token, self.time_left())
    }
}

/// The deadlines of a guard, one after another.
#[derive(Debug, Clone)]
#[must_use = "it tells of nothing before `next` is called"]
pub struct Renewals {
    standing: watch::Receiver<Standing>,
    told: Option<Deadline>,
    env: Arc<dyn Env>,
    process: u32,
}

impl Renewals {
    /// Waits for the next renewal and gives the new deadline; `None` when the lock is held no
    /// longer. Renewals that nobody waited for are skipped, not queued. Cancel-safe.
    pub async fn next(&mut self) -> Option<Deadline> {
        loop {
            let known = self.standing.borrow_and_update().clone();
            let deadline = known.deadline()?;
            if deadline.is_past(self.env.now().moment) || self.env.process() != self.process {
                return None;
            }
            if matches!(known, Standing::Held(_)) && self.told != Some(deadline) {
                self.told = Some(deadline);
                return self.told;
            }
            change(&mut self.standing, &known, &*self.env).await.ok()?;
        }
    }
}
