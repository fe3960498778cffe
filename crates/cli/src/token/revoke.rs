//! `token revoke`.

use clap::Args;
use tower_api_tokens::TokenId;

use super::print::print;
use crate::{failure::Failure, prompt::confirm, session::Session, views::time_or};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The token's identifier
    id: TokenId,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), Failure> {
    let id = arguments.id;
    let token = session.tokens.get(id).await?;
    let question = format!(
        "Revoke `{}` of {} ({}), last used {}? It is final.",
        token.name,
        token.app.name,
        token.mask,
        time_or(token.last_used_at, "never"),
    );
    confirm(&question, arguments.yes)?;
    let revoked = session.operator.revoke(id).await.map_err(|error| {
        Failure::from(error).unless_certain(|| {
            "It is not certain whether the token is revoked: repeat the command until it succeeds."
                .to_owned()
        })
    })?;
    print(session, &revoked)
}
