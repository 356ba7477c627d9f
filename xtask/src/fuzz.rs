//! `cargo xtask fuzz [TARGET..] [--for TIME] [--keep]`: the guided form of the fuzz targets. The targets are
//! tests, which `crates/leasehold-fuzz` explains; here they are built so that they tell which code each input
//! reaches, and run one after the other under libFuzzer.
//!
//! With `--keep`, the found files that reach the most join the committed corpus, in place of those that
//! did before.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::sh::{self, Result, cargo};

/// A target: its name, the package and the test program that it is a test of, and its path there.
struct Target(&'static str, &'static str, &'static [&'static str], &'static str);

const TARGETS: &[Target] = &[
    Target("record", "leasehold-core", &["--test", "it"], "fuzz::record::record"),
    Target("acquisition", "leasehold-core", &["--test", "it"], "fuzz::acquisition::acquisition"),
    Target("name", "leasehold-core", &["--test", "it"], "fuzz::name::name"),
    Target("url", "leasehold", &["--lib"], "connect::fuzz::url"),
    Target("file-names", "leasehold", &["--lib"], "backend::file::fuzz::names::file_names"),
    Target("state-file", "leasehold", &["--lib"], "backend::file::fuzz::state::state_file"),
    Target("directory", "leasehold", &["--lib"], "backend::file::fuzz::directory::directory"),
    Target("http-answers", "leasehold", &["--lib"], "backend::gcs::fuzz::http_answers"),
    Target("spanner-answers", "leasehold", &["--lib"], "backend::spanner::fuzz::spanner_answers"),
    Target("times", "leasehold-cli", &["--bin", "leasehold"], "fuzz::times::times"),
    Target("terminal", "leasehold-cli", &["--bin", "leasehold"], "fuzz::terminal::terminal"),
    Target("shell", "leasehold-cli", &["--bin", "leasehold"], "fuzz::shell::shell"),
    Target("process", "leasehold-cli", &["--bin", "leasehold"], "fuzz::process::process"),
    Target("config", "leasehold-cli", &["--bin", "leasehold"], "fuzz::config::config"),
    Target("typed", "leasehold-cli", &["--bin", "leasehold"], "fuzz::typed::typed"),
];

const CORPUS: &str = "crates/leasehold-fuzz/corpus";

/// Has the compiler count what is reached. These are options of every stable compiler.
const INSTRUMENTED: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

pub(crate) fn run(arguments: &[&str]) -> Result {
    let (mut wanted, mut seconds, mut keeps) = (vec![], 60, false);
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match *word {
            "--for" => seconds = words.next().and_then(|time| parse(time)).ok_or("--for 60s")?,
            "--keep" => keeps = true,
            name => wanted.push(TARGETS.iter().find(|t| t.0 == name).ok_or_else(unknown)?),
        }
    }
    if wanted.is_empty() {
        wanted.extend(TARGETS);
    }
    let compiler = env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let probe = Command::new(&compiler).arg("--version").stdout(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        return Err(format!(
            "libFuzzer is C++, and `{compiler}` does not run: install a compiler, or set CXX. The \
             short form needs none: cargo xtask test fuzz"
        ));
    }
    let mut built = Built::default();
    let places: Vec<Place> =
        wanted.into_iter().map(|target| Place::new(target, &mut built)).collect::<Result<_>>()?;
    for place in places {
        println!("\n=== {} for {seconds} s", place.name);
        place.fuzz(seconds)?;
        if keeps {
            place.keep()?;
        }
    }
    Ok(())
}

fn unknown() -> String {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.0).collect();
    format!("usage: cargo xtask fuzz [TARGET..] [--for 60s] [--keep]\ntargets: {}", names.join(" "))
}

/// `90`, `90s` or `5m`, in seconds.
fn parse(time: &str) -> Option<u64> {
    match time.strip_suffix('m') {
        Some(minutes) => minutes.parse::<u64>().ok()?.checked_mul(60),
        None => time.strip_suffix('s').unwrap_or(time).parse().ok(),
    }
}

