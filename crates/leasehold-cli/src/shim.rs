//! The shim: the child before it becomes the command.
//!
//! It asks the kernel to kill it when we die, which survives `exec`, and then becomes the command.
//! The keeper would kill it too; this is quicker, and holds even if the keeper is killed with us.
//!
//! It does not become the command when the keeper's time to kill has come: we may have been stopped
//! between our last look at the lease and this, and the keeper, who found nobody to kill, is gone.
//! Before that time the keeper is there and finds us by our environment.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use leasehold::env::{Env, Host};
use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use crate::exit::{Exit, Failure};
use crate::{inherited, show};

/// The hidden subcommand.
pub(crate) const COMMAND: &str = "__exec";

/// Where commands are looked for without `PATH`, as `execvp` does.
const PATH_DEFAULT: &str = "/bin:/usr/bin";

/// A command that can be run, as far as one can tell before.
#[derive(Debug)]
pub(crate) struct Resolved {
    path: PathBuf,
    words: Vec<OsString>,
}

/// Finds a command as a shell would: by path if it contains a slash, along `PATH` otherwise.
pub(crate) fn resolve(words: Vec<OsString>) -> Result<Resolved, Failure> {
    let Some(name) = words.first() else {
        return Err(Failure::usage("no command was given"));
    };
    let path = std::env::var_os("PATH").unwrap_or_else(|| PATH_DEFAULT.into());
    let path = find(name, &path)?;
    Ok(Resolved { path, words })
}

fn find(name: &OsStr, path: &OsStr) -> Result<PathBuf, Failure> {
    let shown = name.to_string_lossy();
    if name.is_empty() {
        return Err(Failure::new(Exit::NotFound, "the command is empty"));
    }
    if name.as_encoded_bytes().contains(&b'/') {
        return check(Path::new(name)).map_err(|errno| failure(&shown, errno));
    }
    let mut refused = None;
    for dir in std::env::split_paths(path) {
        // An empty entry means the current directory.
        let dir = if dir.as_os_str().is_empty() { PathBuf::from(".") } else { dir };
        match check(&dir.join(name)) {
            Ok(found) => return Ok(found),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            // Another may stand further along.
            Err(errno) => refused = Some(errno),
        }
    }
    Err(failure(&shown, refused.unwrap_or(Errno::NOENT)))
}

fn check(path: &Path) -> Result<PathBuf, Errno> {
    if rustix::fs::stat(path).is_ok_and(|stat| stat.st_mode & 0o170_000 == 0o040_000) {
        return Err(Errno::ISDIR);
    }
    access(path, Access::EXEC_OK)?;
    Ok(path.to_owned())
}

fn failure(name: &str, errno: Errno) -> Failure {
    match errno {
        Errno::NOENT | Errno::NOTDIR => {
            // A whole line for a shell, in one word.
            let is_line = name.contains([' ', '|', ';', '&', '<', '>', '$']);
            let hint = if is_line { "; a line for a shell is run by: -- sh -c '…'" } else { "" };
            Failure::new(Exit::NotFound, format!("{name}: command not found{hint}"))
        }
        Errno::ISDIR => Failure::new(Exit::NotExecutable, format!("{name}: is a directory")),
        errno => Failure::new(Exit::NotExecutable, format!("{name}: cannot be run: {errno}")),
    }
}

impl Resolved {
    /// The shim that becomes this command, if it comes to it before the keeper kills, `until` by
    /// `CLOCK_BOOTTIME`. What it inherits is the command's.
    pub(crate) fn shim(&self, until: Duration) -> Command {
        let us = std::process::id();
        let mut shim = Command::new("/proc/self/exe");
        shim.arg0("leasehold").arg(COMMAND).arg(us.to_string());
        shim.arg(until.as_nanos().to_string());
        shim.arg(inherited::word());
        shim.arg(&self.path).args(&self.words);
        shim.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
        shim
    }
}

