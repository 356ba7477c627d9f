//! Which store is meant: what was typed, or files in the user's state directory.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use leasehold::Client;
use leasehold::core::backend::Backend;
use rustix::fs::{Access, access, stat};

use crate::exit::Failure;
use crate::voice::Voice;
use crate::{alone, show};

/// Connects to the store that was asked for, or to the default one.
pub(crate) async fn connect(backend: Option<&str>) -> Result<Client, Failure> {
    Ok(leasehold::connect(&url(backend)?).await?.remembering(seen_dirs()))
}

/// Where tries of different processes leave for each other what they saw: the user's state directory,
/// or what there is where there is no home. What belongs to another user is left alone.
fn seen_dirs() -> Vec<PathBuf> {
    let uid = rustix::process::geteuid().as_raw();
    let is_ours = |dir: &PathBuf| {
        dir.is_absolute() && std::fs::metadata(dir).is_ok_and(|data| data.uid() == uid)
    };
    let ours = |name: &str| env::var_os(name).map(PathBuf::from).filter(is_ours);
    let state = ours("XDG_STATE_HOME").or_else(|| Some(ours("HOME")?.join(".local/state")));
    let dirs = [state, ours("XDG_RUNTIME_DIR")].into_iter().flatten();
    let mut dirs: Vec<PathBuf> = dirs.map(|dir| dir.join("leasehold-seen")).collect();
    dirs.push(format!("/tmp/leasehold-seen-{uid}").into());
    dirs
}

/// Opens the same store for the commands that ask the store itself.
pub(crate) async fn open(backend: Option<&str>) -> Result<Arc<dyn Backend>, Failure> {
    Ok(leasehold::open(&url(backend)?).await?)
}

/// Whether the store was typed, and not taken from the environment.
pub(crate) fn is_typed() -> bool {
    let words = env::args_os().take_while(|word| word != "--");
    let is_it =
        |word: OsString| word == "--backend" || word.as_encoded_bytes().starts_with(b"--backend=");
    words.into_iter().any(is_it)
}

/// The URL of the store that was asked for, or of the default one.
pub(crate) fn url(backend: Option<&str>) -> Result<String, Failure> {
    let url = match named(backend) {
        Some(url) => url.to_owned(),
        None => default_url()?,
    };
    alone::check(&url)?;
    Ok(url)
}

/// The same as [`connect`], for a lock that is to exclude others: it is said where it may not.
pub(crate) async fn connect_to_lock(
    backend: Option<&str>,
    voice: Voice,
) -> Result<Client, Failure> {
    if named(backend).is_none()
        && let Some(warning) = alone::warning(&url(backend)?)
    {
        voice.tell(&warning);
    }
    connect(backend).await
}

/// A variable that is set to nothing is as good as not set.
fn named(backend: Option<&str>) -> Option<&str> {
    backend.filter(|url| !url.is_empty())
}

fn default_url() -> Result<String, Failure> {
    let default = default_dir(&Surroundings {
        state: env::var_os("XDG_STATE_HOME"),
        home: env::var_os("HOME"),
        passwd: || std::fs::read_to_string("/etc/passwd").unwrap_or_default(),
        uid: rustix::process::geteuid().as_raw(),
        stranger,
    });
    for (variable, dir, owner) in &default.disbelieved {
        disbelieved(variable, dir, *owner);
    }
    match default.dir {
        Some(dir) if !default.disbelieved.is_empty() => {
            say_once(format!("the locks are in {} instead", dir.display()));
            Ok(file_url(&dir))
        }
        Some(dir) => Ok(file_url(&dir)),
        None => Err(Failure::usage(
            "no store is given and this user has no home: use --backend or LEASEHOLD_BACKEND, such \
             as file:///var/lib/locks",
        )),
    }
}

/// Says that a variable's directory is another user's: `sudo` leaves such variables behind. What is made
/// there would be in that user's way.
pub(crate) fn disbelieved(variable: &str, dir: &Path, owner: u32) {
    let dir = dir.display();
    say_once(format!("{variable} is {dir}, which belongs to uid {owner} and is not used"));
}

/// A process asks several times where something is, and is told once.
fn say_once(text: String) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if !said.contains(&text) {
        show::say(&text);
        said.insert(text);
    }
}

/// Where the default store is in a home.
const BELOW: &str = ".local/state/leasehold";

/// What the default store depends on.
struct Surroundings<P, S> {
    state: Option<OsString>,
    home: Option<OsString>,
    passwd: P,
    uid: u32,
    /// The owner of a directory, if that is another user's.
    stranger: S,
}

