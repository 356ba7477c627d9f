//! The background process that keeps a lock for a shell: acquires it, keeps it renewed while the
//! shell lives, releases it when told or when the shell has ended.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use clap::Parser;
use leasehold::env::{Env, Host};
use leasehold::{Client, ErrorKind, Guard};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::Receiver;

use crate::acquire::{acquire, close};
use crate::cli::{self, Cli, Command};
use crate::exit::{Exit, Failure};
use crate::sessions::Socket;
use crate::supervise::deadline_unix_ms;
use crate::{alone, keeper, place, procs, show};

/// The hidden subcommand. Its arguments are the process to watch (0: none yet) and what was typed.
pub(crate) const COMMAND: &str = "__session";

/// How long a shell may take from our result to telling us who it is.
const BIND_PATIENCE: Duration = Duration::from_secs(10);

/// How long a visitor may take for its line.
const LINE_PATIENCE: Duration = Duration::from_secs(2);

/// How long the store may take to confirm the release.
const RELEASE_PATIENCE: Duration = Duration::from_secs(10);

/// The session's whole life.
pub(crate) async fn main(mut words: impl Iterator<Item = OsString>) -> Exit {
    let pid = words.next().and_then(|pid| pid.to_str().and_then(|pid| pid.parse::<i32>().ok()));
    let typed = Cli::try_parse_from(std::iter::once(OsString::from("leasehold")).chain(words));
    let (Some(pid), Ok(Cli { backend, require_shared, command: Command::Acquire(mut options) })) =
        (pid, typed)
    else {
        show::say("this subcommand is for leasehold itself");
        return Exit::Usage;
    };
    if require_shared {
        alone::refuse();
    }
    let begun = match options.wanted.or_environment() {
        Ok(()) => begin(pid, &options, backend.as_deref()).await,
        Err(failure) => Err(failure),
    };
    match begun {
        Ok(Some(mut session)) => session.live().await,
        Ok(None) => Exit::Done,
        Err(failure) => {
            tell(&json!({ "code": failure.exit.code(), "message": failure.message }));
            failure.exit
        }
    }
}

/// Our one line to the process that started us.
fn tell(result: &Value) {
    // If nobody reads it, nobody will tell us a shell, and we end.
    let _ = writeln!(std::io::stdout(), "{result}");
}

/// Acquires the lock and reports it; `None` if nobody wants it any more.
async fn begin(
    pid: i32,
    options: &cli::Acquire,
    backend: Option<&str>,
) -> Result<Option<Session>, Failure> {
    let system = |e: std::io::Error| Failure::new(Exit::NotExecutable, e.to_string());
    // No terminal's signal is for us, and a `pkill leasehold` should not break a lock.
    rustix::process::setsid().map_err(|e| system(e.into()))?;
    let _ = rustix::thread::set_name(c"lh-session");
    keeper::let_signals_pass().map_err(system)?;
    let shell = match pid {
        0 => None,
        pid => Some(Shell::watch(pid).map_err(Failure::usage)?),
    };
    let starter = std::io::stdin().as_fd().try_clone_to_owned().map_err(system)?;
    let starter = Receiver::from_owned_fd(starter).map_err(system)?;
    let client = place::connect_to_lock(backend, options.wanted.voice).await?;
    let mut socket = Socket::open(&client)?;
    let guard = tokio::select! {
        biased;
        // It has nothing to say: its end is the message.
        _ = starter.readable() => None,
        () = gone(shell.as_ref()) => None,
        got = acquire(&client, &options.name, &options.wanted) => Some(got),
    };
    let guard = match guard {
        Some(Ok(guard)) => guard,
        Some(Err(failure)) => {
            close(client).await;
            return Err(failure);
        }
        None => {
            close(client).await;
            return Ok(None);
        }
    };
    let renamed = socket.rename(&format!("{}.sock", guard.holder()));
    renamed.map_err(|e| {
        let path = socket.path.display();
        Failure::new(Exit::NoPlace, format!("cannot rename {path}: {e}"))
    })?;
    tell(&json!({
        "name": guard.name(),
        "token": guard.token(),
        "holder": guard.holder().to_string(),
        "backend": client.url(),
        "deadline": deadline_unix_ms(&guard),
        "session": socket.path,
    }));
    detach().map_err(system)?;
    Ok(Some(Session { client, guard: Some(guard), lost: None, socket, shell }))
}

/// Lets go of everything whose end somebody may be waiting for. A terminal or a file may stay, so
/// that a loss has a place to be told; a pipe would keep its reader waiting.
fn detach() -> Result<(), std::io::Error> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    let stat = rustix::fs::fstat(rustix::stdio::stderr())?;
    if matches!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo | FileType::Socket) {
        rustix::stdio::dup2_stderr(&null)?;
    }
    std::env::set_current_dir("/")
}

/// The process for which the lock is held.
struct Shell {
    pid: i32,
    /// Its process descriptor, which becomes readable when it ends.
    life: Receiver,
}

