//! The program: what was typed, what was meant, one file per command.

mod acquire;
mod alone;
mod answer;
mod checkpoint;
mod cli;
mod columns;
mod config;
mod demo;
mod doctor;
mod exit;
mod force;
mod forget;
#[cfg(test)]
mod fuzz;
mod inherited;
mod init;
mod keeper;
mod kept;
mod keyed;
mod label;
mod near;
mod nested;
mod once;
mod orphans;
mod place;
mod procs;
mod pump;
mod reset;
mod run;
mod script;
mod section;
mod session;
mod sessions;
mod shim;
mod show;
mod signals;
mod status;
mod supervise;
mod times;
mod voice;
mod wait;
mod waiting;

use std::future::Future;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::cli::{Cli, Command, hint};
use crate::exit::{Exit, Failure};

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    // Our own helpers are not for people: they have no help and their words are not looked at.
    let exit = match words.next().as_deref().and_then(|word| word.to_str()) {
        Some(keeper::COMMAND) => keeper::main(words),
        Some(shim::COMMAND) => shim::main(words),
        Some(pump::COMMAND) => pump::main(),
        Some(script::BIND) => script::bind(words),
        Some(demo::COMMAND) => finish(block_on(demo::main(words))),
        Some(session::COMMAND) => {
            inherited::close_descriptors();
            finish(block_on(async { Ok(session::main(words).await) }))
        }
        _ => typed(),
    };
    exit.into()
}

/// What a person or a script typed.
fn typed() -> Exit {
    match Cli::try_parse() {
        // These two call the store themselves, without a driver and its threads.
        Ok(cli) if matches!(cli.command, Command::Doctor(_) | Command::Init(_)) => {
            finish(block_on_in(leasehold::env::runtime(), perform(cli)))
        }
        Ok(cli) => finish(block_on(perform(cli))),
        Err(error) => {
            // Help is asked for, and goes to stdout; anything else is a mistake.
            let printed = error.print();
            if let Some(hint) = hint(&error, &std::env::args_os().skip(1).collect::<Vec<_>>()) {
                show::say(&hint);
            }
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
                show::note(printed.and_then(|()| std::io::stdout().flush()));
                return finish(Ok(Exit::Done));
            }
            if std::env::args_os().any(|word| word == "acquire") && !std::io::stdout().is_terminal()
            {
                // Evaluating nothing would be taken for having the lock.
                let _ = show::write(&script::refusal(Exit::Usage));
            }
            Exit::Usage
        }
    }
}

/// One thread for everything: the child's life is bound to the thread that starts it.
fn block_on(work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    block_on_in(tokio::runtime::Builder::new_current_thread().enable_all().build(), work)
}

fn block_on_in(
    runtime: std::io::Result<tokio::runtime::Runtime>,
    work: impl Future<Output = Result<Exit, Failure>>,
) -> Result<Exit, Failure> {
    match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => Err(Failure::new(Exit::NotExecutable, format!("cannot start: {error}"))),
    }
}

/// Says what went wrong. An answer that was not written is no answer, whatever it was.
fn finish(result: Result<Exit, Failure>) -> Exit {
    let written = |exit| show::unwritten().map_or(Ok(exit), Err);
    result.and_then(written).unwrap_or_else(|failure| {
        // `-E 0` says that this is nothing to speak of.
        if failure.exit != Exit::NotAcquired(0) {
            show::say(&failure.message);
        }
        failure.exit
    })
}

async fn perform(cli: Cli) -> Result<Exit, Failure> {
    let backend = cli.backend.as_deref();
    if cli.require_shared {
        alone::refuse();
    }
    match cli.command {
        Command::Run(options) => tokio::select! {
            exit = run::run(options, backend) => exit,
            never = orphans::reap() => match never {},
        },
        Command::Once(options) => tokio::select! {
            exit = once::once(options, backend) => exit,
            never = orphans::reap() => match never {},
        },
        Command::Checkpoint(options) => Ok(checkpoint::command(options)?),
        Command::Status(options) => status::status(options, backend).await,
        Command::List(options) => status::list(options, backend).await,
        Command::Wait(options) => wait::wait(options, backend).await,
        Command::Break(options) => force::force(options, backend).await,
        Command::Forget(options) => forget::forget(options, backend).await,
        Command::Reset(options) => reset::reset(options, backend).await,
        Command::Acquire(options) => script::acquire(options, std::env::args_os().skip(1)).await,
        Command::Release(options) => script::release(&options, backend),
        Command::Doctor(options) => doctor::doctor(options, backend).await,
        Command::Init(options) => init::init(options, backend).await,
        Command::Demo(options) => demo::demo(options, backend).await,
        Command::Completions(options) => Ok(completions(options.shell)),
    }
}

fn completions(shell: clap_complete::Shell) -> Exit {
    let mut script = vec![];
    clap_complete::generate(shell, &mut Cli::command(), "leasehold", &mut script);
    show::print_bytes(&script);
    Exit::Done
}
