//! What /proc says about the processes that the harness started, directly or not.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// The entry in the environment of everything that belongs to one run of the harness.
pub(crate) const MARK: &str = "LEASEHOLD_CHAOS";

/// The entry in the environment of everything that belongs to one `leasehold run`.
pub(crate) const RUN: &str = "LEASEHOLD_CHAOS_RUN";

/// One process: its pid, and when it started, which together name it for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    start: u64,
}

impl Process {
    /// A process that has not ended.
    pub(crate) fn living(pid: Pid) -> Option<Process> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
        // The name may contain anything; the last parenthesis closes it.
        let rest = stat.get(stat.rfind(')')? + 2..)?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // One thread of a process that ends may still be caught in the kernel.
        let threads: u64 = fields.get(17)?.parse().ok()?;
        if matches!(*fields.first()?, "Z" | "X") && threads <= 1 {
            return None;
        }
        Some(Process { pid, start: fields.get(19)?.parse().ok()? })
    }

    /// Sends a signal, if it still is this process. Says whether it is.
    pub(crate) fn signal(self, signal: Signal) -> bool {
        Process::living(self.pid) == Some(self) && kill_process(self.pid, signal).is_ok()
    }

    /// Its name and arguments.
    pub(crate) fn words(self) -> Vec<String> {
        let line = fs::read(format!("/proc/{}/cmdline", self.pid.as_raw_pid())).unwrap_or_default();
        line.split(|&b| b == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
    }

    /// For a person.
    pub(crate) fn shown(self) -> String {
        format!("{} ({})", self.pid.as_raw_pid(), self.words().join(" ").trim_end())
    }
}

/// All that were started with this entry (`NAME=value`) in their environment and have not ended.
pub(crate) fn with_entry(entry: &str) -> Vec<Process> {
    let Ok(all) = fs::read_dir("/proc") else { return vec![] };
    let pids = all.flatten().filter_map(|one| one.file_name().to_str()?.parse().ok());
    pids.filter_map(Pid::from_raw)
        .filter(|pid| {
            let environ = fs::read(format!("/proc/{}/environ", pid.as_raw_pid()));
            environ.is_ok_and(|all| all.split(|&b| b == 0).any(|one| one == entry.as_bytes()))
        })
        .filter_map(Process::living)
        .collect()
}

/// The children of a process that was started by us and not waited for.
fn children(pid: Pid) -> Vec<Process> {
    let pid = pid.as_raw_pid();
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let pids = list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?));
    pids.filter_map(Process::living).collect()
}

/// The parts of a `leasehold run`, as far as they are there.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Parts {
    pub(crate) keeper: Option<Process>,
    /// The command, or what is about to become it.
    pub(crate) child: Option<Process>,
}

/// Looks for the parts of a `leasehold run`. Whoever is between fork and exec is nobody yet.
pub(crate) fn parts(main: Pid) -> Parts {
    let mut parts = Parts::default();
    for process in children(main) {
        match process.words().get(1).map(String::as_str) {
            Some("__keeper") => parts.keeper = Some(process),
            Some("__exec" | "__section") => parts.child = Some(process),
            _ => {}
        }
    }
    parts
}
