//! The program; all of it is in the library beside it, so that tests can call parts of it.

use std::process::ExitCode;

fn main() -> ExitCode {
    leasehold_chaos::main()
}
