//! `token list`.

use clap::{Args, ValueEnum};
use tower_api_tokens::{TokenQuery, TokenStatus};

use crate::{
    failure::Failure, number::at_least_one, output::Listing, session::Session, views::TokenView,
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Only tokens of this app, by its identifier or name
    #[arg(long)]
    app: Option<String>,
    /// Only tokens with this status
    #[arg(long)]
    status: Option<StatusArgument>,
    /// Only tokens with this in their name
    #[arg(long, value_name = "PART")]
    name: Option<String>,
    /// At most so many; all unless it is given
    #[arg(long, value_name = "COUNT", value_parser = at_least_one)]
    limit: Option<usize>,
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum StatusArgument {
    Live,
    Revoked,
    Expired,
    AppDisabled,
}

impl From<StatusArgument> for TokenStatus {
    fn from(status: StatusArgument) -> Self {
        match status {
            StatusArgument::Live => Self::Live,
            StatusArgument::Revoked => Self::Revoked,
            StatusArgument::Expired => Self::Expired,
            StatusArgument::AppDisabled => Self::AppDisabled,
        }
    }
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), Failure> {
    let mut query = TokenQuery::default().limit(1000);
    if let Some(app) = &arguments.app {
        query = query.app(session.find_app(app).await?.id);
    }
    if let Some(status) = arguments.status {
        query = query.status(status.into());
    }
    if let Some(part) = &arguments.name {
        query = query.name(part.as_str());
    }
    let mut listing = Listing::new::<TokenView>(session.json);
    let mut left = arguments.limit.unwrap_or(usize::MAX);
    while left > 0 {
        let page = session.tokens.list(&query).await?;
        for token in page.items.iter().take(left) {
            listing.add(&TokenView::from(token))?;
        }
        left = left.saturating_sub(page.items.len());
        match page.next {
            Some(next) => query = query.after(next),
            None => break,
        }
    }
    listing.end("There is no such token. `api-tokens token issue` makes one.")
}
