//! The apps that tokens belong to.

use askama::Template;
use axum::{
    Form,
    extract::{
        Path, Query,
        rejection::{FormRejection, PathRejection, QueryRejection},
    },
    response::Response,
};
use http::StatusCode;
use serde::Deserialize;

use super::{
    message::Message,
    page::{Page, render},
    session::Session,
    view::{AppView, Field, Notice, Tone},
};
use crate::{admin::OperationErrorKind, app::AppId, store::AppQuery, tokens::LifecycleErrorKind};

/// How many apps a page shows.
const APPS_OF_A_PAGE: usize = 50;

#[derive(Template)]
#[template(path = "apps.html")]
struct AppsPage {
    page: Page,
    notice: Option<Notice>,
    name: Field,
    apps: Vec<AppView>,
    paged: bool,
    next: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Place {
    after: String,
    done: String,
}

/// The app that a path names, as it is written there.
type Id = Result<Path<String>, PathRejection>;

/// The form of a new app.
#[derive(Debug, Deserialize)]
pub(super) struct NewApp {
    name: String,
    /// `token` for whoever came to create a token.
    #[serde(default)]
    then: String,
}

pub(super) async fn show(
    session: Session,
    place: Result<Query<Place>, QueryRejection>,
) -> Result<Response, Message> {
    let place = place.map_or_else(|_| Place::default(), |Query(place)| place);
    let notice = match place.done.as_str() {
        "created" => Some(Notice::new(Tone::Good, "App created.", "")),
        "enabled" => Some(Notice::new(
            Tone::Good,
            "App enabled.",
            "Its tokens that are neither revoked nor expired work again.",
        )),
        "disabled" => Some(Notice::new(
            Tone::Good,
            "App disabled.",
            "Every request with one of its tokens is refused: here from now on, and on other \
             nodes within the bound that they are set to, 5 seconds by default.",
        )),
        _ => None,
    };
    apps_page(
        session,
        StatusCode::OK,
        &place.after,
        notice,
        Field::default(),
    )
    .await
}

pub(super) async fn create(
    session: Session,
    sent: Result<Form<NewApp>, FormRejection>,
) -> Result<Response, Message> {
    let Form(sent) = sent.map_err(|error| Message::bad_form(&session.page, error.status()))?;
    match session.operator.create_app(None, &sent.name).await {
        Ok(app) if sent.then == "token" => Ok(session.page.go_to(&format!("/new?app={}", app.id))),
        Ok(_) => Ok(session.page.go_to("/apps?done=created")),
        Err(error)
            if error.kind() == OperationErrorKind::Lifecycle(LifecycleErrorKind::InvalidName) =>
        {
            let mut name = Field::of(sent.name);
            name.blame(Some(error));
            apps_page(session, StatusCode::UNPROCESSABLE_ENTITY, "", None, name).await
        }
        Err(error) => Err(Message::of_error(&session.page, &error)),
    }
}

pub(super) async fn disable(session: Session, id: Id) -> Result<Response, Message> {
    let id = read(&session, id)?;
    session.tried(session.operator.disable_app(&id).await)?;
    Ok(session.page.go_to("/apps?done=disabled"))
}

pub(super) async fn enable(session: Session, id: Id) -> Result<Response, Message> {
    let id = read(&session, id)?;
    session.tried(session.operator.enable_app(&id).await)?;
    Ok(session.page.go_to("/apps?done=enabled"))
}

fn read(session: &Session, id: Id) -> Result<AppId, Message> {
    let id = id.ok().and_then(|Path(id)| id.parse().ok());
    id.ok_or_else(|| Message::no_such_app(&session.page))
}

async fn apps_page(
    session: Session,
    status: StatusCode,
    after: &str,
    notice: Option<Notice>,
    name: Field,
) -> Result<Response, Message> {
    let mut query = AppQuery::default().limit(APPS_OF_A_PAGE);
    if !after.is_empty() {
        let after = after.parse();
        query = query.after(after.map_err(|_| Message::no_such_page_of_apps(&session.page))?);
    }
    let found = session.tried(session.operator.list_apps(&query).await)?;
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
        next: found.next.map(|after| after.to_string()),
        page,
    };
    Ok(render(status, &shown))
}
