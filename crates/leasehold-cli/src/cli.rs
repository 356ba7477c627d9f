//! What can be typed. The doc comments are the help.
#![expect(clippy::doc_markdown, reason = "the comments are shown on terminals, not as Markdown")]
#![expect(clippy::struct_field_names, reason = "the fields are named as the options are")]

use std::ffi::OsString;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use leasehold::{FencingToken, HolderId};

use crate::voice::Voice;
use crate::{procs, times};

mod demo;
mod hints;
mod once;
mod wanted;

pub(crate) use demo::Demo;
pub(crate) use hints::hint;
pub(crate) use once::{Checkpoint, CheckpointAct, Once, Reset};
pub(crate) use wanted::{Wanted, time};

/// Colours of the help, where the terminal has them and NO_COLOR is not set.
const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().bold())
    .usage(AnsiColor::Yellow.on_default().bold())
    .literal(AnsiColor::Green.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

/// A distributed mutex: run a command while nobody else runs it, on this host or on many.
///
/// A lock is a name in a store. Its holder has a lease, which is renewed while the work goes on
/// and ends by itself when the holder dies.
#[derive(Parser, Debug)]
#[command(name = "leasehold", version, arg_required_else_help = false)]
#[command(styles = STYLES)]
#[command(after_help = "\
Examples:
  leasehold run nightly-report -- ./report.sh      run it, one at a time
  leasehold run -n backup -- ./backup.sh           or do nothing if it runs already (exit 75)
  leasehold once schema --key v42 -- ./migrate.sh  run it once; later calls find it done
  leasehold status nightly-report                  who holds it?
  leasehold demo                                   80 clients want one line written
  leasehold doctor file:///var/lib/locks           may this store be used for locks?

Exit codes: the command's own; 128+n if signal n ended it; 64 usage; 65 damaged record;
69 store unreachable; 73 no place for a socket; 74 stdout cannot be written; 75 not acquired;
76 store unfit for locks; 77 permission denied; 79 lock lost; 124 ran for too long;
126 not executable; 127 not found.")]
pub(crate) struct Cli {
    /// The store of the locks, such as file:///var/lib/locks or gs://acme-locks/prod.
    ///
    /// Without it, files in the user's state directory: locks among one user's processes on one
    /// host.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = leasehold::BACKEND_VARIABLE,
        help_heading = "Store"
    )]
    pub(crate) backend: Option<String>,

    /// Refuse a store that only this machine sees: files without network-fs=allow, and memory.
    #[arg(long, global = true, env = "LEASEHOLD_REQUIRE_SHARED", hide_env_values = true)]
    #[arg(value_parser = clap::builder::FalseyValueParser::new(), help_heading = "Store")]
    pub(crate) require_shared: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Run(Run),
    Once(Once),
    Checkpoint(Checkpoint),
    Status(Status),
    #[command(visible_alias = "ls")]
    List(List),
    Wait(Wait),
    #[command(visible_alias = "force-unlock")]
    Break(Break),
    Forget(Forget),
    Reset(Reset),
    Acquire(Acquire),
    #[command(visible_alias = "unlock")]
    Release(Release),
    Doctor(Doctor),
    Init(Init),
    Demo(Demo),
    Completions(Completions),
}

