//! The list of tokens.

use askama::Template;
use axum::{
    extract::{Query, State, rejection::QueryRejection},
    response::Response,
};
use http::StatusCode;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::{
    Settings,
    app_choice::AppChoice,
    curl::Snippet,
    message::Message,
    page::{Page, render},
    session::Session,
    view::{Notice, TokenView, Tone},
    words::sentence,
};
use crate::{
    app::{AppId, AppIdError},
    record::TokenStatus,
    store::TokenQuery,
};

/// How many tokens a page shows.
const TOKENS_OF_A_PAGE: usize = 50;

const STATUSES: &[(&str, &str)] = &[
    ("live", "Active"),
    ("revoked", "Revoked"),
    ("expired", "Expired"),
    ("app_disabled", "App disabled"),
];

#[derive(Template)]
#[template(path = "tokens.html")]
struct TokensPage {
    page: Page,
    notice: Option<Notice>,
    /// Whether there is no token yet.
    first_steps: bool,
    curl: Snippet,
    filter: Filter,
    apps: AppChoice,
    statuses: &'static [(&'static str, &'static str)],
    tokens: Vec<TokenView>,
    /// The queries of the first page and the next.
    first: String,
    next: Option<String>,
}

/// Which tokens are shown, as it is typed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Filter {
    name: String,
    app: String,
    status: String,
    after: String,
}

impl Filter {
    fn is_set(&self) -> bool {
        !(self.name.is_empty() && self.app.is_empty() && self.status.is_empty())
    }

    /// Whether it shows all the tokens of an app.
    fn is_for_app(&self) -> bool {
        let shown_from_the_first = self.name.is_empty() && self.status.is_empty() && !self.paged();
        self.app.parse::<AppId>().is_ok() && shown_from_the_first
    }

    fn paged(&self) -> bool {
        !self.after.is_empty()
    }

    fn query(&self) -> Result<TokenQuery, String> {
        let mut query = TokenQuery::default().limit(TOKENS_OF_A_PAGE);
        if !self.name.trim().is_empty() {
            query = query.name(self.name.trim());
        }
        if !self.app.is_empty() {
            let app = self.app.trim().parse();
            query = query.app(app.map_err(|error: AppIdError| sentence(&error.to_string()))?);
        }
        if !self.status.is_empty() {
            query = query.status(match self.status.as_str() {
                "live" => TokenStatus::Live,
                "revoked" => TokenStatus::Revoked,
                "expired" => TokenStatus::Expired,
                "app_disabled" => TokenStatus::AppDisabled,
                _ => return Err("There is no such status: choose one of the list.".to_owned()),
            });
        }
        if self.paged() {
            let after = self.after.parse();
            query = query
                .after(after.map_err(|_| "There is no such page: go to the first.".to_owned())?);
        }
        Ok(query)
    }

    /// The query of a page that this filter shows.
    fn link(&self, after: &str) -> String {
        let fields = [
            ("name", self.name.as_str()),
            ("app", &self.app),
            ("status", &self.status),
            ("after", after),
        ];
        let mut query = String::new();
        for (name, value) in fields {
            if !value.is_empty() {
                query.push(if query.is_empty() { '?' } else { '&' });
                query.push_str(name);
                query.push('=');
                query.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
            }
        }
        query
    }
}

pub(super) async fn show(
    State(settings): State<Settings>,
    session: Session,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Response, Message> {
    let Ok(Query(filter)) = filter else {
        return Err(Message::bad_request(
            &session.page,
            "The address names the filter in a way that cannot be read.",
        ));
    };
    let (query, wrong) = match filter.query() {
        Ok(query) => (Some(query), None),
        Err(wrong) => (None, Some(wrong)),
    };
    let found = match &query {
        Some(query) => Some(session.tried(session.operator.list(query).await)?),
        None => None,
    };
    let apps = session.tried(AppChoice::load(&session.operator).await)?;
    let (records, next) = found.map_or_else(|| (Vec::new(), None), |page| (page.items, page.next));
    let Session { page, .. } = session;
    let tokens: Vec<TokenView> = records
        .iter()
        .map(|token| TokenView::new(token, page.now))
        .collect();
    let status = match wrong {
        Some(_) => StatusCode::BAD_REQUEST,
        None => StatusCode::OK,
    };
    let shown = TokensPage {
        notice: wrong.map(|wrong| Notice::new(Tone::Bad, wrong, "")),
        first_steps: tokens.is_empty() && !filter.is_set() && !filter.paged(),
        curl: Snippet::with_variable("first-call", &settings.service_url),
        first: filter.link(""),
        next: next.map(|after| filter.link(&after.to_string())),
        page,
        filter,
        apps,
        statuses: STATUSES,
        tokens,
    };
    Ok(render(status, &shown))
}
