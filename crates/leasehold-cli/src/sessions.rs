//! Where sessions are found, and how they are spoken to: one line there, one line of JSON back.
//!
//! The directory is ours alone, so a process that can open a socket in it runs as this user.

use std::io::ErrorKind::ConnectionRefused;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use leasehold::Client;
use leasehold::env::{Env, Host};
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, access, mkdir, open, stat, statat};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use serde_json::Value;
use tokio::net::UnixListener;

use crate::exit::{Exit, Failure};
use crate::{place, procs};

/// The variable that names a directory for sockets, instead of all that are tried without it.
const RUNTIME_DIR: &str = "LEASEHOLD_RUNTIME_DIR";

/// The longest path that fits into a socket's address.
const LONGEST: usize = 107;

/// How a socket is called before it has its name.
const NEW: &str = "new";

/// How long a session may take to say who it is.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);

/// How long it may take to release.
const RELEASE_PATIENCE: Duration = Duration::from_secs(30);

/// A session that answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Session {
    pub(crate) socket: PathBuf,
    pub(crate) name: String,
    pub(crate) backend: String,
    /// Whose life it is bound to, once it is.
    pub(crate) pid: Option<i32>,
}

/// A socket of ours. Its file goes with it.
pub(crate) struct Socket {
    pub(crate) listener: UnixListener,
    pub(crate) path: PathBuf,
}

impl Socket {
    /// Begins to listen, in the first place that serves, under a name that nobody looks for: so that
    /// it is known before a lock is acquired that it can be done. `store` is where the locks are.
    pub(crate) fn open(store: &Client) -> Result<Socket, Failure> {
        let mut problems = vec![];
        for dir in places(Some(store)) {
            match private(&dir).and_then(|()| Socket::open_in(&dir)) {
                Ok(socket) => return Ok(socket),
                Err(why) => problems.push(why),
            }
        }
        let why = format!(
            "there is no place for a socket, by which scripts and commands reach us ({}): set \
             {RUNTIME_DIR} to a directory that this user can write to",
            problems.join("; ")
        );
        Err(Failure::new(Exit::NoPlace, why))
    }

    fn open_in(dir: &Path) -> Result<Socket, String> {
        let name = format!("{}-{:032x}.{NEW}", std::process::id(), Host.unique());
        let path = dir.join(name);
        let listener = at(&path, UnixListener::bind);
        let listener = listener.map_err(|e| format!("cannot listen at {}: {e}", path.display()))?;
        Ok(Socket { listener, path })
    }

    /// Gives it the name under which it is found: from now on somebody answers.
    pub(crate) fn rename(&mut self, name: &str) -> std::io::Result<()> {
        let path = self.path.with_file_name(name);
        std::fs::rename(&self.path, &path)?;
        self.path = path;
        Ok(())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Connects or binds, through the directory where the path is too long for an address.
pub(crate) fn at<T>(
    path: &Path,
    act: impl FnOnce(PathBuf) -> std::io::Result<T>,
) -> std::io::Result<T> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return act(path.into());
    };
    if path.as_os_str().len() <= LONGEST {
        return act(path.into());
    }
    let dir = open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    act(Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name))
}

/// Where sockets may be, the best place first. What is another user's is not believed: neither would it
/// serve, nor should what we make stand in that user's way.
fn places(store: Option<&Client>) -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|dir| !dir.is_empty());
    if let Some(dir) = variable(RUNTIME_DIR) {
        return vec![dir.into()];
    }
    let uid = rustix::process::geteuid().as_raw();
    let mut dirs = vec![];
    let mut runtime = vec![PathBuf::from(format!("/run/user/{uid}"))];
    runtime.extend(variable("XDG_RUNTIME_DIR").map(PathBuf::from));
    for dir in runtime.into_iter().rev().filter(|dir| dir.is_absolute()) {
        match stat(&dir) {
            Ok(stat) if stat.st_uid == uid => dirs.push(dir.join("leasehold")),
            Ok(stat) => place::disbelieved("XDG_RUNTIME_DIR", &dir, stat.st_uid),
            Err(_) => {}
        }
    }
    dirs.extend(
        ["/tmp", "/var/tmp", "/dev/shm"].map(|dir| PathBuf::from(format!("{dir}/leasehold-{uid}"))),
    );
    // Beside the files that say who lives, which are in the directory of the locks.
    let alive = store.and_then(Client::liveness);
    let root = alive.as_deref().and_then(Path::parent).and_then(Path::parent);
    dirs.extend(root.map(|root| root.join(format!(".run-{uid}"))));
    dirs.dedup();
    dirs
}

