//! Run once: one process runs it, all others wait and inherit the outcome.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use leasehold_core::backend::{BoxFuture, is_invisible};
use leasehold_core::lease::Patience;
use leasehold_core::once::{self, Settled};
use leasehold_core::record::{Ending, FencingToken, MAX_KEY_BYTES, Progress, Record};

use crate::client::Client;
use crate::driver::{self, Order, Outcome};
use crate::error::{Error, ErrorKind};
use crate::mutex::{Mutex, Waiting};

mod section;

pub use section::Section;

type Needed = Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

/// A function that runs once, by name and key. Made by [`Client::once`].
///
/// The record of the name says how far its newest *key* has come: started, done or failed. A
/// later call finds it done and does nothing. A new key is a new thing and runs again; a key that a
/// later one replaced never does, as far as the record remembers (64 keys). `docs/once.md` says what is
/// promised and how to write a section that can be resumed.
#[derive(Clone)]
#[must_use = "nothing runs before one of its methods is awaited"]
pub struct Once {
    lock: Mutex,
    what: once::Once,
    deadline: Option<Duration>,
    needed: Option<Needed>,
}

/// What [`Once::run`] came to.
#[derive(Debug)]
#[must_use = "it says whether this call ran it, and with what result"]
pub enum Ran<T> {
    /// It ran here, now, and its completion is recorded.
    Now(T),
    /// It was done before, here or elsewhere.
    Before(Done),
    /// [`needed`](Once::needed) said that there is nothing to do. Nothing is recorded.
    NotNeeded,
    /// All attempts are used up, over all hosts.
    GaveUp(Failed),
    /// A later key came before this one was done.
    Outdated(Outdated),
}

/// What [`Once::begin`] came to.
#[derive(Debug)]
#[must_use = "it may be a run, which is interrupted as soon as it is dropped"]
pub enum Begun {
    /// It is ours to do.
    Section(Section),
    /// It was done before.
    Before(Done),
    /// There is nothing to do.
    NotNeeded,
    /// All attempts are used up.
    GaveUp(Failed),
    /// A later key came before this one was done.
    Outdated(Outdated),
}

/// A completion.
///
/// `by` and `text` are what the runner said: they may contain anything. `Display` escapes them.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Done {
    /// The fencing token of the run that did it.
    pub token: FencingToken,
    /// Who did it: host, process and user. Empty if a later key has replaced it since.
    pub by: String,
    /// When, by its wall clock, as Unix milliseconds. 0 if that is not known any more.
    pub at_unix_ms: u64,
    /// The exit code, if it was a command.
    pub code: Option<u8>,
    /// The result that the section [set](Section::set_result), at most 1 KiB.
    pub text: String,
}

/// Why nobody runs it any more, or why it failed last.
///
/// `by` and `text` are what the runner said: they may contain anything. `Display` escapes them.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Failed {
    /// How many runs failed, over all hosts.
    pub attempts: u64,
    /// The last one's label: host, process and user.
    pub by: String,
    /// When it failed, by its wall clock, as Unix milliseconds.
    pub at_unix_ms: u64,
    /// The last one's exit code, if it was a command that ended by itself.
    pub code: Option<u8>,
    /// The last one's error, at most 1 KiB.
    pub text: String,
}

/// A key that a later one replaced before it was done. It never runs again.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Outdated {
    /// The key that came later.
    pub newest: String,
}

/// The end of a run in the user's words.
fn ended(ending: Option<Ending>) -> (String, u64, Option<u8>, String) {
    let Some(e) = ending else { return (String::new(), 0, None, String::new()) };
    (e.by, e.unix_ms, e.code, e.text)
}

impl Done {
    fn new(token: FencingToken, ending: Option<Ending>) -> Done {
        let (by, at_unix_ms, code, text) = ended(ending);
        Done { token, by, at_unix_ms, code, text }
    }
}

impl Failed {
    pub(crate) fn new(attempts: u64, ending: Option<Ending>) -> Failed {
        let (by, at_unix_ms, code, text) = ended(ending);
        Failed { attempts, by, at_unix_ms, code, text }
    }

    /// The last failure, if the newest key of a record has failed.
    pub(crate) fn shown_by(record: &Record) -> Option<Failed> {
        let failed = record.outcome.as_ref().filter(|o| o.state == Progress::Failed)?;
        Some(Failed::new(failed.failures, failed.ending.clone()))
    }
}

