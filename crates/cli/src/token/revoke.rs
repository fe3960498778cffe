//! `token revoke`: revokes a token.

use clap::Args;
use tower_api_tokens::TokenId;

use super::print::print;
use crate::{failure::Failure, prompt::confirm, session::Session, views::time_or};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Identifier of the token
    id: TokenId,
    /// Skip the confirmation prompt
    #[arg(long)]
    yes: bool,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), Failure> {
    let id = arguments.id;
    let token = session.tokens.get(id).await?;
    let question = format!(
        "Revoke `{}` of {} ({}), last used: {}? Requests with this token will fail. This cannot be undone.",
        token.name,
        token.app.name,
        token.mask,
        time_or(token.last_used_at, "never"),
    );
    confirm(&question, arguments.yes)?;
    let revoked = session.operator.revoke(id).await.map_err(|error| {
        Failure::from(error).advising_if_uncertain(|| {
            "The token may or may not be revoked. Repeat the command until it succeeds.".to_owned()
        })
    })?;
    print(session, &revoked)
}
