//! A directory for one test, and what happens in it. Tests wait for events: for a line on a pipe,
//! for the end of a process.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Once};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open};

use crate::store::Store;

/// Longer than anything takes that works.
const PATIENCE: Timespec = Timespec { tv_sec: 120, tv_nsec: 0 };

/// The program under test: cargo's build, or the one that `LEASEHOLD_PROGRAM` names. It is called
/// `leasehold`.
pub(crate) fn program_path() -> PathBuf {
    let named = std::env::var_os("LEASEHOLD_PROGRAM").filter(|path| !path.is_empty());
    named.map_or_else(|| env!("CARGO_BIN_EXE_leasehold").into(), PathBuf::from)
}

/// A store, a runtime directory, and room for files.
pub(crate) struct World {
    dir: PathBuf,
    store: Store,
}

impl World {
    /// With a store of files.
    pub(crate) fn new() -> World {
        World::with(|dir| Store::Files(dir.join("store")))
    }

    pub(crate) fn on(store: Store) -> World {
        World::with(|_| store)
    }

    fn with(store: impl FnOnce(&Path) -> Store) -> World {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        mean_signals();
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        // A short path: sockets have no room for a long one.
        let dir = std::env::temp_dir().join(format!("lh-cli-{}-{n}", std::process::id()));
        fs::create_dir_all(dir.join("run")).expect("the temporary directory can be written");
        World { store: store(&dir), dir }
    }

    /// Whether a holder's death is noticed at once, and not by its lease.
    pub(crate) fn notices_deaths(&self) -> bool {
        matches!(self.store, Store::Files(_))
    }

    /// The ttl of a holder that dies, so that nobody waits for long after it: where that is noticed at
    /// once, longer than the patience of whoever looks whether it is.
    pub(crate) fn mortal_ttl(&self) -> &'static str {
        if self.notices_deaths() { "60s" } else { "2s" }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file in our directory can be written");
    }

    pub(crate) fn backend(&self) -> String {
        self.store.url()
    }

    /// Our program, without a controlling terminal. (`setsid` becomes what it starts.)
    pub(crate) fn leasehold(&self, words: &[&str]) -> Command {
        let mut command = Command::new("setsid");
        command.arg(program_path()).args(words);
        self.prepared(command)
    }

    /// A shell script that finds our program, without a controlling terminal.
    pub(crate) fn script(&self, shell: &str, text: &str) -> Command {
        let mut command = Command::new("setsid");
        command.args([shell, "-c", text]);
        self.prepared(command)
    }

    /// A command in our directory, with our program on its path and our store as its default.
    pub(crate) fn prepared(&self, mut command: Command) -> Command {
        let program = program_path();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let dirs =
            program.parent().map(Path::to_owned).into_iter().chain(std::env::split_paths(&path));
        let inherited = [
            "NAME",
            "TOKEN",
            "HOLDER",
            "DEADLINE",
            "SESSION",
            "KEY",
            "ATTEMPT",
            "RESUMED",
            "CHECKPOINT",
            "TTL",
            "WAIT",
            "LABEL",
            "REQUIRE_SHARED",
            "RUNTIME_DIR",
        ];
        for name in inherited {
            command.env_remove(format!("LEASEHOLD_{name}"));
        }
        // What these say is said on stderr.
        for name in ["CI", "GITHUB_ACTIONS", "GITLAB_CI", "KUBERNETES_SERVICE_HOST", "container"] {
            command.env_remove(name);
        }
        command
            .current_dir(&self.dir)
            .env("PATH", std::env::join_paths(dirs).expect("no colon in it"))
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("XDG_STATE_HOME", self.path("run"))
            .env("LEASEHOLD_BACKEND", self.backend())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Our program with these words, from start to end.
    pub(crate) fn run(&self, words: &[&str]) -> Seen {
        end(self.leasehold(words))
    }

    /// As on another host: it shares nothing with the rest of this world but the store.
    pub(crate) fn elsewhere(&self, words: &[&str]) -> Command {
        let runtime = self.path("run-of-another-host");
        fs::create_dir_all(&runtime).expect("there is room");
        let mut command = self.leasehold(words);
        command.env("XDG_STATE_HOME", &runtime).env("XDG_RUNTIME_DIR", runtime);
        command
    }

    /// A script in `sh`, from start to end.
    pub(crate) fn sh(&self, text: &str) -> Seen {
        end(self.script("sh", text))
    }

    pub(crate) fn start(&self, words: &[&str]) -> Running {
        Running::of(self.leasehold(words))
    }
}

/// What tests start has signals that act as usual, also where the tests were started by `nohup` or in the
/// background of a shell, which ignore some. What we handle, `exec` makes the default.
fn mean_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        let ignored = ignored.expect("the kernel tells which signals are ignored");
        // The runtime ignores 13, SIGPIPE, and not what it starts. 4, 8, 11, 9 and 19 cannot be had.
        let mut numbers: Vec<i32> = (1..32).collect();
        numbers.retain(|n| ignored >> (n - 1) & 1 == 1 && ![4, 8, 9, 11, 13, 19].contains(n));
        for signal in numbers {
            let nothing = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(signal, nothing).expect("it can be handled");
        }
    });
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// What a finished command left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Seen {
    /// The exit code; a command of ours never dies by a signal unless it is killed.
    #[track_caller]
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("killed: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Seen {
        assert_eq!(self.code(), code, "{self:?}");
        self
    }
}

