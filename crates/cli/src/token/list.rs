//! `token list`: lists tokens.

use clap::Args;
use futures_util::{StreamExt, TryStreamExt};
use tower_api_tokens::{TokenQuery, TokenStatus};

use crate::{
    failure::Failure, number::at_least_one, output::Listing, possible_values::one_of,
    session::Session, views::ShownToken,
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Only tokens of this app, by its identifier or name
    #[arg(long)]
    app: Option<String>,
    /// Only tokens with this status
    #[arg(long, value_parser = one_of::<TokenStatus>(TokenStatus::ALL.iter().map(|status| status.as_str())))]
    status: Option<TokenStatus>,
    /// Only tokens whose name contains this text
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Maximum number of tokens to list. Defaults to all
    #[arg(long, value_name = "COUNT", value_parser = at_least_one)]
    limit: Option<usize>,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), Failure> {
    let mut query = TokenQuery::default().limit(1000);
    if let Some(app) = &arguments.app {
        query = query.app(session.find_app(app).await?.id);
    }
    if let Some(status) = arguments.status {
        query = query.status(status);
    }
    if let Some(part) = &arguments.name {
        query = query.name(part.as_str());
    }
    let mut listing = Listing::new::<ShownToken>(session.json);
    let limit = arguments.limit.unwrap_or(usize::MAX);
    let mut tokens = session.tokens.stream_tokens(query).take(limit);
    while let Some(token) = tokens.try_next().await? {
        listing.add(&ShownToken::now(session, &token))?;
    }
    listing.end("No matching tokens. Issue one with `api-tokens token issue`.")
}
