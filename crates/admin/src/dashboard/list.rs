//! The list of tokens.

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};
use http::StatusCode;
use serde::Deserialize;
use tower_api_tokens::{AppId, TokenId, TokenQuery, TokenStatus, check_name_part};

use super::{
    app_choice::AppChoice,
    curl::Snippet,
    errors::{INVALID_APP_ID, INVALID_SEARCH, UNKNOWN_APP},
    message::Message,
    page::{Page, query_string, render},
    request::QueryResult,
    session::Session,
    settings::Settings,
    view::{Notice, TokenView, Tone, status_label},
};

/// How many tokens a page shows.
const PAGE_SIZE: usize = 50;

fn statuses() -> Vec<(&'static str, &'static str)> {
    let all = TokenStatus::ALL.iter().copied();
    all.map(|status| (status.as_str(), status_label(status)))
        .collect()
}

#[derive(Template)]
#[template(path = "tokens.html")]
struct TokensPage {
    page: Page,
    notice: Option<Notice>,
    /// Whether to show the first steps: no tokens exist besides those of the operator's own app.
    onboarding: bool,
    curl: Option<Snippet>,
    filter: Filter,
    apps: AppChoice,
    /// The statuses to choose from, with their labels.
    statuses: Vec<(&'static str, &'static str)>,
    filter_is_valid: bool,
    tokens: Vec<TokenView>,
    /// The queries of the first and the next page.
    first: String,
    next: Option<String>,
}

/// The filter, as in the URL.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Filter {
    name: String,
    app: String,
    /// The search term for an app.
    find: String,
    status: String,
    after: String,
}

impl Filter {
    fn is_set(&self) -> bool {
        let fields = [&self.name, &self.app, &self.find, &self.status];
        fields.iter().any(|field| !field.is_empty())
    }

    /// Returns whether it selects all tokens of one app.
    fn is_whole_app(&self) -> bool {
        let unfiltered = self.name.is_empty() && self.status.is_empty() && !self.is_paged();
        self.app.parse::<AppId>().is_ok() && unfiltered
    }

    fn is_paged(&self) -> bool {
        !self.after.is_empty()
    }

    fn query(&self) -> Result<TokenQuery, InvalidFilter> {
        let mut query = TokenQuery::default().limit(PAGE_SIZE);
        let part = self.name.trim_matches(' ');
        if !part.is_empty() {
            check_name_part(part).map_err(|_| InvalidFilter::bad(INVALID_SEARCH))?;
            query = query.name(part);
        }
        if !self.app.trim().is_empty() {
            let app: Result<AppId, _> = self.app.trim().parse();
            query = query.app(app.map_err(|_| InvalidFilter::bad(INVALID_APP_ID))?);
        }
        if !self.status.is_empty() {
            let message = "Unknown status. Choose one from the list.";
            let status = self.status.parse();
            query = query.status(status.map_err(|_| InvalidFilter::bad(message))?);
        }
        if self.is_paged() {
            let message = "This page of results doesn't exist. Start from the first page.";
            let after = self.after.parse::<TokenId>();
            query = query.after(after.map_err(|_| InvalidFilter::bad(message))?);
        }
        Ok(query)
    }

    /// Returns the query string of the page after this token, with the same filter.
    fn link(&self, after: &str) -> String {
        let fields = [
            ("name", self.name.as_str()),
            ("app", &self.app),
            ("find", if self.app.is_empty() { &self.find } else { "" }),
            ("status", &self.status),
            ("after", after),
        ];
        query_string(&fields)
    }
}

/// Why the filter cannot be applied.
struct InvalidFilter {
    status: StatusCode,
    message: &'static str,
}

impl InvalidFilter {
    fn bad(message: &'static str) -> Self {
        let status = StatusCode::BAD_REQUEST;
        Self { status, message }
    }

    fn unknown_app() -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            message: UNKNOWN_APP,
        }
    }
}

pub(super) async fn show(
    State(settings): State<Settings>,
    session: Session,
    filter: QueryResult<Filter>,
) -> Result<Response, Message> {
    let Ok(Query(mut filter)) = filter else {
        return Err(Message::invalid_filter(&session.page));
    };
    let apps = AppChoice::load(&session.operator, &filter.app, &filter.find).await;
    let apps = session.or_error_page(apps)?;
    if let (true, Some(app)) = (filter.app.is_empty(), apps.only()) {
        filter.app.clone_from(&app.id);
    }
    let query = filter.query().and_then(|query| match &query.app {
        Some(app) if !apps.contains(app.as_str()) => Err(InvalidFilter::unknown_app()),
        _ => Ok(query),
    });
    let found = match &query {
        Ok(query) => session.or_error_page(session.operator.list(query).await)?,
        Err(_) => tower_api_tokens::Page::empty(),
    };
    let own_app = session.operator.actor().own_app();
    let all_own = found
        .items
        .iter()
        .all(|token| Some(token.app.id) == own_app);
    let invalid = query.err();
    let Session { page, operator } = session;
    let shown = TokensPage {
        // Operators that sign in with tokens have their own before any client has one.
        onboarding: all_own && found.next.is_none() && !filter.is_set() && !filter.is_paged(),
        curl: settings
            .service_url
            .as_deref()
            .map(|url| Snippet::with_variable("first-call", url)),
        first: filter.link(""),
        next: found.next.map(|after| filter.link(&after.to_string())),
        tokens: found
            .items
            .iter()
            .map(|token| TokenView::new(token, page.now).with_format(operator.formats(), token))
            .collect(),
        page,
        filter,
        apps,
        statuses: statuses(),
        filter_is_valid: invalid.is_none(),
        notice: invalid
            .as_ref()
            .map(|invalid| Notice::new(Tone::Bad, invalid.message, "")),
    };
    Ok(render(
        invalid.map_or(StatusCode::OK, |invalid| invalid.status),
        &shown,
    ))
}
