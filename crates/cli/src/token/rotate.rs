//! `token rotate`: replaces a token by a successor.

use std::time::Duration;

use clap::Args;
use tower_api_tokens::TokenId;

use super::print::print_issued;
use crate::{backend::Context, failure::Failure, note::note, time, views::time_or};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Identifier of the token
    id: TokenId,
    /// How long the old token keeps working, unless it expires earlier. Use `0s` for a leaked token
    #[arg(long, value_parser = time::duration, default_value = "7d", value_name = "DURATION")]
    overlap: Duration,
}

pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<(), Failure> {
    let id = arguments.id;
    let rotated = context.backend.rotate(id, arguments.overlap).await;
    let successor = rotated.map_err(|failure| {
        failure.advising_if_uncertain(|| {
            format!(
                "The token may or may not have been rotated: check with `api-tokens token show {id}`. If it shows a successor, the text of that one is lost: revoke it, and issue another token. The old token keeps working until it expires."
            )
        })
    })?;
    print_issued(context, &successor).map_err(|failure| {
        let id = successor.record.id;
        failure.unprinted(
            format!("successor {id} was issued but could not be printed, so its text is lost"),
            format!("Replace it with `api-tokens token rotate {id} --overlap 0s`, or revoke it."),
        )
    })?;
    if context.json {
        return Ok(());
    }
    // The rotation succeeded, so a failed lookup is not reported.
    if let Ok(old) = context.backend.token(id).await {
        note(&format!(
            "The old token, {}, keeps working until {}. Last used: {}. Once nothing uses it, revoke it with `api-tokens token revoke {id}`.",
            old.masked,
            time_or(old.expires_at, "it is revoked"),
            time_or(old.last_used_at, "never"),
        ));
    }
    Ok(())
}
