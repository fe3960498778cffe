//! Requests to a token's page: show, rename, suspend, resume, rotate and revoke.

use std::time::Duration;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Deserialize;
use tower_api_tokens::{
    AuditAction, IdempotencyKey, LifecycleErrorKind, Rotation, TokenId, TokenRecord, TokenStatus,
};

use super::{
    errors::{self, CHOOSE_OPTION, FIX_FIELDS},
    lines, lockout,
    message::Message,
    request::{self, Confirmation, Done, FormResult, PathResult, QueryResult, query_or_default},
    reveal,
    session::Session,
    settings::Settings,
    token_page::{self, Submitted, token_page},
    view::{Field, Notice, Tone},
};
use crate::operations::OperationErrorKind;

#[derive(Debug, Deserialize)]
pub(super) struct Rename {
    name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Rotate {
    nonce: String,
    overlap: String,
}

pub(super) async fn show(
    session: Session,
    id: PathResult,
    done: QueryResult<Done>,
) -> Result<Response, Message> {
    let token = find(&session, &id).await?;
    let notice = match query_or_default(done).done.as_str() {
        "renamed" => Some(Notice::new(Tone::Good, "Token renamed.", "")),
        "edited" => Some(Notice::new(
            Tone::Good,
            "Token saved.",
            "The change applies now. Other servers follow within 5 seconds (default).",
        )),
        "suspended" if token.suspended_at().is_some() => Some(Notice::new(
            Tone::Good,
            "Token suspended.",
            "Requests with this token now fail. Other servers follow within 5 seconds (default).",
        )),
        "resumed" if token.suspended_at().is_none() => Some(Notice::new(
            Tone::Good,
            "Token resumed.",
            match token.status(session.page.now) {
                TokenStatus::Live => "Requests with this token work again.",
                _ => "It isn't suspended any more.",
            },
        )),
        "revoked" if token.revoked_at.is_some() => Some(Notice::new(
            Tone::Good,
            "Token revoked.",
            "Requests with this token now fail. Other servers follow within 5 seconds (default).",
        )),
        _ => None,
    };
    let submitted = Submitted {
        notice,
        ..Submitted::default()
    };
    token_page(session, StatusCode::OK, token, submitted).await
}

pub(super) async fn rename(
    session: Session,
    id: PathResult,
    form: FormResult<Rename>,
) -> Result<Response, Message> {
    let form = session.read_form(form)?;
    let token = find(&session, &id).await?;
    session.require(AuditAction::RenameToken).await?;
    // Checked here, so that a typing error leaves no audit event.
    let mut field = Field::with_value(form.name);
    let Some(name) = field.read(lines::read_name) else {
        let submitted = Submitted {
            notice: Some(Notice::new(Tone::Bad, "Token not renamed.", FIX_FIELDS)),
            rename: Some(field),
            ..Submitted::default()
        };
        return token_page(session, StatusCode::UNPROCESSABLE_ENTITY, token, submitted).await;
    };
    let token = session.or_error_page(session.operator.rename(token.id, &name).await)?;
    Ok(session
        .page
        .go_to(&format!("/token/{}?done=renamed", token.id)))
}

pub(super) async fn suspend(session: Session, id: PathResult) -> Result<Response, Message> {
    let token = find(&session, &id).await?;
    let token = session.or_error_page(session.operator.suspend(token.id).await)?;
    if lockout::is_own(&session, &token) {
        return Ok(lockout::after_suspending(&session, &token).into_response());
    }
    Ok(session
        .page
        .go_to(&format!("/token/{}?done=suspended", token.id)))
}

pub(super) async fn resume(session: Session, id: PathResult) -> Result<Response, Message> {
    let token = find(&session, &id).await?;
    let token = session.or_error_page(session.operator.resume(token.id).await)?;
    Ok(session
        .page
        .go_to(&format!("/token/{}?done=resumed", token.id)))
}

pub(super) async fn rotate(
    State(settings): State<Settings>,
    session: Session,
    id: PathResult,
    form: FormResult<Rotate>,
) -> Result<Response, Message> {
    let form = session.read_form(form)?;
    let key = IdempotencyKey::new(&form.nonce);
    let key = key.map_err(|_| Message::bad_form(&session.page, StatusCode::BAD_REQUEST))?;
    let token = find(&session, &id).await?;
    session.require(AuditAction::RotateToken).await?;
    let mut overlap = Field::with_value(form.overlap);
    let longest = session.operator.max_overlap();
    let overlap_length = overlap.value.parse().ok().map(Duration::from_secs);
    let Some(overlap_length) = overlap_length.filter(|length| *length <= longest) else {
        overlap.set_error(CHOOSE_OPTION);
        return rotation_failed(session, token, overlap).await;
    };
    let rotation = Rotation::new(overlap_length).idempotency_key(key);
    let rotated = session.operator.rotate(token.id, rotation).await;
    match rotated {
        Ok(issued) => Ok(reveal::rotated(
            &session,
            &settings,
            &issued,
            &token,
            overlap_length,
        )),
        Err(error) => {
            if let Some(before) = error.repeated() {
                return Err(Message::already_created(&session.page, before.token));
            }
            if let Some((title, detail)) = errors::rotation_state(&error) {
                let token = session.or_error_page(session.operator.get(token.id).await)?;
                let submitted = Submitted {
                    notice: Some(Notice::new(Tone::Bad, title, detail)),
                    ..Submitted::default()
                };
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                return token_page(session, status, token, submitted).await;
            }
            match error.kind() {
                OperationErrorKind::ScopeNotHeld
                | OperationErrorKind::ExpiryNotHeld
                | OperationErrorKind::NetworksNotHeld
                | OperationErrorKind::Lifecycle(LifecycleErrorKind::InvalidOverlap) => {
                    overlap.set_error(errors::in_change(&error));
                    rotation_failed(session, token, overlap).await
                }
                _ => Err(Message::from_error(&session.page, &error)),
            }
        }
    }
}

pub(super) async fn revoke(
    session: Session,
    id: PathResult,
    form: FormResult<Confirmation>,
) -> Result<Response, Message> {
    let form = session.read_form(form)?;
    let token = find(&session, &id).await?;
    session.require(AuditAction::RevokeToken).await?;
    if let Err((notice, revoke)) = form.check(&token.name, "token", "revoked") {
        let submitted = Submitted {
            notice: Some(notice),
            revoke,
            ..Submitted::default()
        };
        return token_page(session, StatusCode::UNPROCESSABLE_ENTITY, token, submitted).await;
    }
    let token = session.or_error_page(session.operator.revoke(token.id).await)?;
    if lockout::is_own(&session, &token) {
        return Ok(lockout::after_revoking(&session, &token).into_response());
    }
    Ok(session
        .page
        .go_to(&format!("/token/{}?done=revoked", token.id)))
}

pub(super) async fn find(session: &Session, id: &PathResult) -> Result<TokenRecord, Message> {
    let id: TokenId = request::parse_id(id).ok_or_else(|| Message::no_such_token(&session.page))?;
    session.or_error_page(session.operator.get(id).await)
}

/// Shows the page of a token that was not rotated, with the error at the field.
async fn rotation_failed(
    session: Session,
    token: TokenRecord,
    overlap: Field,
) -> Result<Response, Message> {
    // A token that cannot be rotated has no form that shows the error.
    let detail = match token_page::can_rotate(&token, session.page.now) {
        true => FIX_FIELDS,
        false => overlap.error.as_str(),
    };
    let submitted = Submitted {
        notice: Some(Notice::new(Tone::Bad, "Token not rotated.", detail)),
        overlap: Some(overlap),
        ..Submitted::default()
    };
    token_page(session, StatusCode::UNPROCESSABLE_ENTITY, token, submitted).await
}
