//! What can be typed for `once`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{Output, Wanted};
use crate::times;

/// Run a command once: one runs it, all others wait and inherit the result.
///
/// What is to be done has a name and a key: a version, or a hash of its contents. A call that finds that key
/// done does nothing and exits 0. A call that finds it running waits. A new key is a new thing and runs
/// again; a key that a later one has replaced never does. Without a key it runs once and for all.
///
/// A command that fails is tried again after a pause, here or on another host. When it has failed
/// --max-attempts times, over all hosts, everybody gives up: with its exit code, and with the end of what
/// it wrote to stderr. A command that is cut off, because its host died or the lock was lost or somebody
/// ended it by a signal, has not failed: the next one resumes it.
///
/// While it runs, all is as with `run`: its arguments, stdin and stdout, signals, the terminal, and that
/// it is over before the lease is. Its stderr is a pipe, so that its end can be kept, and goes on to ours
/// at once; if stdout is the same file, so is that, and their order stays. A stderr that is a terminal
/// stays as it is, and nothing of it is kept.
///
/// The command finds what it finds under `run`, and LEASEHOLD_KEY, LEASEHOLD_ATTEMPT (from 1) and, if a
/// run of this key before it did not complete, that one's token in LEASEHOLD_RESUMED. `leasehold
/// checkpoint` tells it how far that one came.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  leasehold once schema --key-file migrations/ -- ./migrate.sh && exec ./serve
  leasehold once seed -- ./seed.sh                          once and for all
  leasehold once schema --key v42 --needed './is-needed.sh' -- ./migrate.sh
  leasehold once report --valid-for 1d --deadline 1h -- ./report.sh
  leasehold once --config mutex.json -- python migrate.py   the file of py-spanner-mutex

The key of a file is the SHA-256 of its contents, as `sha256sum FILE` prints it, with sha256: before
it. The key of a directory is that of the list of all files below it, as this prints it:
  cd DIR && find -L . -name '..?*' -prune -o -type f -print0 | LC_ALL=C sort -z |
    xargs -0 sha256sum -z | sha256sum
(Entries that begin with two dots are what Kubernetes makes beside mounted files.)

Exit codes: 0 done, now or before, or not needed; if it failed for good, that of its last run on
whatever host (128+n if signal n ended it, 124 if it ran into --deadline, 1 if that is not known);
128+n if we were ended by signal n; 75 not acquired (or -E), or a later key came first; 79 lock lost
while running, or another had the record when it was done; 69 the store does not answer, and if it
ran it is not known whether that is recorded; 64, 65, 77, 126, 127 as in `leasehold --help`.")]
pub(crate) struct Once {
    /// The name of what is to be done.
    #[arg(required_unless_present = "config")]
    pub(crate) name: Option<String>,

    /// What is to be done, such as a version; at most 128 bytes.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,

    /// A file or a directory whose contents are the key.
    #[arg(long, value_name = "PATH", conflicts_with = "key")]
    pub(crate) key_file: Option<PathBuf>,

    /// Asks whether there is anything to do, by `sh -c`: exit 0 is yes, anything else no. It is asked
    /// before waiting, and again when it is ours to do; its output goes to stderr.
    #[arg(long, value_name = "CMD")]
    pub(crate) needed: Option<OsString>,

    /// How many runs may fail, over all hosts, before everybody gives up [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    #[arg(help_heading = "Attempts")]
    pub(crate) max_attempts: Option<u32>,

    /// How long after the first failure it is tried again. It doubles with every further one, up to a
    /// minute [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = times::parse, help_heading = "Attempts")]
    pub(crate) backoff: Option<Duration>,

    /// How long the command may run. It is stopped then, and has failed [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = times::parse, help_heading = "Attempts")]
    pub(crate) deadline: Option<Duration>,

    /// What was done longer ago than this counts no more [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = times::parse)]
    pub(crate) valid_for: Option<Duration>,

    /// Take name, store and times from a file of py-spanner-mutex. What is typed has precedence.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) wanted: Wanted,

    /// How long the command has to end after SIGTERM when the lock is lost or the deadline is there. At
    /// most two fifths of the ttl [default: 5s, or a sixth of a ttl below 30s]
    #[arg(long, value_name = "TIME", value_parser = times::parse, help_heading = "Lease")]
    pub(crate) grace: Option<Duration>,

    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// Save how far a command of `once` has come, or ask how far the one before came.
///
/// Works in a command that `leasehold once` runs, and in what that starts.
#[derive(Args, Debug)]
pub(crate) struct Checkpoint {
    #[command(subcommand)]
    pub(crate) act: CheckpointAct,
}

/// What to do with it.
#[derive(Subcommand, Debug)]
pub(crate) enum CheckpointAct {
    /// Print what was saved last, by this run or by one of this key before. Exits 1, and prints nothing,
    /// if nothing was.
    #[command(after_help = "\
Examples:
  next=$(leasehold checkpoint get) || next=1")]
    Get,

    /// Save a checkpoint, at most 4096 bytes, and wait until the store has confirmed it.
    ///
    /// It replaces the one before. It is forgotten when the command has done its work, and stays when it
    /// fails or is cut off. A store that limits writes (a bucket: one a second) makes it wait.
    #[command(after_help = "\
Examples:
  leasehold checkpoint set 7
  leasehold checkpoint set <state.bin")]
    Set {
        /// The checkpoint [default: what stdin has]
        #[arg(allow_hyphen_values = true)]
        value: Option<OsString>,
    },
}

/// Forget the outcome of `once`, done or failed for good: it runs again.
///
/// All keys of the name are forgotten, and a checkpoint too. Refused while somebody runs it: `leasehold
/// break` ends that first. The reason stays in the record, with who you are.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  leasehold reset schema --reason 'restored a backup'")]
pub(crate) struct Reset {
    /// The name of what was to be done.
    pub(crate) name: String,

    /// Why, for a person who asks later.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,

    #[command(flatten)]
    pub(crate) output: Output,
}
