//! `token`: issues, lists, finds, shows, renames, edits, suspends, rotates, revokes and purges tokens.

mod edit;
mod filter;
mod find;
mod issue;
mod leak;
mod list;
mod print;
mod purge;
mod revoke;
mod rotate;

use clap::Subcommand;
use tower_api_tokens::TokenId;

use crate::{backend::Context, failure::Failure, session::Purpose};
use print::print;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Issue a token and print it to standard output; it is shown only once
    #[command(visible_alias = "create")]
    Issue(issue::Arguments),
    /// List tokens; filters can be combined
    List(list::Arguments),
    /// Find the record of a token by its text, for example of one that leaked; reads the token from
    /// standard input
    Find(find::Arguments),
    /// Show the details of a token
    Show {
        /// Identifier of the token
        id: TokenId,
    },
    /// Rename a token; clients are not affected
    Rename {
        /// Identifier of the token
        id: TokenId,
        /// New name of the token; say where it is used
        name: String,
    },
    /// Edit a token: its name, scopes, expiry, networks or metadata. Anything that you do not
    /// specify stays the same
    Edit(edit::Arguments),
    /// Suspend a token: it does not work until you resume it
    Suspend {
        /// Identifier of the token
        id: TokenId,
    },
    /// Resume a suspended token
    Resume {
        /// Identifier of the token
        id: TokenId,
    },
    /// Issue a successor for a token and print it to standard output; the old token keeps working
    /// for a while
    Rotate(rotate::Arguments),
    /// Revoke a token permanently, or many: those that match filters, or that leaked
    Revoke(revoke::Arguments),
    /// Delete the records of tokens that expired or were revoked long ago
    Purge(purge::Arguments),
}

impl Command {
    /// Whether the command prints a new token.
    pub(crate) fn needs_output(&self) -> bool {
        matches!(self, Self::Issue(_) | Self::Rotate(_))
    }

    /// Whether the command works only on a store, not through the management API of a server.
    pub(crate) fn needs_store(&self) -> bool {
        matches!(self, Self::Purge(_))
    }

    pub(crate) fn purpose(&self) -> Purpose {
        match self {
            Self::Issue(_) | Self::Rotate(_) => Purpose::Issue,
            Self::List(_) | Self::Show { .. } => Purpose::Read,
            Self::Rename { .. }
            | Self::Edit(_)
            // The audit log records it.
            | Self::Find(_)
            | Self::Suspend { .. }
            | Self::Resume { .. }
            | Self::Revoke(_)
            | Self::Purge(_) => Purpose::Change,
        }
    }
}

pub(crate) async fn run(command: Command, context: &Context<'_>) -> Result<(), Failure> {
    match command {
        Command::Issue(arguments) => issue::run(&arguments, context).await,
        Command::List(arguments) => list::run(&arguments, context).await,
        Command::Find(arguments) => find::run(&arguments, context).await,
        Command::Show { id } => print(context, &context.backend.token(id).await?),
        Command::Rename { id, name } => {
            print(context, &context.backend.rename_token(id, &name).await?)
        }
        Command::Edit(arguments) => edit::run(&arguments, context).await,
        Command::Suspend { id } => {
            let suspended = context.backend.suspend(id).await;
            let suspended = suspended.map_err(|failure| {
                failure.advising_if_uncertain(|| {
                    "The token may or may not be suspended. Repeat the command until it succeeds."
                        .to_owned()
                })
            })?;
            print(context, &suspended)
        }
        Command::Resume { id } => print(context, &context.backend.resume(id).await?),
        Command::Rotate(arguments) => rotate::run(&arguments, context).await,
        Command::Revoke(arguments) => revoke::run(&arguments, context).await,
        Command::Purge(arguments) => purge::run(&arguments, context.backend.store()?).await,
    }
}
