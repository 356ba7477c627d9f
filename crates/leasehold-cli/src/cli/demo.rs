//! What can be typed after `leasehold demo`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::Output;
use crate::times;

/// Let many processes race to run one section once, and show what came of it.
///
/// Starts processes with several clients each, which all want the same thing done, at the same moment.
/// One of them does it: it appends one line to a file. All others wait for it and are told who it was.
/// The account says how long after the winner's end they were back.
///
/// Uses names that nobody else uses and that stay in the store, one for each demo.
///
/// Exits 0 if all was as promised, 76 if not.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  leasehold demo
  leasehold demo --rounds 20 --for 100ms
  leasehold demo --backend gs://acme-locks/demo --output line.txt")]
pub(crate) struct Demo {
    /// How many processes.
    #[arg(long, value_name = "N", default_value_t = 8)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) processes: u32,

    /// How many clients each process has.
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) clients: u32,

    /// How often, each time with a new key.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rounds: u32,

    /// How long the winner's section takes.
    #[arg(long = "for", value_name = "TIME", default_value = "1s", value_parser = times::parse)]
    pub(crate) span: Duration,

    /// Where the winner appends its line [default: a file that is removed in the end]
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) printed: Output,
}