/// Run a command while holding a lock.
///
/// Waits for the lock, runs the command, releases. The command gets its arguments, stdin, stdout and
/// stderr as they are, and its exit code becomes ours. Signals that we get, it gets. With a terminal,
/// Ctrl-C, Ctrl-Z and reading from the keyboard work as without us.
///
/// The lease is renewed while the command runs. If the lock is lost all the same (the store is out
/// of reach for too long, or somebody used `leasehold break`), the command and everything it started
/// get SIGTERM, then, after the grace, SIGKILL: it is over before the lease is. That holds even if
/// this process is killed or stopped: a second small process sees to it. What the command leaves
/// running in the background when it ends by itself is not stopped and not protected by the lock.
///
/// The command finds LEASEHOLD_NAME, LEASEHOLD_TOKEN (the fencing token: it rises with every holder;
/// have what you write to refuse a lower one), LEASEHOLD_HOLDER, LEASEHOLD_BACKEND and
/// LEASEHOLD_DEADLINE (Unix milliseconds until which the lease is good unless it is renewed) in its
/// environment. Asked for again under itself, a lock is refused at once (64, or 75 with -n): it could
/// never be acquired.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  leasehold run deploy -- ./deploy.sh --all
  leasehold run -w 5m --ttl 10s deploy -- make -j8
  leasehold run -n -E 0 sync -- rsync -a src/ dst/     from cron: skip quietly if it runs already
  leasehold run db -- sh -c 'pg_dump app | gzip > app.gz'

Exit codes: the command's own; 128+n if signal n ended it; 75 not acquired (or -E); 79 lock lost
while running; 64, 65, 69, 77, 126, 127 as in `leasehold --help`.")]
pub(crate) struct Run {
    /// The lock's name.
    pub(crate) name: String,

    #[command(flatten)]
    pub(crate) wanted: Wanted,

    /// How long the command has to end after SIGTERM when the lock is lost. At most two fifths of
    /// the ttl [default: 5s, or a sixth of a ttl below 30s]
    #[arg(long, value_name = "TIME", value_parser = times::parse, help_heading = "Lease")]
    pub(crate) grace: Option<Duration>,

    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// Show who holds a lock, or how far a run of `once` has come.
///
/// Exits 0 whether it is held or free; the answer is in the text.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  leasehold status deploy
  leasehold status deploy --json | jq -r .state         absent, free, held, expired or unreadable
  leasehold status schema --json | jq -r .once.state    running, interrupted, done or failed")]
pub(crate) struct Status {
    /// The lock's name.
    pub(crate) name: String,

    #[command(flatten)]
    pub(crate) output: Output,
}

/// List the locks whose names start with a prefix.
///
/// A name stays when its lock is released: it keeps the token. `leasehold forget` removes it. One that
/// cannot be read has a row that says why, and the exit code then is 69 or 77.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  leasehold list
  leasehold list prod/ --json
  leasehold list --held --sort since")]
pub(crate) struct List {
    /// What the names start with.
    #[arg(default_value = "", hide_default_value = true)]
    pub(crate) prefix: String,

    /// Only those that are held, or could not be read.
    #[arg(long)]
    pub(crate) held: bool,

    /// In which order: by `since`, the longest held comes first.
    #[arg(long, value_name = "BY", value_enum, default_value_t = SortBy::Name)]
    pub(crate) sort: SortBy,

    #[command(flatten)]
    pub(crate) output: Output,
}

/// What a list is sorted by.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SortBy {
    Name,
    State,
    Since,
    Token,
}

/// Remove names that nobody uses any more.
///
/// Only a name that is free is removed, and only if it is still as it was read; one that is held, or
/// whose holder died, is left alone. The next use of a removed name gets a token from the store's clock
/// in milliseconds, which is higher than those before. What `once` knows of a name is lost with it, so
/// that it runs again: such names are left alone without --once.
///
/// Exits 0 if it is gone, 75 if it is held, 64 if a flag is needed; of several, 0 if each was looked at.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  leasehold forget deploy-of-last-year
  leasehold forget --older-than 30d
  leasehold forget --older-than 7d review/ --json")]
pub(crate) struct Forget {
    /// The name; with --older-than, what the names start with.
    #[arg(required_unless_present = "older_than")]
    pub(crate) name: Option<String>,

    /// All names that have been free for this long.
    #[arg(long, value_name = "TIME", value_parser = times::parse)]
    pub(crate) older_than: Option<Duration>,

    /// Also what `once` did, or failed to do, or has begun.
    #[arg(long)]
    pub(crate) once: bool,

