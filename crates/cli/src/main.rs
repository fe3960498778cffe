//! The command line: creates apps, issues, lists, rotates, revokes and verifies tokens, and serves
//! the management of them over HTTP.

#![warn(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]

mod app;
mod backup;
mod bench;
mod cache;
mod cli;
mod completions;
mod events;
mod failure;
mod moment;
mod moving;
mod note;
mod number;
mod options;
mod output;
mod progress;
mod prompt;
mod scopes;
mod serve;
mod session;
mod store;
mod token;
mod verify;
mod views;
mod visible;
mod word;

use std::process::ExitCode;

use cli::{Cli, Command};
use failure::Failure;
use moving::{export, import};
use session::{Purpose, Session};
use tower_api_tokens::store::catch_panic;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::read() {
        // A panic of a store is a failure like any other, with its exit code.
        Ok(cli) => match catch_panic(|| run(cli)).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure.report(),
        },
        Err(code) => code,
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    if cli.hands_over() && output::is_closed() {
        return Err(Failure::failed(
            "standard output is closed, so nothing was done: send it to a file, a pipe or, opened for writing alone, `/dev/null`",
        ));
    }
    match &cli.command {
        Command::Backup(arguments) => {
            let done = backup::back_up(arguments, &cli.options).await;
            return done.map_err(Failure::after_change);
        }
        Command::Restore(arguments) => {
            let done = backup::restore(arguments, &cli.options).await;
            return done.map_err(Failure::after_change);
        }
        Command::Bench(arguments) => return bench::run(arguments, &cli.options).await,
        Command::Completions { shell } => return completions::run(*shell),
        _ => {}
    }
    let purpose = cli.command.purpose();
    let session = Session::open(&cli.options, purpose).await?;
    let done = match cli.command {
        Command::App(command) => app::run(command, &session).await,
        Command::Token(command) => token::run(command, &session).await,
        Command::Events(arguments) => events::run(&arguments, &session).await,
        Command::Verify(arguments) => verify::run(&arguments, &session).await,
        Command::Cache(command) => cache::run(&command, &session).await,
        Command::Export(arguments) => export::run(&arguments, &session).await,
        Command::Import(arguments) => import::run(&arguments, &session).await,
        Command::Serve(arguments) => serve::run(&arguments, &session).await,
        Command::Backup(_)
        | Command::Bench(_)
        | Command::Completions { .. }
        | Command::Restore(_) => Ok(()),
    };
    session.close().await;
    match purpose {
        Purpose::Read => done,
        _ => done.map_err(Failure::after_change),
    }
}
