//! The command that `leasehold run` runs: it writes down that it is inside, until its work is done.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use signal_hook::consts::signal::{SIGINT, SIGTERM};

use crate::clock;
use crate::fence::{Answer, Fence};
use crate::log::{Log, Word};
use crate::plan::Ask;

/// How often it says that it is alive.
const TICK: Duration = Duration::from_millis(5);

/// How many ticks there are from one write to the resource to the next.
const WRITE_EVERY: u64 = 4;

/// Ends with this when the harness itself is broken.
const BROKEN: u8 = 99;

/// Before the ttl: the command has a child.
const FAMILY: &str = "family=";

/// The words with which a command is started, after our own path.
pub(crate) fn words(dir: &Path, name: &str, run: u64, ask: &Ask) -> Vec<String> {
    let mut words = vec!["__section".to_owned(), dir.display().to_string(), name.to_owned()];
    words.extend([run, ask.work_ms, ask.exit.into()].map(|number| number.to_string()));
    words.extend(ask.family.then(|| format!("{FAMILY}{}", ask.ttl_ms)));
    words.extend(ask.stubborn.then(|| "stubborn".to_owned()));
    words
}

/// The whole command.
pub(crate) fn main(words: &[&str]) -> ExitCode {
    let begun = clock::now();
    let [dir, name, run, work_ms, code, how @ ..] = words else { return ExitCode::from(BROKEN) };
    let numbers = (run.parse(), work_ms.parse(), code.parse());
    let (Ok(run), Ok(work_ms), Ok(code)) = numbers else { return ExitCode::from(BROKEN) };
    let place = Place { dir: PathBuf::from(dir), name: (*name).to_owned(), run };
    match work(&place, begun, begun + clock::millis(work_ms), code, how) {
        Ok(()) => ExitCode::from(code),
        Err(error) => {
            eprintln!("chaos: the command of run {run}: {error}");
            ExitCode::from(BROKEN)
        }
    }
}

struct Place {
    dir: PathBuf,
    name: String,
    run: u64,
}

fn work(place: &Place, begun: u64, until: u64, code: u8, how: &[&str]) -> io::Result<()> {
    let log = Log::open(&place.dir, &place.name, place.run)?;
    log.say_at(begun, Word::Begin)?;
    let inside = enter(place, &log)?;
    if how.contains(&"stubborn") {
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
        }
    }
    let ttl_ms = how.iter().find_map(|word| word.strip_prefix(FAMILY));
    let family = ttl_ms.map(|ttl_ms| start_family(place, &inside, ttl_ms)).transpose()?;
    let fence = Fence::open(&place.dir, &place.name)?;
    let mut tick = 0;
    loop {
        log.say(Word::Alive)?;
        if tick % WRITE_EVERY == 0
            && let Some(token) = log.token()
            && let Answer::Refused(by) = fence.write(token, log.holder())?
        {
            log.say(Word::Refused(by))?;
        }
        if clock::now() >= until {
            break;
        }
        clock::pause(TICK);
        tick += 1;
    }
    if let Some(mut family) = family {
        // What a command leaves running is not protected, so nothing may be left.
        family.stdin.take().map(|mut stdin| stdin.write_all(b"end\n")).transpose()?;
        family.wait()?;
    }
    log.say(Word::End(code))
}

/// Takes the kernel's lock that every section of a name holds for as long as a process of it lives,
/// and says so if another one does.
fn enter(place: &Place, log: &Log) -> io::Result<File> {
    let path = place.dir.join(format!("{}.inside", place.name));
    let mut options = OpenOptions::new();
    let inside = options.read(true).write(true).create(true).truncate(false).open(path)?;
    match flock(&inside, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => inside.write_all_at(format!("{:020}", place.run).as_bytes(), 0)?,
        Err(Errno::WOULDBLOCK) => {
            let mut other = [0; 20];
            let n = inside.read_at(&mut other, 0)?;
            let other = String::from_utf8_lossy(&other[..n]).parse();
            // Empty: it holds the lock and has not yet said who it is.
            log.say(Word::Beside(other.unwrap_or(u64::MAX)))?;
        }
        Err(errno) => return Err(errno.into()),
    }
    Ok(inside)
}

/// Starts a child that leaves our session and holds the kernel's lock with us.
fn start_family(place: &Place, inside: &File, ttl_ms: &str) -> io::Result<Child> {
    let (dir, run) = (place.dir.display().to_string(), place.run.to_string());
    Command::new("/proc/self/exe")
        .args(["__family", &dir, &place.name, &run, ttl_ms])
        .stdin(Stdio::piped())
        .stdout(Stdio::from(inside.try_clone()?))
        .spawn()
}

/// The child's whole life: it says that it is alive until it is told to end. If its parent dies it
/// goes on, for longer than the lease, which shows whether anybody ends it.
pub(crate) fn family(words: &[&str]) -> ExitCode {
    let [dir, name, run, ttl_ms] = words else { return ExitCode::from(BROKEN) };
    let (Ok(run), Ok(ttl_ms)) = (run.parse(), ttl_ms.parse()) else {
        return ExitCode::from(BROKEN);
    };
    // It fails only for the leader of a group, which a child is not.
    let _ = rustix::process::setsid();
    let log = Log::open(Path::new(dir), name, run);
    match log.and_then(|log| live(&log, clock::millis(ttl_ms) * 3 / 2)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(BROKEN),
    }
}

fn live(log: &Log, orphan_life: u64) -> io::Result<()> {
    let stdin = io::stdin();
    let mut orphan_until = None;
    while orphan_until.is_none_or(|until| clock::now() < until) {
        log.say(Word::Alive)?;
        if orphan_until.is_some() {
            clock::pause(TICK);
            continue;
        }
        let tick = Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
        if poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&tick)) == Ok(1) {
            match stdin.lock().read(&mut [0; 8])? {
                0 => orphan_until = Some(clock::now() + orphan_life),
                _ => return Ok(()),
            }
        }
    }
    Ok(())
}