#[derive(Debug, PartialEq, Eq)]
struct Default {
    dir: Option<PathBuf>,
    /// Variables, their directories, and the owners of those.
    disbelieved: Vec<(&'static str, PathBuf, u32)>,
}

/// Relative paths count as not set: the XDG specification says so.
fn default_dir<P: Fn() -> String, S: Fn(&Path) -> Option<u32>>(
    around: &Surroundings<P, S>,
) -> Default {
    let mut disbelieved = vec![];
    let mut believed = |variable, dir: &Option<OsString>| {
        let dir = dir.as_ref().map(PathBuf::from).filter(|dir| dir.is_absolute())?;
        match (around.stranger)(&dir) {
            None => Some(dir),
            Some(owner) => {
                disbelieved.push((variable, dir, owner));
                None
            }
        }
    };
    let state = believed("XDG_STATE_HOME", &around.state).map(|dir| dir.join("leasehold"));
    let dir = state.or_else(|| believed("HOME", &around.home).map(|dir| dir.join(BELOW)));
    let dir = dir.or_else(|| {
        // Where the same user has its locks after `sudo -H`, in cron and at a login.
        let home =
            if disbelieved.is_empty() { None } else { home_of(&(around.passwd)(), around.uid) };
        let home = home.filter(|home| (around.stranger)(home).is_none());
        home.map(|home| home.join(BELOW))
    });
    let dir = dir.or_else(|| (around.uid == 0).then(|| PathBuf::from("/var/lib/leasehold")));
    Default { dir, disbelieved }
}

/// The home of a user, by the file of users.
fn home_of(passwd: &str, uid: u32) -> Option<PathBuf> {
    let mut users = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let user = users.find(|user| user.get(2).is_some_and(|id| id.parse() == Ok(uid)))?;
    user.get(5).map(PathBuf::from).filter(|home| home.is_absolute())
}

/// The owner of a directory that is another user's: not ours, and not one that is there for us to write
/// to. Of one that is not there its parent decides.
fn stranger(dir: &Path) -> Option<u32> {
    let (found, stat) = dir.ancestors().find_map(|dir| Some((dir, stat(dir).ok()?)))?;
    let uid = rustix::process::geteuid().as_raw();
    let is_given = || uid != 0 && access(found, Access::WRITE_OK).is_ok();
    (stat.st_uid != uid && !is_given()).then_some(stat.st_uid)
}

pub(crate) fn file_url(dir: &std::path::Path) -> String {
    let mut url = String::from("file://");
    for &byte in dir.as_os_str().as_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'~' => url.push(byte.into()),
            _ if byte.is_ascii_alphanumeric() => url.push(byte.into()),
            // Writing to a string cannot fail.
            _ => drop(write!(url, "%{byte:02X}")),
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nann:x:7:7::/home/ann:/bin/sh\nbad:x:8\n";

    fn default(state: &str, home: &str, uid: u32) -> Default {
        let set = |text: &str| (!text.is_empty()).then(|| OsString::from(text));
        default_dir(&Surroundings {
            state: set(state),
            home: set(home),
            passwd: || PASSWD.to_owned(),
            uid,
            stranger: |dir: &Path| dir.starts_with("/home/bob").then_some(9),
        })
    }

    fn dir(state: &str, home: &str, uid: u32) -> Option<String> {
        let default = default(state, home, uid);
        assert_eq!(default.disbelieved, []);
        default.dir.map(|dir| dir.display().to_string())
    }

    #[test]
    fn the_state_directory_is_found_or_refused() {
        assert_eq!(dir("/s", "/home/a", 7).as_deref(), Some("/s/leasehold"));
        let usual = Some("/home/a/.local/state/leasehold");
        assert_eq!(dir("", "/home/a", 7).as_deref(), usual);
        assert_eq!(dir("relative", "/home/a", 0).as_deref(), usual);
        assert_eq!(dir("", "", 0).as_deref(), Some("/var/lib/leasehold"));
        assert_eq!(dir("", "", 7), None);
    }

    /// `sudo` and `su` leave the variables of the one who called them. What they say is not believed, and
    /// the user's own home is used, as after a login.
    #[test]
    fn what_belongs_to_another_user_is_not_used() {
        let below = |home: &str| Some(PathBuf::from(format!("{home}/.local/state/leasehold")));
        let found = default("/home/bob/state", "/home/bob", 0);
        assert_eq!(found.dir, below("/root"));
        let names: Vec<_> = found.disbelieved.iter().map(|(name, ..)| *name).collect();
        assert_eq!(names, ["XDG_STATE_HOME", "HOME"]);
        assert_eq!(default("/home/bob/state", "/mine", 7).dir, below("/mine"));
        assert_eq!(default("", "/home/bob", 7).dir, below("/home/ann"));
        assert_eq!(default("", "/home/bob", 8).dir, None);
        assert_eq!(home_of("nobody:x:9:9::relative:/bin/sh", 9), None);
    }

    #[test]
    fn odd_paths_become_a_url_that_means_them() {
        let url = file_url(std::path::Path::new("/home/Zoë x/?#%"));
        assert_eq!(url, "file:///home/Zo%C3%AB%20x/%3F%23%25");
    }
}