impl Shell {
    fn watch(pid: i32) -> Result<Shell, String> {
        let fail = |errno: Errno| format!("cannot watch process {pid}: {errno}");
        let target = Some(pid).filter(|pid| *pid > 0).and_then(Pid::from_raw);
        let target = target.ok_or_else(|| fail(Errno::SRCH))?;
        let life = pidfd_open(target, PidfdFlags::NONBLOCK).map_err(fail)?;
        // Not a pipe, but all that is asked of it is when it becomes readable.
        let life = Receiver::from_owned_fd_unchecked(life);
        Ok(Shell { pid, life: life.map_err(|e| format!("cannot watch process {pid}: {e}"))? })
    }
}

/// Waits for the end of the shell; for ever while there is none.
async fn gone(shell: Option<&Shell>) {
    match shell {
        Some(shell) => drop(shell.life.readable().await),
        None => std::future::pending().await,
    }
}

struct Session {
    client: Client,
    /// The lock, until it is released.
    guard: Option<Guard>,
    /// Why it is held no longer, if it was lost.
    lost: Option<String>,
    socket: Socket,
    shell: Option<Shell>,
}

impl Session {
    async fn live(&mut self) -> Exit {
        let unbound = Host.sleep(BIND_PATIENCE);
        let mut unbound = std::pin::pin!(unbound);
        loop {
            tokio::select! {
                biased;
                why = lost(self.guard.as_ref()), if self.lost.is_none() => self.tell_loss(why),
                () = gone(self.shell.as_ref()) => break,
                Ok((visitor, _)) = self.socket.listener.accept() => {
                    if self.answer(visitor).await.is_break() {
                        break;
                    }
                }
                () = &mut unbound, if self.shell.is_none() => break,
            }
        }
        // A lock that was not released on request is released now.
        self.release().await;
        let _ = std::fs::remove_file(&self.socket.path);
        close(self.client.clone()).await;
        Exit::Done
    }

    /// The shell must not go on as if it held the lock. SIGTERM ends a script; an interactive shell
    /// ignores it, and its terminal shows the message.
    fn tell_loss(&mut self, why: String) {
        show::say(&why);
        if let Some(shell) = &self.shell {
            let _ = pidfd_send_signal(shell.life.as_fd(), Signal::TERM);
        }
        self.lost = Some(why);
    }

    /// Hears one visitor out. Breaks when our work is done.
    async fn answer(&mut self, visitor: UnixStream) -> std::ops::ControlFlow<()> {
        let mut visitor = BufReader::new(visitor);
        let mut line = String::new();
        tokio::select! {
            _ = visitor.read_line(&mut line) => {}
            () = Host.sleep(LINE_PATIENCE) => {}
        }
        let mut words = line.split_ascii_whitespace();
        let mut is_over = false;
        let answer = match (words.next(), words.next().and_then(|pid| pid.parse().ok())) {
            (Some("who"), _) => self.who(),
            (Some("bind"), Some(pid)) => self.bind(pid),
            (Some("release"), _) => {
                is_over = true;
                self.release().await
            }
            _ => json!({ "code": Exit::Usage.code(), "message": "not understood" }),
        };
        if is_over {
            // A process that asks again should find nobody.
            let _ = std::fs::remove_file(&self.socket.path);
        }
        let answer = format!("{answer}\n");
        tokio::select! {
            _ = visitor.write_all(answer.as_bytes()) => {}
            () = Host.sleep(LINE_PATIENCE) => {}
        }
        if is_over { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) }
    }

    fn who(&self) -> Value {
        json!({
            "name": self.guard.as_ref().map(Guard::name),
            "backend": self.client.url(),
            "pid": self.shell.as_ref().map(|shell| shell.pid),
            "namespace": procs::namespace(),
        })
    }

    fn bind(&mut self, pid: i32) -> Value {
        if let Some(why) = &self.lost {
            return json!({ "code": Exit::Lost.code(), "message": why });
        }
        match Shell::watch(pid) {
            Ok(shell) => {
                self.shell = Some(shell);
                json!({ "code": Exit::Done.code() })
            }
            Err(why) => json!({ "code": Exit::Usage.code(), "message": why }),
        }
    }

    /// Releases, if that was not done, and says what came of it.
    async fn release(&mut self) -> Value {
        let released = match self.guard.take() {
            None => Ok(()),
            Some(guard) => tokio::select! {
                released = guard.release() => released.map_err(|e| (e.kind(), e.to_string())),
                () = Host.sleep(RELEASE_PATIENCE) => {
                    Err((ErrorKind::Unavailable, "the store does not answer".into()))
                }
            },
        };
        match (self.lost.take(), released) {
            (Some(why), _) => json!({ "code": Exit::Lost.code(), "message": why }),
            (None, Ok(())) => json!({ "code": Exit::Done.code() }),
            (None, Err((kind, why))) => {
                let exit = Exit::of_error(kind, Exit::Unreachable.code());
                json!({ "code": exit.code(), "message": why })
            }
        }
    }
}

async fn lost(guard: Option<&Guard>) -> String {
    match guard {
        Some(guard) => guard.lost().await.to_string(),
        None => std::future::pending().await,
    }
}

/// A path as the shell code names it.
pub(crate) fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
