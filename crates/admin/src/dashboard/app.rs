//! An app's own page.

use askama::Template;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tower_api_tokens::{AppId, AppRecord};

use super::{
    lockout::{self, Warning},
    message::Message,
    page::{Page, render},
    request::{self, After, Asked, Confirmation, Id, Sent, query},
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

pub(super) async fn show(
    session: Session,
    id: Id,
    after: Asked<After>,
) -> Result<Response, Message> {
    let app = find(&session, id).await?;
    let notice = match query(after).done.as_str() {
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
    sent: Sent<Confirmation>,
) -> Result<Response, Message> {
    let sent = session.form(sent)?;
    let app = find(&session, id).await?;
    if let Err((notice, confirm)) = sent.check(&app.name, "app", "disabled") {
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
    let id: AppId = request::id(id).ok_or_else(|| Message::no_such_app(&session.page))?;
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
