//! The program as one static file: it is built for musl, and its tests on files run with that binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use crate::platforms;
use crate::sh::{self, Result, cargo};

const TARGET: &str = "x86_64-unknown-linux-musl";

/// Compiles the C of the dependencies. In Debian's package `musl-tools`.
const COMPILER: &str = "musl-gcc";

/// The tests that run with the static program: those of `run`, `once` and the rest on files.
const TESTS: &str = "on_files::";

/// The tests, ready to be run.
pub(super) fn tests() -> Result<Command> {
    let program = build().map_err(|why| format!("tests of the static program: {why}"))?;
    let words = ["test", "-p", "leasehold-cli", "--locked", "--no-fail-fast", "--test", "it", "--"];
    let mut tests = cargo(&words);
    tests.arg(TESTS).env("LEASEHOLD_PROGRAM", program);
    Ok(tests)
}

fn build() -> Result<PathBuf> {
    if !cfg!(target_arch = "x86_64") {
        return Err("this machine is no x86-64".to_owned());
    }
    platforms::install(TARGET)?;
    if !runs(Command::new(COMPILER).arg("--version")) {
        install_compiler()?;
    }
    let mut build = cargo(&["build", "-p", "leasehold-cli", "--locked", "--target", TARGET]);
    sh::run(build.env(format!("CC_{}", TARGET.replace('-', "_")), COMPILER))?;
    let program = sh::target_dir().join(TARGET).join("debug").join("leasehold");
    let bytes = fs::read(&program).map_err(|e| format!("{}: {e}", program.display()))?;
    match interpreter(&bytes) {
        Some(false) => Ok(program),
        Some(true) => Err(format!("{} is not static: it names a loader", program.display())),
        None => Err(format!("{} is no 64-bit ELF file", program.display())),
    }
}

fn runs(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Installs the compiler, where that can be done without asking.
fn install_compiler() -> Result {
    let missing = || format!("{COMPILER} is missing: install the package musl-tools");
    let path = env::var_os("PATH").unwrap_or_default();
    let apt = env::split_paths(&path).any(|folder| Path::new(&folder).join("apt-get").is_file());
    // Anybody else would be asked for a password.
    let is_root = fs::metadata("/proc/self").is_ok_and(|it| {
        use std::os::unix::fs::MetadataExt;
        it.uid() == 0
    });
    if !apt || !is_root {
        return Err(missing());
    }
    println!("installing musl-tools, once");
    let install = || {
        let mut install = Command::new("apt-get");
        install.args(["install", "--yes", "--no-install-recommends", "musl-tools"]);
        sh::run(install.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()))
    };
    // The list of packages of a fresh machine may be missing or old.
    install().or_else(|_| {
        sh::run(Command::new("apt-get").arg("update").stdin(Stdio::null()))?;
        install()
    })
}

/// Whether an ELF file asks for a loader (`PT_INTERP`), which a static one does not; `None` if it is no
/// ELF file of 64 bits.
fn interpreter(elf: &[u8]) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, bytes: usize| {
        let digits = elf.get(at..at + bytes)?;
        Some(digits.iter().rev().fold(0_usize, |n, byte| n << 8 | usize::from(*byte)))
    };
    elf.strip_prefix(b"\x7fELF\x02\x01")?;
    let (table, entry, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    let kinds: Option<Vec<_>> = (0..count).map(|n| number(table + n * entry, 4)).collect();
    Some(kinds?.contains(&(PT_INTERP as usize)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This very test asks for a loader. A check that never finds one would take any program for static.
    #[test]
    fn a_program_with_a_loader_is_not_static() {
        let this = env::current_exe().and_then(fs::read).unwrap();
        assert_eq!(interpreter(&this), Some(true));
        assert_eq!(interpreter(b"#!/bin/sh"), None);
    }
}
