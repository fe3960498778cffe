//! `token list`: lists tokens.

use clap::Args;
use futures_util::{StreamExt, TryStreamExt};

use super::filter::Filters;
use crate::{
    backend::Context, failure::Failure, number::at_least_one, output::Listing, views::ShownToken,
};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    filters: Filters,
    /// Maximum number of tokens to list. Defaults to all
    #[arg(long, value_name = "COUNT", value_parser = at_least_one)]
    limit: Option<usize>,
}

pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<(), Failure> {
    let mut filter = arguments.filters.read(context).await?;
    filter.query = filter.query.limit(arguments.limit.unwrap_or(1000));
    let mut listing = Listing::new::<ShownToken>(context.json);
    let limit = arguments.limit.unwrap_or(usize::MAX);
    let mut tokens = context.backend.tokens(filter)?.take(limit);
    while let Some(token) = tokens.try_next().await? {
        listing.add(&ShownToken(&token))?;
    }
    listing.end("No matching tokens. Issue one with `api-tokens token issue`.")
}
