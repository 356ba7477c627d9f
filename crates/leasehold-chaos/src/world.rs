//! The loop: it keeps every slot filled with a `leasehold run`, hurts them by the plan, and waits for
//! all of them in the end.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::process::Pid;

use crate::clock::{self, Time, millis, nanos};
use crate::net::Net;
use crate::options::Options;
use crate::plan::{Ask, Terms, Wait};
use crate::procs::{self, MARK, Process, RUN};
use crate::report::{self, Tally};
use crate::run::{Break, Run, Span};
use crate::section;
use crate::store::Store;
use crate::torment::Later;
use crate::undo::Undo;

/// How often the loop looks around.
const LOOK: Duration = Duration::from_millis(2);

/// How often it says how far it is.
const SAY: Duration = Duration::from_secs(30);

/// The environment of what is started begins without whatever we inherited of these.
pub(crate) const INHERITED: [&str; 12] = [
    "NAME",
    "TOKEN",
    "HOLDER",
    "BACKEND",
    "DEADLINE",
    "SESSION",
    "CHAOS",
    "CHAOS_RUN",
    "KEY",
    "ATTEMPT",
    "RESUMED",
    "CHECKPOINT",
];

/// The slots, and all that was ever done.
pub(crate) struct World {
    pub(crate) terms: Terms,
    /// Where the logs are.
    pub(crate) dir: PathBuf,
    /// In the environment of everything that is started.
    mark: String,
    program: PathBuf,
    pub(crate) us: PathBuf,
    pub(crate) store: Store,
    pub(crate) net: Option<Net>,
    /// Where the namespaces find it.
    pub(crate) store_address: Option<String>,
    pub(crate) undo: Undo,
    journal: File,
    said: File,
    pub(crate) runs: Vec<Run>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) breaking: Vec<Breaking>,
    pub(crate) breaks: Vec<Break>,
    pub(crate) away: Vec<Span>,
    pub(crate) later: Vec<(Time, Later)>,
    /// Namespaces whose links are up again, until each has reached the store.
    pub(crate) healing: Vec<(Child, usize)>,
    pub(crate) tally: Tally,
    /// What the harness itself found.
    pub(crate) found: Vec<String>,
}

/// A place for one `leasehold run` after the other.
pub(crate) struct Slot {
    pub(crate) running: Option<(Child, usize)>,
    nth: u64,
    next_at: Time,
}

/// A `leasehold break` that runs.
pub(crate) struct Breaking {
    pub(crate) child: Child,
    pub(crate) name: usize,
    pub(crate) from: Time,
}

