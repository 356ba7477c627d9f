//! Which store is meant: what was typed, or files in the user's state directory.

use std::env;
use std::ffi::OsString;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use leasehold::Client;
use leasehold::core::backend::Backend;

use crate::exit::Failure;

/// Connects to the store that was asked for, or to the default one.
pub(crate) async fn connect(backend: Option<&str>) -> Result<Client, Failure> {
    Ok(leasehold::connect(&url(backend)?).await?)
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
    match backend {
        // A variable that is set to nothing is as good as not set.
        Some(url) if !url.is_empty() => Ok(url.to_owned()),
        _ => default_url(),
    }
}

fn default_url() -> Result<String, Failure> {
    let is_root = rustix::process::getuid().is_root();
    let dir = default_dir(env::var_os("XDG_STATE_HOME"), env::var_os("HOME"), is_root);
    dir.map(|dir| file_url(&dir)).ok_or_else(|| {
        Failure::usage(
            "no store is given and HOME is not set: use --backend or LEASEHOLD_BACKEND, such as \
             file:///var/lib/locks",
        )
    })
}

/// Relative paths count as not set: the XDG specification says so.
fn default_dir(state: Option<OsString>, home: Option<OsString>, is_root: bool) -> Option<PathBuf> {
    let absolute = |dir: Option<OsString>| dir.map(PathBuf::from).filter(|dir| dir.is_absolute());
    let state = absolute(state).map(|dir| dir.join("leasehold"));
    let home = || absolute(home).map(|dir| dir.join(".local/state/leasehold"));
    let system = || is_root.then(|| PathBuf::from("/var/lib/leasehold"));
    state.or_else(home).or_else(system)
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

    #[test]
    fn the_state_directory_is_found_or_refused() {
        let dir = |state: &str, home: &str, root| {
            let set = |text: &str| (!text.is_empty()).then(|| OsString::from(text));
            default_dir(set(state), set(home), root).map(|dir| dir.display().to_string())
        };
        assert_eq!(dir("/s", "/home/a", false).as_deref(), Some("/s/leasehold"));
        let usual = Some("/home/a/.local/state/leasehold");
        assert_eq!(dir("", "/home/a", false).as_deref(), usual);
        assert_eq!(dir("relative", "/home/a", true).as_deref(), usual);
        assert_eq!(dir("", "", true).as_deref(), Some("/var/lib/leasehold"));
        assert_eq!(dir("", "", false), None);
    }

    #[test]
    fn odd_paths_become_a_url_that_means_them() {
        let url = file_url(std::path::Path::new("/home/Zoë x/?#%"));
        assert_eq!(url, "file:///home/Zo%C3%AB%20x/%3F%23%25");
    }
}
