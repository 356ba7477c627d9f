//! The program behind `cargo xtask model`: makes the searches, prints what they found, and fails if a
//! promise is broken or the number of states is not the one that is written down.

use std::process::ExitCode;

use leasehold_model::forms::{Form, LONG, SHORT};
use leasehold_model::{Fact, check};

const USAGE: &str = "\
usage: cargo xtask model [--full] [NAME..]

  --full   also the searches that take minutes
  NAME     only the searches whose name contains one of these words";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|a| a.starts_with('-') && a != "--full") {
        println!("{USAGE}");
        return ExitCode::FAILURE;
    }
    let names: Vec<&String> = arguments.iter().filter(|a| *a != "--full").collect();
    let full = arguments.len() > names.len();
    let long = if full { LONG } else { &[] };
    let wanted = |form: &&Form| names.is_empty() || names.iter().any(|n| form.name.contains(*n));
    let forms: Vec<&Form> = SHORT.iter().chain(long).filter(wanted).collect();
    if forms.is_empty() {
        println!("no search is called so; without `--full` there are only the short ones");
        return ExitCode::FAILURE;
    }
    let mut sound = true;
    for form in forms {
        sound &= search(form);
    }
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Makes one search. False if it is not as it should be.
#[expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "how long a search took decides nothing"
)]
fn search(form: &Form) -> bool {
    println!("{}", form.name);
    let start = std::time::Instant::now();
    let outcome = check(&form.bounds);
    let took = start.elapsed().as_secs_f64();
    println!(
        "  {} states, {} steps, depth {}, at most {} on one level, {took:.1} s",
        outcome.states, outcome.steps, outcome.depth, outcome.widest
    );
    for (fact, times) in Fact::ALL.iter().zip(&outcome.facts).filter(|(_, times)| **times > 0) {
        println!("  {times:>12} steps: {}", fact.words());
    }
    let mut sound = true;
    if let Some(trace) = &outcome.violation {
        println!("!!! A PROMISE IS BROKEN\n{trace}");
        sound = false;
    }
    for fact in form.sometimes.iter().filter(|fact| outcome.facts[**fact as usize] == 0) {
        println!("!!! it never happens that {}", fact.words());
        sound = false;
    }
    if outcome.violation.is_none() && outcome.states != form.states {
        println!("!!! {} states are written down", form.states);
        sound = false;
    }
    sound
}
