//! `--once`: many `leasehold once` want the same done, and whoever does it is killed, again and again.
//!
//! What they do is steps on a resource that refuses lower tokens; each step is saved when it is done. The
//! resource's history shows afterwards that each went on where the one before had died, that only the
//! step in flight was done again, and that each key was completed once.

mod command;
mod verdict;

pub(crate) use command::main as section;

use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use self::command::{Task, Word};
use self::verdict::{Run, Verdict};
use crate::clock::{self, Time, millis, nanos};
use crate::dice::Dice;
use crate::options::Options;
use crate::procs::{self, MARK, Process, RUN};
use crate::undo::Undo;
use crate::world::INHERITED;

/// A record remembers 64 keys beside the newest. One that was replaced longer ago may run again, and so it
/// is not asked for.
const REMEMBERED: usize = 64;

/// How often the loop looks around.
const LOOK: Duration = Duration::from_millis(1);

/// What is to be done.
const NAME: &str = "chaos-once";

/// Who dies with the runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victims {
    Leasehold,
    AndKeeper,
    All,
}

/// When a runner dies.
#[derive(Debug, Clone, Copy)]
enum Death {
    At(Time),
    /// So long after its command has done all.
    AfterEnd(Time),
    Never,
}

struct World {
    dir: PathBuf,
    mark: String,
    program: PathBuf,
    us: PathBuf,
    url: String,
    said: File,
    seed: u64,
    ttls_ms: Vec<u64>,
    runs: Vec<Run>,
    /// The living: the run's number and its process.
    living: Vec<(usize, Child)>,
    /// How much of the history is known.
    known: usize,
    /// The one whose command runs, and when it dies.
    runner: Option<(usize, Death)>,
    keys: Vec<(String, u64)>,
    killed_at: Option<Time>,
    longest_gap: Time,
    kills: [u64; 3],
    after_end: u64,
    waiters: u64,
}

/// The whole mode.
pub(crate) fn main(options: &Options) -> ExitCode {
    let seed = options.seed.unwrap_or_else(clock::seed);
    let run = World::prepare(options, seed).and_then(|(mut world, undo)| {
        println!("chaos: seed {seed}, store {}, logs in {}", world.url, world.dir.display());
        let begun = clock::now();
        world.live(options);
        let verdict = world.close();
        undo.finish().map_err(|e| e.to_string())?;
        Ok((world, verdict, clock::now() - begun))
    });
    match run {
        Ok((world, verdict, length)) => {
            world.tell(&verdict, length);
            if verdict.violations.is_empty() {
                if !options.keep {
                    let _ = fs::remove_dir_all(&world.dir);
                }
                return ExitCode::SUCCESS;
            }
            println!("{} violations, logs in {}", verdict.violations.len(), world.dir.display());
            ExitCode::FAILURE
        }
        Err(why) => {
            eprintln!("chaos: {why}");
            ExitCode::FAILURE
        }
    }
}

impl World {
    fn prepare(options: &Options, seed: u64) -> Result<(World, Undo), String> {
        let tell = |e: std::io::Error| e.to_string();
        let us = std::env::current_exe().map_err(tell)?;
        let beside = || us.with_file_name("leasehold");
        let program = options.leasehold.clone().unwrap_or_else(beside);
        let program = fs::canonicalize(&program)
            .map_err(|e| format!("{}: {e} (use --leasehold)", program.display()))?;
        let mark = format!("{}-{}", std::process::id(), clock::now() / 1_000_000);
        let dir = std::env::temp_dir().join(format!("leasehold-chaos-{mark}"));
        for part in ["home", "run"] {
            fs::create_dir_all(dir.join(part)).map_err(|e| format!("{}: {e}", dir.display()))?;
        }
        let said = OpenOptions::new().append(true).create(true).open(dir.join("said"));
        let undo = Undo::start(&us, &mark).map_err(tell)?;
        let url = options.backend.clone();
        let world = World {
            url: url.unwrap_or_else(|| format!("file://{}", dir.join("store").display())),
            dir,
            mark,
            program,
            us,
            said: said.map_err(tell)?,
            seed,
            ttls_ms: options.ttl.iter().map(|ttl| nanos(*ttl) / 1_000_000).collect(),
            runs: vec![],
            living: vec![],
            known: 0,
            runner: None,
            keys: vec![],
            killed_at: None,
            longest_gap: 0,
            kills: [0; 3],
            after_end: 0,
            waiters: 0,
        };
        Ok((world, undo))
    }

