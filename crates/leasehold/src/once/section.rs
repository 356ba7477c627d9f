//! A run under way.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use leasehold_core::lease::Release;
use leasehold_core::once::{self, Completion, Report};
use leasehold_core::record::{FencingToken, MAX_CHECKPOINT_BYTES, Outcome};
use tokio::sync::{oneshot, watch};

use crate::driver::{Command, Grant, Wire};
use crate::error::{Error, ErrorKind};
use crate::guard::Guard;
use crate::holder::Span;

/// A run of `once`, while this process has the lease for it.
///
/// **Dropping** it without saying how it ended leaves it interrupted: the next run resumes it.
#[must_use = "the run is interrupted as soon as the section is dropped"]
pub struct Section {
    guard: Guard,
    run: Option<Outcome>,
    wire: Wire<once::Once>,
    saved: watch::Receiver<u64>,
    result: Mutex<String>,
    saves: AtomicU64,
}

impl Section {
    pub(super) fn new(grant: Grant<once::Once>) -> Section {
        let Grant { guard, record, wire, asked: saved } = grant;
        let run = record.outcome;
        Section { guard, run, wire, saved, result: Mutex::default(), saves: AtomicU64::new(0) }
    }

    /// The guard of the lease: whether it is held, until when, and by which id.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// The fencing token of this run: higher than that of every run before.
    pub fn token(&self) -> FencingToken {
        self.guard.token()
    }

    /// What is to be done.
    pub fn key(&self) -> &str {
        self.run.as_ref().map_or("", |run| &run.key)
    }

    /// Which attempt this is, from 1: one more than have failed.
    pub fn attempt(&self) -> u64 {
        self.run.as_ref().map_or(0, |run| run.failures).saturating_add(1)
    }

    /// The token of the run of this key before, if that one began and did not complete: it crashed, was
    /// interrupted, or failed, and what it did half may be there.
    pub fn resumed(&self) -> Option<FencingToken> {
        self.run.as_ref()?.resumes
    }

    /// What the runs of this key before [saved](Section::save) last. What this one saves is not in it.
    pub fn checkpoint(&self) -> Option<&[u8]> {
        Some(&self.run.as_ref()?.checkpoint.as_ref()?.0)
    }

    /// Whether the lease is held now. See [`Guard::is_held`].
    pub fn is_held(&self) -> bool {
        self.guard.is_held()
    }

    /// Waits until the lease is held no longer. See [`Guard::lost`].
    pub async fn lost(&self) -> Error {
        self.guard.lost().await
    }

    /// Sets the result that callers who find it done are told: at most the last 1 KiB of it is kept.
    pub fn set_result(&self, result: impl Into<String>) {
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = result.into();
    }

    /// Saves a checkpoint, at most 4096 bytes, for the run that resumes, and waits until the store has
    /// confirmed it. It replaces the one before; of several at once only the last is sure to be saved.
    /// It is dropped when the run is done, and kept when it fails.
    ///
    /// Every one costs a write, and a store that limits writes (a bucket: one a second) makes it wait.
    /// Fails with `Lost` when the lease is lost first, and the checkpoint may then be saved or not.
    /// Dropping the future lets the saving go on.
    pub async fn save(&self, checkpoint: &[u8]) -> Result<(), Error> {
        if checkpoint.len() > MAX_CHECKPOINT_BYTES {
            let why = format!(
                "a checkpoint of {} bytes cannot be saved for {:?}: at most {MAX_CHECKPOINT_BYTES} \
                 are allowed",
                checkpoint.len(),
                self.guard.name(),
            );
            return Err(Error::new(ErrorKind::Invalid, why));
        }
        if let Some(lost) = self.guard.over() {
            return Err(lost);
        }
        let number = self.saves.fetch_add(1, Ordering::Relaxed) + 1;
        self.wire.send(Command::Ask(number, checkpoint.to_vec()));
        let mut saved = self.saved.clone();
        tokio::select! {
            biased;
            Ok(_) = saved.wait_for(|newest| *newest >= number) => Ok(()),
            lost = self.guard.lost() => Err(lost),
        }
    }

    /// Records that it is done, and lets go. `code` is the exit code, if it was a command.
    ///
    /// `Ok` means that the completion is recorded. [`Superseded`](ErrorKind::Superseded) means that
    /// somebody else had the record by then: it is neither done nor failed by us. A lease that ran out
    /// meanwhile does not matter as long as nobody else came. With `Unavailable` the store did not answer
    /// for four ttls, and it may be recorded or not.
    ///
    /// Dropping the future lets the recording go on.
    pub async fn done(self, code: Option<u8>) -> Result<(), Error> {
        self.record_done(code).await
    }

    /// Records that it failed, with the error (the last 1 KiB of it) and the exit code, if it was a
    /// command that ended by itself, and lets go. As [`done`](Section::done) otherwise.
    pub async fn failed(self, code: Option<u8>, error: &str) -> Result<(), Error> {
        self.record_failed(code, error.to_owned()).await
    }

    /// Lets go as if this run had never begun: nothing was done, and nothing had to be. Waits until that
    /// is settled. Dropping the future lets it go on.
    pub async fn withdraw(self) {
        // Whatever came of it, nothing was done that anybody has to know of.
        let _ = self.complete(None).await;
    }

    /// Lets go with the work half done: the next run resumes it. Waits until the store has
    /// confirmed it, as [`Guard::release`] does.
    pub async fn interrupted(self) -> Result<(), Error> {
        self.guard.release().await
    }

    pub(super) async fn record_done(&self, code: Option<u8>) -> Result<(), Error> {
        let text = self.result.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.complete(Some(Completion::Done(Report { code, text }))).await
    }

    pub(super) async fn record_failed(&self, code: Option<u8>, text: String) -> Result<(), Error> {
        self.complete(Some(Completion::Failed(Report { code, text }))).await
    }

    async fn complete(&self, completion: Option<Completion>) -> Result<(), Error> {
        let what = match completion {
            Some(Completion::Done(_)) => "was done",
            Some(Completion::Failed(_)) => "failed",
            None => "was withdrawn",
        };
        self.guard.shared.check_process()?;
        let (tell, told) = oneshot::channel();
        let leaving = self.guard.shared.leaving();
        self.wire.send(Command::End(completion, tell, leaving));
        let (key, place) = (self.guard.name(), self.guard.shared.backend.url());
        match told.await.unwrap_or(Release::Unconfirmed) {
            Release::Freed => Ok(()),
            Release::NotHeld => Err(Error::new(
                ErrorKind::Superseded,
                format!(
                    "{key:?} at {place} {what}, but its lease had been lost and the record is \
                     somebody else's: nothing was recorded"
                ),
            )),
            Release::Unconfirmed => Err(Error::new(
                ErrorKind::Unavailable,
                format!(
                    "{key:?} at {place} {what}, and it is not known whether that is recorded: {}; \
                     if it is not, it runs again {} after the last renewal",
                    self.guard.trouble().as_deref().unwrap_or("its record has moved on since"),
                    Span(self.guard.ttl),
                ),
            )),
        }
    }
}

impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Section({:?}, attempt {}, {:?})", self.key(), self.attempt(), self.guard)
    }
}