/// Where one target is worked on.
struct Place {
    name: &'static str,
    /// Starts the target with libFuzzer's words. libFuzzer calls it too, to start itself again.
    start: PathBuf,
    /// What was found in all runs so far.
    found: PathBuf,
    committed: PathBuf,
    folder: PathBuf,
}

impl Place {
    fn new(target: &'static Target, built: &mut Built) -> Result<Place> {
        let folder = sh::target_dir().join("fuzz").join(target.0);
        let found = folder.join("found");
        fs::create_dir_all(&found).map_err(|e| format!("{}: {e}", found.display()))?;
        let program = built.with(target)?;
        let start = folder.join("start");
        // One word a line: the first is this script, the second the folder for what the target writes.
        let script = format!(
            "#!/bin/sh\nIFS='\n'\nLEASEHOLD_FUZZ_COMMAND_LINE=\"$0\n{folder}\n$*\" \
             exec '{program}' --exact '{test}' --nocapture\n",
            folder = folder.display(),
            program = program.display(),
            test = target.3,
        );
        write_script(&start, &script)?;
        let committed = sh::root().join(CORPUS).join(target.0);
        Ok(Place { name: target.0, start, found, committed, folder })
    }

    fn fuzz(&self, seconds: u64) -> Result {
        let mut command = Command::new(&self.start);
        command.arg(&self.found).arg(&self.committed);
        command.arg(format!("-max_total_time={seconds}"));
        command.args([
            "-max_len=17408",
            "-timeout=10",
            "-rss_limit_mb=4096",
            "-print_final_stats=1",
        ]);
        command.arg("-use_value_profile=1");
        command.arg(format!("-artifact_prefix={}/", self.folder.display()));
        let log = self.folder.join("log");
        let file = fs::File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
        let status = command.stderr(file).stdout(Stdio::null()).status();
        let status = status.map_err(|e| format!("cannot start {}: {e}", sh::shown(&command)))?;
        let told = fs::read(&log).map_err(|e| format!("{}: {e}", log.display()))?;
        let told = String::from_utf8_lossy(&told);
        // A line for each input that reached something new says nothing afterwards.
        let is_news = |line: &&str| {
            !["#", "INFO", "WARNING", "\tNEW", "0x"].iter().any(|start| line.starts_with(start))
        };
        let summary = |line: &&str| line.starts_with("stat::") || line.contains("DONE");
        for line in told.lines().filter(|line| !status.success() && is_news(line) || summary(line))
        {
            println!("{line}");
        }
        if status.success() {
            return Ok(());
        }
        Err(format!(
            "{} found something: the input is in {}; make it a test with its story",
            self.name,
            self.folder.display()
        ))
    }

    /// Keeps those found files that reach the most of what the committed ones with a name of their
    /// own do not reach.
    fn keep(&self) -> Result {
        self.merge().map_err(|why| format!("the corpus of {} is as it was: {why}", self.name))
    }

    fn merge(&self) -> Result {
        let fail = |e: std::io::Error| e.to_string();
        let fewest = self.folder.join("fewest");
        if fewest.exists() {
            fs::remove_dir_all(&fewest).map_err(fail)?;
        }
        fs::create_dir_all(&fewest).map_err(fail)?;
        let (found_before, named): (Vec<PathBuf>, Vec<PathBuf>) =
            files(&self.committed)?.into_iter().partition(|file| is_found(file));
        for file in &named {
            fs::copy(file, fewest.join(file.file_name().unwrap_or_default())).map_err(fail)?;
        }
        let mut merge = Command::new(&self.start);
        merge.args(["-set_cover_merge=1", "-use_counters=0", "-max_len=1024", "-verbosity=0"]);
        sh::run(merge.arg(&fewest).arg(&self.committed).arg(&self.found))?;
        // They are written in the order of what each adds to those before it.
        let mut kept = files(&fewest)?;
        kept.retain(|file| is_found(file));
        kept.sort_by_key(|file| file.metadata().and_then(|about| about.modified()).ok());
        kept.truncate(KEPT);
        for file in found_before {
            fs::remove_file(file).map_err(fail)?;
        }
        for file in kept {
            let name = file.file_name().unwrap_or_default();
            fs::copy(&file, self.committed.join(name)).map_err(fail)?;
        }
        Ok(())
    }
}

