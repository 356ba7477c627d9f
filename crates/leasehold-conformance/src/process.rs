//! Cases with a second process, which is killed or frozen.
//!
//! The test program starts itself again, for the one test that is running, with a role in the
//! environment; [`play`] then runs instead of the test. The two talk in lines: what the second says
//! comes on its standard error after an `@`, and what it is told goes to its standard input. It
//! ends when that is closed, so none outlives the test.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use leasehold::env::{Env, Host};
use leasehold::{Client, Guard};
use leasehold_core::backend::Backend;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, Command};
use tokio::runtime::Builder;

use crate::contract::history::Race;
use crate::setup::{Setup, key, millis, pass, soon, within};
use crate::{Fixture, Operation, once};

const ROLE: &str = "LEASEHOLD_SECOND_ROLE";
const URL: &str = "LEASEHOLD_SECOND_URL";
const TTL_MS: &str = "LEASEHOLD_SECOND_TTL_MS";
pub(crate) const COUNTER: &str = "LEASEHOLD_SECOND_COUNTER";

/// How often each process raises the counter.
const TIMES: u64 = 25;

/// Whether this process is a second one.
pub(crate) fn is_second() -> bool {
    std::env::var_os(ROLE).is_some()
}

/// What the second process does.
pub(crate) fn play(fixture: &'static dyn Fixture) {
    let given = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name} is set"));
    let ttl = Duration::from_millis(given(TTL_MS).parse().expect("milliseconds"));
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let backend = fixture.open(&given(URL)).await;
        if given(ROLE) == "race" {
            return race(fixture, backend).await;
        }
        if given(ROLE) == "once" {
            return once::process::compete(fixture, &given(URL), Path::new(&given(COUNTER))).await;
        }
        let client = Client::new(backend).expect("a client");
        match given(ROLE).as_str() {
            "hold" => hold(&client, ttl).await,
            "run" => once::process::run(&client, ttl).await,
            "count" => {
                count(&client, Path::new(&given(COUNTER))).await;
                say("counted");
            }
            role => panic!("no role {role:?}"),
        }
    });
}

