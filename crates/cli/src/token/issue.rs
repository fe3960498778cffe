//! `token issue`: issues a token.

use clap::Args;
use tower_api_tokens::{IssuedToken, LifecycleErrorKind, NewToken, ScopeSet};
use tower_api_tokens_admin::OperationErrorKind;

use super::print::print_issued;
use crate::{failure::Failure, scopes, session::Session, time::Expiry};

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
    /// UTC), a time like `2027-01-31T12:00:00Z`, or `never`. Defaults to `never`
    #[arg(long, value_name = "WHEN")]
    expires: Option<Expiry>,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), Failure> {
    let scopes = scopes::union(&arguments.scopes)?;
    let app = session.find_app(&arguments.app).await?;
    let mut token = NewToken::named(arguments.name.as_str()).scopes(scopes);
    if let Some(expires) = arguments.expires {
        token = expires.apply(token);
    }
    if let Some(format) = &arguments.format {
        token = token.format(format.as_str());
    }
    let issued = session.operator.issue(&app.id, token).await;
    let issued = issued.map_err(|error| {
        if is_about_format(error.kind()) {
            return Failure::usage(error.to_string());
        }
        Failure::from(error).advising_if_uncertain(|| {
            format!(
                "The token may or may not have been issued. Its text is lost: if `api-tokens token list --app id:{}` shows it, revoke it, then issue another.",
                app.id
            )
        })
    })?;
    match print_issued(session, &issued) {
        Ok(()) => Ok(()),
        Err(failure) => Err(revoke_unprinted(session, &issued, failure).await),
    }
}

/// Whether another `--format` is needed.
fn is_about_format(kind: OperationErrorKind) -> bool {
    matches!(
        kind,
        OperationErrorKind::Lifecycle(
            LifecycleErrorKind::UnknownFormat | LifecycleErrorKind::FormatNotAllowed
        )
    )
}

/// Revokes a token that could not be printed, so that no unknown token stays live.
async fn revoke_unprinted(session: &Session, issued: &IssuedToken, failure: Failure) -> Failure {
    let id = issued.record().id;
    match session.operator.revoke(id).await {
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