/// Makes a directory, and sees whether it is ours alone and can be written to.
fn private(dir: &Path) -> Result<(), String> {
    let fail = |errno: Errno| format!("{}: {errno}", dir.display());
    match mkdir(dir, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(fail(errno)),
    }
    if !is_private(dir).map_err(fail)? {
        return Err(format!("{} is not a private directory of ours", dir.display()));
    }
    access(dir, Access::WRITE_OK | Access::EXEC_OK).map_err(fail)
}

/// In /tmp anybody could have been first.
fn is_private(dir: &Path) -> Result<bool, Errno> {
    let stat = statat(CWD, dir, AtFlags::SYMLINK_NOFOLLOW)?;
    let others = Mode::RWXG | Mode::RWXO;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory
        && stat.st_uid == rustix::process::geteuid().as_raw()
        && !Mode::from_raw_mode(stat.st_mode).intersects(others))
}

/// All sessions of this user, wherever they are. With `tidies` the sockets of those that were killed are
/// removed: their own shells are then told that they hold nothing, and no more that it was lost.
pub(crate) fn all(tidies: bool) -> Vec<Session> {
    let latest = std::env::var_os("LEASEHOLD_SESSION").map(PathBuf::from);
    let mut dirs = places(None);
    dirs.extend(latest.as_deref().and_then(Path::parent).map(Path::to_owned));
    let mut found: Vec<Session> = vec![];
    for dir in dirs.iter().filter(|dir| is_private(dir).unwrap_or(false)) {
        let Ok(entries) = std::fs::read_dir(dir) else { continue };
        for socket in entries.flatten().map(|entry| entry.path()) {
            let ends_with = |suffix: &str| {
                socket.extension().is_some_and(|end| end.as_bytes() == suffix.as_bytes())
            };
            if ends_with("sock") && found.iter().all(|session| session.socket != socket) {
                let session = who(&socket);
                if session.as_ref().is_err_and(|e| e.kind() == ConnectionRefused) && tidies {
                    let _ = std::fs::remove_file(&socket);
                }
                found.extend(session);
            } else if tidies && ends_with(NEW) && is_left(&socket) {
                let _ = std::fs::remove_file(&socket);
            }
        }
    }
    found
}

/// Whether the maker of a socket without a name was killed.
fn is_left(socket: &Path) -> bool {
    let name = socket.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let pid = name.split('-').next().and_then(|pid| procs::parse_pid(pid).ok());
    let has_gone = |pid| test_kill_process(pid) == Err(Errno::SRCH);
    pid.and_then(Pid::from_raw).is_some_and(has_gone)
        && at(socket, UnixStream::connect)
            .is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused)
}

/// Who answers at a socket.
pub(crate) fn who(socket: &Path) -> std::io::Result<Session> {
    let answer = ask(socket, "who", ANSWER_PATIENCE)?;
    let text = |field: &str| {
        answer[field].as_str().map(str::to_owned).ok_or(std::io::ErrorKind::InvalidData)
    };
    // In another container the same number is another process.
    let is_near = answer["namespace"].as_str() == procs::namespace().as_deref();
    let pid = answer["pid"].as_i64().filter(|_| is_near);
    Ok(Session {
        socket: socket.to_owned(),
        name: text("name")?,
        backend: text("backend")?,
        pid: pid.and_then(|pid| i32::try_from(pid).ok()),
    })
}

/// Binds a session to the life of a process.
pub(crate) fn bind(socket: &Path, pid: i32) -> std::io::Result<Value> {
    ask(socket, &format!("bind {pid}"), ANSWER_PATIENCE)
}

/// Has a session release its lock.
pub(crate) fn release(socket: &Path) -> std::io::Result<Value> {
    ask(socket, "release", RELEASE_PATIENCE)
}

fn ask(socket: &Path, question: &str, patience: Duration) -> std::io::Result<Value> {
    let mut stream = at(socket, UnixStream::connect)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(format!("{question}\n").as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}
