//! What is seen while a lock is waited for: who holds it, since when, until when, our time so far.
//!
//! On a terminal that is one line, rewritten in place and gone at the end. Elsewhere it is one line.

use std::fmt::Write as _;
use std::future::Future;
use std::io::Write as _;
use std::time::Duration;

use leasehold::Waiting;
use leasehold::core::deadline::Moment;
use leasehold::env::{Env, Host};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::show::{self, clean};
use crate::times;

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

/// Does `work`, showing what it waits for. Dropping it takes the line away too.
pub(crate) async fn shown<T>(
    name: &str,
    work: impl Future<Output = T>,
    mut told: UnboundedReceiver<Waiting>,
) -> T {
    let mut line = Line { name, watched: show::is_watched(), is_drawn: false, said: false };
    let mut last: Option<(Waiting, Moment)> = None;
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            Some(waiting) = told.recv() => last = Some((waiting, Host.now().moment)),
            () = Host.sleep(Duration::from_secs(1)), if line.watched && last.is_some() => {}
        }
        if let Some((waiting, at)) = &last {
            line.draw(waiting, Host.now().moment.longest_since(*at));
        }
    }
}

struct Line<'a> {
    name: &'a str,
    watched: bool,
    is_drawn: bool,
    said: bool,
}

impl Line<'_> {
    fn draw(&mut self, waiting: &Waiting, since: Duration) {
        if self.watched {
            let text = describe(self.name, waiting, since);
            let text = cut(&text, width().saturating_sub(1));
            let _ = write!(std::io::stderr(), "\r\x1b[K{text}");
            self.is_drawn = true;
        } else if !self.said && is_worth_a_word(waiting) {
            self.said = true;
            show::say(&describe(self.name, waiting, since));
        }
    }
}

fn is_worth_a_word(waiting: &Waiting) -> bool {
    waiting.held_by.is_some() || waiting.trouble.is_some() || waiting.failed.is_some()
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if self.is_drawn {
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

/// Cut to a width, because a line that wraps cannot be rewritten. What is not ASCII counts as two
/// columns, the most it can be.
fn cut(text: &str, width: usize) -> String {
    let columns = |c: char| if c.is_ascii() { 1 } else { 2 };
    if text.chars().map(columns).sum::<usize>() <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(2);
    let mut out: String = text
        .chars()
        .take_while(|c| {
            let fits = columns(*c) <= left;
            left = left.saturating_sub(columns(*c));
            fits
        })
        .collect();
    out.push('…');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_cut_to_the_terminal() {
        assert_eq!(cut("waiting", 7), "waiting");
        assert_eq!(cut("waiting for", 7), "waiti…");
        assert_eq!(cut("東京東京", 8), "東京東京");
        assert_eq!(cut("東京東京", 7), "東京…");
        assert_eq!(cut("abc", 0), "…");
    }
}