/// A label or a text on one line, escaped, because it may go to a terminal.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\n' | '\t' => f.write_str(" ")?,
                c if c.is_control() || is_invisible(c) => write!(f, "{}", c.escape_unicode())?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.by.as_str() {
            "" => f.write_str("done, and a later key came since"),
            by => write!(f, "done by {}", Shown(by)),
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (by, text) = (Shown(&self.by), Shown(&self.text));
        match self.attempts {
            1 => write!(f, "failed once, by {by}: {text}"),
            n => write!(f, "failed {n} times, last by {by}: {text}"),
        }
    }
}

impl std::error::Error for Failed {}

impl fmt::Display for Outdated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "never done, and replaced by the key {:?}", self.newest)
    }
}

impl Once {
    pub(crate) fn new(client: Client, name: String) -> Once {
        let what = once::Once {
            key: String::new(),
            max_attempts: 3,
            backoff: Duration::from_secs(1),
            valid_for: None,
        };
        Once { lock: Mutex::new(client, name), what, deadline: None, needed: None }
    }

    /// What is to be done: a version, or a hash of its contents; at most 128 bytes without control
    /// characters. Without it there is one key, the empty one, and it runs once and for all.
    pub fn keyed(mut self, key: impl Into<String>) -> Once {
        self.what.key = key.into();
        self
    }

    /// How long the lease of a run lasts unrenewed, as for a [mutex](Mutex::with_ttl): how long the
    /// others wait at most after a runner died. It does not limit the run.
    pub fn with_ttl(mut self, ttl: Duration) -> Once {
        self.lock = self.lock.with_ttl(ttl);
        self
    }

    /// How long to wait for others at most, each time. Without it, for ever. With zero, one look.
    pub fn with_timeout(mut self, timeout: Duration) -> Once {
        self.lock = self.lock.with_timeout(timeout);
        self
    }

    /// Who we are, for people: `user@host:pid` unless said.
    pub fn with_label(mut self, label: impl Into<String>) -> Once {
        self.lock = self.lock.with_label(label);
        self
    }

    /// Keeps others out for this long after our lease ran out, as for a
    /// [mutex](Mutex::with_takeover_delay).
    pub fn with_takeover_delay(mut self, delay: Duration) -> Once {
        self.lock = self.lock.with_takeover_delay(delay);
        self
    }

    /// Calls `f` while waiting, as for a [mutex](Mutex::on_wait).
    pub fn on_wait(mut self, f: impl Fn(&Waiting) + Send + Sync + 'static) -> Once {
        self.lock = self.lock.on_wait(f);
        self
    }

    /// How many runs may fail, over all hosts together, before everybody gives up: 3 unless said, at
    /// least 1. A crash is not a failure.
    pub fn with_max_attempts(mut self, attempts: u32) -> Once {
        self.what.max_attempts = u64::from(attempts.max(1));
        self
    }

    /// How long after the first failure the next run begins: 1 s unless said. It doubles with every
    /// further failure, up to a minute (or to this, if it is longer).
    pub fn with_backoff(mut self, first: Duration) -> Once {
        self.what.backoff = first;
        self
    }

    /// How long [`run`](Once::run) lets the section go on. It is then dropped, at its next await, and
    /// has failed. Without it, there is no limit.
    pub fn with_deadline(mut self, deadline: Duration) -> Once {
        self.deadline = Some(deadline);
        self
    }

    /// A completion that is older counts no more: it is done again. The age is by the store's clock
    /// where it has one, and by wall clocks otherwise.
    pub fn with_valid_for(mut self, valid_for: Duration) -> Once {
        self.what.valid_for = Some(valid_for);
        self
    }

