//! Real `leasehold run` processes, hurt: killed, stopped and continued at random, on a store that is
//! frozen or cut off, until the time is over. Then what their commands wrote down is checked.
//!
//! It knows the program as its user does, and nothing of the library: any backend URL will do. What
//! is drawn (who asks for what, who is hurt when and how) comes from a seed and can be repeated; what
//! comes of it hangs on the host's timing and cannot.
//!
//! # What is checked
//!
//! * No two sections of one name overlap, by the one clock of the host and by a kernel lock that
//!   each holds while any process of it lives.
//! * Tokens rise strictly from section to section, and none has two holders.
//! * A shared file that refuses lower tokens never refuses anybody who is alone.
//! * Every exit code is the one that the table of `leasehold run` gives for what happened.
//! * When `leasehold run` has ended, nothing of its section runs; in the end nothing at all runs, and
//!   no temporary file is left.
//! * Somebody gets the lock when it is free, and in the end everybody does.
//!
//! # What is not promised, and so not counted as an overlap
//!
//! * **A section whose `leasehold` and keeper were both stopped or killed** at the same time, for more
//!   than a tenth of the ttl: nobody was left to end it. That is how a host that freezes looks. Only
//!   the token helps: what such a section still writes must be refused.
//! * **A section whose lock was broken by hand**: it goes on until it looks.
//!
//! # How the store is hurt
//!
//! Without `--backend` and as root, the store is a directory on a file system of its own (an image,
//! mounted through a loop device), which is frozen with `fsfreeze`: every write hangs in the kernel,
//! where not even SIGKILL ends it, and lands when the file system is thawed. For a server, `--store-pid`
//! stops and continues a process, `--freeze` and `--thaw` are commands for whatever there is, and
//! `--netns` puts the clients into network namespaces whose links go down. With `--store-fails` the store
//! may fail by itself besides, as `leasehold-servers gcs --fail-one-in 20` does.
//!
//! # Once
//!
//! With `--once` it is `leasehold once` whose runner is killed, again and again: `once.rs`.
//!
//! A second process puts all of it back, however this one ends: [`Undo`].

mod check;
mod clock;
mod dice;
mod fence;
mod log;
pub mod net;
mod once;
mod options;
mod plan;
mod procs;
mod report;
mod run;
mod section;
mod store;
mod torment;
mod undo;
mod verdict;
mod world;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM};

pub use undo::Undo;

/// What was typed, or which role of ours this process has.
pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["__section", rest @ ..] => section::main(rest),
        ["__family", rest @ ..] => section::family(rest),
        ["__undo"] => undo::main(),
        ["__reach", address, patience_ms] => net::reach(address, patience_ms),
        ["__once", rest @ ..] => once::section(rest),
        _ => options::parse(&words).map_or_else(
            |exit| exit,
            |options| {
                mean_signals();
                if options.once { once::main(&options) } else { world::main(&options) }
            },
        ),
    }
}

/// What we start hears the signals that we send, also where `nohup` started us and some are ignored: what we
/// handle, `exec` makes the default.
fn mean_signals() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        if ignored >> (signal - 1) & 1 == 1 {
            // If it cannot be handled it stays ignored, and the verdict shows it.
            let _ = signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)));
        }
    }
}
