//! The command line of tower-api-tokens: manages apps and tokens, and serves the management API, the
//! dashboard and token verification over HTTP.

#![warn(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]

mod app;
mod backend;
mod backup;
mod bench;
mod cache;
mod cli;
mod completions;
mod configuration;
mod escape;
mod events;
mod failure;
mod formats;
mod maintain;
mod metadata;
mod networks;
mod nodes;
mod note;
mod number;
mod options;
mod output;
mod policy;
mod possible_values;
mod presented;
mod private_file;
mod progress;
mod prompt;
mod report;
mod scopes;
mod serve;
mod session;
mod store;
mod time;
mod token;
mod transfer;
mod verify;
mod views;

use std::process::ExitCode;

use backend::{
    Context,
    server::{self, Server},
};
use cli::{Cli, Command};
use failure::Failure;
use options::Target;
use session::{Purpose, Session};
use tower_api_tokens::store::catch_panic;
use transfer::{export, import};

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::read() {
        // A panic in a store is an ordinary failure, with an exit code.
        Ok((cli, origins)) => match catch_panic(|| run(cli)).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure.report(&origins),
        },
        Err(code) => code,
    }
}

async fn run(mut cli: Cli) -> Result<(), Failure> {
    if cli.needs_output() && output::is_closed() {
        return Err(Failure::failed(
            "standard output is closed, so nothing was done: redirect it to a file, a pipe or, with `>`, to `/dev/null`",
        ));
    }
    if let Command::Completions { shell } = cli.command {
        return completions::run(shell);
    }
    cli.options.read_store_file()?;
    if let Command::Serve(arguments) = &cli.command {
        cli.options.primary = arguments.primary()?;
    }
    let target = cli.options.target()?;
    if let Target::Server(_) = target
        && cli.command.needs_store()
    {
        return Err(server::needs_store());
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
        Command::Serve(arguments) => {
            // Before anything is opened.
            serve::check(arguments, &cli.options)?;
            if arguments.is_check() {
                return output::print_line("The configuration is valid.");
            }
        }
        _ => {}
    }
    let purpose = cli.command.purpose();
    let json = cli.options.json;
    let done = match target {
        Target::Store => {
            let session = Session::open(&cli.options, purpose).await?;
            let context = Context {
                backend: &session,
                json,
                options: &cli.options,
            };
            let done = run_with(cli.command, &context).await;
            if !matches!(purpose, Purpose::Serve { .. }) {
                session.finish_upgrade().await;
            }
            session.close().await;
            done
        }
        Target::Server(url) => {
            session::access(purpose, cli.options.read_only)?;
            let server = Server::new(url, cli.options.token_file.as_deref())?;
            let context = Context {
                backend: &server,
                json,
                options: &cli.options,
            };
            run_with(cli.command, &context).await
        }
    };
    match purpose {
        Purpose::Read | Purpose::Report { .. } => done,
        _ => done.map_err(Failure::after_change),
    }
}

async fn run_with(command: Command, context: &Context<'_>) -> Result<(), Failure> {
    match command {
        Command::App(command) => app::run(command, context).await,
        Command::Token(command) => token::run(command, context).await,
        Command::Policy(command) => policy::run(command, context).await,
        Command::Events(arguments) => events::run(&arguments, context).await,
        Command::Report(arguments) => report::run(&arguments, context).await,
        Command::Nodes(arguments) => nodes::run(&arguments, context).await,
        command => run_on_store(command, context.backend.store()?).await,
    }
}

async fn run_on_store(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Verify(arguments) => verify::run(&arguments, session).await,
        Command::Cache(command) => cache::run(&command, session).await,
        Command::Export(arguments) => export::run(&arguments, session).await,
        Command::Import(arguments) => import::run(&arguments, session).await,
        Command::Maintain(arguments) => maintain::run(&arguments, session).await,
        Command::Serve(arguments) => serve::run(&arguments, session).await,
        Command::App(_)
        | Command::Backup(_)
        | Command::Bench(_)
        | Command::Completions { .. }
        | Command::Events(_)
        | Command::Policy(_)
        | Command::Report(_)
        | Command::Nodes(_)
        | Command::Restore(_)
        | Command::Token(_) => Ok(()),
    }
}
