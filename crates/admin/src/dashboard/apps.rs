//! The list of apps, and the form for a new one.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use tower_api_tokens::{AppId, AppQuery, AppRecord, AuditAction, check_name_part};

use super::{
    csv::{self, File},
    errors::{self, FIX_FIELDS, INVALID_SEARCH},
    lines,
    message::Message,
    page::{Page, render},
    pager::{Listing, Pager, Place},
    request::{FormResult, QueryResult, query_or_default},
    session::Session,
    total::{COUNTED_AT_ONCE, Total},
    view::{AppView, Field, Notice, Tone},
};
use crate::operations::Operator;

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
    pager: Pager,
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
pub(super) struct Search {
    search: String,
    after: String,
    back: String,
    count: String,
    /// The identifier of the app that was just deleted.
    deleted: String,
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
    listing: QueryResult<Search>,
) -> Result<Response, Message> {
    if let Some(app) = session.page.only_app() {
        return Ok(session.page.go_to(&format!("/apps/{app}")));
    }
    apps_page(session, query_or_default(listing), Field::default()).await
}

pub(super) async fn create(
    session: Session,
    form: FormResult<NewApp>,
) -> Result<Response, Message> {
    let form = session.read_form(form)?;
    session.require(AuditAction::CreateApp).await?;
    // Checked here, so that a typing error leaves no audit event.
    let mut field = Field::with_value(form.name);
    let Some(name) = field.read(lines::read_name) else {
        return apps_page(session, Search::default(), field).await;
    };
    let app = session.or_error_page(session.operator.create_app(name.as_str()).await)?;
    Ok(match form.then.as_str() {
        "token" => session.page.go_to(&format!("/new?app={}", app.id)),
        _ => session
            .page
            .go_to(&format!("/apps/{}?done=created", app.id)),
    })
}

async fn apps_page(session: Session, listing: Search, name: Field) -> Result<Response, Message> {
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
    let place = Place {
        after: &listing.after,
        back: &listing.back,
        count: &listing.count,
    };
    let counted = match place.counts() && search_is_valid {
        true => count(&session.operator, &query).await,
        false => None,
    };
    let (status, notice) = if name.has_error() {
        let notice = Notice::new(Tone::Bad, "App not created.", FIX_FIELDS);
        (StatusCode::UNPROCESSABLE_ENTITY, Some(notice))
    } else if !search_is_valid {
        let notice = Notice::new(Tone::Bad, INVALID_SEARCH, "");
        (StatusCode::BAD_REQUEST, Some(notice))
    } else {
        let is_deleted = is_deleted(&session, &listing.deleted).await;
        let deleted = is_deleted.then(|| Notice::new(Tone::Good, "App deleted.", ""));
        (StatusCode::OK, deleted)
    };
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
        pager: Listing {
            path: &page.link("/apps"),
            export: page.link("/apps.csv"),
            filter: &[("search", &search)],
            place,
            noun: "app",
        }
        .pager(
            found.next.map(|after| after.to_string()),
            Total::of_page(&found),
            counted,
        ),
        search,
        page,
    };
    Ok(render(status, &shown))
}

/// Returns whether there is no app with this identifier.
async fn is_deleted(session: &Session, id: &str) -> bool {
    let Ok(id) = id.parse::<AppId>() else {
        return false;
    };
    let found = session.operator.get_app(&id).await;
    found.is_err_and(|error| errors::is_unknown_app(&error))
}

/// Returns the list as CSV.
pub(super) async fn export(
    session: Session,
    search: QueryResult<Search>,
) -> Result<Response, Message> {
    let search = query_or_default(search).search;
    let search = search.trim_matches(' ');
    let mut query = AppQuery::default().limit(csv::READ_AT_ONCE);
    if !search.is_empty() {
        check_name_part(search).map_err(|_| Message::invalid_filter(&session.page))?;
        query = query.name(search);
    }
    let file = File {
        name: "apps.csv",
        columns: &["id", "name", "status", "created_at", "disabled_at"],
    };
    let operator = session.operator.clone();
    let download = file.download(move |after: Option<AppId>| {
        let (operator, query) = (operator.clone(), query.clone());
        async move {
            let page = operator.list_apps(&query.after(after)).await?;
            Ok(csv::Rows::new(
                page.items.iter().map(row).collect(),
                page.next,
            ))
        }
    });
    session.or_error_page(download.await)
}

fn row(app: &AppRecord) -> Vec<String> {
    let status = match app.disabled_at {
        None => "enabled",
        Some(_) => "disabled",
    };
    vec![
        app.id.to_string(),
        app.name.clone(),
        status.to_owned(),
        app.created_at.to_string(),
        csv::optional(app.disabled_at),
    ]
}

async fn count(operator: &Operator, query: &AppQuery) -> Option<Total> {
    let query = query.clone().after(None).limit(COUNTED_AT_ONCE);
    let counted = Total::count(|after: Option<AppId>| {
        let query = query.clone().after(after);
        async move {
            let page = operator.list_apps(&query).await?;
            Ok((page.items.len(), page.next))
        }
    });
    counted.await
}
