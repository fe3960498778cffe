//! What can be done to a token on its page.

use std::time::Duration;

use axum::{
    Form,
    extract::{
        Path, Query, State,
        rejection::{FormRejection, PathRejection, QueryRejection},
    },
    response::Response,
};
use http::StatusCode;
use serde::Deserialize;

use super::{
    Settings,
    message::Message,
    reveal,
    session::Session,
    token_page::{Typed, token_page},
    view::{Field, Notice, Tone},
    words::{sentence, visible},
};
use crate::{
    admin::{OperationErrorKind, RequestKey},
    record::TokenRecord,
    token::TokenId,
    tokens::LifecycleErrorKind,
};

/// The token that a path names, as it is written there.
type Id = Result<Path<String>, PathRejection>;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct After {
    done: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Rename {
    name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Rotate {
    nonce: String,
    overlap: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Revoke {
    confirm: String,
}

pub(super) async fn show(
    session: Session,
    id: Id,
    after: Result<Query<After>, QueryRejection>,
) -> Result<Response, Message> {
    let token = find(&session, id).await?;
    let done = after.map(|Query(after)| after.done).unwrap_or_default();
    let notice = match done.as_str() {
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
    sent: Result<Form<Rename>, FormRejection>,
) -> Result<Response, Message> {
    let Form(sent) = sent.map_err(|error| Message::bad_form(&session.page, error.status()))?;
    let token = find(&session, id).await?;
    match session.operator.rename(token.id, &sent.name).await {
        Ok(token) => Ok(session
            .page
            .go_to(&format!("/token/{}?done=renamed", token.id))),
        Err(error)
            if error.kind() == OperationErrorKind::Lifecycle(LifecycleErrorKind::InvalidName) =>
        {
            let mut name = Field::of(sent.name);
            name.blame(Some(error));
            let typed = Typed {
                rename: Some(name),
                ..Typed::default()
            };
            token_page(session, StatusCode::UNPROCESSABLE_ENTITY, token, typed).await
        }
        Err(error) => Err(Message::of_error(&session.page, &error)),
    }
}

pub(super) async fn rotate(
    State(settings): State<Settings>,
    session: Session,
    id: Id,
    sent: Result<Form<Rotate>, FormRejection>,
) -> Result<Response, Message> {
    let Form(sent) = sent.map_err(|error| Message::bad_form(&session.page, error.status()))?;
    let key = RequestKey::new(&sent.nonce);
    let key = key.map_err(|_| Message::bad_form(&session.page, StatusCode::BAD_REQUEST))?;
    let token = find(&session, id).await?;
    let mut overlap = Field::of(sent.overlap);
    let Ok(overlap_length) = overlap.value.parse().map(Duration::from_secs) else {
        overlap.blame(Some("Choose one of these."));
        return refuse_rotation(session, token, overlap).await;
    };
    let rotated = session
        .operator
        .rotate(token.id, overlap_length, Some(&key))
        .await;
    match rotated {
        Ok(issued) => Ok(reveal::rotated(
            &session.page,
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
    sent: Result<Form<Revoke>, FormRejection>,
) -> Result<Response, Message> {
    let Form(sent) = sent.map_err(|error| Message::bad_form(&session.page, error.status()))?;
    let token = find(&session, id).await?;
    let typed = sent.confirm.trim();
    if typed != token.name && typed != visible(&token.name) {
        let mut revoke = Field::of(sent.confirm);
        revoke.blame(Some("This is not its name. Nothing was revoked."));
        let typed = Typed {
            revoke,
            ..Typed::default()
        };
        return token_page(session, StatusCode::UNPROCESSABLE_ENTITY, token, typed).await;
    }
    let token = session.tried(session.operator.revoke(token.id).await)?;
    Ok(session
        .page
        .go_to(&format!("/token/{}?done=revoked", token.id)))
}

async fn find(session: &Session, id: Id) -> Result<TokenRecord, Message> {
    let id = id.ok().and_then(|Path(id)| id.parse::<TokenId>().ok());
    let id = id.ok_or_else(|| Message::no_such_token(&session.page))?;
    session.tried(session.operator.get(id).await)
}

async fn refuse_rotation(
    session: Session,
    token: TokenRecord,
    overlap: Field,
) -> Result<Response, Message> {
    let says = sentence(&format!("it was not rotated: {}", overlap.error));
    let typed = Typed {
        notice: Some(Notice::new(Tone::Bad, says, "")),
        overlap: Some(overlap),
        ..Typed::default()
    };
    token_page(session, StatusCode::UNPROCESSABLE_ENTITY, token, typed).await
}
