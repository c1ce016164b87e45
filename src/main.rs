//! The job: reads the command line, puts the rooms together, prints results, and turns errors into exit codes.

#![allow(unreachable_pub, reason = "a binary has no API; `pub` says what a module offers the others")]

mod cli;
mod cluster;
mod commands;
mod config;
mod fail;
mod generate;
mod holes;
mod job;
mod live;
mod progress;
mod stretches;
mod summary;
mod telemetry;
mod views;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use cluster::exit::{Exit, install_panic_hook};
use fail::Failure;

fn main() -> ExitCode {
    install_panic_hook(ct_dataflows::guard::is_guarded);
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if !failure.is_reported() {
                fail::report(&failure.error);
            }
            failure.exit.into()
        }
    }
}

fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Replay(args) => job::replay(&args),
        Command::Run(args) => live::run(&args),
        Command::Worker(args) => job::work(&args),
        Command::Collect(args) => live::collect(&args),
        Command::Fill(args) => commands::fill(&args),
        Command::Audit(args) => commands::audit(&args),
        Command::Coverage(args) => commands::coverage(&args),
        Command::Verify(args) => commands::verify(&args),
        Command::Check(args) => commands::check(&args),
        Command::Hot(args) => commands::hot(&args),
        Command::Views(args) => commands::views(&args),
        Command::RebuildHot(args) => commands::rebuild_hot(&args),
        Command::Modules(args) => commands::modules(&args),
        Command::Score(args) => commands::score(&args),
        Command::Lint(args) => commands::lint(&args),
        Command::Rules(args) => commands::rules(&args),
        Command::Generate(args) => match generate::run(&args) {
            // Whoever reads the stream has read enough.
            Err(error) if is_closed_pipe(&error) => Ok(Exit::Done),
            done => done.map(|()| Exit::Done).map_err(Failure::from),
        },
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let kinds = error.chain().filter_map(|cause| Some(cause.downcast_ref::<std::io::Error>()?.kind()));
    kinds.into_iter().any(|kind| kind == std::io::ErrorKind::BrokenPipe)
}
