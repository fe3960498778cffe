//! The list of tokens.

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use tower_api_tokens::{
    AppId, TokenCursor, TokenFormats, TokenQuery, TokenRecord, TokenStatus, check_name_part,
};

use super::{
    app_choice::{AppChoice, AppFilter, own_app},
    csv::{self, File},
    curl::Snippet,
    errors::{INVALID_APP_ID, INVALID_SEARCH, UNKNOWN_APP},
    message::Message,
    page::{Page, render},
    pager::{Listing, Pager, Place},
    request::QueryResult,
    session::Session,
    settings::Settings,
    total::{COUNTED_AT_ONCE, Total},
    view::{Notice, TokenView, Tone, status_label},
};
use crate::operations::Operator;

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
    apps: AppFilter,
    /// The statuses to choose from, with their labels.
    statuses: Vec<(&'static str, &'static str)>,
    filter_is_valid: bool,
    tokens: Vec<TokenView>,
    pager: Pager,
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
    back: String,
    count: String,
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
            let after = self.after.parse::<TokenCursor>();
            query = query.after(after.map_err(|_| InvalidFilter::bad(message))?);
            if query.has_foreign_cursor() {
                return Err(InvalidFilter::bad(message));
            }
        }
        Ok(query)
    }

    /// Returns the fields of the filter, without the place in the listing.
    fn fields(&self) -> [(&'static str, &str); 4] {
        [
            ("name", &self.name),
            ("app", &self.app),
            ("find", if self.app.is_empty() { &self.find } else { "" }),
            ("status", &self.status),
        ]
    }

    fn place(&self) -> Place<'_> {
        Place {
            after: &self.after,
            back: &self.back,
            count: &self.count,
        }
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
    let apps = AppChoice::load(&session.operator, &mut filter.app, &filter.find).await;
    let apps = session.or_error_page(apps)?;
    let query = filter.query().and_then(|query| match &query.app {
        Some(app) if !apps.contains(app.as_str()) => Err(InvalidFilter::unknown_app()),
        _ => Ok(query),
    });
    let found = match &query {
        Ok(query) => session.or_error_page(session.operator.list(query).await)?,
        Err(_) => tower_api_tokens::Page::empty(),
    };
    let counted = match &query {
        Ok(query) if filter.place().counts() => count(&session.operator, query).await,
        _ => None,
    };
    let own_app = own_app(&session.operator);
    let all_own = found
        .items
        .iter()
        .all(|token| Some(token.app.id) == own_app);
    let invalid = query.err();
    let Session { page, operator } = session;
    let shown = TokensPage {
        // Operators that sign in with tokens have their own before any client has one.
        onboarding: all_own
            && found.next.is_none()
            && !filter.is_set()
            && !filter.is_paged()
            && page.may_issue(),
        curl: settings
            .service_url
            .as_deref()
            .map(|url| Snippet::with_variable("first-call", url)),
        pager: Listing {
            path: page.home(),
            export: page.link("/tokens.csv"),
            filter: &filter.fields(),
            place: filter.place(),
            noun: "token",
        }
        .pager(
            found.next.map(|after| after.to_string()),
            Total::of_page(&found),
            counted,
        ),
        tokens: found
            .items
            .iter()
            .map(|token| TokenView::new(token, page.now).with_format(operator.formats(), token))
            .collect(),
        page,
        apps: AppFilter::new(apps, &filter.app),
        filter,
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

/// Returns the list as CSV.
pub(super) async fn export(
    session: Session,
    filter: QueryResult<Filter>,
) -> Result<Response, Message> {
    let Ok(Query(filter)) = filter else {
        return Err(Message::invalid_filter(&session.page));
    };
    let query = filter.query();
    let query = query.map_err(|_| Message::invalid_filter(&session.page))?;
    if let Some(app) = &query.app {
        session.or_error_page(session.operator.get_app(app).await)?;
    }
    let file = File {
        name: "tokens.csv",
        columns: COLUMNS,
    };
    let (operator, now) = (session.operator.clone(), session.page.now);
    let query = query.limit(csv::READ_AT_ONCE);
    let download = file.download(move |after: Option<TokenCursor>| {
        let (operator, query) = (operator.clone(), query.clone());
        async move {
            let page = operator.list(&query.after(after)).await?;
            let formats = operator.formats();
            let rows = page.items.iter().map(|token| row(token, formats, now));
            Ok(csv::Rows::new(rows.collect(), page.next))
        }
    });
    session.or_error_page(download.await)
}

async fn count(operator: &Operator, query: &TokenQuery) -> Option<Total> {
    let query = query.clone().limit(COUNTED_AT_ONCE);
    let counted = Total::count(|after: Option<TokenCursor>| {
        let query = query.clone().after(after);
        async move {
            let page = operator.list(&query).await?;
            Ok((page.items.len(), page.next))
        }
    });
    counted.await
}

/// The columns of the CSV file.
const COLUMNS: &[&str] = &[
    "id",
    "name",
    "masked",
    "format",
    "app_id",
    "app_name",
    "scopes",
    "status",
    "created_at",
    "created_by",
    "expires_at",
    "revoked_at",
    "successor_id",
    "last_used_at",
    "uses",
];

fn row(token: &TokenRecord, formats: &TokenFormats, now: Timestamp) -> Vec<String> {
    vec![
        token.id.to_string(),
        token.name.clone(),
        token.mask.to_string(),
        formats.label_of(&token.mask).unwrap_or_default().to_owned(),
        token.app.id.to_string(),
        token.app.name.clone(),
        token.scopes.as_str().to_owned(),
        token.status(now).to_string(),
        token.created_at.to_string(),
        token.created_by.clone().unwrap_or_default(),
        csv::optional(token.expires_at),
        csv::optional(token.revoked_at),
        csv::optional(token.successor),
        csv::optional(token.last_used_at),
        token.uses.to_string(),
    ]
}
