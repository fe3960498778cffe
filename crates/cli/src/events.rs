//! `events`: lists what was done, and by whom.

use clap::Args;
use futures_util::{StreamExt, TryStreamExt};
use tower_api_tokens::{AuditQuery, TokenId};

use crate::{
    failure::Failure, number::at_least_one, output::Listing, session::Session, views::ShownEvent,
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Only what was done to this app, by its identifier or name
    #[arg(long)]
    app: Option<String>,
    /// Only what was done to this token, by its identifier
    #[arg(long, value_name = "ID")]
    token: Option<TokenId>,
    /// At most so many
    #[arg(long, value_name = "COUNT", value_parser = at_least_one)]
    limit: Option<usize>,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), Failure> {
    let mut query = AuditQuery::default().limit(1000);
    if let Some(app) = &arguments.app {
        query = query.app(session.find_app(app).await?.id);
    }
    if let Some(token) = arguments.token {
        query = query.token(token);
    }
    let mut listing = Listing::new::<ShownEvent>(session.json);
    let limit = arguments.limit.unwrap_or(usize::MAX);
    let mut events = session.operator.stream_events(query).take(limit);
    while let Some(event) = events.try_next().await? {
        listing.add(&ShownEvent(&event))?;
    }
    listing.end("Nothing of this was done yet.")
}