pub(crate) fn say(what: &str) {
    // One write, so that nothing comes in between.
    let line = format!("@{what}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("the first process listens");
}

/// Holds, and answers questions. It waits for them with its thread blocked, so that nothing of it
/// runs between the signal that continues it and the first question.
async fn hold(client: &Client, ttl: Duration) {
    let mutex = client.mutex("x").with_ttl(ttl);
    let mut guard = Some(mutex.acquire().await.expect("the lock"));
    say(&format!("held {}", guard.as_ref().map_or(0, |g| g.token().0)));
    for line in std::io::stdin().lock().lines() {
        match line.expect("text").as_str() {
            "ask" => say(&format!("answer {}", guard.as_ref().is_some_and(Guard::is_held))),
            "release" => {
                let released = guard.take().expect("once").release().await;
                say(&format!("released {}", released.is_ok()));
            }
            "forget" => {
                // The process ends in an orderly way, and nobody releases.
                std::mem::forget(guard.take());
                std::process::exit(0);
            }
            order => panic!("no order {order:?}"),
        }
    }
}

/// Raises a counter in a file that nothing else protects.
async fn count(client: &Client, counter: &Path) {
    for _ in 0..TIMES {
        let guard = client.mutex("x").acquire().await.expect("the lock");
        let text = std::fs::read_to_string(counter).expect("a counter");
        let n: u64 = text.trim().parse().expect("a number");
        // A moment in which others would come in between if they could.
        Host.sleep(Duration::from_micros(200)).await;
        assert!(guard.is_held());
        std::fs::write(counter, (n + 1).to_string()).expect("the counter is written");
        guard.release().await.expect("released");
    }
}

/// Races when it is told to, and then tells what it was told.
async fn race(fixture: &dyn Fixture, backend: Arc<dyn Backend>) {
    let race = Race::on(fixture);
    let racer = race.racer(backend, format!("process {}", std::process::id()));
    say("ready");
    std::io::stdin().lock().lines().next().expect("an order").expect("text");
    racer.run().await;
    for (side, history) in [("inside", &race.inside), ("outside", &race.outside)] {
        for operation in history.operations() {
            say(&format!("operation {side} {}", operation.to_line()));
        }
    }
    say("operation end");
}

/// A second process.
pub(crate) struct Second {
    pub(crate) child: Child,
    orders: ChildStdin,
    said: tokio::io::Lines<BufReader<ChildStderr>>,
}

impl Second {
    pub(crate) fn start(s: &Setup, role: &str, more: &[(&str, String)]) -> Second {
        let url = s.store.shared_url.as_ref().expect("a store for several processes");
        let mut command = Command::new(std::env::current_exe().expect("the test program"));
        command
            .args(["--exact", &s.test, "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(URL, url)
            .env(TTL_MS, s.short_ttl().as_millis().to_string())
            .envs(more.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().expect("the test program starts again");
        let orders = child.stdin.take().expect("piped");
        let said = BufReader::new(child.stderr.take().expect("piped")).lines();
        Second { child, orders, said }
    }

    /// A process that holds the lock, and its token.
    async fn holding(s: &Setup) -> (Second, u64) {
        let mut second = Second::start(s, "hold", &[]);
        let token = second.hear("held").await.parse().expect("a token");
        (second, token)
    }

    /// Waits for a line that starts with this word, and gives the rest.
    pub(crate) async fn hear(&mut self, word: &str) -> String {
        let hearing = async {
            loop {
                let line = self.said.next_line().await.expect("text");
                let line = line.unwrap_or_else(|| panic!("the second process ended before {word}"));
                // Whatever else it prints is for whoever looks for a failure.
                let Some(said) = line.strip_prefix('@') else {
                    eprintln!("second: {line}");
                    continue;
                };
                let (first, rest) = said.split_once(' ').unwrap_or((said, ""));
                assert_eq!(first, word, "the second process said {said:?}");
                return rest.to_owned();
            }
        };
        soon(word, hearing).await
    }

    pub(crate) async fn order(&mut self, order: &str) {
        let line = format!("{order}\n");
        self.orders.write_all(line.as_bytes()).await.expect("the second process listens");
        self.orders.flush().await.expect("the second process listens");
    }

    fn pid(&self) -> Pid {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok());
        pid.and_then(Pid::from_raw).expect("it runs")
    }

    /// Freezes it, and waits until it is frozen.
    pub(crate) async fn freeze(&self) {
        kill_process(self.pid(), Signal::STOP).expect("it runs");
        let look = WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let frozen = async {
            while waitid(WaitId::Pid(self.pid()), look).expect("our child").is_none() {
                pass(millis(1)).await;
            }
        };
        soon("it is frozen", frozen).await;
    }

    pub(crate) fn thaw(&self) {
        kill_process(self.pid(), Signal::CONT).expect("it is there");
    }
}

/// A holder is killed while others wait: one of them gets the lock, with a higher token, and none
/// before the kill. Where the backend can tell that a writer has ended they need not wait for the
/// ttl, but they may.
pub(crate) async fn killed_holder_is_succeeded(s: &Setup) {
    let client = s.client().await;
    let (mut second, token) = Second::holding(s).await;
    let mutex = client.mutex("x").with_ttl(s.short_ttl());
    let waiter = tokio::spawn(async move { mutex.acquire().await });
    // Longer than the lease, so that the second has to renew to be safe.
    pass(s.short_ttl() * 3 / 2).await;
    assert!(!waiter.is_finished(), "taken from a living holder");
    second.child.kill().await.expect("killed");
    let guard = soon("the waiter", waiter).await.expect("no panic").expect("the lock");
    assert!(guard.token().0 > token);
    guard.release().await.expect("released");
}

/// A holder's process ends without a release, in an orderly way, before anybody else is there. The
/// next one, which looks for the first time then, gets the lock.
pub(crate) async fn vanished_holder_is_succeeded(s: &Setup) {
    let client = s.client().await;
    let (mut second, token) = Second::holding(s).await;
    second.order("forget").await;
    let status = soon("it ends", second.child.wait()).await.expect("a status");
    assert!(status.success());
    let mutex = client.mutex("x").with_ttl(s.short_ttl());
    let guard = soon("the next", mutex.acquire()).await.expect("the lock");
    assert!(guard.token().0 > token);
    // And what a living process holds is not taken for what a dead one left.
    let other = s.client().await;
    assert!(matches!(other.mutex("x").try_acquire().await, Ok(leasehold::Attempt::Held(_))));
    assert!(guard.is_held());
}

/// A holder is frozen for longer than its lease. Another gets the lock, a ttl after the holder's
/// last sign of life at the earliest; and the first thing that the holder finds when it goes on is
/// that it does not hold, so that only what it had checked before can come too late. Its token is
/// the smaller one.
pub(crate) async fn frozen_holder_is_succeeded(s: &Setup) {
    let (client, backend, ttl) = (s.client().await, s.backend(), s.short_ttl());
    let (mut second, token) = Second::holding(s).await;
    second.order("ask").await;
    assert_eq!(second.hear("answer").await, "true");
    second.freeze().await;
    let looked = Host.now().moment;
    let reading = backend.read(&key("x")).await.expect("an answer");
    let record = reading.record.expect("a record");
    assert!(!record.orphaned, "it is frozen, not dead");
    let uncertainty = backend.facts().clock_uncertainty;
    // By the store's clock, or by watching for a ttl, whichever comes first.
    let by_age = record.age.map(|age| (ttl + uncertainty).saturating_sub(age));
    let not_before = by_age.unwrap_or(ttl).min(ttl);
    let guard = soon("the next", client.mutex("x").acquire()).await.expect("the lock");
    let took = Host.now().moment.longest_since(looked);
    assert!(took >= not_before, "taken over after {took:?}, not before {not_before:?}");
    assert!(guard.token().0 > token);
    second.order("ask").await;
    second.thaw();
    assert_eq!(second.hear("answer").await, "false", "it believes that it holds");
    // What it does then hits nobody.
    second.order("release").await;
    assert_eq!(second.hear("released").await, "false");
    assert!(guard.is_held());
    guard.release().await.expect("released");
}

/// A holder is frozen for a moment only, and keeps its lock: what counts is the lease.
pub(crate) async fn briefly_frozen_holder_goes_on(s: &Setup) {
    let client = s.client().await;
    let (mut second, token) = Second::holding(s).await;
    let waiting = client.mutex("x").with_timeout(s.short_ttl() * 3);
    let waiter = tokio::spawn(async move { waiting.acquire().await });
    for _ in 0..3 {
        second.freeze().await;
        pass(s.short_ttl() / 10).await;
        second.thaw();
        pass(s.short_ttl() / 2).await;
    }
    second.order("ask").await;
    assert_eq!(second.hear("answer").await, "true");
    assert!(waiter.await.expect("no panic").is_err(), "the second held throughout");
    second.order("release").await;
    assert_eq!(second.hear("released").await, "true");
    let guard = soon("the next", client.mutex("x").acquire()).await.expect("the lock");
    assert!(guard.token().0 > token);
}

/// Processes race as tasks do in `contract_races_are_linearizable`: what holds between the threads
/// of one process (a mutex, a cache, a file lock that the process owns) may not hold between two.
pub(crate) async fn races_are_linearizable(s: &Setup) {
    let race = Race::on(s.fixture);
    let mut seconds: Vec<_> = (0..3).map(|_| Second::start(s, "race", &[])).collect();
    for second in &mut seconds {
        second.hear("ready").await;
    }
    for second in &mut seconds {
        second.order("go").await;
    }
    race.racer(s.another().await, "first process".to_owned()).run().await;
    for second in &mut seconds {
        loop {
            let told = second.hear("operation").await;
            let Some((side, line)) = told.split_once(' ') else { break };
            let history = if side == "inside" { &race.inside } else { &race.outside };
            history.push(Operation::from_line(line).expect("an operation"));
        }
    }
    race.judge();
}

/// Several processes raise a number in a file, reading and writing it with a moment between, under
/// the lock. It must count exactly.
pub(crate) async fn processes_count(s: &Setup) {
    const PROCESSES: u64 = 3;
    let counter = Scratch::new();
    std::fs::write(&counter.0, "0").expect("a file in the temporary directory");
    let path = counter.0.to_str().expect("a path of ours").to_owned();
    let seconds: Vec<_> =
        (0..PROCESSES).map(|_| Second::start(s, "count", &[(COUNTER, path.clone())])).collect();
    let client = s.client().await;
    count(&client, &counter.0).await;
    for mut second in seconds {
        within(Duration::from_mins(1), second.hear("counted")).await.expect("it counts");
    }
    let text = std::fs::read_to_string(&counter.0).expect("a counter");
    assert_eq!(text, ((PROCESSES + 1) * TIMES).to_string());
}

/// A file that is removed in the end.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let n = LAST.fetch_add(1, Ordering::Relaxed);
        let name = format!("leasehold-counter-{}-{n}", std::process::id());
        Scratch(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