    /// Also a name whose token is ahead of the clock: the next one is lower.
    #[arg(long)]
    pub(crate) token_may_fall: bool,

    #[command(flatten)]
    pub(crate) output: Output,
}

/// Wait until a lock is free, without taking it.
///
/// Exits 0 when it is free, also when it was never used, and 75 when it was not within the time. Whether
/// it is still free then, nobody can know: to do something while it is, use `run`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  leasehold wait deploy && echo 'the deployment is over'
  leasehold wait -w 10m deploy || exit")]
pub(crate) struct Wait {
    /// The lock's name.
    pub(crate) name: String,

    /// How long to wait at most [env: LEASEHOLD_WAIT] [default: for ever]
    #[arg(short, long, value_name = "TIME", value_parser = times::parse)]
    pub(crate) wait: Option<Duration>,

    #[command(flatten)]
    pub(crate) voice: Voice,

    #[command(flatten)]
    pub(crate) output: Output,
}

/// Take a lock away from its holder, or repair a record that cannot be read.
///
/// The holder is told and stops its command (exit 79), but only when it looks next: until then it
/// goes on, beside the next holder. Be sure that it is dead or harmless; the answer says until when it
/// may go on. With --token or --holder only that one is broken: if another holds the lock by then, or
/// nobody, nothing is done (exit 75). The reason stays in the record, with who you are. A run of
/// `once` is resumed by the next one; what was done stays done, but for a record that cannot be
/// read. A record of a newer leasehold is not touched.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  leasehold break deploy --reason 'web-1 lost its disk'
  leasehold break deploy --token 1766000000123 --reason 'it hangs'    only who `status` showed")]
pub(crate) struct Break {
    /// The lock's name.
    pub(crate) name: String,

    /// Why: the holder and `status` are told.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,

    /// Only the holder with this token, as `status` shows it.
    #[arg(long, value_name = "N")]
    pub(crate) token: Option<FencingToken>,

    /// Only the holder with this id, as `status` shows it.
    #[arg(long, value_name = "ID")]
    pub(crate) holder: Option<HolderId>,

    /// Replace a record of a newer format too: newer programs lose what it says.
    #[arg(long, conflicts_with_all = ["token", "holder"])]
    pub(crate) newer: bool,

    #[command(flatten)]
    pub(crate) output: Output,
}

/// Take a lock for a shell script.
///
/// Prints shell code. It sets LEASEHOLD_NAME, LEASEHOLD_TOKEN, LEASEHOLD_HOLDER, LEASEHOLD_BACKEND,
/// LEASEHOLD_DEADLINE and LEASEHOLD_SESSION, and tells a background process to keep the lock renewed
/// until `leasehold release`, or until the shell (or the subshell) has ended. If the lock cannot be
/// acquired, it sets nothing, and its exit code is that of `run`.
///
/// Evaluate it as in the example, and not by `eval "$(…)"`: that succeeds, without the lock, where this
/// program is killed or not installed. -E 0 is refused for the same reason.
///
/// If the lock is lost, the shell gets SIGTERM: a script ends, an interactive shell shows the message
/// and goes on. The shell's commands are not killed, and if the background process is killed nobody
/// tells the shell: `leasehold run` is the safer way.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  code=$(leasehold acquire deploy) && eval \"${code:-false}\" || exit
  ./deploy.sh
  leasehold release

  leasehold acquire deploy --pid $$ --json >lock.json || exit")]
pub(crate) struct Acquire {
    /// The lock's name.
    pub(crate) name: String,

    #[command(flatten)]
    pub(crate) wanted: Wanted,

    /// Release when this process has ended [default: the shell that evaluates the output; with
    /// --json, the parent process]
    #[arg(long, value_name = "PID", value_parser = procs::parse_pid)]
    pub(crate) pid: Option<i32>,

    #[command(flatten)]
    pub(crate) output: Output,
}

/// Release a lock that `leasehold acquire` took.
///
/// Exits 0 when it is released, 79 if it had been lost before, 64 if there is no such lock.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  leasehold release              the one taken last in this shell
  leasehold release deploy       by name, if the shell holds several")]