    /// One key after the other, until there were enough kills or the time is over.
    fn live(&mut self, options: &Options) {
        let end = clock::now() + nanos(options.length);
        let wanted = options.kills.map(u64::from);
        let is_over = |world: &World| match wanted {
            Some(wanted) => world.kills.iter().sum::<u64>() >= wanted,
            None => clock::now() >= end,
        };
        while !is_over(self) {
            let mut dice = Dice::new(self.seed, 100, self.keys.len() as u64);
            let key = format!("k{}", self.keys.len());
            let steps = dice.between(3, 12);
            self.keys.push((key.clone(), steps));
            let step_ms = dice.between(2, 30);
            self.live_key(&key, steps, step_ms, usize::from(options.processes), &is_over);
            if self.runs.iter().any(|run| run.ended.is_none()) {
                return;
            }
        }
    }

    fn live_key(
        &mut self,
        key: &str,
        steps: u64,
        step_ms: u64,
        processes: usize,
        is_over: &dyn Fn(&World) -> bool,
    ) {
        let mut dice = Dice::new(self.seed, 101, self.keys.len() as u64);
        // Each death costs a ttl at most, and then it goes on.
        let patience = 4 * self.ttls_ms.iter().max().unwrap_or(&1_000) + 30_000;
        let mut until = clock::now() + millis(patience);
        (self.runner, self.killed_at) = (None, None);
        let mut spawn_at = vec![clock::now(); processes];
        let mut is_done = false;
        while !(is_done && self.living.is_empty()) && clock::now() < until {
            is_done |= self.reap(&mut spawn_at, &mut dice);
            if !is_done {
                let now = clock::now();
                let due = spawn_at.iter().filter(|at| **at <= now).count();
                spawn_at.retain(|at| *at > now);
                for _ in 0..due {
                    self.spawn(key, steps, step_ms, &mut dice);
                }
            }
            let whole_ms = steps * (step_ms + 8);
            self.follow(whole_ms, &mut dice, is_over(self));
            if self.kill_if_due(&mut dice) {
                until = clock::now() + millis(patience);
            }
            clock::pause(LOOK);
        }
    }

    fn command(&self, run: usize) -> Command {
        // Away from any terminal, so that the command has a process group of its own.
        let mut command = Command::new("setsid");
        command.arg(&self.program);
        for name in INHERITED {
            command.env_remove(format!("LEASEHOLD_{name}"));
        }
        command
            .current_dir(&self.dir)
            .env("LEASEHOLD_BACKEND", &self.url)
            .env("HOME", self.dir.join("home"))
            .env("XDG_RUNTIME_DIR", self.dir.join("run"))
            .env_remove("XDG_STATE_HOME")
            .env(MARK, &self.mark)
            .env(RUN, format!("{}.{run}", self.mark))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if let Ok(said) = self.said.try_clone() {
            command.stderr(said);
        }
        command
    }

    fn spawn(&mut self, key: &str, steps: u64, step_ms: u64, dice: &mut Dice) {
        let run = self.runs.len();
        let ttl_ms = self.ttls_ms[dice.place(self.ttls_ms.len())];
        let (dir, program) = (self.dir.clone(), self.program.clone());
        let task = Task { dir, program, run, key: key.to_owned(), steps, step_ms };
        let mut command = self.command(run);
        command.args(["once", NAME, "--key", key, "--ttl", &format!("{ttl_ms}ms"), "--"]);
        command.arg(&self.us).args(task.words());
        self.runs.push(Run { key: key.to_owned(), was_killed: false, ended: None });
        match command.spawn() {
            Ok(child) => self.living.push((run, child)),
            Err(error) => eprintln!("chaos: the program cannot be started: {error}"),
        }
    }

    /// Notes who has ended. True if somebody said that it is done. Whoever was killed comes again.
    fn reap(&mut self, spawn_at: &mut Vec<Time>, dice: &mut Dice) -> bool {
        let mut is_done = false;
        let runs = &mut self.runs;
        self.living.retain_mut(|(run, child)| {
            let Ok(Some(status)) = child.try_wait() else { return true };
            runs[*run].ended = Some((clock::now(), status));
            is_done |= status.success() && !runs[*run].was_killed;
            if !status.success() {
                spawn_at.push(clock::now() + millis(dice.between(0, 100)));
            }
            false
        });
        is_done
    }

