//! Where sessions are found, and how they are spoken to: one line there, one line of JSON back.
//!
//! The directory is ours alone, so whoever can open a socket in it is us.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, FileType, Mode, mkdir, statat};
use rustix::io::Errno;
use serde_json::Value;

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

/// The directory of the sockets, made if it is not there.
pub(crate) fn dir() -> Result<PathBuf, String> {
    let uid = rustix::process::getuid().as_raw();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let dir = match runtime.filter(|dir| dir.is_absolute() && dir.is_dir()) {
        Some(runtime) => runtime.join("leasehold"),
        None => PathBuf::from(format!("/tmp/leasehold-{uid}")),
    };
    let shown = dir.display();
    match mkdir(&dir, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(format!("cannot make {shown}: {errno}")),
    }
    // In /tmp anybody could have been first.
    let stat = statat(CWD, &dir, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| format!("{shown}: {e}"))?;
    let is_ours = FileType::from_raw_mode(stat.st_mode) == FileType::Directory
        && stat.st_uid == uid
        && !Mode::from_raw_mode(stat.st_mode).intersects(Mode::RWXG | Mode::RWXO);
    is_ours
        .then_some(dir.clone())
        .ok_or_else(|| format!("{shown} is not a private directory of ours"))
}

/// All sessions of this user. The sockets of those that were killed are tidied away.
pub(crate) fn all() -> Result<Vec<Session>, String> {
    let dir = dir()?;
    let entries = std::fs::read_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let sockets = entries.flatten().map(|entry| entry.path());
    let sockets = sockets.filter(|path| path.as_os_str().as_bytes().ends_with(b".sock"));
    Ok(sockets.filter_map(|socket| who(&socket)).collect())
}

/// Who answers at a socket.
pub(crate) fn who(socket: &Path) -> Option<Session> {
    let answer = match ask(socket, "who", ANSWER_PATIENCE) {
        Ok(answer) => answer,
        Err(error) => {
            if error.kind() == std::io::ErrorKind::ConnectionRefused {
                let _ = std::fs::remove_file(socket);
            }
            return None;
        }
    };
    Some(Session {
        socket: socket.to_owned(),
        name: answer["name"].as_str()?.to_owned(),
        backend: answer["backend"].as_str()?.to_owned(),
        pid: answer["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()),
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
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(format!("{question}\n").as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}
