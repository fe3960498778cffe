//! Requests to an app's page: show, disable, enable and delete.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tower_api_tokens::{AppId, AppRecord, AuditAction};

use super::{
    app_page::{Submitted, app_page},
    errors, lockout,
    message::Message,
    request::{self, Confirmation, Done, FormResult, PathResult, QueryResult, query_or_default},
    session::Session,
    view::{Notice, Tone},
};

pub(super) async fn show(
    session: Session,
    id: PathResult,
    done: QueryResult<Done>,
) -> Result<Response, Message> {
    let app = find(&session, &id).await?;
    let notice = match query_or_default(done).done.as_str() {
        "edited" => Some(Notice::new(
            Tone::Good,
            "App saved.",
            "The change applies now. Other servers follow within 5 seconds (default).",
        )),
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
    let submitted = Submitted {
        notice,
        ..Submitted::default()
    };
    app_page(session, StatusCode::OK, &app, submitted).await
}

pub(super) async fn disable(
    session: Session,
    id: PathResult,
    form: FormResult<Confirmation>,
) -> Result<Response, Message> {
    let form = session.read_form(form)?;
    let app = find(&session, &id).await?;
    session.require(AuditAction::DisableApp).await?;
    if let Err((notice, disable)) = form.check(&app.name, "app", "disabled") {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        let submitted = Submitted {
            notice: Some(notice),
            disable,
            ..Submitted::default()
        };
        return app_page(session, status, &app, submitted).await;
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
    let app = find(&session, &id).await?;
    session.or_error_page(session.operator.enable_app(&app.id).await)?;
    Ok(session
        .page
        .go_to(&format!("/apps/{}?done=enabled", app.id)))
}

pub(super) async fn delete(
    session: Session,
    id: PathResult,
    form: FormResult<Confirmation>,
) -> Result<Response, Message> {
    let form = session.read_form(form)?;
    let app = find(&session, &id).await?;
    session.require(AuditAction::DeleteApp).await?;
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    if let Err((notice, delete)) = form.check(&app.name, "app", "deleted") {
        let submitted = Submitted {
            notice: Some(notice),
            delete,
            ..Submitted::default()
        };
        return app_page(session, unprocessable, &app, submitted).await;
    }
    match session.operator.delete_app(&app.id).await {
        Ok(app) => Ok(session.page.go_to(&format!("/apps?deleted={}", app.id))),
        Err(error) => {
            let Some(in_use) = error.app_in_use() else {
                return Err(Message::from_error(&session.page, &error));
            };
            let (title, detail) = errors::app_in_use(in_use.live);
            let submitted = Submitted {
                notice: Some(Notice::new(Tone::Bad, title, detail)),
                ..Submitted::default()
            };
            app_page(session, StatusCode::CONFLICT, &app, submitted).await
        }
    }
}

pub(super) async fn find(session: &Session, id: &PathResult) -> Result<AppRecord, Message> {
    let id: AppId = request::parse_id(id).ok_or_else(|| Message::no_such_app(&session.page))?;
    session.or_error_page(session.operator.get_app(&id).await)
}
