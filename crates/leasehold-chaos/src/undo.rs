//! A second process that puts everything back, however the harness ends: it thaws what is frozen,
//! kills what was started, and runs the commands that it was told.
//!
//! It is told through a pipe, and the end of the pipe is its order to begin: the harness that is done,
//! that panics and that is killed all end it in the same way.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

use crate::clock::{self, Time};
use crate::procs::{self, MARK};

/// The harness's end.
#[derive(Debug)]
pub struct Undo {
    process: Child,
    pipe: ChildStdin,
}

impl Undo {
    /// Starts it. `program` is ours; `mark` is in the environment of all that is to be killed.
    pub fn start(program: &Path, mark: &str) -> io::Result<Undo> {
        let mut process = Command::new(program).arg("__undo").stdin(Stdio::piped()).spawn()?;
        let pipe = process.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut undo = Undo { process, pipe };
        undo.tell(&format!("mark {mark}"))?;
        Ok(undo)
    }

    /// In the end this is to be done, for a shell; the last thing said is done first.
    pub fn in_the_end(&mut self, command: &str) -> io::Result<()> {
        self.tell(&format!("in-the-end {command}"))
    }

    /// This is to be done if [`undone`](Undo::undone) does not come within the time.
    pub fn within(&mut self, ms: u64, command: &str) -> io::Result<()> {
        self.tell(&format!("within {ms} {command}"))
    }

    /// What was to be done within a time was done.
    pub fn undone(&mut self) -> io::Result<()> {
        self.tell("undone")
    }

    fn tell(&mut self, line: &str) -> io::Result<()> {
        self.pipe.write_all(format!("{line}\n").as_bytes())
    }

    /// Has everything put back, and waits for it.
    pub fn finish(self) -> io::Result<()> {
        let Undo { mut process, pipe } = self;
        drop(pipe);
        match process.wait()?.success() {
            true => Ok(()),
            false => Err(io::Error::other("not everything could be put back")),
        }
    }
}

#[derive(Default)]
struct Orders {
    mark: Option<String>,
    in_the_end: Vec<String>,
    within: Option<(Time, String)>,
}

/// The whole second process.
pub(crate) fn main() -> ExitCode {
    // Away from the terminal, so that Ctrl-C does not hit it.
    let _ = rustix::process::setsid();
    let mut orders = Orders::default();
    let mut input = vec![];
    while listen(&mut input, &orders) {
        while let Some(end) = input.iter().position(|&b| b == b'\n') {
            let line: Vec<u8> = input.drain(..=end).collect();
            orders.take(String::from_utf8_lossy(&line[..end]).as_ref());
        }
        if orders.within.as_ref().is_some_and(|(at, _)| *at <= clock::now()) {
            orders.undo_hurt();
        }
    }
    match orders.undo_all() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Waits for input or for the time; false at the end.
fn listen(input: &mut Vec<u8>, orders: &Orders) -> bool {
    let stdin = io::stdin();
    let left = orders.within.as_ref().map(|(at, _)| at.saturating_sub(clock::now()));
    let left = left.map(Duration::from_nanos);
    let left = left.map(|left| Timespec {
        tv_sec: left.as_secs().cast_signed(),
        tv_nsec: left.subsec_nanos().into(),
    });
    if poll(&mut [PollFd::new(&stdin, PollFlags::IN)], left.as_ref()) != Ok(1) {
        return true;
    }
    let mut bytes = [0; 4096];
    match stdin.lock().read(&mut bytes) {
        Ok(0) | Err(_) => false,
        Ok(n) => {
            input.extend_from_slice(&bytes[..n]);
            true
        }
    }
}

impl Orders {
    fn take(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "mark" => self.mark = Some(rest.to_owned()),
            "in-the-end" => self.in_the_end.push(rest.to_owned()),
            "within" => {
                let (ms, command) = rest.split_once(' ').unwrap_or(("0", rest));
                let at = clock::now() + clock::millis(ms.parse().unwrap_or(0));
                self.within = Some((at, command.to_owned()));
            }
            _ => self.within = None,
        }
    }

    fn undo_hurt(&mut self) {
        if let Some((_, command)) = self.within.take() {
            shell(&command);
        }
    }

    /// Thawing comes first: nobody caught in a frozen file system can be killed.
    fn undo_all(mut self) -> bool {
        self.undo_hurt();
        let entry = self.mark.map(|mark| format!("{MARK}={mark}"));
        let killed = entry.is_none_or(|entry| kill_all(&entry));
        let undone = self.in_the_end.iter().rev().map(|command| shell_patiently(command));
        undone.fold(killed, |all, one| all && one)
    }
}

/// Kills all that were started with this entry in their environment; false if some live on.
fn kill_all(entry: &str) -> bool {
    for _ in 0..1_000 {
        let all = procs::with_entry(entry);
        if all.is_empty() {
            return true;
        }
        for one in all {
            one.signal(Signal::KILL);
        }
        clock::pause(Duration::from_millis(10));
    }
    false
}

/// A mount is busy for a moment after its last user was killed.
fn shell_patiently(command: &str) -> bool {
    for _ in 0..50 {
        if shell(command) {
            return true;
        }
        clock::pause(Duration::from_millis(100));
    }
    eprintln!("chaos: this failed, and has to be done by hand: {command}");
    false
}

fn shell(command: &str) -> bool {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.status().is_ok_and(|status| status.success())
}