/// The whole program.
pub(crate) fn main(options: &Options) -> ExitCode {
    let seed = options.seed.unwrap_or_else(clock::seed);
    match World::prepare(options, seed) {
        Ok(world) if options.plan => {
            print!("{}", world.terms.shown());
            let dir = world.dir.clone();
            let _ = world.undo.finish();
            let _ = fs::remove_dir_all(dir);
            ExitCode::SUCCESS
        }
        Ok(world) => world.live(options, seed),
        Err(why) => {
            eprintln!("chaos: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The store, and the way to it.
fn place(
    options: &Options,
    us: &Path,
    dir: &Path,
    undo: &mut Undo,
) -> Result<(Store, Option<Net>), String> {
    let store = Store::prepare(options, dir, undo)?;
    let net = options.netns.map(|n| Net::build(n.into(), undo)).transpose()?;
    if let (Some(net), Some(address)) = (&net, &options.store_address) {
        net.rehearse(us, address)?;
    }
    Ok((store, net))
}

/// The name of a lock.
pub(crate) fn name(n: usize) -> String {
    format!("chaos-{n}")
}

impl World {
    fn prepare(options: &Options, seed: u64) -> Result<World, String> {
        let tell = |e: std::io::Error| e.to_string();
        let us = std::env::current_exe().map_err(tell)?;
        let program = match &options.leasehold {
            Some(path) => path.clone(),
            None => us.with_file_name("leasehold"),
        };
        let program = fs::canonicalize(&program)
            .map_err(|e| format!("{}: {e} (use --leasehold)", program.display()))?;
        let mark = format!("{}-{}", std::process::id(), clock::now() / 1_000_000);
        let dir = std::env::temp_dir().join(format!("leasehold-chaos-{mark}"));
        for part in ["home", "tmp", "run"] {
            fs::create_dir_all(dir.join(part)).map_err(|e| format!("{}: {e}", dir.display()))?;
        }
        let mut undo = Undo::start(&us, &mark).map_err(tell)?;
        let (store, net) = match place(options, &us, &dir, &mut undo) {
            Ok(place) => place,
            Err(why) => {
                let _ = undo.finish();
                let _ = fs::remove_dir_all(&dir);
                return Err(why);
            }
        };
        let names = usize::from(options.names);
        let terms = Terms {
            seed,
            slots: usize::from(options.processes).max(3 * names),
            names,
            ttls_ms: options.ttl.iter().map(|ttl| nanos(*ttl) / 1_000_000).collect(),
            can_freeze: store.freezer.is_some(),
            namespaces: net.as_ref().map_or(0, Net::count),
        };
        let open = |file: &str| {
            OpenOptions::new().append(true).create(true).open(dir.join(file)).map_err(tell)
        };
        let (journal, said) = (open("journal")?, open("said")?);
        let slots = (0..terms.slots).map(|_| Slot { running: None, nth: 0, next_at: 0 }).collect();
        Ok(World {
            terms,
            dir,
            mark,
            program,
            us,
            store,
            net,
            store_address: options.store_address.clone(),
            undo,
            journal,
            said,
            runs: vec![],
            slots,
            breaking: vec![],
            breaks: vec![],
            away: vec![],
            later: vec![],
            healing: vec![],
            tally: Tally::default(),
            found: vec![],
        })
    }

    /// From the first process to the verdict.
    fn live(mut self, options: &Options, seed: u64) -> ExitCode {
        println!("chaos: seed {seed}, store {}, logs in {}", self.store.url, self.dir.display());
        if let Some(why) = &self.store.skipped {
            println!("SKIPPED: chaos: the store is not frozen: {why}");
        }
        let begun = clock::now();
        let end = begun + nanos(options.length);
        let (mut nth, mut hurt_at) = (0, begun + millis(500));
        let mut say_at = begun + nanos(SAY);
        while clock::now() < end {
            self.look(true);
            if clock::now() >= hurt_at {
                let hurt = self.terms.hurt(nth);
                self.hurt(&hurt);
                nth += 1;
                hurt_at = clock::now() + millis(self.terms.hurt(nth).pause_ms);
            }
            if clock::now() >= say_at {
                say_at += nanos(SAY);
                let span = Duration::from_nanos(clock::now() - begun);
                println!("chaos: {}s, {} runs, {nth} hurts", span.as_secs(), self.runs.len());
            }
            clock::pause(LOOK);
        }
        self.note("the time is over: nobody is hurt any more");
        // Whoever hurts the store beside us reads it here.
        println!("chaos: the time is over, nobody is hurt any more");
        self.undo_all_hurts();
        self.await_all("when nobody was hurt any more");
        self.run_last();
        self.await_all("although nobody was hurt");
        self.await_nothing_left();
        let length = clock::now() - begun;
        let (code, dir, keep) = report::close(&self, &options.again(seed), length, options.keep);
        if let Err(error) = self.undo.finish() {
            println!("chaos: {error}");
            return ExitCode::FAILURE;
        }
        if !keep {
            let _ = fs::remove_dir_all(dir);
        }
        code
    }

    /// Looks after everything that may have happened.
    fn look(&mut self, refill: bool) {
        self.act_due(clock::now());
        self.hear_healed();
        for slot in 0..self.slots.len() {
            self.reap(slot);
            if refill
                && self.slots[slot].running.is_none()
                && self.slots[slot].next_at <= clock::now()
            {
                let ask = self.terms.ask(slot, self.slots[slot].nth);
                self.spawn(slot, ask);
            }
        }
        self.hear_breaks();
    }

    /// Writes a line into the journal.
    pub(crate) fn note(&mut self, what: &str) {
        let line = format!("{} {what}\n", clock::now());
        // Whether it can be written shows when it is needed.
        let _ = self.journal.write_all(line.as_bytes());
    }

    /// A command that belongs to us, in the namespace of a slot.
    pub(crate) fn command(&self, slot: usize, run: Option<usize>) -> Command {
        // Away from any terminal, so that the command has a process group of its own.
        let mut command = Command::new("setsid");
        let mut url = self.store.url.clone();
        if let Some(net) = &self.net {
            let space = slot % net.count();
            command.args(net.prefix(space));
            url = net.filled(space, &url);
        }
        command.arg(&self.program);
        for name in INHERITED {
            command.env_remove(format!("LEASEHOLD_{name}"));
        }
        let dir = |name: &str| self.dir.join(name);
        command
            .current_dir(&self.dir)
            .env("LEASEHOLD_BACKEND", url)
            .env("HOME", dir("home"))
            .env("TMPDIR", dir("tmp"))
            .env("XDG_RUNTIME_DIR", dir("run"))
            .env_remove("XDG_STATE_HOME")
            .env(MARK, &self.mark)
            .stdin(Stdio::null());
        if let Some(run) = run {
            command.env(RUN, self.run_mark(run));
        }
        command
    }

    pub(crate) fn run_mark(&self, run: usize) -> String {
        format!("{}.{run}", self.mark)
    }

    fn spawn(&mut self, slot: usize, ask: Ask) {
        let n = self.runs.len();
        let mut command = self.command(slot, Some(n));
        command.args(["run", &name(ask.name), "--ttl", &format!("{}ms", ask.ttl_ms)]);
        match ask.wait {
            Wait::Forever => {}
            Wait::No => drop(command.arg("-n")),
            Wait::Ms(ms) => drop(command.args(["-w", &format!("{ms}ms")])),
        }
        command.arg("--").arg(&self.us);
        command.args(section::words(&self.dir, &name(ask.name), n as u64, &ask));
        let outputs = (self.said.try_clone(), self.said.try_clone());
        if let (Ok(out), Ok(err)) = outputs {
            command.stdout(out).stderr(err);
        }
        let started = clock::now();
        match command.spawn() {
            Ok(child) => {
                let what = format!("run {n} in slot {slot}, pid {}: {}", child.id(), ask.shown());
                self.note(&what);
                self.runs.push(Run::new(ask, started));
                self.slots[slot].running = Some((child, n));
            }
            Err(error) => self.found.push(format!("the program cannot be started: {error}")),
        }
        let next = self.terms.ask(slot, self.slots[slot].nth + 1);
        self.slots[slot].nth += 1;
        self.slots[slot].next_at = started + millis(next.pause_ms);
    }

    fn reap(&mut self, slot: usize) {
        let Some((child, n)) = &mut self.slots[slot].running else { return };
        let n = *n;
        let Ok(Some(status)) = child.try_wait() else { return };
        let at = clock::now();
        self.slots[slot].running = None;
        self.slots[slot].next_at = at + millis(self.terms.ask(slot, self.slots[slot].nth).pause_ms);
        // A keeper may take a moment longer than the one who dismissed it.
        if !self.runs[n].done.killed_main {
            let all = procs::with_entry(&format!("{RUN}={}", self.run_mark(n)));
            let others =
                all.into_iter().filter(|p| p.words().get(1).is_none_or(|w| w != "__keeper"));
            self.runs[n].left = others.map(Process::shown).collect();
        }
        self.runs[n].ended = Some((at, status));
        self.note(&format!("run {n} has ended: {status}"));
    }

    fn hear_breaks(&mut self) {
        let mut running = vec![];
        for mut breaking in std::mem::take(&mut self.breaking) {
            let Ok(Some(_)) = breaking.child.try_wait() else {
                running.push(breaking);
                continue;
            };
            let mut text = String::new();
            if let Some(mut out) = breaking.child.stdout.take() {
                let _ = out.read_to_string(&mut text);
            }
            self.heard_break(breaking.name, breaking.from, &text);
        }
        self.breaking = running;
    }

    fn heard_break(&mut self, name: usize, from: Time, text: &str) {
        let to = clock::now();
        let is = |outcome: &str| text.contains(&format!("\"outcome\": \"{outcome}\""));
        // The holder's token is deeper in, and comes with more spaces before it.
        let token = text.lines().find_map(|line| line.strip_prefix("  \"token\": "));
        let token = token.and_then(|token| token.trim_end_matches(',').parse().ok());
        let nothing = ["was-free", "absent", "changed"].into_iter().any(is);
        let word = match (is("released"), nothing) {
            (true, _) => {
                self.breaks.push(Break { name, from, to, token });
                self.tally.broken += 1;
                "broken"
            }
            (_, true) => "nothing to break",
            _ => {
                self.breaks.push(Break { name, from, to, token: None });
                "nobody knows whether it was broken"
            }
        };
        self.note(&format!("name {name}: {word}, token {token:?}"));
    }

    fn is_idle(&self) -> bool {
        self.slots.iter().all(|slot| slot.running.is_none())
            && self.breaking.is_empty()
            && self.healing.is_empty()
    }

    /// Waits until every run has ended.
    fn await_all(&mut self, when: &str) {
        // Each has its turn, and none takes longer than four of the longest ttl and a moment.
        let turns = (self.terms.slots + 2) as u64;
        let until = clock::now() + millis(30_000 + turns * (4 * self.terms.ttl_ms_most() + 500));
        while !self.is_idle() && clock::now() < until {
            self.look(false);
            clock::pause(LOOK);
        }
        let running: Vec<_> = self.slots.iter().filter_map(|s| s.running.as_ref()).collect();
        for (child, n) in running {
            let what = format!("run {n} (pid {}) did not end {when}", child.id());
            self.found.push(what);
        }
    }

    /// One run for each name that nobody hurts.
    fn run_last(&mut self) {
        for n in 0..self.terms.names {
            let ttl_ms = self.terms.ttl_ms_most();
            let ask = Ask {
                pause_ms: 0,
                name: n,
                ttl_ms,
                wait: Wait::Ms(30_000 + 4 * ttl_ms),
                work_ms: 20,
                exit: 0,
                family: false,
                stubborn: false,
            };
            if self.slots[n].running.is_none() {
                self.spawn(n, ask);
                self.runs.iter_mut().last().into_iter().for_each(|run| run.is_last = true);
            }
        }
    }

    /// Waits until no process is left. What nobody watched over ends by itself after a time.
    fn await_nothing_left(&mut self) {
        let until = clock::now() + millis(40_000);
        let entry = format!("{MARK}={}", self.mark);
        let mut left = procs::with_entry(&entry);
        while !left.is_empty() && clock::now() < until {
            clock::pause(Duration::from_millis(20));
            left = procs::with_entry(&entry);
        }
        self.found.extend(left.into_iter().map(|p| format!("still running: {}", p.shown())));
        for part in ["home", "tmp", "run"] {
            let mut left = vec![];
            collect(&self.dir.join(part), &mut left);
            let kept = left.len();
            // What waiters saw is kept for the next ones, bounded.
            left.retain(|path| !path.ancestors().take(2).any(|dir| dir.ends_with(SEEN)));
            if kept - left.len() > SEEN_MAX {
                self.found.push(format!("more than {SEEN_MAX} files in {SEEN}"));
            }
            self.found.extend(left.iter().map(|path| format!("left: {}", path.display())));
        }
        self.found.extend(self.store.litter(self.terms.slots));
    }

    /// The process that is in a slot, and the number of its run.
    pub(crate) fn main_in(&self, slot: usize) -> Option<(Process, usize)> {
        let (child, n) = self.slots[slot].running.as_ref()?;
        Some((Process::living(Pid::from_child(child))?, *n))
    }

    /// The sections of all names by their runs.
    pub(crate) fn by_run(all: &[crate::check::Written]) -> HashMap<u64, crate::check::Section> {
        all.iter().flat_map(|one| &one.sections).map(|one| (one.run, one.clone())).collect()
    }
}

/// Where the program keeps what its waiters saw, and how many files of it there may be.
const SEEN: &str = ".local/state/leasehold-seen";
const SEEN_MAX: usize = 512;

/// All files below a directory, and the directories without any.
fn collect(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let before = into.len();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), into);
        }
        if into.len() == before {
            into.push(entry.path());
        }
    }
}
