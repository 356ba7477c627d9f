//! The stderr of a command of `once`: handed on at once and unchanged, and its end kept.
//!
//! That is a small process of its own, so that nobody waits for a reader that is slow: not the one who
//! renews, and not a process that the command left running, whose stderr works for as long as without us.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use leasehold::env::{Env, Host};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::exit::Exit;
use crate::{inherited, keeper};

/// The hidden subcommand.
pub(crate) const COMMAND: &str = "__stderr";

/// How much is kept: more than is recorded, because control characters are left out there.
const KEPT: usize = 4096;

/// More than a pipe can hold, so that all that a command wrote before its end is taken in.
const LEFT_OVER: usize = 2 << 20;

/// How long we wait for the tail. It is not there at once only if somebody does not read our stderr.
const TAIL_PATIENCE: Duration = Duration::from_secs(2);

/// Our end of it.
#[derive(Debug)]
pub(crate) struct Pump {
    process: Child,
    stream: UnixStream,
}

impl Pump {
    /// Takes the place of the command's stderr, and of its stdout where that is the same file. `None` if
    /// our stderr is a terminal: the command shall have it.
    pub(crate) fn start(command: &mut Command) -> io::Result<Option<Pump>> {
        let stderr = rustix::stdio::stderr();
        if rustix::termios::isatty(stderr) {
            return Ok(None);
        }
        let (read, write) = io::pipe()?;
        let (ours, theirs) = StdStream::pair()?;
        let mut pump = Command::new("/proc/self/exe");
        pump.arg0("lh-stderr").arg(COMMAND);
        pump.stdin(read).stdout(OwnedFd::from(theirs)).stderr(Stdio::inherit());
        let process = pump.spawn()?;
        ours.set_nonblocking(true)?;
        let stream = UnixStream::from_std(ours)?;
        let (out, err) = (rustix::fs::fstat(rustix::stdio::stdout())?, rustix::fs::fstat(stderr)?);
        if (out.st_dev, out.st_ino) == (err.st_dev, err.st_ino) {
            command.stdout(write.try_clone()?);
        }
        command.stderr(write);
        Ok(Some(Pump { process, stream }))
    }

    /// The end of what the command has written; it has ended.
    pub(crate) async fn tail(&mut self) -> String {
        let read = async {
            self.stream.shutdown().await?;
            let mut bytes = vec![0; usize::from(self.stream.read_u16().await?)];
            self.stream.read_exact(&mut bytes).await?;
            Ok::<_, io::Error>(bytes)
        };
        let bytes = tokio::select! {
            read = read => read.unwrap_or_default(),
            () = Host.sleep(TAIL_PATIENCE) => vec![],
        };
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until all that the command had written when [`tail`](Pump::tail) was asked for is written.
    pub(crate) async fn written(mut self) {
        while matches!(self.stream.read(&mut [0; 64]).await, Ok(n) if n > 0) {}
        // It goes on if the command left something running.
        let _ = self.process.try_wait();
    }
}

/// The whole life of that process: stdin is the pipe, stdout leads to our parent.
pub(crate) fn main() -> Exit {
    inherited::close_descriptors();
    let _ = rustix::thread::set_name(c"lh-stderr");
    // Neither a terminal's signals nor a `pkill leasehold` shall cut off what is still to be said.
    let _ = rustix::process::setsid();
    let _ = keeper::let_signals_pass();
    let _ = std::env::set_current_dir("/");
    // A pipe without another end, and not /dev/null, which need not be there.
    let Ok((nowhere, _)) = io::pipe() else { return Exit::Unreachable };
    match (Copy { tail: VecDeque::new(), ended: false, nowhere: nowhere.into() }).all() {
        Ok(()) => Exit::Done,
        Err(_) => Exit::Unreachable,
    }
}

struct Copy {
    tail: VecDeque<u8>,
    /// The pipe has been written to by nobody any more, or nobody reads our stderr.
    ended: bool,
    /// What takes the place of a descriptor that is closed.
    nowhere: OwnedFd,
}

impl Copy {
    fn all(mut self) -> Result<(), Errno> {
        while !self.is_asked()? {
            let mut bytes = vec![];
            self.read(&mut bytes)?;
            self.write(&bytes);
        }
        // What the command wrote before its end is there. What comes now is somebody else's.
        let mut rest = vec![];
        while !self.ended && rest.len() < LEFT_OVER && is_ready(&rustix::stdio::stdin())? {
            self.read(&mut rest)?;
        }
        self.answer();
        self.write(&rest);
        let _ = rustix::stdio::dup2_stdout(&self.nowhere);
        while !self.ended {
            let mut bytes = vec![];
            self.read(&mut bytes)?;
            self.write(&bytes);
        }
        Ok(())
    }

    /// Waits until there is something to do. True if it is our parent who wants to hear.
    fn is_asked(&self) -> Result<bool, Errno> {
        let (stdin, stdout) = (rustix::stdio::stdin(), rustix::stdio::stdout());
        let asked = PollFd::new(&stdout, PollFlags::IN);
        let more = PollFd::new(&stdin, PollFlags::IN);
        let mut fds = [asked, more];
        let count = if self.ended { 1 } else { 2 };
        loop {
            match poll(&mut fds[..count], None) {
                // First: a command that writes on and on must not keep our parent waiting.
                Ok(_) => return Ok(!fds[0].revents().is_empty()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    fn read(&mut self, into: &mut Vec<u8>) -> Result<(), Errno> {
        let mut bytes = [0; 16 * 1024];
        let n = match rustix::io::read(rustix::stdio::stdin(), &mut bytes) {
            Err(Errno::INTR) => return Ok(()),
            n => n?,
        };
        self.ended |= n == 0;
        into.extend_from_slice(&bytes[..n]);
        self.tail.extend(&bytes[..n]);
        let excess = self.tail.len().saturating_sub(KEPT);
        self.tail.drain(..excess);
        Ok(())
    }

    /// If nobody reads any more, the command learns it as it would without us, by SIGPIPE. Any other error is
    /// no reason to end it: a full disk, a file that may not grow, a broken device. Then the bytes are lost.
    fn write(&mut self, mut bytes: &[u8]) {
        let stderr = rustix::stdio::stderr();
        while !bytes.is_empty() {
            match rustix::io::write(stderr, bytes) {
                Ok(n) if n > 0 => bytes = &bytes[n..],
                Err(Errno::INTR) => {}
                // Others may have made it so.
                Err(Errno::AGAIN) => {
                    match poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], None) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(_) => return,
                    }
                }
                Err(Errno::PIPE) => {
                    self.ended = true;
                    let _ = rustix::stdio::dup2_stdin(&self.nowhere);
                    return;
                }
                Ok(_) | Err(_) => return,
            }
        }
    }

    fn answer(&mut self) {
        let tail = self.tail.make_contiguous();
        // Not half a character at the beginning.
        let is_inside = |b: &&u8| **b & 0xC0 == 0x80;
        let cut = if tail.len() < KEPT { 0 } else { tail.iter().take_while(is_inside).count() };
        let tail = &tail[cut..];
        let length = u16::try_from(tail.len()).unwrap_or(u16::MAX);
        // Far less than a socket holds, and if our parent is gone there is nobody to tell.
        let _ = rustix::io::write(rustix::stdio::stdout(), &[&length.to_be_bytes(), tail].concat());
    }
}

fn is_ready(fd: &impl AsFd) -> Result<bool, Errno> {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&now)) {
        Err(Errno::INTR) => Ok(true),
        ready => Ok(ready? > 0),
    }
}
