//! `token revoke`: revokes a token.

use clap::Args;
use tower_api_tokens::TokenId;

use super::print::print;
use crate::{backend::Context, failure::Failure, prompt::Confirmation, views::time_or};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Identifier of the token
    id: TokenId,
    #[command(flatten)]
    confirmation: Confirmation,
}

pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<(), Failure> {
    let id = arguments.id;
    let token = context.backend.token(id).await?;
    let question = format!(
        "Revoke `{}` of {} ({}), last used: {}? Requests with this token will fail. This cannot be undone.",
        token.name,
        token.app_name,
        token.masked,
        time_or(token.last_used_at, "never"),
    );
    arguments.confirmation.ask(&question)?;
    let revoked = context.backend.revoke(id).await.map_err(|failure| {
        failure.advising_if_uncertain(|| {
            "The token may or may not be revoked. Repeat the command until it succeeds.".to_owned()
        })
    })?;
    print(context, &revoked)
}
