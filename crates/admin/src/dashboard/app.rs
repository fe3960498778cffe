//! An app's own page.

use askama::Template;
use axum::{
    Form,
    extract::{
        Path, Query,
        rejection::{FormRejection, PathRejection, QueryRejection},
    },
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Deserialize;
use tower_api_tokens::{AppId, AppRecord};

use super::{
    lockout::{self, Warning},
    message::Message,
    names::is_typed,
    page::{Page, render},
    session::Session,
    view::{AppView, Field, Notice, Tone},
};

#[derive(Template)]
#[template(path = "app.html")]
struct AppPage {
    page: Page,
    notice: Option<Notice>,
    app: AppView,
    /// Why it should not be disabled by the person who looks at it.
    warning: Option<Warning>,
    confirm: Field,
}

/// The app that a path names, as it is written there.
type Id = Result<Path<String>, PathRejection>;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct After {
    done: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Disable {
    confirm: String,
}

pub(super) async fn show(
    session: Session,
    id: Id,
    after: Result<Query<After>, QueryRejection>,
) -> Result<Response, Message> {
    let app = find(&session, id).await?;
    let done = after.map(|Query(after)| after.done).unwrap_or_default();
    let notice = match done.as_str() {
        "created" => Some(Notice::new(Tone::Good, "App created.", "")),
        "enabled" if app.disabled_at.is_none() => Some(Notice::new(
            Tone::Good,
            "App enabled.",
            "Its tokens that are neither revoked nor expired work again.",
        )),
        "disabled" if app.disabled_at.is_some() => Some(Notice::new(
            Tone::Good,
            "App disabled.",
            "Every request with one of its tokens is refused: here from now on, and on other \
             nodes within the bound that they are set to, 5 seconds by default.",
        )),
        _ => None,
    };
    app_page(session, StatusCode::OK, &app, notice, Field::default())
}

pub(super) async fn disable(
    session: Session,
    id: Id,
    sent: Result<Form<Disable>, FormRejection>,
) -> Result<Response, Message> {
    let Form(sent) = sent.map_err(|error| Message::bad_form(&session.page, error.status()))?;
    let app = find(&session, id).await?;
    if !is_typed(&sent.confirm, &app.name) {
        let mut confirm = Field::of(sent.confirm);
        confirm.blame(Some("This is not its name. Nothing was disabled."));
        let says = "The app was not disabled.";
        let notice = Notice::new(Tone::Bad, says, "To confirm, type its name below.");
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return app_page(session, status, &app, Some(notice), confirm);
    }
    let app = session.tried(session.operator.disable_app(&app.id).await)?;
    if session.operator.actor().own_app() == Some(app.id) {
        return Ok(lockout::after_disabling(&session, &app).into_response());
    }
    Ok(session
        .page
        .go_to(&format!("/apps/{}?done=disabled", app.id)))
}

pub(super) async fn enable(session: Session, id: Id) -> Result<Response, Message> {
    let app = find(&session, id).await?;
    session.tried(session.operator.enable_app(&app.id).await)?;
    Ok(session
        .page
        .go_to(&format!("/apps/{}?done=enabled", app.id)))
}

async fn find(session: &Session, id: Id) -> Result<AppRecord, Message> {
    let id = id.ok().and_then(|Path(id)| id.parse::<AppId>().ok());
    let id = id.ok_or_else(|| Message::no_such_app(&session.page))?;
    session.tried(session.operator.get_app(&id).await)
}

fn app_page(
    session: Session,
    status: StatusCode,
    app: &AppRecord,
    notice: Option<Notice>,
    confirm: Field,
) -> Result<Response, Message> {
    let shown = AppPage {
        notice,
        warning: lockout::before_disabling(&session, app),
        app: AppView::new(app, session.page.now),
        confirm,
        page: session.page,
    };
    Ok(render(status, &shown))
}
