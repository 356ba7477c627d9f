//! `leasehold acquire` and `leasehold release`: a lock for a shell script. The lock itself is kept
//! by a [session](crate::session) in the background.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use leasehold::env::{Env, Host};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::answer;
use crate::cli::{Acquire, Release};
use crate::exit::{Exit, Failure};
use crate::sessions::{self, Session};
use crate::show::{print, say};
use crate::signals::Signals;
use crate::{procs, session, show};

/// The hidden subcommand by which the shell tells its own pid, which only it knows.
pub(crate) const BIND: &str = "__bind";

/// How long a session may take to give up a lock that it was waiting for.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

/// How an attempt or a release ended, for a program.
#[derive(Serialize)]
struct Ended<'a> {
    name: &'a str,
    code: u8,
    message: Option<&'a str>,
}

/// What the shell does when it got no lock: `eval` then has this status, and nothing is set. It is
/// never 0, which would be taken for the lock.
pub(crate) fn refusal(exit: Exit) -> String {
    format!("(exit {})\n", exit.code().max(1))
}

/// `leasehold acquire NAME`. `words` are what was typed, for the session to read again.
pub(crate) async fn acquire(
    options: Acquire,
    words: impl Iterator<Item = OsString>,
) -> Result<Exit, Failure> {
    let result = match options.wanted.conflict_exit_code {
        0 => Err(Failure::usage(
            "`acquire` has no -E 0: a script would take it for having the lock, and go on; compare \
             the exit code with 75, or use `leasehold run -E 0`",
        )),
        _ => ask_session(&options, words).await,
    };
    let (exit, message) = match result {
        Ok(Ok(lock)) => {
            let text = match options.output.json {
                true => answer::json(&lock),
                false => shell_code(&lock, options.pid.is_none()),
            };
            return hand_over(&lock, &text);
        }
        Ok(Err(exit)) => (exit, None),
        Err(failure) => (failure.exit, Some(failure.message)),
    };
    // If that cannot be written, our code says the same.
    let _ = show::write(&match options.output.json {
        true => answer::json(Ended {
            name: &options.name,
            code: exit.code(),
            message: message.as_deref(),
        }),
        false => refusal(exit),
    });
    match message {
        Some(message) => Err(Failure::new(exit, message)),
        None => Ok(exit),
    }
}

/// Tells the shell of its lock. A lock that the shell does not hear of is let go, also when the one
/// who was to read it has left.
fn hand_over(lock: &Value, text: &str) -> Result<Exit, Failure> {
    let Err(error) = show::write(text) else { return Ok(Exit::Done) };
    let socket = lock["session"].as_str().unwrap_or_default();
    let released = match sessions::release(Path::new(socket)) {
        Ok(answer) if answer["code"] == 0 => "it is released".to_owned(),
        Ok(answer) => answer["message"].as_str().unwrap_or("it may not be released").to_owned(),
        Err(error) => format!("it may not be released: {error}"),
    };
    let name = &lock["name"];
    let message = format!("the lock {name} was acquired, but cannot be told: {error}; {released}");
    Err(Failure::new(Exit::NotWritten, message))
}

