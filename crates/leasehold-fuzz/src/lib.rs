//! Fuzzing of whatever reads what others wrote. A target is a test beside the code that it tests,
//! so that it may look at private parts, and it is defined once for two forms:
//!
//! * **Short**, in every `cargo test`: the committed corpus, and thousands of mutations of it from a
//!   fixed seed. It needs nothing but cargo and is the same on every run.
//! * **Guided**, by `cargo xtask fuzz`: libFuzzer mutates, led by which code the last input reached.
//!   It needs a C++ compiler and as much time as it is given.
//!
//! A new target is a test that calls [`Target::fuzz`], a folder in `corpus` with a few inputs, and a
//! line in `xtask/src/fuzz.rs`.
//!
//! What a guided run finds becomes an ordinary test with its story, and its input joins the corpus.

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

#[cfg(feature = "guided")]
mod guided;
mod mutation;

use mutation::Mutator;

/// One thing to fuzz.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of its corpus, and what `cargo xtask fuzz` calls it.
    pub name: &'static str,
    /// Words that mean something to the code under test.
    pub words: &'static [&'static str],
    /// How many mutations the short form tries.
    pub runs: u32,
    /// Panics if something is wrong with what the code makes of these bytes. Tells whether the code
    /// took them for good.
    pub check: fn(&[u8]) -> bool,
}

/// The longest input that mutation makes: just above the longest record.
pub const LONGEST: usize = 17 * 1024;

impl Target {
    /// Runs the target in the form that is asked for.
    pub fn fuzz(&self) {
        #[cfg(feature = "guided")]
        if guided::is_asked_for() {
            return guided::run(self);
        }
        let corpus = self.corpus();
        let (mut good, mut bad) = (0_u32, 0_u32);
        let mut run = |input: &[u8]| match Shown::during(self, input) {
            true => good += 1,
            false => bad += 1,
        };
        for input in &corpus {
            run(input);
        }
        let mut mutator = Mutator::new(self.words, &corpus);
        for _ in 0..self.runs {
            run(&mutator.next());
        }
        // A target that only ever sees one side of its subject tests nothing.
        let name = self.name;
        assert!(good > 50 && bad > 50, "{name}: {good} inputs were good and {bad} were not");
    }

    /// The committed inputs, in the order of their names.
    fn corpus(&self) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(self.name);
        let read = |folder: &Path| {
            let files: io::Result<Vec<PathBuf>> =
                fs::read_dir(folder)?.map(|file| Ok(file?.path())).collect();
            let mut files = files?;
            files.sort();
            files.iter().map(fs::read).collect::<io::Result<Vec<_>>>()
        };
        let corpus = read(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        assert!(!corpus.is_empty(), "{} is empty", folder.display());
        corpus
    }
}

/// Shows the input if checking it panics.
struct Shown<'a> {
    target: &'static str,
    input: &'a [u8],
    is_fine: Cell<bool>,
}

impl Shown<'_> {
    fn during(target: &Target, input: &[u8]) -> bool {
        let shown = Shown { target: target.name, input, is_fine: Cell::new(false) };
        let good = (target.check)(input);
        shown.is_fine.set(true);
        good
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if !self.is_fine.get() {
            eprintln!("target {} fails on b\"{}\"", self.target, self.input.escape_ascii());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A code that goes wrong on one word in some thousand inputs; the short form finds it, because
    /// the word is among those that mean something and the corpus is near.
    #[test]
    #[should_panic(expected = "found it")]
    fn a_planted_fault_is_found() {
        let check = |input: &[u8]| {
            let wrong = b"name=$(";
            assert!(!input.windows(wrong.len()).any(|part| part == wrong), "found it");
            true
        };
        Target { name: "fuzz-itself", words: &["$("], runs: 20_000, check }.fuzz();
    }

    /// A code that takes everything for good, and so a target that tests nothing, is refused.
    #[test]
    #[should_panic(expected = "were not")]
    fn a_target_that_sees_one_side_only_is_refused() {
        Target { name: "fuzz-itself", words: &[], runs: 200, check: |_| true }.fuzz();
    }
}
