//! Requests to an app's page: show, disable and enable.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tower_api_tokens::{AppId, AppRecord};

use super::{
    app_page::app_page,
    lockout,
    message::Message,
    request::{self, Confirmation, Done, FormResult, PathResult, QueryResult, query_or_default},
    session::Session,
    view::{Field, Notice, Tone},
};

pub(super) async fn show(
    session: Session,
    id: PathResult,
    done: QueryResult<Done>,
) -> Result<Response, Message> {
    let app = find(&session, id).await?;
    let notice = match query_or_default(done).done.as_str() {
        "created" => Some(Notice::new(Tone::Good, "App created.", "")),
        "enabled" if app.disabled_at.is_none() => Some(Notice::new(
            Tone::Good,
            "App enabled.",
            "This app's tokens work again, except those that are revoked or expired.",
        )),
        "disabled" if app.disabled_at.is_some() => Some(Notice::new(
            Tone::Good,
            "App disabled.",
            "Requests with this app's tokens now fail. Other servers follow within 5 seconds \
             (default).",
        )),
        _ => None,
    };
    app_page(session, StatusCode::OK, &app, notice, Field::default()).await
}

pub(super) async fn disable(
    session: Session,
    id: PathResult,
    form: FormResult<Confirmation>,
) -> Result<Response, Message> {
    let form = session.read_form(form)?;
    let app = find(&session, id).await?;
    if let Err((notice, confirm)) = form.check(&app.name, "app", "disabled") {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return app_page(session, status, &app, Some(notice), confirm).await;
    }
    let app = session.or_error_page(session.operator.disable_app(&app.id).await)?;
    if session.operator.actor().own_app() == Some(app.id) {
        return Ok(lockout::after_disabling(&session, &app).into_response());
    }
    Ok(session
        .page
        .go_to(&format!("/apps/{}?done=disabled", app.id)))
}

pub(super) async fn enable(session: Session, id: PathResult) -> Result<Response, Message> {
    let app = find(&session, id).await?;
    session.or_error_page(session.operator.enable_app(&app.id).await)?;
    Ok(session
        .page
        .go_to(&format!("/apps/{}?done=enabled", app.id)))
}

async fn find(session: &Session, id: PathResult) -> Result<AppRecord, Message> {
    let id: AppId = request::parse_id(id).ok_or_else(|| Message::no_such_app(&session.page))?;
    session.or_error_page(session.operator.get_app(&id).await)
}
