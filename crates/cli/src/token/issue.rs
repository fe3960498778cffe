//! `token issue`.

use clap::Args;
use tower_api_tokens::{IssuedToken, NewToken, ScopeSet};

use super::print::hand_over;
use crate::{failure::Failure, moment::Expiry, scopes, session::Session};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The app that the token is for, by its identifier or name; `id:IDENTIFIER` where the text fits
    /// several apps
    #[arg(long)]
    app: String,
    /// What the token is called, for people: where it is used
    #[arg(long)]
    name: String,
    /// A scope of the token, or several with commas between them; can be repeated
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scopes::list)]
    scopes: Vec<ScopeSet>,
    /// When the token expires: after a time like `90d`, at the end of a day (UTC) like `2027-01-31`,
    /// or at a time like `2027-01-31T12:00:00Z`. Defaults to never
    #[arg(long, value_name = "WHEN")]
    expires: Option<Expiry>,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), Failure> {
    let scopes = scopes::union(&arguments.scopes)?;
    let app = session.find_app(&arguments.app).await?;
    let mut token = NewToken::named(arguments.name.as_str()).scopes(scopes);
    if let Some(expires) = arguments.expires {
        token = expires.of(token);
    }
    let issued = session.operator.issue(&app.id, token).await;
    let issued = issued.map_err(|error| {
        Failure::from(error).unless_certain(|| {
            format!(
                "It is not certain whether a token was issued. Nobody has its text: if `api-tokens token list --app id:{}` shows it, revoke it; then issue another.",
                app.id
            )
        })
    })?;
    match hand_over(session, &issued) {
        Ok(()) => Ok(()),
        Err(failure) => Err(take_back(session, &issued, failure).await),
    }
}

/// Revokes a token that could not be printed, so that none lives on that nobody has.
async fn take_back(session: &Session, issued: &IssuedToken, failure: Failure) -> Failure {
    let id = issued.record().id;
    match session.operator.revoke(id).await {
        Ok(_) => failure.saying(
            format!("token {id} was issued, could not be printed and was revoked"),
            "Issue another when standard output can be written to.".to_owned(),
        ),
        Err(_) => failure.saying(
            format!("token {id} was issued, but could not be printed, and could not be revoked"),
            format!("Nobody has its text. Revoke it with `api-tokens token revoke {id}`."),
        ),
    }
}
