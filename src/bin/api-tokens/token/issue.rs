//! `token issue`.

use clap::Args;
use tower_api_tokens::{NewToken, ScopeSet};

use super::hand_over;
use crate::{failure::Failure, moment::Moment, session::Session};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The app that the token is for, by its identifier, or its name if no other has it
    #[arg(long)]
    app: String,
    /// What the token is called, for people: where it is used
    #[arg(long)]
    name: String,
    /// A scope that the token has; repeat it for more
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// When the token expires: after a time like `90d`, or at one like `2027-01-31`; never unless
    /// it is given
    #[arg(long, value_name = "WHEN")]
    expires: Option<Moment>,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), Failure> {
    let scopes = ScopeSet::new(arguments.scopes.iter().map(String::as_str))
        .map_err(|error| Failure::usage(error.to_string()))?;
    let app = session.find_app(&arguments.app).await?;
    let mut token = NewToken::named(arguments.name.as_str()).scopes(scopes);
    if let Some(expires) = arguments.expires {
        token = expires.as_expiry_of(token);
    }
    let issued = session.operator.issue(&app.id, token, None).await;
    let issued = issued.map_err(|error| {
        Failure::from(error).unless_certain(|| {
            format!(
                "It is not certain whether a token was issued. Nobody has its text: if `api-tokens token list --app {}` shows it, revoke it; then issue another.",
                app.id
            )
        })
    })?;
    hand_over(session, &issued)
}
