//! `token`: issues, lists, shows, rotates, revokes and purges tokens.

mod issue;
mod list;
mod print;
mod purge;
mod revoke;
mod rotate;

use clap::Subcommand;
use tower_api_tokens::TokenId;

use crate::{
    failure::Failure,
    session::{Purpose, Session},
};
use print::print;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Issue a token and print it to standard output; it is shown only once
    Issue(issue::Arguments),
    /// List tokens, newest first
    List(list::Arguments),
    /// Show the details of a token
    Show {
        /// Identifier of the token
        id: TokenId,
    },
    /// Issue a successor for a token and print it to standard output; the old token keeps working
    /// for a while
    Rotate(rotate::Arguments),
    /// Revoke a token permanently
    Revoke(revoke::Arguments),
    /// Delete the records of tokens that expired or were revoked long ago
    Purge(purge::Arguments),
}

impl Command {
    /// Whether the command prints a new token.
    pub(crate) fn needs_output(&self) -> bool {
        matches!(self, Self::Issue(_) | Self::Rotate(_))
    }

    pub(crate) fn purpose(&self) -> Purpose {
        match self {
            Self::Issue(_) | Self::Rotate(_) => Purpose::Issue,
            Self::List(_) | Self::Show { .. } => Purpose::Read,
            Self::Revoke(_) | Self::Purge(_) => Purpose::Change,
        }
    }
}

pub(crate) async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Issue(arguments) => issue::run(&arguments, session).await,
        Command::List(arguments) => list::run(&arguments, session).await,
        Command::Show { id } => print(session, &session.tokens.get(id).await?),
        Command::Rotate(arguments) => rotate::run(&arguments, session).await,
        Command::Revoke(arguments) => revoke::run(&arguments, session).await,
        Command::Purge(arguments) => purge::run(&arguments, session).await,
    }
}