    /// Asks whether there is anything to do: before waiting for anybody, and again when it is ours to
    /// do. If not, nothing is recorded, and everybody else asks for themselves.
    pub fn needed<F>(mut self, is_needed: impl Fn() -> F + Send + Sync + 'static) -> Once
    where
        F: Future<Output = bool> + Send + 'static,
    {
        self.needed = Some(Arc::new(move || Box::pin(is_needed())));
        self
    }

    /// Runs `section` in one place, once; everywhere else waits for it and gives its result.
    ///
    /// * If it gives `Ok`, the completion is recorded, and only then this returns [`Ran::Now`].
    /// * If it gives an error, that is recorded and counts as an attempt. The next caller runs it
    ///   again after the [backoff](Once::with_backoff); this call waits for its turn like everybody
    ///   else, so the section may be called more than once.
    /// * If this process dies, or the lease is lost, or the future is dropped, the next one resumes:
    ///   [`Section::resumed`] tells it so. It is no failure.
    ///
    /// Fails with [`Lost`](ErrorKind::Lost) when the lease was lost while the section ran: the section
    /// was dropped, at its next await. With [`Superseded`](ErrorKind::Superseded) when it came to its
    /// end, but somebody else had the record by then. With `Unavailable` or `Denied` when the end could
    /// not be recorded for four ttls: it may be recorded or not, and is never taken for the opposite.
    /// Otherwise as [`Mutex::acquire`].
    pub async fn run<T, E, F>(&self, section: impl Fn(Arc<Section>) -> F) -> Result<Ran<T>, Error>
    where
        E: fmt::Display,
        F: Future<Output = Result<T, E>>,
    {
        loop {
            let ours = match self.begin().await? {
                Begun::Section(ours) => Arc::new(ours),
                Begun::Before(done) => return Ok(Ran::Before(done)),
                Begun::NotNeeded => return Ok(Ran::NotNeeded),
                Begun::GaveUp(failed) => return Ok(Ran::GaveUp(failed)),
                Begun::Outdated(by) => return Ok(Ran::Outdated(by)),
            };
            let ended = tokio::select! {
                biased;
                lost = ours.lost() => return Err(lost),
                ended = section(Arc::clone(&ours)) => ended.map_err(|e| e.to_string()),
                late = self.too_late() => Err(late),
            };
            match ended {
                Ok(value) => {
                    ours.record_done(None).await?;
                    return Ok(Ran::Now(value));
                }
                Err(error) => ours.record_failed(None, error).await?,
            }
        }
    }

    /// Waits until it is ours to do or there is nothing to do: the first half of [`run`](Once::run),
    /// for callers that end the section themselves. A failed section has to call this again.
    ///
    /// Fails as [`Mutex::acquire`] does; dropping the future is as safe.
    pub async fn begin(&self) -> Result<Begun, Error> {
        let (key, settings) = self.lock.checked()?;
        let primitive = self.checked()?;
        if !self.is_needed().await {
            return Ok(Begun::NotNeeded);
        }
        let client = &self.lock.client;
        let began = client.0.env.now().moment;
        let mut patience = self.lock.patience();
        loop {
            let order = Order {
                key: key.clone(),
                primitive: primitive.clone(),
                settings: settings.clone(),
                patience,
                look: false,
                news: None,
            };
            match driver::perform(client, order, self.lock.on_wait.as_ref()).await? {
                Outcome::Granted(grant) => {
                    let section = Section::new(grant);
                    let is_needed = self.is_needed().await;
                    // The host may have slept since the grant, or the answer have taken its time.
                    if is_needed && section.is_held() {
                        return Ok(Begun::Section(section));
                    }
                    section.withdraw().await;
                    if !is_needed {
                        return Ok(Begun::NotNeeded);
                    }
                }
                Outcome::Answer(Settled::Done { token, ending }) => {
                    return Ok(Begun::Before(Done::new(token, ending)));
                }
                Outcome::Answer(Settled::Failed { failures, ending }) => {
                    return Ok(Begun::GaveUp(Failed::new(failures, ending)));
                }
                Outcome::Answer(Settled::Outdated { newest }) => {
                    return Ok(Begun::Outdated(Outdated { newest }));
                }
                Outcome::Held(holder) => return Err(self.lock.timed_out(Some(&holder))),
                Outcome::TimeIsUp(why) => return Err(self.lock.too_late(why)),
                Outcome::Free => {}
            }
            if let Patience::AtMost(most) = self.lock.patience() {
                let waited = client.0.env.now().moment.longest_since(began);
                patience = Patience::AtMost(most.saturating_sub(waited));
            }
        }
    }

    async fn is_needed(&self) -> bool {
        match &self.needed {
            Some(needed) => needed().await,
            None => true,
        }
    }

    /// Resolves when the section has had its time.
    async fn too_late(&self) -> String {
        let Some(deadline) = self.deadline else { return std::future::pending().await };
        self.lock.client.0.env.alarm(deadline).await;
        format!("it ran longer than {deadline:?}")
    }

    fn checked(&self) -> Result<once::Once, Error> {
        let key = &self.what.key;
        let invalid = |why: String| {
            let shown: String = key.chars().take(40).collect();
            Error::new(ErrorKind::Invalid, format!("the key {shown:?} cannot be used: {why}"))
        };
        if key.len() > MAX_KEY_BYTES {
            return Err(invalid(format!(
                "it has {} bytes, at most {MAX_KEY_BYTES} are allowed",
                key.len()
            )));
        }
        if let Some(c) = key.chars().find(|&c| c.is_control() || is_invisible(c)) {
            return Err(invalid(format!("it contains the character U+{:04X}", u32::from(c))));
        }
        Ok(self.what.clone())
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Once({:?}, key {:?})", self.lock, self.what.key)
    }
}
