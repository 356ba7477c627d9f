//! What the kernel says about processes, through /proc.
//!
//! Its numbers are used to send signals, so they have to be the numbers of our own pid namespace, at every
//! moment: [`require`] finds that out before a lock is acquired, and the directory is opened once, so that
//! nothing that is mounted over it later takes its place.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::{
    AtFlags, Dir, Mode, OFlags, PROC_SUPER_MAGIC, fstatfs, openat, readlinkat, statat,
};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use crate::exit::{Exit, Failure};

/// One process, at the moment of a look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    /// The name, at most 15 bytes, that the process gave itself or was started under.
    pub(crate) name: Vec<u8>,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
    /// When it started, in clock ticks: together with the pid it names one process for ever.
    pub(crate) start: u64,
    /// A zombie: nothing of it runs any more.
    pub(crate) ended: bool,
    /// A thread of the kernel.
    pub(crate) is_kernels: bool,
}

/// The kernel's `PF_KTHREAD`.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// Our own /proc, or what is wrong with it.
static PROC: OnceLock<Result<OwnedFd, String>> = OnceLock::new();

/// Whether it may be mounted so that it does not show everything.
static HIDES: OnceLock<bool> = OnceLock::new();

/// Fails where the processes of a command could not be found: `run`, `once` and `acquire` ask this before
/// anything is acquired.
pub(crate) fn require() -> Result<(), Failure> {
    open().map(drop).map_err(|why| Failure::new(Exit::NotExecutable, why))
}

fn open() -> Result<&'static OwnedFd, String> {
    PROC.get_or_init(checked).as_ref().map_err(Clone::clone)
}

fn checked() -> Result<OwnedFd, String> {
    let because = "and without it the processes of a command cannot be found and ended when its \
                   lock is lost";
    let missing =
        || format!("/proc is not mounted here, {because}: mount it (`mount -t proc proc /proc`)");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = match rustix::fs::open(c"/proc", flags, Mode::empty()) {
        Ok(proc) => proc,
        Err(Errno::NOENT | Errno::NOTDIR) => return Err(missing()),
        Err(errno) => return Err(format!("/proc cannot be opened ({errno}), {because}")),
    };
    if fstatfs(&proc).is_ok_and(|about| about.f_type != PROC_SUPER_MAGIC) {
        return Err(missing());
    }
    if !is_of_our_namespace(&proc) {
        return Err(format!(
            "/proc shows the processes of another pid namespace, not those of ours, {because}: \
             mount the /proc of this namespace (`unshare --pid --fork --mount-proc`, or \
             `mount -t proc proc /proc`; a container runtime does it unless told otherwise)"
        ));
    }
    if !are_children_with_us(&proc) {
        return Err("the processes that leasehold starts would be in another pid namespace than \
                    leasehold, so they do not see each other in /proc: use `unshare --pid --fork`, \
                    with `--fork` and `--mount-proc`"
            .into());
    }
    Ok(proc)
}

/// Whether the numbers in it are those that our system calls take. Our number alone may be the same in two
/// namespaces by chance; the list of our numbers in all namespaces below the one that is shown is not.
fn is_of_our_namespace(proc: &OwnedFd) -> bool {
    let me = std::process::id().to_string();
    if !readlinkat(proc, "self", vec![]).is_ok_and(|shown| shown.as_bytes() == me.as_bytes()) {
        return false;
    }
    let status = read_in(proc, Path::new("self/status")).unwrap_or_default();
    let status = String::from_utf8_lossy(&status).into_owned();
    // A kernel that does not have it has told its number.
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.is_none_or(|numbers| numbers.split_whitespace().eq([me.as_str()]))
}

/// After `unshare --pid` without `--fork` we are in one namespace and our children in a new one.
fn are_children_with_us(proc: &OwnedFd) -> bool {
    let ours = readlinkat(proc, "self/ns/pid", vec![]);
    match (ours, readlinkat(proc, "self/ns/pid_for_children", vec![])) {
        (Ok(ours), Ok(theirs)) => ours == theirs,
        // It is there, but leads nowhere: nobody has been born in it yet.
        (Ok(_), Err(Errno::NOENT)) => {
            statat(proc, "self/ns/pid_for_children", AtFlags::SYMLINK_NOFOLLOW).is_err()
        }
        _ => true,
    }
}

