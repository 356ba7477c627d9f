//! A second process that holds a lock until it is killed.

use std::io::BufRead;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Any;

/// The process. Killed when dropped, as [`kill`](Doomed::kill) does.
#[derive(Debug)]
pub(crate) struct Doomed(Child);

impl Doomed {
    /// Starts it, and returns when it holds. Blocks the thread meanwhile.
    pub(crate) fn start(url: &str, name: &str, ttl: Duration) -> Result<Doomed, Any> {
        let ttl_ms = ttl.as_millis().to_string();
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["hold", url, name, &ttl_ms]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = Doomed(command.spawn()?);
        let mut line = String::new();
        let stdout = process.0.stdout.take().ok_or("no stdout")?;
        std::io::BufReader::new(stdout).read_line(&mut line)?;
        if line.is_empty() { Err("the holder did not hold".into()) } else { Ok(process) }
    }

    /// Kills it: it can say nothing any more to anybody.
    pub(crate) fn kill(&mut self) -> Result<(), Any> {
        Ok(self.0.kill()?)
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What that process does.
pub(crate) async fn hold(url: &str, name: &str, ttl_ms: &str) -> Result<(), Any> {
    let client = leasehold::connect(url).await?;
    let ttl = Duration::from_millis(ttl_ms.parse()?);
    let guard = client.mutex(name).with_ttl(ttl).acquire().await?;
    println!("held");
    Err(guard.lost().await.into())
}
