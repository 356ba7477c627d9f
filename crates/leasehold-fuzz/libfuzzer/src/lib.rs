//! Runs a check under libFuzzer from inside a test program, whose `main` is not libFuzzer's. Only
//! the guided form of fuzzing contains this; nothing that is shipped or tested otherwise does.

use std::ffi::{CString, c_char, c_int};
use std::sync::OnceLock;
use std::{panic, process, ptr, slice};

// What links the C++ in.
use libfuzzer_sys as _;

static CHECK: OnceLock<fn(&[u8])> = OnceLock::new();

unsafe extern "C" {
    fn LLVMFuzzerRunDriver(
        count: *mut c_int,
        words: *mut *mut *mut c_char,
        check: extern "C" fn(*const u8, usize) -> c_int,
    ) -> c_int;
}

/// Gives `check` one input after the other, as libFuzzer's command line `words` (the first is the
/// program) asks for. Most ends of it end the process.
pub fn run(words: Vec<CString>, check: fn(&[u8])) -> i32 {
    CHECK.get_or_init(|| check);
    let count = c_int::try_from(words.len()).unwrap_or(0);
    let mut pointers: Vec<*mut c_char> = words.into_iter().map(CString::into_raw).collect();
    pointers.push(ptr::null_mut());
    let mut count = count;
    let mut words = pointers.as_mut_ptr();
    // SAFETY: the words are C strings that are never freed, their list ends in a null pointer and
    // outlives the call.
    unsafe { LLVMFuzzerRunDriver(&raw mut count, &raw mut words, one) }
}

extern "C" fn one(data: *const u8, size: usize) -> c_int {
    let input = match size {
        0 => &[],
        // SAFETY: libFuzzer hands in `size` bytes that stay as they are during the call.
        _ => unsafe { slice::from_raw_parts(data, size) },
    };
    let Some(check) = CHECK.get() else { return 0 };
    // What went wrong was told while it unwound; libFuzzer keeps the input of an abort.
    if panic::catch_unwind(|| check(input)).is_err() {
        process::abort();
    }
    0
}

/// The Rust side of libFuzzer's usual entrance, which has to exist and is not used.
#[unsafe(no_mangle)]
pub extern "C" fn rust_fuzzer_test_input(_input: &[u8]) -> i32 {
    -1
}
