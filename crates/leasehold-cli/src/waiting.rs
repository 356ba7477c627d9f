//! What is seen while a lock is waited for: who holds it, since when, until when, our time so far.
//!
//! On a terminal that is one line, rewritten in place and gone at the end. Elsewhere, as in the log of a
//! CI system, it is a line at the start, one when the holder changes, one a minute, and one at the end.

use std::fmt::Write as _;
use std::future::Future;
use std::io::Write as _;
use std::time::Duration;

use leasehold::core::deadline::Moment;
use leasehold::env::{Env, Host};
use leasehold::{HolderId, Waiting};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::columns::cut;
use crate::exit::Failure;
use crate::show::{self, clean};
use crate::voice::Voice;
use crate::{nested, times};

/// How often a log is told that the wait goes on: many CI systems end a job that says nothing for ten
/// minutes.
const SIGN_OF_LIFE: Duration = Duration::from_mins(1);

/// So many changes are told at once; after them they are told ever more seldom, because a busy lock would
/// fill the log.
const PROMPT: u32 = 4;

/// Where the library's reports go. They come on the driver's thread, which must not wait for a
/// terminal.
pub(crate) fn channel() -> (impl Fn(&Waiting) + Send + Sync + 'static, UnboundedReceiver<Waiting>) {
    let (tell, told): (UnboundedSender<Waiting>, _) = unbounded_channel();
    let report = move |waiting: &Waiting| {
        // Nobody listens any more when the wait is over.
        let _ = tell.send(waiting.clone());
    };
    (report, told)
}

/// What is seen of one wait.
pub(crate) struct Shown<'a> {
    name: &'a str,
    voice: Voice,
    /// It ends by itself at once, whether or not the lock is held.
    is_a_try: bool,
    began: Moment,
    is_watched: bool,
    is_drawn: bool,
    /// How many lines a log got, and how many of them because something changed; the last of them when and
    /// about what.
    said: u32,
    changes: u32,
    last: Option<(Moment, Key)>,
}

/// What makes another line worth its place: another holder, trouble with the store, a failure.
#[derive(PartialEq, Eq)]
struct Key(Option<HolderId>, bool, u64);

impl<'a> Shown<'a> {
    pub(crate) fn new(name: &'a str, voice: Voice, is_a_try: bool) -> Shown<'a> {
        Shown {
            name,
            voice,
            is_a_try,
            began: Host.now().moment,
            is_watched: show::is_watched(),
            is_drawn: false,
            said: 0,
            changes: 0,
            last: None,
        }
    }

    /// Does `work`, showing what it waits for. Dropping it takes the line away too. It fails where the
    /// wait could never end, because we run under the lock that is waited for.
    pub(crate) async fn during<T>(
        &mut self,
        work: impl Future<Output = T>,
        mut told: UnboundedReceiver<Waiting>,
    ) -> Result<T, Failure> {
        let line = Erased(self);
        let mut last: Option<(Waiting, Moment)> = None;
        let mut asked = None;
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                Some(waiting) = told.recv() => {
                    let now = waiting.held_by.as_ref();
                    if let Some(holder) = now.filter(|_| !line.0.is_a_try)
                        && asked != Some(holder.id)
                    {
                        if nested::is_above(holder.id) {
                            return Err(nested::refusal(line.0.name, holder));
                        }
                        asked = Some(holder.id);
                    }
                    last = Some((waiting, Host.now().moment));
                }
                () = Host.sleep(Duration::from_secs(1)), if last.is_some() => {}
            }
            if let Some((waiting, at)) = &last {
                line.0.draw(waiting, *at);
            }
        }
    }

    /// The wait is over, and this came of it, such as `acquired "deploy"`. It is told where a wait was.
    pub(crate) fn done(&self, what: &str) {
        let waited = times::show(self.waited());
        let text = format!("{what} after {waited}");
        if self.said > 0 {
            self.voice.tell(&text);
        } else {
            self.voice.detail(|| text);
        }
    }

    fn waited(&self) -> Duration {
        Host.now().moment.longest_since(self.began)
    }

    fn draw(&mut self, waiting: &Waiting, told_at: Moment) {
        let now = Host.now().moment;
        if self.voice.quiet {
            return;
        }
        if self.is_watched {
            let text = describe(self.name, waiting, now.longest_since(told_at));
            let text = cut(&text, width().saturating_sub(1));
            let _ = write!(std::io::stderr(), "\r\x1b[K{text}");
            self.is_drawn = true;
            return;
        }
        if let Some(line) = self.line(waiting, told_at, now) {
            self.voice.tell(&line);
        }
    }

    /// What a log is told now, if anything.
    fn line(&mut self, waiting: &Waiting, told_at: Moment, now: Moment) -> Option<String> {
        let key = Key(
            waiting.held_by.as_ref().map(|holder| holder.id),
            waiting.trouble.is_some(),
            waiting.failed.as_ref().map_or(0, |failed| failed.attempts),
        );
        if key == Key(None, false, 0) {
            return None;
        }
        let is_change = self.last.as_ref().is_none_or(|(_, last)| *last != key);
        let pause = Duration::from_secs(self.changes.saturating_sub(PROMPT).into());
        let pause = if is_change { pause.min(SIGN_OF_LIFE) } else { SIGN_OF_LIFE };
        let is_due = self.last.as_ref().is_none_or(|(at, _)| now.longest_since(*at) >= pause);
        is_due.then(|| {
            self.said += 1;
            self.changes += u32::from(is_change);
            self.last = Some((now, key));
            describe(self.name, waiting, now.longest_since(told_at))
        })
    }
}

