//! The list of apps, and the form for a new one.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use tower_api_tokens::{AppId, AppQuery, check_name_part, normalize_name};

use super::{
    errors::{self, FIX_FIELDS, INVALID_SEARCH},
    message::Message,
    page::{Page, query_string, render},
    request::{FormResult, QueryResult, query_or_default},
    session::Session,
    view::{AppView, Field, Notice, Tone},
};

/// How many apps a page shows.
const PAGE_SIZE: usize = 50;

#[derive(Template)]
#[template(path = "apps.html")]
struct AppsPage {
    page: Page,
    notice: Option<Notice>,
    name: Field,
    search: String,
    apps: Vec<AppView>,
    paged: bool,
    /// The queries of the first and the next page.
    first: String,
    next: Option<String>,
}

impl AppsPage {
    /// Returns whether no app exists.
    fn is_empty(&self) -> bool {
        self.apps.is_empty() && self.search.is_empty() && !self.paged
    }
}

/// The search and the page, as in the URL.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Listing {
    search: String,
    after: String,
}

/// The form for a new app.
#[derive(Debug, Deserialize)]
pub(super) struct NewApp {
    name: String,
    /// `token` to continue with the form for a new token.
    #[serde(default)]
    then: String,
}

pub(super) async fn show(
    session: Session,
    listing: QueryResult<Listing>,
) -> Result<Response, Message> {
    apps_page(session, query_or_default(listing), Field::default()).await
}

pub(super) async fn create(
    session: Session,
    form: FormResult<NewApp>,
) -> Result<Response, Message> {
    let form = session.read_form(form)?;
    // Checked here, so that a typing error leaves no audit event.
    if normalize_name(&form.name).is_err() {
        let error = errors::invalid_name(&form.name);
        let mut name = Field::with_value(form.name);
        name.set_error(error);
        return apps_page(session, Listing::default(), name).await;
    }
    let app = session.or_error_page(session.operator.create_app(&form.name).await)?;
    Ok(match form.then.as_str() {
        "token" => session.page.go_to(&format!("/new?app={}", app.id)),
        _ => session
            .page
            .go_to(&format!("/apps/{}?done=created", app.id)),
    })
}

async fn apps_page(session: Session, listing: Listing, name: Field) -> Result<Response, Message> {
    let search = listing.search.trim_matches(' ').to_owned();
    let mut query = AppQuery::default().limit(PAGE_SIZE);
    if !listing.after.is_empty() {
        let after = listing.after.parse::<AppId>();
        query = query.after(after.map_err(|_| Message::no_such_results(&session.page))?);
    }
    let mut search_is_valid = true;
    if !search.is_empty() {
        search_is_valid = check_name_part(&search).is_ok();
        query = query.name(search.as_str());
    }
    let found = match search_is_valid {
        true => session.or_error_page(session.operator.list_apps(&query).await)?,
        false => tower_api_tokens::Page::empty(),
    };
    let (status, notice) = if name.has_error() {
        let notice = Notice::new(Tone::Bad, "App not created.", FIX_FIELDS);
        (StatusCode::UNPROCESSABLE_ENTITY, Some(notice))
    } else if !search_is_valid {
        let notice = Notice::new(Tone::Bad, INVALID_SEARCH, "");
        (StatusCode::BAD_REQUEST, Some(notice))
    } else {
        (StatusCode::OK, None)
    };
    let link = |after: &str| query_string(&[("search", &search), ("after", after)]);
    let Session { page, .. } = session;
    let shown = AppsPage {
        notice,
        name,
        apps: found
            .items
            .iter()
            .map(|app| AppView::new(app, page.now))
            .collect(),
        paged: query.after.is_some(),
        first: link(""),
        next: found.next.map(|after| link(after.as_str())),
        search,
        page,
    };
    Ok(render(status, &shown))
}
