//! What can be typed. The doc comments are the help.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::error::ErrorKind;

/// Hurt real `leasehold run` processes and their store, and check what their commands wrote down.
///
/// Ends with a table and 0, or with what was violated, the lines of the logs around it, and 1.
#[derive(Parser, Debug, Clone)]
#[command(
    name = "leasehold-chaos",
    after_help = "\
Examples:
  leasehold-chaos --for 5m
  leasehold-chaos --for 1h --processes 30 --names 5 --ttl 3s,10s
  leasehold-chaos --backend \"gs://b?endpoint=http://127.0.0.1:4443&write-interval=0s\" \\
      --store-pid 4711
  leasehold-chaos --once --kills 200
  leasehold-chaos --backend 'gs://b?endpoint=http://{host}:4443&write-interval=0s' \\
      --netns 4 --store-address '{host}:4443'
  leasehold-chaos --backend 'spanner://p/i/d?endpoint=http://127.0.0.1:9010' --store-pid 4711

The plan (who asks for what, who is hurt when) comes from the seed; real timing differs each time."
)]
pub(crate) struct Options {
    /// The store [default: a new directory; as root on a file system of its own, which is frozen]
    #[arg(long, value_name = "URL")]
    pub(crate) backend: Option<String>,

    /// How long to hurt them.
    #[arg(long = "for", value_name = "TIME", default_value = "1m", value_parser = time)]
    pub(crate) length: Duration,

    /// How many `leasehold run` there are at any moment. At least three for each name.
    #[arg(long, value_name = "N", default_value_t = 12)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) processes: u16,

    /// How many locks they want.
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) names: u16,

    /// What the plan is drawn from [default: a new one, which is printed]
    #[arg(long, value_name = "S")]
    pub(crate) seed: Option<u64>,

    /// The ttls that they ask for.
    #[arg(long, value_name = "TIME,..", default_value = "2s,3s,5s")]
    #[arg(value_delimiter = ',', value_parser = time)]
    pub(crate) ttl: Vec<Duration>,

    /// The program [default: the one beside this]
    #[arg(long, value_name = "PATH")]
    pub(crate) leasehold: Option<PathBuf>,

    /// The process of the store's server, which is stopped and continued.
    #[arg(long, value_name = "PID", conflicts_with = "freeze")]
    pub(crate) store_pid: Option<u32>,

    /// How to freeze the store, for a shell.
    #[arg(long, value_name = "CMD", requires = "thaw")]
    pub(crate) freeze: Option<String>,

    /// How to thaw it. It must not fail on a store that is not frozen.
    #[arg(long, value_name = "CMD", requires = "freeze")]
    pub(crate) thaw: Option<String>,

    /// Do not freeze the store.
    #[arg(long, conflicts_with_all = ["freeze", "store_pid"])]
    pub(crate) no_freeze: bool,

    /// The store fails now and then, and not by our doing: a run may then end with 69 before its command
    /// begins.
    #[arg(long)]
    pub(crate) store_fails: bool,

    /// Run them in so many network namespaces of their own, and cut these off from the host. `{host}`
    /// in --backend and in --store-address stands for the host's address as it is seen from there.
    #[arg(long, value_name = "N", requires = "store_address")]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=60))]
    pub(crate) netns: Option<u8>,

    /// Where the store listens, on this host but not on its loopback, so that it can be shown that a
    /// cut cuts.
    #[arg(long, value_name = "HOST:PORT", requires = "netns")]
    pub(crate) store_address: Option<String>,

    /// Kill the runner of `leasehold once` instead, again and again: each time another resumes it.
    #[arg(long, conflicts_with_all = ["netns", "store_pid", "freeze", "store_fails", "plan"])]
    pub(crate) once: bool,

    /// With --once: how often, instead of for how long.
    #[arg(long, value_name = "N", requires = "once")]
    pub(crate) kills: Option<u32>,

    /// Keep the logs even if nothing was violated.
    #[arg(long)]
    pub(crate) keep: bool,

    /// Print the plan's first lines and do nothing.
    #[arg(long)]
    pub(crate) plan: bool,
}

/// Reads what was typed; the code to end with otherwise.
pub(crate) fn parse(words: &[&str]) -> Result<Options, ExitCode> {
    Options::try_parse_from(std::iter::once(&"leasehold-chaos").chain(words)).map_err(|error| {
        let _ = error.print();
        match error.kind() {
            ErrorKind::DisplayHelp => ExitCode::SUCCESS,
            _ => ExitCode::from(64),
        }
    })
}

impl Options {
    /// The command that repeats the plan.
    pub(crate) fn again(&self, seed: u64) -> String {
        let mut words = vec![format!("--for {}ms --seed {seed}", self.length.as_millis())];
        words.push(format!("--processes {} --names {}", self.processes, self.names));
        let ttls: Vec<_> = self.ttl.iter().map(|ttl| format!("{}ms", ttl.as_millis())).collect();
        words.push(format!("--ttl {}", ttls.join(",")));
        let mut given = |option: &str, value: Option<String>| {
            words.extend(value.map(|value| format!("--{option} '{value}'")));
        };
        given("backend", self.backend.clone());
        given("leasehold", self.leasehold.as_ref().map(|path| path.display().to_string()));
        given("store-pid", self.store_pid.map(|pid| pid.to_string()));
        given("freeze", self.freeze.clone());
        given("thaw", self.thaw.clone());
        given("netns", self.netns.map(|n| n.to_string()));
        given("store-address", self.store_address.clone());
        for (option, is_given) in [("no-freeze", self.no_freeze), ("store-fails", self.store_fails)]
        {
            words.extend(is_given.then(|| format!("--{option}")));
        }
        format!("cargo xtask chaos {}", words.join(" "))
    }
}

/// Reads `300ms`, `10s`, `5m`, `1h`; seconds without a unit.
fn time(text: &str) -> Result<Duration, String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let ms = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("write 300ms, 10s, 5m or 1h".into()),
    };
    let number: u64 = number.parse().map_err(|_| "write 300ms, 10s, 5m or 1h".to_owned())?;
    number.checked_mul(ms).map(Duration::from_millis).ok_or_else(|| "that is too long".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Options::command().debug_assert();
        assert_eq!(time("5m"), Ok(Duration::from_mins(5)));
        assert!(time("soon").is_err() && time("s").is_err() && time("99999999999999999h").is_err());
    }

    /// A violation is of use only if what led to it can be typed again.
    #[test]
    fn the_command_to_repeat_means_the_same() {
        let words = ["--for", "5m", "--ttl", "2s,700ms", "--freeze", "a b", "--thaw", "c"];
        let options = parse(&[&words[..], &["--store-fails"]].concat()).expect("sound");
        let again = options.again(7);
        let parts = ["--for 300000ms", "--seed 7", "--ttl 2000ms,700ms", "--freeze 'a b'"];
        for part in [&parts[..], &["--store-fails"]].concat() {
            assert!(again.contains(part), "{again}");
        }
    }
}
