//! `leasehold-servers`: the test servers as a program, to try leasehold with and for tests with processes.

use std::io::BufRead;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use leasehold_servers::proxy::{Mode, Proxy};
use leasehold_servers::{gcs, spanner};

/// Servers to try leasehold with. Nothing in them is kept.
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    server: Server,
}

#[derive(Subcommand)]
enum Server {
    /// A fake of Google Cloud Storage
    Gcs {
        /// A bucket to make, any number of times
        #[arg(long, value_name = "NAME")]
        bucket: Vec<String>,
        /// The least time between two writes of one object, like 1s; Google has one second
        #[arg(long, value_name = "TIME", value_parser = span)]
        write_limit: Option<Duration>,
        /// Let about one request in N go wrong: no answer, a late one, an error, a write that lands later
        #[arg(long, value_name = "N")]
        fail_one_in: Option<NonZeroU64>,
        #[command(flatten)]
        life: Life,
    },
    /// A fake of Cloud Spanner
    Spanner {
        /// A database to make, without a table, any number of times
        #[arg(long, value_name = "PROJECT/INSTANCE/DATABASE", value_parser = database)]
        database: Vec<String>,
        /// Let about one request in N go wrong: no answer, a late one, an error, a commit that lands later
        #[arg(long, value_name = "N")]
        fail_one_in: Option<NonZeroU64>,
        #[command(flatten)]
        life: Life,
    },
    /// A TCP proxy that does what networks do
    ///
    /// It reads a mode per line from standard input: pass, delay=200ms, black-hole, reset, drop-replies,
    /// drop-reply-then-close. Each acts on present connections too.
    Proxy {
        /// The server
        #[arg(long, value_name = "ADDRESS")]
        to: SocketAddr,
        /// The mode at the start
        #[arg(long, default_value = "pass", value_parser = mode)]
        mode: Mode,
        #[command(flatten)]
        life: Life,
    },
}

#[derive(Args)]
struct Life {
    /// Where to listen; port 0 is a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// End when standard input is closed, as it is when whoever started this has died
    #[arg(long)]
    until_stdin_closes: bool,
}

fn main() -> ExitCode {
    match serve(Options::parse().server) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("leasehold-servers: {why}");
            ExitCode::FAILURE
        }
    }
}

fn serve(server: Server) -> Result<(), String> {
    match server {
        Server::Gcs { bucket, write_limit, fail_one_in, life } => {
            let fake = gcs::Fake::listen(life.listen).map_err(|e| cannot_listen(&life, &e))?;
            for name in &bucket {
                fake.make_bucket(name);
            }
            fake.limit_writes(write_limit);
            if let Some(one_in) = fail_one_in {
                fake.fail_at_random(one_in, one_in.get());
            }
            println!("listening on {}", fake.endpoint());
            life.spend(|_| {});
        }
        Server::Spanner { database, fail_one_in, life } => {
            let fake = spanner::Fake::listen(life.listen).map_err(|e| cannot_listen(&life, &e))?;
            for place in &database {
                fake.make_database(place, &[]);
            }
            if let Some(one_in) = fail_one_in {
                fake.fail_at_random(one_in, one_in.get());
            }
            println!("listening on {}", fake.endpoint());
            life.spend(|_| {});
        }
        Server::Proxy { to, mode: first, life } => {
            let proxy = Proxy::listen(life.listen, to).map_err(|e| cannot_listen(&life, &e))?;
            proxy.set(first);
            println!("listening on http://{}", proxy.address());
            life.spend(|line| match mode(line) {
                Ok(mode) => proxy.set(mode),
                Err(why) => eprintln!("leasehold-servers: {why}"),
            });
        }
    }
    Ok(())
}

fn cannot_listen(life: &Life, why: &std::io::Error) -> String {
    format!("cannot listen on {}: {why}", life.listen)
}

impl Life {
    /// Hears what is typed until it is time to end.
    fn spend(&self, hear: impl Fn(&str)) {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            hear(line.trim());
        }
        if !self.until_stdin_closes {
            loop {
                std::thread::park();
            }
        }
    }
}

fn database(text: &str) -> Result<String, String> {
    match text.split('/').filter(|id| !id.is_empty()).count() {
        3 => Ok(text.to_owned()),
        _ => Err(format!("`{text}` is no PROJECT/INSTANCE/DATABASE")),
    }
}

fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "pass" => Ok(Mode::Pass),
        "black-hole" => Ok(Mode::BlackHole),
        "reset" => Ok(Mode::Reset),
        "drop-replies" => Ok(Mode::DropReplies),
        "drop-reply-then-close" => Ok(Mode::DropReplyThenClose),
        _ => match text.strip_prefix("delay=") {
            Some(time) => span(time).map(Mode::Delay),
            None => Err(format!(
                "`{text}` is no mode: pass, delay=200ms, black-hole, reset, drop-replies or \
                 drop-reply-then-close"
            )),
        },
    }
}

/// Reads a time as people type it: `200ms`, `1s`, `5m`.
fn span(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number = digits.parse().ok();
    let span = match &text[digits.len()..] {
        "ms" => number.map(Duration::from_millis),
        "s" => number.map(Duration::from_secs),
        "m" => number.and_then(|minutes: u64| minutes.checked_mul(60)).map(Duration::from_secs),
        _ => None,
    };
    span.ok_or_else(|| format!("`{text}` is no time: write it like 200ms, 1s or 5m"))
}