/// Whether there may be processes that we are not shown (`hidepid`).
pub(crate) fn hides_some() -> bool {
    *HIDES.get_or_init(|| {
        let mounts = read("self/mountinfo").unwrap_or_default();
        let mounts = String::from_utf8_lossy(&mounts).into_owned();
        let mut procs = mounts.lines().filter(|line| line.contains(" - proc "));
        procs.any(|line| line.contains("hidepid=") && !line.contains("hidepid=off"))
    })
}

fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    read_in(open().map_err(io::Error::other)?, path.as_ref())
}

fn read_in(proc: &OwnedFd, path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = vec![];
    let file = openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    File::from(file).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Every process that can be seen.
pub(crate) fn all() -> io::Result<Vec<Process>> {
    let mut found = vec![];
    for entry in Dir::read_from(open().map_err(io::Error::other)?)? {
        let entry = entry?;
        let pid = entry.file_name().to_str().ok().and_then(number).and_then(Pid::from_raw);
        let Some(pid) = pid else { continue };
        match try_look(pid) {
            Ok(process) => found.extend(process),
            // It ended since the directory was read, or is another user's and hidden (`hidepid`). Any other
            // error, a lack of descriptors say, must not look like the end of a process.
            Err(error) if is_about_the_process(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn is_about_the_process(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::NOENT | Errno::SRCH | Errno::ACCESS | Errno::PERM))
}

/// One process, if it exists and can be seen.
pub(crate) fn look(pid: Pid) -> Option<Process> {
    try_look(pid).ok()?
}

fn try_look(pid: Pid) -> io::Result<Option<Process>> {
    Ok(parse_stat(pid, &read(format!("{}/stat", pid.as_raw_pid()))?))
}

fn number(text: &str) -> Option<i32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// `pid (name) state ppid pgrp session …`. The name may contain anything, parentheses too, so the
/// last one counts.
pub(crate) fn parse_stat(pid: Pid, stat: &[u8]) -> Option<Process> {
    let open = stat.iter().position(|&b| b == b'(')?;
    let close = stat.iter().rposition(|&b| b == b')')?;
    let name = stat.get(open + 1..close)?.to_vec();
    let rest = std::str::from_utf8(stat.get(close + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |n: usize| fields.get(n - 3).copied();
    let flags: u64 = field(9)?.parse().ok()?;
    let threads: i64 = field(20)?.parse().ok()?;
    // A process whose first thread has ended while others run is shown as a zombie too.
    let ended = matches!(field(3)?, "Z" | "X" | "x") && threads <= 1;
    Some(Process {
        pid,
        name,
        parent: field(4)?.parse().ok()?,
        group: field(5)?.parse().ok()?,
        session: field(6)?.parse().ok()?,
        start: field(22)?.parse().ok()?,
        ended,
        is_kernels: flags & KERNEL_THREAD != 0,
    })
}

/// Whether a process was started with this entry (`NAME=value`) in its environment. False where that
/// cannot be read: another user's process. `None` where there is nothing: it was given nothing, or
/// is in the middle of an `exec` and has nothing for a moment.
pub(crate) fn was_given(pid: Pid, entry: &str) -> Option<bool> {
    match read(format!("{}/environ", pid.as_raw_pid())) {
        Ok(environ) if environ.is_empty() => None,
        Ok(environ) => Some(environ.split(|&b| b == 0).any(|given| given == entry.as_bytes())),
        Err(_) => Some(false),
    }
}

/// Whether a bit mask of signals contains this one.
pub(crate) fn contains(mask: u64, signal: i32) -> bool {
    u32::try_from(signal - 1).is_ok_and(|bit| bit < 64 && mask >> bit & 1 == 1)
}

/// A signal by its number, for those that have a name.
pub(crate) fn signal(number: i32) -> Option<Signal> {
    Signal::from_named_raw(number)
}

/// A process that is to be watched, by what was typed.
pub(crate) fn parse_pid(text: &str) -> Result<i32, String> {
    let fail = || format!("{text:?} is not a process id");
    number(text).filter(|pid| *pid > 0).ok_or_else(fail)
}

/// Whether two processes run one program, as a shell and its subshells do. Where that cannot be
/// seen, the first is taken at its word.
pub(crate) fn run_the_same(a: i32, b: i32) -> bool {
    let program = |pid: i32| readlinkat(open().ok()?, format!("{pid}/exe"), vec![]).ok();
    match (program(a), program(b)) {
        (Some(a), Some(b)) => a == b,
        _ => true,
    }
}

/// What our pid namespace is called.
pub(crate) fn namespace() -> Option<String> {
    readlinkat(open().ok()?, "self/ns/pid", vec![]).ok()?.into_string().ok()
}

/// The processes above us: our parent first.
pub(crate) fn ancestors() -> Vec<i32> {
    let mut line = vec![];
    let mut pid = rustix::process::getppid();
    while let Some(parent) = pid {
        line.push(parent.as_raw_pid());
        pid = look(parent).and_then(|p| Pid::from_raw(p.parent));
    }
    line
}

/// Where our own program is, by name; `None` if it was replaced or removed while we run.
pub(crate) fn own_path() -> Option<std::path::PathBuf> {
    let path = std::env::current_exe().ok()?;
    (!path.as_os_str().as_bytes().ends_with(b" (deleted)")).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(n: i32) -> Pid {
        Pid::from_raw(n).expect("not zero")
    }

    const TAIL: &str = "0 -1 4194304 1 2 3 4 5 6 7 8 20 0";

    #[test]
    fn a_name_made_to_confuse_is_read_right() {
        // A program may call itself `a) Z 1 (b`.
        let stat = format!("42 (a) Z 1 (b) S 7 8 9 {TAIL} 1 0 555 0 0");
        let process = parse_stat(pid(42), stat.as_bytes()).expect("well formed");
        assert_eq!(process.name, b"a) Z 1 (b");
        assert_eq!((process.parent, process.group, process.session), (7, 8, 9));
        assert_eq!(process.start, 555);
        assert!(!process.ended);
    }

    #[test]
    fn a_zombie_has_ended_unless_its_other_threads_run() {
        let of = |threads: u32| {
            let stat = format!("42 (x) Z 7 8 9 {TAIL} {threads} 0 555 0 0");
            parse_stat(pid(42), stat.as_bytes()).expect("well formed").ended
        };
        assert!(of(1));
        assert!(!of(3));
    }

    #[test]
    fn we_find_ourselves() {
        let me = rustix::process::getpid();
        let all = all().expect("/proc is there");
        let us = all.iter().find(|p| p.pid == me).expect("we run");
        assert_eq!(Some(us.parent), rustix::process::getppid().map(Pid::as_raw_pid));
        assert_eq!(Some(us.start), look(me).map(|p| p.start));
        assert!(ancestors().contains(&us.parent));
    }

    #[test]
    fn nonsense_is_not_a_process() {
        for stat in ["", "42 (x", "42 (x) S", "42 (x) S a b c", "42 (x) \u{fffd}"] {
            assert_eq!(parse_stat(pid(42), stat.as_bytes()), None, "{stat}");
        }
        assert!(parse_pid("0").is_err() && parse_pid("-1").is_err() && parse_pid("1x").is_err());
        assert!(parse_pid("").is_err() && parse_pid("99999999999").is_err());
        assert_eq!(parse_pid("17"), Ok(17));
    }

    #[test]
    fn masks_are_counted_from_one() {
        assert!(contains(0b1, 1) && contains(0b10, 2) && !contains(0b10, 1));
        assert!(!contains(u64::MAX, 0) && !contains(u64::MAX, 65) && contains(u64::MAX, 64));
    }
}
