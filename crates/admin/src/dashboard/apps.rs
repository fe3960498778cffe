//! The apps that tokens belong to.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use tower_api_tokens::{AppId, AppQuery, check_name_part, normalize_name};

use super::{
    message::Message,
    page::{Page, query_string, render},
    request::{Asked, Sent, query},
    session::Session,
    view::{AppView, Field, Notice, Tone},
    words::sentence,
};

/// How many apps a page shows.
const APPS_OF_A_PAGE: usize = 50;

#[derive(Template)]
#[template(path = "apps.html")]
struct AppsPage {
    page: Page,
    notice: Option<Notice>,
    name: Field,
    search: String,
    apps: Vec<AppView>,
    paged: bool,
    /// The queries of the first page and the next.
    first: String,
    next: Option<String>,
}

impl AppsPage {
    /// Whether there is no app at all.
    fn is_first(&self) -> bool {
        self.apps.is_empty() && self.search.is_empty() && !self.paged
    }
}

/// Which apps are shown, as it is typed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Place {
    search: String,
    after: String,
}

/// The form of a new app.
#[derive(Debug, Deserialize)]
pub(super) struct NewApp {
    name: String,
    /// `token` for a person who came to create a token.
    #[serde(default)]
    then: String,
}

pub(super) async fn show(session: Session, place: Asked<Place>) -> Result<Response, Message> {
    apps_page(session, query(place), Field::default()).await
}

pub(super) async fn create(session: Session, sent: Sent<NewApp>) -> Result<Response, Message> {
    let sent = session.form(sent)?;
    // What was mistyped is not worth an event in the audit.
    if let Err(error) = normalize_name(&sent.name) {
        let mut name = Field::of(sent.name);
        name.blame(Some(error));
        return apps_page(session, Place::default(), name).await;
    }
    let app = session.tried(session.operator.create_app(None, &sent.name).await)?;
    Ok(match sent.then.as_str() {
        "token" => session.page.go_to(&format!("/new?app={}", app.id)),
        _ => session
            .page
            .go_to(&format!("/apps/{}?done=created", app.id)),
    })
}

async fn apps_page(session: Session, place: Place, name: Field) -> Result<Response, Message> {
    let search = place.search.trim_matches(' ').to_owned();
    let mut query = AppQuery::default().limit(APPS_OF_A_PAGE);
    if !place.after.is_empty() {
        let after = place.after.parse::<AppId>();
        query = query.after(after.map_err(|_| Message::no_such_page_of_apps(&session.page))?);
    }
    let mut wrong = None;
    if !search.is_empty() {
        wrong = check_name_part(&search).err();
        query = query.name(search.as_str());
    }
    let found = match wrong {
        None => session.tried(session.operator.list_apps(&query).await)?,
        Some(_) => tower_api_tokens::Page::empty(),
    };
    let (status, notice) = match wrong {
        _ if name.is_wrong() => {
            let says = "The app was not created.";
            let notice = Notice::new(Tone::Bad, says, "See what is marked below.");
            (StatusCode::UNPROCESSABLE_ENTITY, Some(notice))
        }
        Some(wrong) => {
            let says = sentence(&wrong.to_string());
            let notice = Notice::new(Tone::Bad, says, "");
            (StatusCode::BAD_REQUEST, Some(notice))
        }
        None => (StatusCode::OK, None),
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