    /// Reads what the resource has accepted since, and decides when the runner dies.
    fn follow(&mut self, whole_ms: u64, dice: &mut Dice, is_over: bool) {
        let (history, _) = command::history(&self.dir);
        for line in history.iter().skip(self.known) {
            let now = clock::now();
            match line.word {
                Word::Begin { at, .. } => {
                    if let Some(killed_at) = self.killed_at.take() {
                        self.longest_gap = self.longest_gap.max(at.saturating_sub(killed_at));
                    }
                    let death = match dice.between(0, 99) {
                        _ if is_over => Death::Never,
                        0..70 => Death::At(at + millis(dice.between(0, whole_ms * 11 / 10))),
                        70..90 => Death::AfterEnd(dice.between(0, 6_000_000)),
                        _ => Death::Never,
                    };
                    self.runner = Some((line.run, death));
                }
                Word::Step(_) => {}
                Word::End => {
                    if let Some((_, death)) = &mut self.runner
                        && let Death::AfterEnd(span) = *death
                    {
                        *death = Death::At(now + span);
                    }
                }
            }
        }
        self.known = history.len();
    }

    /// Kills the runner if its time has come, and now and then somebody who waits.
    fn kill_if_due(&mut self, dice: &mut Dice) -> bool {
        let Some((run, Death::At(at))) = self.runner else { return false };
        if clock::now() < at {
            return false;
        }
        self.runner = None;
        if dice.percent(20) {
            let waiter = dice.place(self.living.len());
            if let Some(waiter) = self.living.get(waiter).map(|(n, _)| *n).filter(|n| *n != run) {
                self.waiters += u64::from(self.kill(waiter, Victims::Leasehold));
            }
        }
        let weights = [(6, Victims::Leasehold), (2, Victims::AndKeeper), (2, Victims::All)];
        let victims = dice.weighed(&weights).unwrap_or(Victims::Leasehold);
        let was_killed = self.kill(run, victims);
        if was_killed {
            self.killed_at = Some(clock::now());
            self.kills[victims as usize] += 1;
            let (history, _) = command::history(&self.dir);
            let has_ended = history.iter().any(|line| line.run == run && line.word == Word::End);
            self.after_end += u64::from(has_ended);
        }
        was_killed
    }

    /// Kills one that has not ended. False if it has.
    fn kill(&mut self, run: usize, victims: Victims) -> bool {
        let Some((_, child)) = self.living.iter_mut().find(|(n, _)| *n == run) else {
            return false;
        };
        if !matches!(child.try_wait(), Ok(None)) {
            return false;
        }
        let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
            return false;
        };
        let others: Vec<Process> = match victims {
            Victims::Leasehold => vec![],
            Victims::AndKeeper => procs::parts(pid).keeper.into_iter().collect(),
            Victims::All => procs::with_entry(&format!("{RUN}={}.{run}", self.mark)),
        };
        let was_killed = child.kill().is_ok();
        for other in others {
            other.signal(Signal::KILL);
        }
        self.runs[run].was_killed |= was_killed;
        was_killed
    }

    /// Asks for the last keys once more, from processes that nobody hurts, and judges.
    fn close(&mut self) -> Verdict {
        let mut dice = Dice::new(self.seed, 102, 0);
        let last: Vec<_> = self.keys.iter().rev().take(REMEMBERED + 1).cloned().collect();
        for (key, steps) in last {
            self.spawn(&key, steps, 1, &mut dice);
        }
        let until = clock::now() + millis(60_000);
        while !self.living.is_empty() && clock::now() < until {
            self.reap(&mut vec![], &mut dice);
            clock::pause(LOOK);
        }
        let (history, unreadable) = command::history(&self.dir);
        let mut verdict = verdict::judge(&history, &self.runs, &self.keys);
        if unreadable > 0 {
            verdict.violations.push(format!("{unreadable} lines cannot be read"));
        }
        verdict.longest_gap = self.longest_gap;
        verdict
    }

    fn tell(&self, verdict: &Verdict, length: Time) {
        let row = |title: &str, value: String| println!("{title:<35}{value}");
        let [leasehold, keeper, all] = self.kills;
        let sum = leasehold + keeper + all;
        row("time", format!("{:.0} s", clock::seconds(length)));
        row("keys", self.keys.len().to_string());
        row("leasehold once", self.runs.len().to_string());
        row("sections", format!("{}, resumed {}", verdict.sections, verdict.resumed));
        row(
            "kills of the runner",
            format!("{sum}: leasehold {leasehold}, with keeper {keeper}, all of it {all}"),
        );
        row("of these after the last step", self.after_end.to_string());
        row("kills of a waiter", self.waiters.to_string());
        row("steps", format!("{}, in flight and repeated {}", verdict.steps, verdict.repeated));
        row(
            "completions",
            format!(
                "{}, not told to the runner, which was killed, {}",
                verdict.told + verdict.untold,
                verdict.untold
            ),
        );
        row(
            "longest from a kill to the next",
            format!("{:.2} s", clock::seconds(verdict.longest_gap)),
        );
        row("violations", verdict.violations.len().to_string());
        for violation in verdict.violations.iter().take(20) {
            println!("  {violation}");
        }
    }
}
