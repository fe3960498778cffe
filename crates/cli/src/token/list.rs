//! `token list`: lists tokens.

use clap::{Args, builder::PossibleValue};
use futures_util::{StreamExt, TryStreamExt};
use tower_api_tokens::TokenOrder;

use super::filter::Filters;
use crate::{
    backend::Context, failure::Failure, number::at_least_one, output::Listing,
    possible_values::one_of, views::ShownToken,
};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    filters: Filters,
    /// Order of the tokens. Defaults to the one that fits the filters: `expiry` for those by expiry or
    /// rotation, `last_used` for those by use, or `newest`
    #[arg(long, value_name = "ORDER", value_parser = one_of::<TokenOrder>(orders()))]
    sort: Option<TokenOrder>,
    /// Maximum number of tokens to list. Defaults to all
    #[arg(long, value_name = "COUNT", value_parser = at_least_one)]
    limit: Option<usize>,
}

pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<(), Failure> {
    let mut filter = arguments.filters.read(context, arguments.sort).await?;
    filter.query = filter.query.limit(arguments.limit.unwrap_or(1000));
    let mut listing = Listing::new::<ShownToken>(context.json);
    let limit = arguments.limit.unwrap_or(usize::MAX);
    let mut tokens = context.backend.tokens(filter)?.take(limit);
    while let Some(token) = tokens.try_next().await? {
        listing.add(&ShownToken(&token))?;
    }
    listing.end("No matching tokens. Issue one with `api-tokens token issue`.")
}

fn orders() -> impl Iterator<Item = PossibleValue> {
    TokenOrder::ALL.iter().map(|order| {
        PossibleValue::new(order.as_str()).help(match order {
            TokenOrder::Newest => "The newest first",
            TokenOrder::Oldest => "The oldest first",
            TokenOrder::Expiry => "The earliest expiry first, without revoked tokens",
            TokenOrder::LastUsed => "The longest unused first, without revoked tokens",
            _ => "",
        })
    })
}