pub(crate) fn end(command: Command) -> Seen {
    Running::of(command).end()
}

/// A command that runs.
pub(crate) struct Running {
    child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    out: ChildStdout,
    seen: Vec<u8>,
}

impl Running {
    #[track_caller]
    pub(crate) fn of(mut command: Command) -> Running {
        let mut child = command.spawn().expect("it starts");
        let out = child.stdout.take().expect("a pipe");
        Running { stdin: child.stdin.take(), child, out, seen: vec![] }
    }

    /// The next line of its stdout; empty at the end.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        loop {
            if let Some(at) = self.seen.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = self.seen.drain(..=at).collect();
                return String::from_utf8_lossy(&line[..at]).into_owned();
            }
            let mut bytes = [0; 4096];
            await_readable(&self.out);
            match self.out.read(&mut bytes).expect("a pipe can be read") {
                0 => return String::from_utf8_lossy(&std::mem::take(&mut self.seen)).into_owned(),
                n => self.seen.extend_from_slice(&bytes[..n]),
            }
        }
    }

    #[track_caller]
    pub(crate) fn await_line(&mut self, wanted: &str) {
        assert_eq!(self.line(), wanted);
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it runs");
    }

    /// Its end, with what it printed and nobody read yet.
    #[track_caller]
    pub(crate) fn end(mut self) -> Seen {
        drop(self.stdin.take());
        let mut bytes = [0; 4096];
        loop {
            await_readable(&self.out);
            match self.out.read(&mut bytes).expect("a pipe can be read") {
                0 => break,
                n => self.seen.extend_from_slice(&bytes[..n]),
            }
        }
        let out = String::from_utf8_lossy(&self.seen).into_owned();
        let mut err = vec![];
        while let Some(stderr) = &mut self.child.stderr {
            await_readable(stderr);
            match stderr.read(&mut bytes).expect("a pipe can be read") {
                0 => break,
                n => err.extend_from_slice(&bytes[..n]),
            }
        }
        let status = self.status();
        Seen { status, out, err: String::from_utf8_lossy(&err).into_owned() }
    }

    #[track_caller]
    fn status(&mut self) -> ExitStatus {
        // Nothing is to be waited for if it was waited for before.
        if let Ok(life) = pidfd_open(self.pid(), PidfdFlags::empty()) {
            await_readable(&life);
        }
        self.child.wait().expect("it was started")
    }

    /// Asks it to end, so that it gives back what it holds.
    #[track_caller]
    pub(crate) fn finish(self) {
        self.signal(Signal::TERM);
        self.end().expect(143);
    }

    /// Kills it and forgets it.
    pub(crate) fn kill(mut self) -> ExitStatus {
        self.signal(Signal::KILL);
        self.status()
    }

    #[track_caller]
    pub(crate) fn write(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("stdin was asked for");
        stdin.write_all(text.as_bytes()).expect("it reads");
    }
}

impl Drop for Running {
    /// A test that failed leaves nothing behind that waits, and holds its output open, for ever.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process_group(self.pid(), Signal::KILL);
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[track_caller]
fn await_readable(fd: &impl AsFd) {
    assert!(is_readable(fd), "nothing happened for too long");
}

/// Waits until a read would not block; false if nothing comes.
pub(crate) fn is_readable(fd: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    poll(&mut fds, Some(&PATIENCE)).is_ok_and(|n| n == 1)
}

/// Lets a moment pass, for tests whose point is that something happens at a random moment.
pub(crate) fn moment(ms: u32) {
    let span = Timespec { tv_sec: 0, tv_nsec: i64::from(ms) * 1_000_000 };
    let _ = poll(&mut [], Some(&span));
}

/// Waits for something that no descriptor tells.
#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if condition() {
            return;
        }
        moment(10);
    }
    panic!("in a minute it did not come true that {what}");
}

/// Whether a process runs; a zombie does not.
pub(crate) fn runs(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_some_and(|state| !state.trim().starts_with(['Z', 'X']))
}

/// A file with these permissions.
pub(crate) fn with_mode(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).expect("it can be written");
    chmod(path, mode);
}

pub(crate) fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
}

/// The children of a process: pid, and the name and arguments by which `pkill` would find them.
pub(crate) fn children(pid: Pid) -> Vec<(Pid, String)> {
    let pid = pid.as_raw_pid();
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let pids = list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?));
    pids.map(|pid| {
        let text = |file| fs::read_to_string(format!("/proc/{}/{file}", pid.as_raw_pid()));
        let name = text("comm").unwrap_or_default() + &text("cmdline").unwrap_or_default();
        (pid, name)
    })
    .collect()
}

/// Our second process, of this first one.
#[track_caller]
pub(crate) fn keeper(of: &Running) -> Pid {
    let keeper = children(of.pid()).into_iter().find(|(_, name)| name.contains("lh-keeper"));
    keeper.expect("there is one").0
}
