//! One server as a process that ends when we do, however we end.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::sh::{self, Result};

/// How long a server may take until it answers.
const START_TRIES: u32 = 200;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// How long it may take to answer once it has taken a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// How much of its log is shown when it does not come up.
const LOG_LINES: usize = 20;

/// Runs its arguments and kills them when its standard input closes: that happens even if we are killed.
const KEEPER: &str = r#"
exec 3<&0
"$@" 3<&- </dev/null &
server=$!
(cat <&3 >/dev/null; kill -9 $server) 2>/dev/null &
watcher=$!
exec 3<&-
wait $server
code=$?
kill $watcher
exit $code
"#;

/// How one hears that a server is up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Speaks {
    /// It answers a request.
    Http,
    /// It answers the greeting of HTTP/2 with its settings.
    Grpc,
}

/// A running HTTP server on a loopback port. It is stopped when dropped.
pub(crate) struct Server {
    name: &'static str,
    port: u16,
    log: PathBuf,
    keeper: Child,
}

impl Server {
    /// Starts `program` with the arguments for a free port, and returns when it answers.
    pub(crate) fn start(
        name: &'static str,
        program: &Path,
        speaks: Speaks,
        arguments: impl FnOnce(u16) -> Vec<String>,
    ) -> Result<Server> {
        let at = |e: io::Error| format!("{name} cannot be started: {e}");
        let port = free_port().map_err(at)?;
        let folder = sh::target_dir().join("servers");
        fs::create_dir_all(&folder).map_err(at)?;
        let log = folder.join(name).with_extension("log");
        let output = File::create(&log).map_err(at)?;
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "sh"]).arg(program).args(arguments(port)).stdin(Stdio::piped());
        keeper.stdout(output.try_clone().map_err(at)?).stderr(output);
        let keeper = keeper.spawn().map_err(at)?;
        let mut server = Server { name, port, log, keeper };
        server.await_answer(speaks)?;
        Ok(server)
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Where its output goes.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Sends a request and returns the status of the answer.
    pub(crate) fn call(&self, method: &str, target: &str, body: &str) -> io::Result<u16> {
        let mut stream = TcpStream::connect_timeout(&self.address(), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let message = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(message.as_bytes())?;
        let mut status = String::new();
        BufReader::new(stream).read_line(&mut status)?;
        let code = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        code.ok_or_else(|| io::Error::other(format!("no HTTP answer: `{}`", status.trim_end())))
    }

    /// Says the greeting of HTTP/2, with empty settings, and hears the server's.
    fn greet(&self) -> io::Result<()> {
        let mut stream = TcpStream::connect_timeout(&self.address(), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")?;
        let mut frame = [0; 9];
        stream.read_exact(&mut frame)?;
        match frame[3] {
            4 => Ok(()),
            kind => Err(io::Error::other(format!("no settings, but a frame of type {kind}"))),
        }
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    fn await_answer(&mut self, speaks: Speaks) -> Result {
        for _ in 0..START_TRIES {
            self.check()?;
            let answer = match speaks {
                Speaks::Http => self.call("GET", "/", "").map(drop),
                Speaks::Grpc => self.greet(),
            };
            if answer.is_ok() {
                return Ok(());
            }
            pause(BETWEEN_TRIES);
        }
        Err(self.failure("does not answer"))
    }

    /// An error when it has ended.
    fn check(&mut self) -> Result {
        match self.keeper.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.failure(&format!("ended with {status}"))),
            Err(why) => Err(self.failure(&format!("cannot be watched: {why}"))),
        }
    }

    fn failure(&self, what: &str) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n    ");
        format!("{} {what}; the end of {}:\n    {tail}", self.name, self.log.display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // It has nothing to tell that anybody could act upon now.
        let _ = self.keeper.wait();
    }
}

/// Returns, with an error, when one of them has ended.
pub(crate) fn until_one_ends(servers: &mut [Server]) -> Result {
    loop {
        for server in &mut *servers {
            server.check()?;
        }
        pause(BETWEEN_TRIES);
    }
}

/// A port that nobody has now, and hardly anybody will have in the next moment.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

#[expect(clippy::disallowed_methods, reason = "neither a port nor several children can be awaited")]
fn pause(span: Duration) {
    std::thread::sleep(span);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str) -> Result<Server> {
        let words = ["-c".to_owned(), script.to_owned()];
        Server::start("test-of-servers", Path::new("sh"), Speaks::Http, |_| words.to_vec())
    }

    /// A server ends before it answers: the error shows what it wrote, and does not wait for more.
    #[test]
    fn what_a_dead_server_wrote_is_shown() {
        let Err(why) = start("echo no such option >&2; exit 3") else { panic!("it started") };
        assert!(why.contains("ended with exit status: 3"), "{why}");
        assert!(why.ends_with("test-of-servers.log:\n    no such option"), "{why}");
    }

    /// We are killed: all that a server sees of it is that its keeper's input closes, and it is gone too. The
    /// pipe it holds as its output closes then.
    #[test]
    fn a_server_does_not_outlive_us() {
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "sh", "sh", "-c", "echo up; exec tail -f /dev/null"]);
        let keeper = keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut keeper = keeper.unwrap();
        let mut output = BufReader::new(keeper.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "up\n");
        drop(keeper.stdin.take());
        assert_eq!(output.read_line(&mut line).unwrap(), 0);
        assert_eq!(keeper.wait().unwrap().code(), Some(128 + 9));
    }
}
