//! The `file://` backend through its public type: races, crashes, foreign files, deaths.

mod records;
mod waiting;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use leasehold::backend::file::FileBackend;
use leasehold::env::{Env, Host};
use leasehold_core::backend::{Backend, Expected, Key, Version, Versioned, Written};

const HELD: &[u8] = br#"{"holders":[{"id":"x"}]}"#;
const FREE: &[u8] = br#"{"holders":[]}"#;

/// A directory that goes with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        Scratch(std::env::temp_dir().join(format!("leasehold-{:032x}", Host.unique())))
    }

    fn open(&self) -> FileBackend {
        FileBackend::open(self.0.clone(), false).expect("the directory can be used")
    }

    /// The newest state's file.
    fn state(&self, key: &Key) -> PathBuf {
        let directory = self.0.join(key.as_str());
        let names = names(&directory);
        let head = names.iter().find_map(|name| name.strip_prefix("head-"));
        directory.join(format!("state-{}", head.expect("there is a head")))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("it can be listed");
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<_> = entries.map(|entry| name(entry.expect("an entry"))).collect();
    names.sort();
    names
}

fn key(name: &str) -> Key {
    Key::new(name).expect("a good name")
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

async fn newest(backend: &FileBackend, key: &Key) -> Option<Versioned> {
    backend.read(key).await.expect("a reading").record
}

async fn write(backend: &FileBackend, key: &Key, expected: &Expected, bytes: &[u8]) -> Written {
    backend.write(key, expected, bytes).await.expect("an answer")
}

/// A write that must succeed.
async fn put(backend: &FileBackend, key: &Key, expected: &Expected, bytes: &[u8]) -> Version {
    match write(backend, key, expected, bytes).await {
        Written::Applied(version) => version,
        Written::Conflict(newest) => panic!("conflict with {newest:?}"),
    }
}

/// Adds one to the number under `key` by compare-and-swap, and returns it.
async fn increment(backend: &FileBackend, key: &Key) -> u64 {
    let mut seen = newest(backend, key).await;
    loop {
        let number = seen.as_ref().map_or(0, |seen| number(&seen.bytes)) + 1;
        let expected = seen.map_or(Expected::Absent, |seen| Expected::Version(seen.version));
        match write(backend, key, &expected, number.to_string().as_bytes()).await {
            Written::Applied(_) => return number,
            Written::Conflict(Some(winner)) => seen = Some(winner),
            Written::Conflict(None) => seen = newest(backend, key).await,
        }
    }
}

fn number(bytes: &[u8]) -> u64 {
    std::str::from_utf8(bytes).expect("text").parse().expect("a number")
}

/// This test binary again, in the role of another process. Killed with the value.
struct Other(Child, BufReader<ChildStdout>);

impl Other {
    fn start(role: &str, scratch: &Scratch) -> Other {
        let module = module_path!().split_once("::").expect("a module").1;
        let mut child = Command::new(std::env::current_exe().expect("our own path"))
            .args([&format!("{module}::helper"), "--exact", "--nocapture"])
            .env("LEASEHOLD_TEST_ROLE", role)
            .env("LEASEHOLD_TEST_DIR", &scratch.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let lines = BufReader::new(child.stdout.take().expect("its output"));
        Other(child, lines)
    }

    /// The next thing it says, or `None` when it has ended.
    fn says(&mut self) -> Option<String> {
        let mut line = String::new();
        while self.1.read_line(&mut line).expect("text") > 0 {
            // The test harness prints lines of its own, and the first of ours after one of them.
            if let Some((_, said)) = line.trim_end().split_once('@') {
                return Some(said.to_owned());
            }
            line.clear();
        }
        None
    }

    fn signal(&self, signal: &str) {
        let kill = Command::new("kill").args([signal, &self.0.id().to_string()]).status();
        assert!(kill.expect("kill runs").success());
    }

    fn kill(&mut self) {
        self.0.kill().expect("it is ours");
        self.0.wait().expect("it ends");
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const THREADS: usize = 16;
const ROUNDS: usize = 20;

/// Every thread increments for some rounds, with one backend for all.
fn race(backend: &FileBackend) -> Vec<u64> {
    let rounds = || {
        block_on(async {
            let mut numbers = Vec::new();
            for _ in 0..ROUNDS {
                numbers.push(increment(backend, &key("counter")).await);
            }
            numbers
        })
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(rounds)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    })
}

/// What the other processes of these tests do. As a test of its own it does nothing.
#[test]
fn helper() {
    let Ok(role) = std::env::var("LEASEHOLD_TEST_ROLE") else { return };
    let directory = std::env::var_os("LEASEHOLD_TEST_DIR").expect("a directory");
    let backend = FileBackend::open(directory.into(), false).expect("a backend");
    match role.as_str() {
        // Two processes begin together, when their input ends.
        "race" => {
            println!("@ready");
            std::io::stdin().read_line(&mut String::new()).expect("an end");
            for number in race(&backend) {
                println!("@{number}");
            }
        }
        // Holds a key until it is killed.
        "hold" => {
            block_on(put(&backend, &key("held"), &Expected::Absent, HELD));
            println!("@{}", backend.liveness().expect("a liveness file").display());
            std::io::stdin().read_line(&mut String::new()).expect("an end");
        }
        // Increments until it is killed, and says every number that it was told had landed.
        "hammer" => block_on(async {
            loop {
                println!("@{}", increment(&backend, &key("counter")).await);
            }
        }),
        other => panic!("there is no role {other}"),
    }
}

/// Guards against a lost update: every successful compare-and-swap of 32 racing threads in two
/// processes must have its own number, and all of them must be there.
#[test]
fn racing_processes_lose_no_update() {
    let scratch = Scratch::new();
    let mut others = [Other::start("race", &scratch), Other::start("race", &scratch)];
    for other in &mut others {
        assert_eq!(other.says().as_deref(), Some("ready"));
    }
    for other in &mut others {
        drop(other.0.stdin.take());
    }
    let mut numbers: Vec<u64> = Vec::new();
    for other in &mut others {
        while let Some(said) = other.says() {
            numbers.push(number(said.as_bytes()));
        }
    }
    numbers.sort_unstable();
    let all =
        (1..=u64::try_from(2 * THREADS * ROUNDS).expect("a small number")).collect::<Vec<_>>();
    assert_eq!(numbers, all);
    let left = names(&scratch.0.join("counter"));
    assert_eq!(left.len(), 3, "a head, the newest state and a spare: {left:?}");
}

/// Guards against a writer's death, at any instruction, making a key unreadable, unwritable, or
/// older than what the writer was told.
#[test]
fn a_killed_writer_leaves_the_last_state() {
    let scratch = Scratch::new();
    let backend = scratch.open();
    for round in 0..20 {
        let mut other = Other::start("hammer", &scratch);
        let mut told = 0;
        for _ in 0..=round {
            told = number(other.says().expect("a number").as_bytes());
        }
        other.kill();
        while let Some(said) = other.says() {
            told = number(said.as_bytes());
        }
        let after = block_on(increment(&backend, &key("counter")));
        assert!(after == told + 1 || after == told + 2, "{after} after {told}");
    }
    let left = names(&scratch.0.join("counter"));
    assert_eq!(left.len(), 3, "what the dead left behind is swept: {left:?}");
}

/// Guards against a lock in the protocol: a process that is stopped anywhere must hold up nobody.
#[test]
fn a_stopped_writer_holds_up_nobody() {
    let scratch = Scratch::new();
    let backend = scratch.open();
    let mut other = Other::start("hammer", &scratch);
    for _ in 0..50 {
        other.says().expect("a number");
        other.signal("-STOP");
        let first = block_on(increment(&backend, &key("counter")));
        assert!(block_on(increment(&backend, &key("counter"))) > first);
        other.signal("-CONT");
    }
}
