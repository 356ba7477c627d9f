//! Hands a target to libFuzzer, with the command line that `cargo xtask fuzz` wrote.

use std::env;
use std::ffi::CString;
use std::fs;
use std::path::Path;

use crate::Target;

/// libFuzzer's words, one a line. The first is what it calls itself when it starts itself again, and
/// the second the folder that it may write in.
const COMMAND_LINE: &str = "LEASEHOLD_FUZZ_COMMAND_LINE";

/// Whether there is such a command line.
pub(crate) fn is_asked_for() -> bool {
    env::var_os(COMMAND_LINE).is_some()
}

/// Runs until libFuzzer ends the process: with an error if it found something.
pub(crate) fn run(target: &Target) {
    static CHECK: std::sync::OnceLock<fn(&[u8]) -> bool> = std::sync::OnceLock::new();
    CHECK.get_or_init(|| target.check);
    let line = env::var(COMMAND_LINE).expect("it is UTF-8");
    let mut words: Vec<String> = line.lines().map(str::to_owned).collect();
    let folder = words.remove(1);
    let dictionary = Path::new(&folder).join("dictionary");
    let quoted = |word: &&str| {
        let bytes = word.bytes().map(|byte| format!("\\x{byte:02X}"));
        format!("\"{}\"\n", bytes.collect::<String>())
    };
    fs::write(&dictionary, target.words.iter().map(quoted).collect::<String>())
        .expect("the folder can be written in");
    words.push(format!("-dict={}", dictionary.display()));
    let words = words.into_iter().map(|word| CString::new(word).expect("no NUL")).collect();
    let code = leasehold_fuzz_libfuzzer::run(words, |input| {
        CHECK.get().expect("set above")(input);
    });
    assert_eq!(code, 0, "libFuzzer ended with an error");
}