/// How many found files a corpus has, beside those with a name of their own.
const KEPT: usize = 32;

/// Whether libFuzzer gave a file its name: the hash of its content.
fn is_found(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.len() == 40 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    entries.map(|entry| entry.map(|e| e.path()).map_err(|e| e.to_string())).collect()
}

/// The test programs that were built, by package.
#[derive(Default)]
struct Built(Vec<(&'static str, PathBuf)>);

impl Built {
    /// The test program that the target is in.
    fn with(&mut self, target: &Target) -> Result<PathBuf> {
        let Target(name, package, _, test) = *target;
        let known = self.0.iter().find(|(of, _)| *of == package);
        let path = match known {
            Some((_, path)) => path.clone(),
            None => build(target)?,
        };
        if known.is_none() {
            self.0.push((package, path.clone()));
        }
        let all = output(Command::new(&path).arg("--list"))?;
        let entry = format!("{test}: test");
        if !all.lines().any(|line| line == entry) {
            return Err(format!("the target {name} should be the test {test} of {package}"));
        }
        Ok(path)
    }
}

/// Builds the test program that the target is in, and finds where cargo put it.
fn build(target: &Target) -> Result<PathBuf> {
    let Target(_, package, program, _) = *target;
    let host = output(Command::new("rustc").arg("-vV"))?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
    let mut build = cargo(&["test", "--no-run", "--message-format=json", "--target", host]);
    build.args(["--package", package, "--features", "leasehold-fuzz/guided"]).args(program);
    // A folder of its own, because other options build everything anew.
    build.env("CARGO_TARGET_DIR", sh::target_dir().join("fuzz/build"));
    build.env("CARGO_PROFILE_DEV_OPT_LEVEL", "3").env("RUSTFLAGS", INSTRUMENTED);
    let told = output(&mut build)?;
    let marker = "\"executable\":\"";
    let path = told.lines().filter_map(|line| line.split_once(marker)).next_back();
    let path = path.and_then(|(_, rest)| rest.split('"').next());
    path.map(PathBuf::from).ok_or_else(|| "cargo names no test program".to_owned())
}

/// What a command prints.
fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|e| format!("cannot start {}: {e}", sh::shown(command)))?;
    if !output.status.success() {
        return Err(format!("{} failed: {}", sh::shown(command), output.status));
    }
    String::from_utf8(output.stdout).map_err(|e| e.to_string())
}

fn write_script(path: &Path, script: &str) -> Result {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, script)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
        .map_err(|e| format!("{}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A target is added, with its corpus; one that is missing in the table would never be run here.
    #[test]
    fn every_corpus_is_a_target() {
        let folders = fs::read_dir(sh::root().join(CORPUS)).expect("it is there");
        let names = folders.map(|folder| folder.expect("readable").file_name());
        let mut names: Vec<String> = names.map(|n| n.to_string_lossy().into_owned()).collect();
        // The one by which fuzzing tests itself.
        names.retain(|name| name != "fuzz-itself");
        names.sort();
        let mut targets: Vec<&str> = TARGETS.iter().map(|target| target.0).collect();
        targets.sort_unstable();
        assert_eq!(names, targets);
    }

    #[test]
    fn times_are_read() {
        let times = ["90", "90s", "5m", "", "m", "x", "5h"].map(parse);
        assert_eq!(times, [Some(90), Some(90), Some(300), None, None, None, None]);
    }
}
