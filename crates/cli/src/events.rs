//! `events`: lists the audit log, or follows it.

use std::{error::Error, time::Duration};

use clap::Args;
use futures_util::{StreamExt, TryStreamExt};
use serde::Serialize;
use tokio::time::sleep;
use tower_api_tokens::{
    AuditQuery, EventPage, EventPositionError, EventQuery, EventStart, StoreError, StoreErrorKind,
    TokenId, store::jittered,
};
use tower_api_tokens_admin::{OperationError, Operator};

use crate::{
    backend::{Context, event_document},
    failure::Failure,
    note::note,
    number::at_least_one,
    output::{Listing, print_json},
    views::ShownEvent,
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
    /// Print events in the order in which they were committed, as JSON Lines with their positions, and
    /// wait for more
    #[arg(long, conflicts_with_all = ["app", "token"])]
    follow: bool,
    /// Print the events after this position, which an earlier call printed, in the order in which they
    /// were committed, as JSON Lines. `oldest` prints all, and `latest`, the default of `--follow`, only
    /// events from now on
    #[arg(long, value_name = "POSITION", value_parser = start, conflicts_with_all = ["app", "token"])]
    after: Option<EventStart>,
}

fn start(text: &str) -> Result<EventStart, EventPositionError> {
    Ok(match text {
        "oldest" => EventStart::Oldest,
        "latest" => EventStart::Latest,
        position => EventStart::After(position.parse()?),
    })
}

/// How long one call waits for events.
const WAIT: Duration = Duration::from_secs(30);

/// The pause before another call, if the store is unavailable.
const RETRY: Duration = Duration::from_secs(2);

/// An event and its position.
#[derive(Serialize)]
struct Positioned<'r> {
    position: String,
    #[serde(flatten)]
    event: ShownEvent<'r>,
}

/// Prints events in the order in which they were committed.
async fn print_in_order(arguments: &Arguments, operator: &Operator) -> Result<(), Failure> {
    let wait = match arguments.follow {
        true => WAIT,
        false => Duration::ZERO,
    };
    let mut query = EventQuery::new(arguments.after.unwrap_or(EventStart::Latest));
    let mut left = arguments.limit.unwrap_or(usize::MAX);
    while left > 0 {
        let page = read(operator, &query.limit(left), wait, arguments.follow).await?;
        for logged in &page.events {
            let event = event_document(&logged.event)?;
            let (position, event) = (logged.position.to_string(), ShownEvent(&event));
            print_json(&Positioned { position, event })?;
        }
        left -= page.events.len();
        let next = EventStart::After(page.position);
        if next == query.start && !arguments.follow {
            break;
        }
        query.start = next;
    }
    Ok(())
}

/// Reads a page. If `retries` is set, tries again until the store is available.
async fn read(
    operator: &Operator,
    query: &EventQuery,
    wait: Duration,
    retries: bool,
) -> Result<EventPage, OperationError> {
    let mut is_noted = false;
    loop {
        match operator.read_events(query, wait).await {
            Err(error) if retries && is_unavailable(&error) => {
                if !is_noted {
                    note("warning: the token store is unavailable; trying again");
                    is_noted = true;
                }
                sleep(jittered(RETRY)).await;
            }
            read => return read,
        }
    }
}

fn is_unavailable(error: &OperationError) -> bool {
    let store = error.source().and_then(|source| source.downcast_ref());
    store.is_some_and(|store: &StoreError| store.kind() == StoreErrorKind::Unavailable)
}

pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<(), Failure> {
    if arguments.follow || arguments.after.is_some() {
        return print_in_order(arguments, &context.backend.store()?.operator).await;
    }
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
