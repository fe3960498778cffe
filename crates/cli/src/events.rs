//! `events`: lists the audit log, or follows it.

use std::time::Duration;

use clap::Args;
use futures_util::{StreamExt, TryStreamExt};
use tokio::time::sleep;
use tower_api_tokens::{
    AuditQuery, EventPositionError, EventQuery, EventStart, TokenId, store::jittered,
};

use crate::{
    backend::{Backend, Context, EventsInOrder},
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

/// Prints events in the order in which they were committed.
async fn print_in_order(arguments: &Arguments, backend: &dyn Backend) -> Result<(), Failure> {
    let mut query = EventQuery::new(arguments.after.unwrap_or(EventStart::Latest));
    let mut left = arguments.limit.unwrap_or(usize::MAX);
    let mut follower = Follower {
        backend,
        retries: arguments.follow,
        has_read: false,
    };
    while left > 0 {
        // The first page shows the position of the latest event. Events that are committed while the
        // store is unavailable come after it.
        let wait = match (arguments.follow, query.start) {
            (true, EventStart::After(_)) => WAIT,
            _ => Duration::ZERO,
        };
        let page = follower.read(&query.limit(left), wait).await?;
        for event in &page.events {
            print_json(&ShownEvent(event))?;
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

struct Follower<'a> {
    backend: &'a dyn Backend,
    /// Try again until the store or the server is available.
    retries: bool,
    has_read: bool,
}

impl Follower<'_> {
    async fn read(&mut self, query: &EventQuery, wait: Duration) -> Result<EventsInOrder, Failure> {
        let mut is_noted = false;
        loop {
            match self.backend.read_events(query, wait).await {
                Err(failure) if self.is_temporary(&failure) => {
                    if !is_noted {
                        note("warning: the token store or the server is unavailable; trying again");
                        is_noted = true;
                    }
                    sleep(jittered(RETRY)).await;
                }
                read => {
                    self.has_read = true;
                    return read;
                }
            }
        }
    }

    /// Whether to try again. If nothing was ever read, the URL may be wrong.
    fn is_temporary(&self, failure: &Failure) -> bool {
        self.retries && self.has_read && (failure.is_uncertain() || failure.is_unreachable())
    }
}

pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<(), Failure> {
    if arguments.follow || arguments.after.is_some() {
        return print_in_order(arguments, context.backend).await;
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