/// Takes the line away in the end.
struct Erased<'a, 'b>(&'a mut Shown<'b>);

impl Drop for Erased<'_, '_> {
    fn drop(&mut self) {
        if std::mem::take(&mut self.0.is_drawn) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// One line, clean.
fn describe(name: &str, waiting: &Waiting, since: Duration) -> String {
    // Writing to a string cannot fail.
    let mut text = format!("waiting for {}", clean(name));
    let waited = waiting.waited + since;
    if waited >= Duration::from_secs(1) {
        let _ = write!(text, " ({})", times::show(waited));
    }
    if let Some(holder) = &waiting.held_by {
        let held_for = times::show(holder.held_for + since);
        let _ = write!(text, ", held by {} for {held_for}", clean(&holder.label));
        if let Some(left) = holder.expires_in {
            let left = left.saturating_sub(since);
            let _ = write!(text, ", lease ends in {} unless renewed", times::show(left));
        }
    }
    if let Some(failed) = &waiting.failed {
        let (by, count) = (clean(&failed.by), failed.attempts);
        let _ = write!(text, ", too early for the next attempt ({count} failed, last by {by})");
    }
    if let Some(trouble) = &waiting.trouble {
        let _ = write!(text, ", the store has trouble: {}", clean(trouble));
    }
    text
}

fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stderr());
    size.map(|size| usize::from(size.ws_col)).ok().filter(|width| *width > 0).unwrap_or(80)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use leasehold::Client;
    use leasehold::backend::memory::MemoryBackend;
    use leasehold::core::backend::Backend;

    use super::*;

    /// What the library tells a waiter, to be changed by the test.
    fn told() -> Waiting {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let store = Arc::new(MemoryBackend::default());
            let client = || Client::new(Arc::clone(&store) as Arc<dyn Backend>).expect("it runs");
            let first = client().mutex("x").with_label("first");
            let _guard = first.acquire().await.expect("it is free");
            let (tell, told) = mpsc::channel();
            let waiting = client().mutex("x").with_timeout(Duration::from_millis(50));
            let waiting = waiting.on_wait(move |it| tell.send(it.clone()).expect("it is heard"));
            waiting.acquire().await.expect_err("it is held");
            let all = told.try_iter();
            all.filter(|it| it.held_by.is_some()).last().expect("it waited")
        })
    }

    /// A job waits for an hour in the log of a CI system: a line at once, one a minute, one when another
    /// holds the lock; and when it changes hands each second, no flood.
    #[test]
    fn a_log_is_told_of_changes_and_once_a_minute() {
        let (mut waiting, start) = (told(), Host.now().moment);
        let mut shown = Shown::new("x", Voice::default(), false);
        let mut at = |waiting: &Waiting, secs: u64| {
            let span = Duration::from_secs(secs);
            let now = Moment { boot: start.boot + span, mono: start.mono + span };
            shown.line(waiting, now, now)
        };
        assert!(at(&waiting, 0).is_some_and(|line| line.contains("held by first")));
        let lines = (1..=600).filter(|secs| at(&waiting, *secs).is_some()).count();
        assert_eq!(lines, 10);
        let mut other = |n: u64| {
            let holder = waiting.held_by.as_mut().expect("it is held");
            (holder.id, holder.label) = (HolderId(n.into()), format!("other {n}"));
            waiting.clone()
        };
        assert!(at(&other(1), 601).is_some_and(|line| line.contains("held by other 1")));
        let lines = (602..4_202).filter(|secs| at(&other(*secs), *secs).is_some()).count();
        assert!((60..200).contains(&lines), "{lines}");
    }
}
