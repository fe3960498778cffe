//! `token rotate`.

use std::time::Duration;

use clap::Args;
use tower_api_tokens::TokenId;

use super::print::hand_over;
use crate::{failure::Failure, moment, note::note, session::Session, views::time_or};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The token's identifier
    id: TokenId,
    /// How long the old token lives on at most, so that everything can move over; `0s` for one that
    /// has leaked
    #[arg(long, value_parser = moment::duration, default_value = "1d", value_name = "TIME")]
    overlap: Duration,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), Failure> {
    let id = arguments.id;
    let rotated = session.operator.rotate(id, arguments.overlap).await;
    let successor = rotated.map_err(|error| {
        Failure::from(error).unless_certain(|| {
            format!(
                "It is not certain whether the token was rotated: `api-tokens token show {id}` tells. If it has a successor, nobody has its text: revoke the successor and issue another; the old token lives on until it expires."
            )
        })
    })?;
    hand_over(session, &successor).map_err(|failure| {
        let id = successor.record().id;
        failure.saying(
            format!("successor {id} was issued, but could not be printed, so nobody has its text"),
            format!("Rotate the successor for one that you can read, `api-tokens token rotate {id} --overlap 0s`, or revoke it."),
        )
    })?;
    if session.json {
        return Ok(());
    }
    // The rotation is done: to fail here would say otherwise.
    if let Ok(old) = session.tokens.get(id).await {
        note(&format!(
            "The old token, {}, is admitted until {}; it was last used: {}. When nothing uses it any more, revoke it: `api-tokens token revoke {id}`",
            old.mask,
            time_or(old.expires_at, "it is revoked"),
            time_or(old.last_used_at, "never"),
        ));
    }
    Ok(())
}
