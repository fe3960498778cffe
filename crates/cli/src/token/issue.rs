//! `token issue`: issues a token.

use std::time::Duration;

use clap::Args;
use tower_api_tokens::{Clock, Networks, ScopeSet, SystemClock};

use super::print::print_issued;
use crate::{
    backend::{Context, IssuedDocument, NewToken},
    failure::Failure,
    metadata::MetadataOptions,
    networks, scopes,
    time::{Expiry, Future},
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Identifier or name of the app to issue the token for; write `id:IDENTIFIER` if it matches
    /// several apps
    #[arg(long)]
    app: String,
    /// Name of the token; say where it will be used
    #[arg(long)]
    name: String,
    /// Scope of the token. Separate several with commas, or repeat the option
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scopes::list)]
    scopes: Vec<ScopeSet>,
    /// Label of the token's format, which is its prefix unless `--prefix` has labels. Defaults to the
    /// first
    #[arg(long, value_name = "LABEL")]
    format: Option<String>,
    /// When the token expires: a duration like `90d`, a date like `2027-01-31` (the end of that day in
    /// UTC), a time like `2027-01-31T12:00:00Z`, or `never`. Defaults to the lifetime that the policy
    /// sets, or to `90d`
    #[arg(long, value_name = "WHEN")]
    expires: Option<Expiry>,
    /// Network from which the token may be used, like `10.0.0.0/8`. Separate several with commas, or
    /// repeat the option. Defaults to any network
    #[arg(long = "network", value_name = "CIDR")]
    networks: Vec<Networks>,
    /// When the token begins to work: a duration like `2d`, a date like `2027-01-31` (the beginning of
    /// that day in UTC), or a time like `2027-01-31T12:00:00Z`. Defaults to now
    #[arg(long, value_name = "WHEN")]
    not_before: Option<Future>,
    #[command(flatten)]
    metadata: MetadataOptions,
}

/// The expiry if neither the command nor the policy sets one: the same as in the dashboard.
const DEFAULT_EXPIRY: Expiry = Expiry::In(Duration::from_secs(90 * 86_400));

/// Returns the chosen expiry, or `None` if the policy sets it.
async fn expiry(chosen: Option<Expiry>, context: &Context<'_>) -> Result<Option<Expiry>, Failure> {
    if chosen.is_some() || context.backend.policy().await?.sets_expiry() {
        return Ok(chosen);
    }
    Ok(Some(DEFAULT_EXPIRY))
}

pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<(), Failure> {
    let scopes = scopes::union(&arguments.scopes)?;
    let networks = networks::union(&arguments.networks)?;
    let metadata = arguments.metadata.read()?;
    let now = SystemClock::default().now();
    let not_before = arguments
        .not_before
        .map(|begins| begins.instant(now, "--not-before"));
    let app = context.find_app(&arguments.app).await?;
    let new = NewToken {
        name: &arguments.name,
        scopes,
        format: arguments.format.as_deref(),
        expires: expiry(arguments.expires, context).await?,
        networks,
        not_before: not_before.transpose()?,
        metadata,
    };
    let issued = context.backend.issue(&app.id, new).await;
    let issued = issued.map_err(|failure| {
        failure.advising_if_uncertain(|| {
            format!(
                "The token may or may not have been issued. Its text is lost: if `api-tokens token list --app id:{}` shows it, revoke it, then issue another.",
                app.id
            )
        })
    })?;
    match print_issued(context, &issued) {
        Ok(()) => Ok(()),
        Err(failure) => Err(revoke_unprinted(context, &issued, failure).await),
    }
}

/// Revokes a token that could not be printed, so that no unknown token stays live.
async fn revoke_unprinted(
    context: &Context<'_>,
    issued: &IssuedDocument,
    failure: Failure,
) -> Failure {
    let id = issued.record.id;
    match context.backend.revoke(id).await {
        Ok(_) => failure.unprinted(
            format!("token {id} could not be printed, so it was revoked"),
            "Make standard output writable, then issue another token.".to_owned(),
        ),
        Err(_) => failure.unprinted(
            format!("token {id} could be neither printed nor revoked"),
            format!("Its text is lost. Revoke it with `api-tokens token revoke {id}`."),
        ),
    }
}