/// The shim's whole life: the pid of its parent, until when it may begin, the signals of the command, the
/// path, and the words as they were typed.
pub(crate) fn main(mut arguments: impl Iterator<Item = OsString>) -> Exit {
    let parent = arguments.next().and_then(|pid| pid.to_str()?.parse().ok());
    let until = arguments.next().and_then(|nanos| nanos.to_str()?.parse().ok());
    let signals = arguments.next();
    let (Some(parent), Some(until), Some(signals), Some(path), Some(name)) = (
        parent,
        until,
        signals.as_deref().and_then(OsStr::to_str),
        arguments.next(),
        arguments.next(),
    ) else {
        show::say("this subcommand is for leasehold itself");
        return Exit::Usage;
    };
    if let Err(errno) = set_parent_process_death_signal(Some(Signal::KILL)) {
        show::say(&format!("cannot bind the command's life to ours: {errno}"));
        return Exit::NotExecutable;
    }
    // If it died before, its death sends nothing.
    if getppid() != Pid::from_raw(parent) {
        return Exit::Lost;
    }
    if Host.now().moment.boot >= Duration::from_nanos(until) {
        return Exit::Lost;
    }
    if inherited::restore(signals).is_none() {
        return Exit::Usage;
    }
    let environment = inherited::environment(&parent.to_string());
    let words: Vec<_> = std::iter::once(name.clone()).chain(arguments).filter_map(c_text).collect();
    let path = c_text(path).unwrap_or_default();
    let errno = execute(&path, &words, &environment);
    let failure = match errno {
        // The file is there, or was a moment ago: it is its interpreter that is missing.
        Errno::NOENT => Failure::new(
            Exit::NotFound,
            format!("{}: its interpreter was not found", name.to_string_lossy()),
        ),
        errno => failure(&name.to_string_lossy(), errno),
    };
    show::say(&failure.message);
    failure.exit
}

/// Becomes the command, or says why that cannot be.
fn execute(path: &CStr, words: &[CString], environment: &[CString]) -> Errno {
    // Not that of the standard library, which has an opinion on the signals of what it starts.
    let Err(errno) = nix::unistd::execvpe(path, words, environment);
    if errno != nix::errno::Errno::ENOEXEC {
        return Errno::from_raw_os_error(errno as i32);
    }
    // A script without an interpreter line belongs to the shell, as POSIX says of `execvp`. That of glibc
    // sees to it, and that of musl does not.
    let script = [c"/bin/sh", path].into_iter().chain(words.iter().skip(1).map(CString::as_c_str));
    let Err(errno) = nix::unistd::execvpe(c"/bin/sh", &script.collect::<Vec<_>>(), environment);
    Errno::from_raw_os_error(errno as i32)
}

/// Arguments that came to us have no zero in them.
fn c_text(text: OsString) -> Option<CString> {
    CString::new(text.into_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(name: &str, path: &str) -> Result<PathBuf, Exit> {
        find(OsStr::new(name), OsStr::new(path)).map_err(|failure| failure.exit)
    }

    #[test]
    fn commands_are_found_as_a_shell_finds_them() {
        assert_eq!(exit("sh", "/nowhere:/bin"), Ok(PathBuf::from("/bin/sh")));
        assert_eq!(exit("/bin/sh", ""), Ok(PathBuf::from("/bin/sh")));
        assert_eq!(exit("sh", "/nowhere:/bin/sh"), Err(Exit::NotFound), "a file is no directory");
        assert_eq!(exit("no-such-command", "/bin:/usr/bin"), Err(Exit::NotFound));
        assert_eq!(exit("/no/such", ""), Err(Exit::NotFound));
        assert_eq!(exit("", "/bin"), Err(Exit::NotFound));
        assert_eq!(exit("/etc/passwd", ""), Err(Exit::NotExecutable));
        assert_eq!(exit("passwd", "/etc"), Err(Exit::NotExecutable));
        assert_eq!(exit("/etc", ""), Err(Exit::NotExecutable));
        assert_eq!(exit("init.d", "/etc"), Err(Exit::NotExecutable), "a directory");
    }
}
