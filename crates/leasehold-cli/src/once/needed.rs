//! `--needed`: a command that says whether there is anything to do.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use leasehold::Once;
use tokio::process::Command;

use super::plan::Plan;
use crate::exit::{Exit, Failure};
use crate::shim::{self, Resolved};

/// The question, and what went wrong with it.
pub(super) struct Needed {
    asker: Option<Arc<Asker>>,
}

struct Asker {
    shell: Resolved,
    name: String,
    key: String,
    problem: Mutex<Option<Failure>>,
}

impl Needed {
    pub(super) fn new(plan: &Plan) -> Result<Needed, Failure> {
        let Some(command) = &plan.needed else { return Ok(Needed { asker: None }) };
        let words = [OsString::from("/bin/sh"), "-c".into(), command.clone()];
        let (name, key) = (plan.name.clone(), plan.key.clone());
        let asker =
            Asker { shell: shim::resolve(words.into())?, name, key, problem: Mutex::default() };
        Ok(Needed { asker: Some(Arc::new(asker)) })
    }

    /// Has it asked before anything is run.
    pub(super) fn ask_before(&self, once: Once) -> Once {
        let Some(asker) = &self.asker else { return once };
        let asker = Arc::clone(asker);
        once.needed(move || {
            let asker = Arc::clone(&asker);
            async move { asker.is_needed().await }
        })
    }

    /// What went wrong with the question, if it did.
    pub(super) fn problem(&self) -> Result<(), Failure> {
        let Some(asker) = &self.asker else { return Ok(()) };
        let problem = asker.problem.lock().unwrap_or_else(PoisonError::into_inner).take();
        problem.map_or(Ok(()), Err)
    }
}

impl Asker {
    /// Not, if it cannot be asked; what went wrong is looked at then.
    async fn is_needed(&self) -> bool {
        self.ask().await.unwrap_or_else(|problem| {
            *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
            false
        })
    }

    async fn ask(&self) -> Result<bool, Failure> {
        let failed = |e: std::io::Error| {
            Failure::new(Exit::NotExecutable, format!("--needed: cannot be asked: {e}"))
        };
        // Bound to our life like any other command of ours, but to no lease.
        let mut shell = self.shell.shim(Duration::from_nanos(u64::MAX));
        let stderr = std::io::stderr().as_fd().try_clone_to_owned().map_err(failed)?;
        shell.stdin(Stdio::null()).stdout(stderr);
        shell.env("LEASEHOLD_NAME", &self.name).env("LEASEHOLD_KEY", &self.key);
        // Sockets of a socket activation are for the command.
        shell.env_remove("LISTEN_PID").env_remove("LISTEN_FDS").env_remove("LISTEN_FDNAMES");
        let status = Command::from(shell).kill_on_drop(true).status().await.map_err(failed)?;
        match status.code() {
            Some(0) => Ok(true),
            Some(126) => Err(Failure::new(
                Exit::NotExecutable,
                "--needed: its command cannot be run (126), and that is no answer",
            )),
            Some(127) => Err(Failure::new(
                Exit::NotFound,
                "--needed: its command was not found (127), and that is no answer",
            )),
            Some(_) => Ok(false),
            None => Err(Failure::new(
                Exit::NotExecutable,
                format!(
                    "--needed: signal {} ended it, and that is no answer",
                    status.signal().unwrap_or_default()
                ),
            )),
        }
    }
}