pub(crate) struct Release {
    /// The lock's name [default: the one that LEASEHOLD_SESSION tells]
    pub(crate) name: Option<String>,

    /// The process for which it was taken [default: any of those above us]
    #[arg(long, value_name = "PID", value_parser = procs::parse_pid, requires = "name")]
    pub(crate) pid: Option<i32>,

    #[command(flatten)]
    pub(crate) output: Output,
}

/// Prove that a store can be used for locks.
///
/// Tries what a lock needs of the store, under a name that nobody uses: that only one creates, that a
/// stale version is refused, that a read shows what was written. Measures how quick the store is, reads
/// its clock, asks for our rights, and says what a lock costs and which ttl it needs. Removes what it
/// made. Against a store that takes one write a second that takes twenty seconds.
///
/// Exits 0 if the store may be used, 76 if it must not be, 69 if it cannot be reached, 77 if it
/// refuses, 64 if the URL cannot be meant.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  leasehold doctor gs://acme-locks/prod
  leasehold doctor file:///var/lib/locks --json | jq .usable")]
pub(crate) struct Doctor {
    /// The store [default: that of --backend]
    pub(crate) url: Option<String>,

    #[command(flatten)]
    pub(crate) output: Output,
}

/// Make a store ready for locks, or say what there is to do.
///
/// Makes the bucket, and says of each step whether it is there already or was made. Nothing is ever
/// removed or changed: what is there and not as it should be is told, with the remedy, and the exit
/// code is 76. Files need nothing: every command makes their directory, `--dry-run` too.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  leasehold init --dry-run gs://acme-locks/prod      what would be made?
  leasehold init 'gs://acme-locks/prod?project=acme&location=europe-west3'")]
pub(crate) struct Init {
    /// The store [default: that of --backend]
    pub(crate) url: Option<String>,

    /// Only say what there is to do.
    #[arg(long)]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) output: Output,
}

/// Print a completion script for a shell.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  leasehold completions bash >~/.local/share/bash-completion/completions/leasehold")]
pub(crate) struct Completions {
    /// The shell.
    pub(crate) shell: Shell,
}

/// How results are printed.
#[derive(Args, Debug, Clone, Copy)]
pub(crate) struct Output {
    /// Print JSON.
    #[arg(long, help_heading = "Messages")]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_command_goes_through_verbatim() {
        let words = ["leasehold", "run", "deploy", "-n", "--", "./x", "--ttl", "5s", "--", "-E"];
        let Command::Run(run) = Cli::parse_from(words).command else { panic!("not run") };
        assert_eq!(run.command, ["./x", "--ttl", "5s", "--", "-E"]);
        assert!(run.wanted.no_wait);
        assert_eq!(run.wanted.ttl(), Duration::from_secs(30));
    }

    #[test]
    fn the_backend_stands_before_or_after_the_command() {
        let before = ["leasehold", "--backend", "memory://", "status", "x"];
        let after = ["leasehold", "status", "x", "--backend", "memory://"];
        for words in [before, after] {
            assert_eq!(Cli::parse_from(words).backend.as_deref(), Some("memory://"));
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let wrong: &[&[&str]] = &[
            &["run", "x"],
            &["run", "x", "cmd"],
            &["run", "-n", "-w", "5", "x", "--", "cmd"],
            &["run", "-E", "256", "x", "--", "cmd"],
            &["run", "-E", "-1", "x", "--", "cmd"],
            &["run", "--ttl", "soon", "x", "--", "cmd"],
            &["break", "x"],
            &["release", "--pid", "1"],
            &["acquire", "x", "--pid", "0"],
            &["no-such-command"],
        ];
        for words in wrong {
            let words = ["leasehold"].iter().chain(*words);
            assert!(Cli::try_parse_from(words.clone()).is_err(), "{words:?}");
        }
    }
}