/// Starts a session and waits for its one line. A signal ends the wait.
async fn ask_session(
    options: &Acquire,
    words: impl Iterator<Item = OsString>,
) -> Result<Result<Value, Exit>, Failure> {
    // Which shell is meant is known by its number.
    procs::require()?;
    let system = |e: std::io::Error| Failure::new(Exit::NotExecutable, e.to_string());
    let mut signals = Signals::listen(true).map_err(system)?;
    let parent = getppid().map_or(0, Pid::as_raw_pid);
    let watched = match options.pid {
        Some(pid) => pid,
        None if options.output.json => parent,
        None => {
            // Nobody would evaluate what we print. Not where a program started us, because it is
            // the end of a thread that the kernel tells.
            let _ = set_parent_process_death_signal(Some(Signal::TERM));
            0
        }
    };
    let mut child = start(watched, words).map_err(system)?;
    let cancel = child.stdin.take();
    let Some(stdout) = child.stdout.take() else {
        return Err(Failure::new(Exit::NotExecutable, "no pipe"));
    };
    let mut answer = String::new();
    let mut stdout = BufReader::new(stdout);
    tokio::select! {
        biased;
        signal = signals.ending() => {
            drop(cancel);
            finish(&mut child).await;
            return Ok(Err(signal.exit()));
        }
        _ = stdout.read_line(&mut answer) => {}
    }
    let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
    if answer["holder"].is_string() {
        return Ok(Ok(answer));
    }
    finish(&mut child).await;
    let code = answer["code"].as_u64().and_then(|code| u8::try_from(code).ok());
    // Without a lock it has not ended well, whatever it says.
    let exit = code.filter(|code| *code != 0).map_or(Exit::Unreachable, Exit::Child);
    let conflict = options.wanted.conflict_exit_code;
    let exit = if exit == Exit::Child(conflict) { Exit::NotAcquired(conflict) } else { exit };
    let message = answer["message"].as_str().unwrap_or("the session ended without a word");
    Err(Failure::new(exit, message))
}

/// The session closes what it inherits: a reader that waits for the end of a pipe would wait for it.
fn start(watched: i32, words: impl Iterator<Item = OsString>) -> std::io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("leasehold").arg(session::COMMAND).arg(watched.to_string()).args(words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
}

async fn finish(session: &mut Child) {
    tokio::select! {
        _ = session.wait() => {}
        () = Host.sleep(CANCEL_PATIENCE) => {}
    }
}

/// What the shell evaluates: all of it or nothing, because a group whose end is missing is an error
/// for every shell. The first command that fails is the last one, and gives the group its status.
///
/// The command before the end tells the session which shell it is. It is not the last one: a shell may
/// become its last command, and then nothing would be left to hold the lock for.
pub(crate) fn shell_code(lock: &Value, is_unbound: bool) -> String {
    let mut code = String::from("{\n");
    for (variable, field) in [
        ("LEASEHOLD_NAME", "name"),
        ("LEASEHOLD_TOKEN", "token"),
        ("LEASEHOLD_HOLDER", "holder"),
        ("LEASEHOLD_BACKEND", "backend"),
        ("LEASEHOLD_DEADLINE", "deadline"),
        ("LEASEHOLD_SESSION", "session"),
    ] {
        let value = match &lock[field] {
            Value::String(text) => quoted(text),
            Value::Number(number) => number.to_string(),
            other => quoted(&other.to_string()),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(code, "export {variable}={value} &&");
    }
    if is_unbound {
        let program = procs::own_path().unwrap_or_else(|| PathBuf::from("leasehold"));
        let program = quoted(&session::shown(&program));
        let socket = quoted(lock["session"].as_str().unwrap_or_default());
        let _ = writeln!(code, "{program} {BIND} {socket} $$ &&");
    }
    code.push_str(":\n}\n");
    code
}

/// One word for any POSIX shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// `leasehold __bind SOCKET PID`, as the shell calls it, with what it has for its own pid.
///
/// That number is the script's in a subshell too, and a lock that was acquired in `( … )` is to be
/// released at its end: our parent is the one who evaluates, if it runs the same shell. Otherwise it
/// is something that was put between the two.
pub(crate) fn bind(mut words: impl Iterator<Item = OsString>) -> Exit {
    let socket = words.next().map(PathBuf::from);
    let pid = words.next().and_then(|pid| procs::parse_pid(pid.to_str()?).ok());
    let (Some(socket), Some(pid)) = (socket, pid) else {
        say("this subcommand is for leasehold itself");
        return Exit::Usage;
    };
    let parent = getppid().map(Pid::as_raw_pid);
    let pid = parent.filter(|parent| procs::run_the_same(*parent, pid)).unwrap_or(pid);
    heard(&sessions::bind(&socket, pid), "the lock is lost: its session does not answer").0
}

/// `leasehold release [NAME]`.
pub(crate) fn release(options: &Release, backend: Option<&str>) -> Result<Exit, Failure> {
    let socket = find(options, backend)?;
    let silent = "the session that kept the lock has gone, and with it the lock";
    let answer = sessions::release(&socket);
    if answer.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        return Err(Failure::usage("the lock that was acquired in this shell is released already"));
    }
    let (exit, message) = heard(&answer, silent);
    if options.output.json {
        let name = options.name.clone().or_else(|| std::env::var("LEASEHOLD_NAME").ok());
        let (name, message) = (&*name.unwrap_or_default(), message.as_deref());
        print(&answer::json(Ended { name, code: exit.code(), message }));
    }
    Ok(exit)
}

