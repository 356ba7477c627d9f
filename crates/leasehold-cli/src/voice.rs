//! How much is said on stderr beside errors.

use clap::Args;
use leasehold::env::{Env, Host};

use crate::show::{clock, say};

/// How much is said on stderr.
#[derive(Args, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Voice {
    /// Say nothing but errors: not who is waited for.
    #[arg(short, long, help_heading = "Messages")]
    pub(crate) quiet: bool,

    /// Say what is done, when, and how long it took.
    #[arg(short, long, conflicts_with = "quiet", help_heading = "Messages")]
    pub(crate) verbose: bool,
}

impl Voice {
    /// For everybody who did not ask for quiet.
    pub(crate) fn tell(self, text: &str) {
        if !self.quiet {
            self.at(text);
        }
    }

    /// For a caller that asked for more.
    pub(crate) fn detail(self, text: impl FnOnce() -> String) {
        if self.verbose {
            self.at(&text());
        }
    }

    fn at(self, text: &str) {
        match self.verbose {
            true => say(&format!("{} {text}", clock(Host.now().unix_ms))),
            false => say(text),
        }
    }
}
