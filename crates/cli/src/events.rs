//! `events`: lists the audit log.

use clap::Args;
use futures_util::{StreamExt, TryStreamExt};
use tower_api_tokens::{AuditQuery, TokenId};

use crate::{
    backend::Context, failure::Failure, number::at_least_one, output::Listing, views::ShownEvent,
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Only events of this app, by its identifier or name
    #[arg(long)]
    app: Option<String>,
    /// Only events of this token, by its identifier
    #[arg(long, value_name = "ID")]
    token: Option<TokenId>,
    /// Maximum number of events to list. Defaults to all
    #[arg(long, value_name = "COUNT", value_parser = at_least_one)]
    limit: Option<usize>,
}

pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<(), Failure> {
    let mut query = AuditQuery::default().limit(arguments.limit.unwrap_or(1000));
    if let Some(app) = &arguments.app {
        query = query.app(context.find_app(app).await?.id);
    }
    if let Some(token) = arguments.token {
        query = query.token(token);
    }
    let mut listing = Listing::new::<ShownEvent>(context.json);
    let limit = arguments.limit.unwrap_or(usize::MAX);
    let mut events = context.backend.events(query).take(limit);
    while let Some(event) = events.try_next().await? {
        listing.add(&ShownEvent(&event))?;
    }
    listing.end("No matching events.")
}
