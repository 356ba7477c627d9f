//! `cargo xtask`: the chores of this repository as a program. The `match` below is the table of contents.

mod bench;
mod ci;
mod sh;
mod test;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test [FILTER..]   build everything, run every test, say what did not run
  tidy              check the house rules that a program can check
  bench             measure, and assert nothing
  checks            format, tidy, lints, documentation, licences
  ci                `checks`, then `test`";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["test", filters @ ..] => test::run(filters),
        ["tidy"] => tidy::run(),
        ["bench"] => bench::run_all(),
        ["checks"] => ci::checks().map(drop),
        ["ci"] => ci::run(),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            if !why.is_empty() {
                eprintln!("{why}");
            }
            ExitCode::FAILURE
        }
    }
}
