//! What can be done to a token on its page.

use std::time::Duration;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Deserialize;
use tower_api_tokens::{
    IdempotencyKey, LifecycleErrorKind, Rotation, TokenId, TokenRecord, normalize_name,
};

use super::{
    lockout,
    message::Message,
    request::{self, After, Asked, Confirmation, Id, Sent, query},
    reveal,
    session::Session,
    settings::Settings,
    token_page::{self, Typed, token_page},
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
    id: Id,
    after: Asked<After>,
) -> Result<Response, Message> {
    let token = find(&session, id).await?;
    let notice = match query(after).done.as_str() {
        "renamed" => Some(Notice::new(Tone::Good, "Renamed.", "")),
        "revoked" if token.revoked_at.is_some() => Some(Notice::new(
            Tone::Good,
            "Revoked.",
            "Every request with it is refused: here from now on, and on other nodes within the \
             bound that they are set to, 5 seconds by default.",
        )),
        _ => None,
    };
    let typed = Typed {
        notice,
        ..Typed::default()
    };
    token_page(session, StatusCode::OK, token, typed).await
}

pub(super) async fn rename(
    session: Session,
    id: Id,
    sent: Sent<Rename>,
) -> Result<Response, Message> {
    let sent = session.form(sent)?;
    let token = find(&session, id).await?;
    // What was mistyped is not worth an event in the audit.
    if let Err(error) = normalize_name(&sent.name) {
        let mut name = Field::of(sent.name);
        name.blame(Some(error));
        let says = "The token was not renamed.";
        let typed = Typed {
            notice: Some(Notice::new(Tone::Bad, says, "See what is marked below.")),
            rename: Some(name),
            ..Typed::default()
        };
        return token_page(session, StatusCode::UNPROCESSABLE_ENTITY, token, typed).await;
    }
    let token = session.tried(session.operator.rename(token.id, &sent.name).await)?;
    Ok(session
        .page
        .go_to(&format!("/token/{}?done=renamed", token.id)))
}

pub(super) async fn rotate(
    State(settings): State<Settings>,
    session: Session,
    id: Id,
    sent: Sent<Rotate>,
) -> Result<Response, Message> {
    let sent = session.form(sent)?;
    let key = IdempotencyKey::new(&sent.nonce);
    let key = key.map_err(|_| Message::bad_form(&session.page, StatusCode::BAD_REQUEST))?;
    let token = find(&session, id).await?;
    let mut overlap = Field::of(sent.overlap);
    let longest = session.operator.max_overlap();
    let overlap_length = overlap.value.parse().ok().map(Duration::from_secs);
    let Some(overlap_length) = overlap_length.filter(|length| *length <= longest) else {
        overlap.blame(Some("Choose one of these."));
        return refuse_rotation(session, token, overlap).await;
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
                return Err(Message::made_before(&session.page, before.token));
            }
            match error.kind() {
                OperationErrorKind::ScopeNotHeld
                | OperationErrorKind::Lifecycle(
                    LifecycleErrorKind::InvalidOverlap
                    | LifecycleErrorKind::Rotated
                    | LifecycleErrorKind::Revoked
                    | LifecycleErrorKind::Expired
                    | LifecycleErrorKind::AppDisabled,
                ) => {
                    overlap.blame(Some(error));
                    let token = session.tried(session.operator.get(token.id).await)?;
                    refuse_rotation(session, token, overlap).await
                }
                _ => Err(Message::of_error(&session.page, &error)),
            }
        }
    }
}

pub(super) async fn revoke(
    session: Session,
    id: Id,
    sent: Sent<Confirmation>,
) -> Result<Response, Message> {
    let sent = session.form(sent)?;
    let token = find(&session, id).await?;
    if let Err((notice, revoke)) = sent.check(&token.name, "token", "revoked") {
        let typed = Typed {
            notice: Some(notice),
            revoke,
            ..Typed::default()
        };
        return token_page(session, StatusCode::UNPROCESSABLE_ENTITY, token, typed).await;
    }
    let token = session.tried(session.operator.revoke(token.id).await)?;
    if lockout::is_own(&session, &token) {
        return Ok(lockout::after_revoking(&session, &token).into_response());
    }
    Ok(session
        .page
        .go_to(&format!("/token/{}?done=revoked", token.id)))
}

async fn find(session: &Session, id: Id) -> Result<TokenRecord, Message> {
    let id: TokenId = request::id(id).ok_or_else(|| Message::no_such_token(&session.page))?;
    session.tried(session.operator.get(id).await)
}

async fn refuse_rotation(
    session: Session,
    token: TokenRecord,
    overlap: Field,
) -> Result<Response, Message> {
    // The reason stands at the field, if that is there.
    let more = match token_page::can_rotate(&token, session.page.now) {
        true => "See what is marked below.",
        false => overlap.error.as_str(),
    };
    let typed = Typed {
        notice: Some(Notice::new(Tone::Bad, "It was not rotated.", more)),
        overlap: Some(overlap),
        ..Typed::default()
    };
    token_page(session, StatusCode::UNPROCESSABLE_ENTITY, token, typed).await
}
