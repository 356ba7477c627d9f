//! A process that races, seen from the one that started it.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::COMMAND;
use crate::cli::Demo;
use crate::exit::{Exit, Failure};

pub(super) struct Process {
    pub(super) number: u32,
    child: Child,
    orders: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Our own program again. It is killed when this value goes, and ends when we do.
    pub(super) fn start(
        number: u32,
        url: &str,
        name: &str,
        path: &Path,
        options: &Demo,
    ) -> Result<Process, Failure> {
        let cannot = |why: String| {
            let message = format!("cannot start process {number} of the demo: {why}");
            Failure::new(Exit::NotExecutable, message)
        };
        let program = std::env::current_exe().map_err(|e| cannot(e.to_string()))?;
        let mut command = Command::new(program);
        command
            .arg(COMMAND)
            .arg(path)
            .args([name, &number.to_string(), &options.clients.to_string()])
            .arg(options.span.as_millis().to_string())
            .env(leasehold::BACKEND_VARIABLE, url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|e| cannot(e.to_string()))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (orders, said) = pipes.ok_or_else(|| cannot("it has no pipes".into()))?;
        Ok(Process { number, child, orders, said: BufReader::new(said).lines() })
    }

    /// Waits until it has its clients.
    pub(super) async fn ready(&mut self) -> Result<(), Failure> {
        match self.hear().await {
            Ok(said) if said == "ready" => Ok(()),
            Ok(said) => Err(self.failure(&format!("it said {said}"))),
            Err(why) => Err(self.failure(&why)),
        }
    }

    /// Tells it to race. If it is gone, that is found when it is listened to.
    pub(super) async fn order(&mut self, round: u32) {
        let order = format!("{round}\n");
        let _ = self.orders.write_all(order.as_bytes()).await;
    }

    /// What its clients say of a round; the last is why it does not say more, if it does not.
    pub(super) async fn round(&mut self, clients: u32) -> Vec<Result<Value, String>> {
        let mut all = vec![];
        for _ in 0..clients {
            let said = self.hear().await;
            let is_over = said.is_err();
            all.push(said);
            if is_over {
                break;
            }
        }
        all
    }

    async fn hear(&mut self) -> Result<Value, String> {
        match self.said.next_line().await {
            Ok(Some(line)) => serde_json::from_str(&line).map_err(|_| format!("it said {line:?}")),
            Ok(None) => match self.child.wait().await {
                Ok(status) => Err(format!("it ended: {status}")),
                Err(error) => Err(format!("it ended: {error}")),
            },
            Err(error) => Err(error.to_string()),
        }
    }

    fn failure(&self, why: &str) -> Failure {
        let message = format!("process {} of the demo did not start: {why}", self.number);
        Failure::new(Exit::Unreachable, message)
    }
}
