//! `token list`: lists tokens.

use clap::Args;
use futures_util::{StreamExt, TryStreamExt};
use tower_api_tokens::{TokenQuery, TokenStatus};

use crate::{
    backend::Context,
    failure::Failure,
    number::at_least_one,
    output::Listing,
    views::{ShownToken, statuses},
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Only tokens of this app, by its identifier or name
    #[arg(long)]
    app: Option<String>,
    /// Only tokens with this status
    #[arg(long, value_parser = statuses())]
    status: Option<TokenStatus>,
    /// Only tokens whose name contains this text
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Maximum number of tokens to list. Defaults to all
    #[arg(long, value_name = "COUNT", value_parser = at_least_one)]
    limit: Option<usize>,
}

pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<(), Failure> {
    let mut query = TokenQuery::default().limit(arguments.limit.unwrap_or(1000));
    if let Some(app) = &arguments.app {
        query = query.app(context.find_app(app).await?.id);
    }
    if let Some(status) = arguments.status {
        query = query.status(status);
    }
    if let Some(part) = &arguments.name {
        query = query.name(part.as_str());
    }
    let mut listing = Listing::new::<ShownToken>(context.json);
    let limit = arguments.limit.unwrap_or(usize::MAX);
    let mut tokens = context.backend.tokens(query).take(limit);
    while let Some(token) = tokens.try_next().await? {
        listing.add(&ShownToken(&token))?;
    }
    listing.end("No matching tokens. Issue one with `api-tokens token issue`.")
}
