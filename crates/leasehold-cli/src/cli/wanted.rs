//! What can be typed about a lock that is asked for, and what the environment says where nothing is.
#![expect(clippy::doc_markdown, reason = "the comments are shown on terminals, not as Markdown")]

use std::env::var_os;
use std::time::Duration;

use clap::Args;
use leasehold::TTL_DEFAULT;

use crate::exit::{Failure, NOT_ACQUIRED};
use crate::times;
use crate::voice::Voice;

/// How a lock is asked for.
#[derive(Args, Debug)]
pub(crate) struct Wanted {
    /// How long the lease lasts when it is not renewed, and so how long others wait at most after we
    /// died [env: LEASEHOLD_TTL] [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = times::parse, help_heading = "Lease")]
    pub(crate) ttl: Option<Duration>,

    /// Do not wait if another holds the lock.
    #[arg(short = 'n', long, help_heading = "Waiting")]
    pub(crate) no_wait: bool,

    /// How long to wait for the lock at most; 0 is -n [env: LEASEHOLD_WAIT] [default: for ever]
    #[arg(short, long, value_name = "TIME", value_parser = times::parse)]
    #[arg(conflicts_with = "no_wait", help_heading = "Waiting")]
    pub(crate) wait: Option<Duration>,

    /// The exit code when the lock cannot be acquired in time. With 0, that is not worth a word.
    #[arg(short = 'E', long, value_name = "CODE", default_value_t = NOT_ACQUIRED)]
    #[arg(help_heading = "Waiting")]
    pub(crate) conflict_exit_code: u8,

    /// Who we are, for people who ask [env: LEASEHOLD_LABEL] [default: user@host:pid, with the command's
    /// name, the pod and the URL of the CI run where there are such]
    #[arg(long, value_name = "TEXT", help_heading = "Lease")]
    pub(crate) label: Option<String>,

    #[command(flatten)]
    pub(crate) voice: Voice,
}

impl Wanted {
    /// How long the lease lasts unrenewed.
    pub(crate) fn ttl(&self) -> Duration {
        self.ttl.unwrap_or(TTL_DEFAULT)
    }

    /// Takes from the environment what was not typed.
    pub(crate) fn or_environment(&mut self) -> Result<(), Failure> {
        if self.ttl.is_none() {
            self.ttl = time("LEASEHOLD_TTL")?;
        }
        if self.wait.is_none() && !self.no_wait {
            self.wait = time("LEASEHOLD_WAIT")?;
        }
        if self.label.is_none() {
            let label = var_os("LEASEHOLD_LABEL").filter(|label| !label.is_empty());
            self.label = label.map(|label| label.to_string_lossy().into_owned());
        }
        Ok(())
    }

    /// Whether there is to be no waiting.
    pub(crate) fn is_a_try(&self) -> bool {
        self.no_wait || self.wait == Some(Duration::ZERO)
    }
}

/// A time that a variable says; set to nothing, it says nothing.
pub(crate) fn time(variable: &str) -> Result<Option<Duration>, Failure> {
    let Some(text) = var_os(variable).filter(|text| !text.is_empty()) else { return Ok(None) };
    let time = times::parse(&text.to_string_lossy());
    time.map(Some).map_err(|why| Failure::usage(format!("{variable}: {why}")))
}