/// What a session answered, said on stderr unless all is well.
fn heard(answer: &std::io::Result<Value>, silent: &str) -> (Exit, Option<String>) {
    let (code, message) = match answer {
        Ok(answer) => (answer["code"].as_u64(), answer["message"].as_str()),
        Err(_) => (None, Some(silent)),
    };
    if let Some(message) = message {
        say(message);
    }
    let code = code.and_then(|code| u8::try_from(code).ok());
    let exit = match code {
        Some(0) => Exit::Done,
        Some(code) => Exit::Child(code),
        None => Exit::Lost,
    };
    (exit, message.map(str::to_owned))
}

/// Which session is meant.
fn find(options: &Release, backend: Option<&str>) -> Result<PathBuf, Failure> {
    let latest = std::env::var_os("LEASEHOLD_SESSION").filter(|path| !path.is_empty());
    let latest = latest.map(PathBuf::from);
    let Some(name) = &options.name else {
        return latest.ok_or_else(|| {
            Failure::usage("no lock was acquired in this shell: LEASEHOLD_SESSION is not set")
        });
    };
    let latest = latest.as_deref().and_then(|socket| sessions::who(socket).ok());
    if let Some(session) = latest.filter(|s| s.name == *name && options.pid.is_none()) {
        return Ok(session.socket);
    }
    let mut above = procs::ancestors();
    if let Some(asked) = options.pid {
        // With its subshells, if we are in one.
        let end = above.iter().position(|pid| *pid == asked);
        above = end.map_or_else(|| vec![asked], |end| above[..=end].to_vec());
    }
    let mut found = sessions::all(true);
    found.retain(|session| {
        session.name == *name && session.pid.is_some_and(|pid| above.contains(&pid))
    });
    pick(found, backend).ok_or_else(|| {
        Failure::usage(format!("this shell holds no lock {name:?} that `leasehold acquire` took"))
    })
}

/// One name may be held in two stores.
fn pick(mut found: Vec<Session>, backend: Option<&str>) -> Option<PathBuf> {
    let same = |session: &Session| backend == Some(&*session.backend);
    let at = found.iter().position(same).or((!found.is_empty()).then_some(0))?;
    Some(found.swap_remove(at).socket)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_shell_evaluates_is_only_what_is_meant() {
        assert_eq!(quoted("plain"), "'plain'");
        assert_eq!(quoted("$(rm -rf /)`x`\\\"\n"), "'$(rm -rf /)`x`\\\"\n'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        let lock = json!({
            "name": "a'b", "token": 7, "holder": "h", "backend": "file:///x", "deadline": 9,
            "session": "/run/s",
        });
        let code = shell_code(&lock, false);
        assert!(code.starts_with("{\nexport LEASEHOLD_NAME='a'\\''b' &&\n"), "{code}");
        assert!(code.contains("export LEASEHOLD_TOKEN=7 &&\n"), "{code}");
        assert!(!code.contains(BIND), "{code}");
        assert!(shell_code(&lock, true).ends_with("__bind '/run/s' $$ &&\n:\n}\n"));
    }

    /// A session says something else than it should, an object for a name. It is one word for the
    /// shell all the same, and nothing in it is executed.
    #[test]
    fn what_is_no_text_is_quoted_too() {
        let code = shell_code(&json!({ "name": { "a": "$(x)" }, "token": ["; x"] }), false);
        assert!(code.starts_with("{\nexport LEASEHOLD_NAME='{\"a\":\"$(x)\"}' &&\n"), "{code}");
        assert!(code.contains("export LEASEHOLD_TOKEN='[\"; x\"]' &&\n"), "{code}");
    }
}
