//! The list of tokens.

use std::error::Error;

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
    message::Message,
    page::{Page, query_string, render},
    request::Asked,
    session::Session,
    settings::Settings,
    view::{Notice, TokenView, Tone, status_label},
    words::sentence,
};

/// How many tokens a page shows.
const TOKENS_OF_A_PAGE: usize = 50;

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
    /// Whether there is no token yet but those of the people who manage tokens.
    first_steps: bool,
    curl: Option<Snippet>,
    filter: Filter,
    apps: AppChoice,
    /// The statuses that can be chosen, each with its label.
    statuses: Vec<(&'static str, &'static str)>,
    /// Whether the filter is one.
    listed: bool,
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
    /// What an app is searched by.
    find: String,
    status: String,
    after: String,
}

impl Filter {
    fn is_set(&self) -> bool {
        let fields = [&self.name, &self.app, &self.find, &self.status];
        fields.iter().any(|field| !field.is_empty())
    }

    /// Whether it shows all the tokens of an app.
    fn is_for_app(&self) -> bool {
        let shown_from_the_first = self.name.is_empty() && self.status.is_empty() && !self.paged();
        self.app.parse::<AppId>().is_ok() && shown_from_the_first
    }

    fn paged(&self) -> bool {
        !self.after.is_empty()
    }

    fn query(&self) -> Result<TokenQuery, Wrong> {
        let error = |error: &dyn Error| Wrong::bad(sentence(&error.to_string()));
        let mut query = TokenQuery::default().limit(TOKENS_OF_A_PAGE);
        let part = self.name.trim_matches(' ');
        if !part.is_empty() {
            check_name_part(part).map_err(|wrong| error(&wrong))?;
            query = query.name(part);
        }
        if !self.app.trim().is_empty() {
            let app: Result<AppId, _> = self.app.trim().parse();
            query = query.app(app.map_err(|wrong| error(&wrong))?);
        }
        if !self.status.is_empty() {
            let says = "There is no such status: choose one of the list.";
            let status = self.status.parse();
            query = query.status(status.map_err(|_| Wrong::bad(says.to_owned()))?);
        }
        if self.paged() {
            let says = "There is no such page: go to the first.";
            let after = self.after.parse::<TokenId>();
            query = query.after(after.map_err(|_| Wrong::bad(says.to_owned()))?);
        }
        Ok(query)
    }

    /// The query of a page that this filter shows.
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

/// Why nothing is listed.
struct Wrong {
    status: StatusCode,
    says: String,
}

impl Wrong {
    fn bad(says: String) -> Self {
        let status = StatusCode::BAD_REQUEST;
        Self { status, says }
    }

    fn unknown_app() -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            says: "There is no such app.".to_owned(),
        }
    }
}

pub(super) async fn show(
    State(settings): State<Settings>,
    session: Session,
    filter: Asked<Filter>,
) -> Result<Response, Message> {
    let Ok(Query(mut filter)) = filter else {
        return Err(Message::bad_request(
            &session.page,
            "The address names the filter in a way that cannot be read.",
        ));
    };
    let apps = AppChoice::load(&session.operator, &filter.app, &filter.find).await;
    let apps = session.tried(apps)?;
    if let (true, Some(app)) = (filter.app.is_empty(), apps.only()) {
        filter.app.clone_from(&app.id);
    }
    let query = filter.query().and_then(|query| match &query.app {
        Some(app) if !apps.offers(app.as_str()) => Err(Wrong::unknown_app()),
        _ => Ok(query),
    });
    let found = match &query {
        Ok(query) => session.tried(session.operator.list(query).await)?,
        Err(_) => tower_api_tokens::Page::empty(),
    };
    let own_app = session.operator.actor().own_app();
    let all_own = found
        .items
        .iter()
        .all(|token| Some(token.app.id) == own_app);
    let wrong = query.err();
    let Session { page, .. } = session;
    let shown = TokensPage {
        // Those who manage tokens have some before any is issued to what calls the service.
        first_steps: all_own && found.next.is_none() && !filter.is_set() && !filter.paged(),
        curl: settings
            .service_url
            .as_deref()
            .map(|url| Snippet::with_variable("first-call", url)),
        first: filter.link(""),
        next: found.next.map(|after| filter.link(&after.to_string())),
        tokens: found
            .items
            .iter()
            .map(|token| TokenView::new(token, page.now))
            .collect(),
        page,
        filter,
        apps,
        statuses: statuses(),
        listed: wrong.is_none(),
        notice: wrong
            .as_ref()
            .map(|wrong| Notice::new(Tone::Bad, wrong.says.as_str(), "")),
    };
    Ok(render(
        wrong.map_or(StatusCode::OK, |wrong| wrong.status),
        &shown,
    ))
}
