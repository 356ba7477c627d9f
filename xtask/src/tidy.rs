//! `cargo xtask tidy`: the house rules that a program can check. A style guide that a test reads is followed.

mod manifest;
mod project;
mod source;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sh::{self, Result};

pub(crate) fn run() -> Result {
    let tree = Tree::read(sh::root())?;
    let mut problems = Vec::new();
    for file in &tree.files {
        problems.extend(source::check(file));
    }
    problems.extend(manifest::check(&tree));
    problems.extend(project::check(&tree));
    if problems.is_empty() {
        println!("tidy: {} files are tidy", tree.files.len());
        return Ok(());
    }
    for problem in &problems {
        println!("{problem}");
    }
    Err(format!("tidy: {} problems", problems.len()))
}

/// One rule broken in one place.
#[derive(Debug)]
struct Problem {
    path: String,
    line: usize,
    what: String,
}

impl Problem {
    fn new(path: impl Into<String>, line: usize, what: impl Into<String>) -> Self {
        Problem { path: path.into(), line, what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// A text file of the project.
#[derive(Debug)]
struct File {
    /// From the root of the repository, with `/` between the parts.
    path: String,
    text: String,
}

/// Every text file that is, or is about to be, in the repository.
#[derive(Debug)]
struct Tree {
    root: PathBuf,
    files: Vec<File>,
}

impl Tree {
    fn read(root: PathBuf) -> Result<Tree> {
        let mut files = Vec::new();
        let mut paths = tracked(&root).map_or_else(|| walked(&root), Ok)?;
        paths.sort();
        paths.dedup();
        for path in paths {
            let full = root.join(&path);
            // A tracked file may have been deleted since; a link is judged where it points to.
            if !full.is_file() || full.is_symlink() {
                continue;
            }
            let bytes = fs::read(&full).map_err(|e| format!("cannot read {path}: {e}"))?;
            if let Ok(text) = String::from_utf8(bytes) {
                files.push(File { path, text });
            }
        }
        Ok(Tree { root, files })
    }

    fn get(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// What git tracks and what it would offer to add; `None` where there is no git, as in an unpacked archive.
fn tracked(root: &Path) -> Option<Vec<String>> {
    let output = Command::new("git")
        // CI machines often check out as one user and build as another.
        .args(["-c", "safe.directory=*"])
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .ok()?;
    let paths = String::from_utf8(output.stdout).ok()?;
    let paths: Vec<String> =
        paths.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect();
    (output.status.success() && !paths.is_empty()).then_some(paths)
}

/// Every file below the root, but for git's and cargo's own.
fn walked(root: &Path) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).map_err(|e| format!("cannot list {}: {e}", folder.display()))?;
        for entry in entries {
            let path = entry.map_err(|e| e.to_string())?.path();
            if path.is_dir() && !path.is_symlink() {
                if path != root.join("target") && path != root.join(".git") {
                    folders.push(path);
                }
            } else if let Ok(below) = path.strip_prefix(root) {
                paths.push(below.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    Ok(paths)
}
