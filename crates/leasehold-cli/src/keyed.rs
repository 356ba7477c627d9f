//! `--key-file`: the key that says what a file, or all files of a directory, contain.
//!
//! Of a file it is the SHA-256 of its contents. Of a directory it is that of a list with one entry for each
//! file below it, in the order of the bytes of their paths: the SHA-256 of the contents in hexadecimal, two
//! spaces, the path from the directory with `./` before it, a zero byte. That is what `sha256sum -z` prints,
//! so anybody can do it again; and a path has no zero byte, so that no two directories have one list.
//!
//! Links to files count as what they lead to. Entries whose names begin with two dots are left out:
//! Kubernetes makes them beside mounted files, with a new name each time.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// What stands before the hash.
const PREFIX: &str = "sha256:";

/// No tree that is meant as a key is deeper.
const DEEPEST: usize = 64;

/// The key, or what is in its way.
pub(crate) fn key_of(path: &Path) -> Result<String, String> {
    let meta = fs::metadata(path).map_err(|e| unreadable(path, &e))?;
    let hash = match meta.is_dir() {
        false => of_file(path)?,
        true => of_directory(path)?,
    };
    Ok(format!("{PREFIX}{hash}"))
}

fn unreadable(path: &Path, error: &std::io::Error) -> String {
    refused(path, format_args!("cannot be read: {error}"))
}

fn refused(path: &Path, why: impl std::fmt::Display) -> String {
    // Without the dot in the middle.
    let path: PathBuf = path.components().collect();
    format!("--key-file: {} {why}", path.display())
}

fn of_directory(dir: &Path) -> Result<String, String> {
    let mut files = vec![];
    collect(dir, Path::new("."), DEEPEST, &mut files)?;
    if files.is_empty() {
        return Err(refused(dir, "has no files in it: is it what was meant?"));
    }
    files.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    let mut list = Sha256::new();
    for file in files {
        list.update(of_file(&dir.join(&file))?.as_bytes());
        list.update(b"  ");
        list.update(file.as_os_str().as_bytes());
        list.update([0]);
    }
    Ok(hex(&list.finalize()))
}

/// All files below `root`/`below`, by their paths from `root`.
fn collect(
    root: &Path,
    below: &Path,
    depth: usize,
    files: &mut Vec<PathBuf>,
) -> Result<(), String> {
    let dir = root.join(below);
    if depth == 0 {
        return Err(refused(&dir, "is too deep"));
    }
    for entry in fs::read_dir(&dir).map_err(|e| unreadable(&dir, &e))? {
        let entry = entry.map_err(|e| unreadable(&dir, &e))?;
        let name = entry.file_name();
        if name.as_bytes().starts_with(b"..") {
            continue;
        }
        let (path, full) = (below.join(&name), entry.path());
        let meta = fs::metadata(&full).map_err(|e| unreadable(&full, &e))?;
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        match (meta.is_dir(), is_link) {
            (true, false) => collect(root, &path, depth - 1, files)?,
            (true, true) => {
                let why = "is a link to a directory, and those are not followed";
                return Err(refused(&full, why));
            }
            (false, _) => files.push(path),
        }
    }
    Ok(())
}

fn of_file(path: &Path) -> Result<String, String> {
    let failed = |e: std::io::Error| unreadable(path, &e);
    let what = fs::metadata(path).map_err(failed)?;
    // A pipe, say, could be waited for without end.
    if !what.is_file() {
        return Err(refused(path, "is not a regular file"));
    }
    let mut file = File::open(path).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut bytes = vec![0; 64 * 1024];
    loop {
        match file.read(&mut bytes) {
            Ok(0) => return Ok(hex(&hash.finalize())),
            Ok(n) => hash.update(&bytes[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(failed(e)),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
