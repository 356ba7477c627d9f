//! `cargo xtask`: the chores of this repository as a program. The `match` below is the table of contents.

mod bench;
mod chaos;
mod ci;
mod fuzz;
mod model;
mod planted;
mod platforms;
mod servers;
mod sh;
mod sim;
mod test;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test [FILTER..]   build everything, run every test, say what did not run
  checks            format, tidy, lints, other platforms, documentation, licences
  ci                `checks`, then `test`
  tidy              check the house rules that a program can check
  bench [WHAT]      measure, and assert nothing: files, gcs, or `gcs PART`
  servers up gcs|spanner
                    stand-ins for Google Cloud Storage or Cloud Spanner, to try leasehold with

the long forms of the proof, see docs/proof.md:

  sim [OPTION..]    the simulator: many seeds for figures, one for its story (--help)
  model [--full] [NAME..]
                    the model checker: every interleaving of a few clients
  planted           plant each bug of the list, and print which tool caught it
  fuzz [TARGET..] [--for 60s]
                    the fuzz targets under libFuzzer, led by what each input reaches
  chaos [ARG..]     hurt real processes and their store for a while (--help)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["test", filters @ ..] => test::run(filters),
        ["tidy"] => tidy::run(),
        ["planted"] => planted::run(),
        ["fuzz", arguments @ ..] => fuzz::run(arguments),
        ["sim", arguments @ ..] => sim::start(arguments),
        ["model", arguments @ ..] => model::search(arguments),
        ["servers", "up", "gcs"] => servers::up_gcs(),
        ["servers", "up", "spanner"] => servers::up_spanner(),
        ["bench", arguments @ ..] => bench::measure(arguments),
        ["chaos", arguments @ ..] => chaos::run(arguments),
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
