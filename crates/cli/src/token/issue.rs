//! `token issue`: issues a token.

use clap::Args;
use tower_api_tokens::ScopeSet;

use super::print::print_issued;
use crate::{
    backend::{Context, IssuedDocument, NewToken},
    failure::Failure,
    scopes,
    time::Expiry,
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
    /// UTC), a time like `2027-01-31T12:00:00Z`, or `never`
    #[arg(long, value_name = "WHEN", default_value = "90d")]
    expires: Expiry,
}

pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<(), Failure> {
    let scopes = scopes::union(&arguments.scopes)?;
    let app = context.find_app(&arguments.app).await?;
    let new = NewToken {
        name: &arguments.name,
        scopes,
        format: arguments.format.as_deref(),
        expires: arguments.expires,
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
