//! A token's own page, and what can be done to it there.

use std::time::Duration;

use askama::Template;
use axum::{
    Form,
    extract::{Path, Query, State, rejection::FormRejection},
    response::Response,
};
use http::StatusCode;
use serde::Deserialize;

use super::{
    Settings,
    event::EventView,
    message::Message,
    page::{Page, render},
    reveal,
    session::Session,
    usage,
    view::{Field, Notice, ScopesView, TokenView, Tone},
    words::{sentence, visible},
};
use crate::{
    admin::{OperationErrorKind, RequestKey},
    record::{TokenRecord, TokenStatus},
    store::AuditQuery,
    token::TokenId,
    tokens::LifecycleErrorKind,
};

/// How many of a token's events its page shows.
const EVENTS_OF_A_PAGE: usize = 20;

/// For how long a rotated token may live on, in seconds.
const OVERLAPS: &[(u64, &str)] = &[
    (0, "Not at all"),
    (3_600, "1 hour"),
    (86_400, "1 day"),
    (7 * 86_400, "7 days"),
    (30 * 86_400, "30 days"),
];

#[derive(Template)]
#[template(path = "token.html")]
struct TokenPage {
    page: Page,
    notice: Option<Notice>,
    /// Whether a token that was rotated is still in use.
    verdict: Option<Notice>,
    token: TokenView,
    scopes: ScopesView,
    successor: Option<Successor>,
    rotation: Option<RotationForm>,
    rename: Field,
    revoke: Option<Field>,
    /// The latest events; none where they could not be read.
    events: Option<Vec<EventView>>,
    more_events: bool,
}

struct Successor {
    id: String,
    mask: String,
}

struct RotationForm {
    nonce: String,
    overlap: Field,
    overlaps: Vec<(String, &'static str)>,
}

/// What was typed into the page's forms, and what is wrong with it.
#[derive(Default)]
struct Typed {
    notice: Option<Notice>,
    rename: Option<Field>,
    overlap: Option<Field>,
    revoke: Field,
}

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
    Path(id): Path<String>,
    Query(after): Query<After>,
) -> Result<Response, Message> {
    let token = find(&session, &id).await?;
    let notice = match after.done.as_str() {
        "renamed" => Some(Notice::new(Tone::Good, "Renamed.", "")),
        "revoked" if token.revoked_at.is_some() => Some(Notice::new(
            Tone::Good,
            "Revoked.",
            "Every request with it is refused from now on.",
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
    Path(id): Path<String>,
    sent: Result<Form<Rename>, FormRejection>,
) -> Result<Response, Message> {
    let Form(sent) = sent.map_err(|error| Message::bad_form(&session.page, error.status()))?;
    let token = find(&session, &id).await?;
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
    Path(id): Path<String>,
    sent: Result<Form<Rotate>, FormRejection>,
) -> Result<Response, Message> {
    let Form(sent) = sent.map_err(|error| Message::bad_form(&session.page, error.status()))?;
    let key = RequestKey::new(&sent.nonce);
    let key = key.map_err(|_| Message::bad_form(&session.page, StatusCode::BAD_REQUEST))?;
    let token = find(&session, &id).await?;
    let mut overlap = Field::of(sent.overlap);
    let Ok(seconds) = overlap.value.parse() else {
        overlap.blame(Some("Choose one of these."));
        return refuse_rotation(session, token, overlap).await;
    };
    let rotated = session
        .operator
        .rotate(token.id, Duration::from_secs(seconds), Some(&key))
        .await;
    match rotated {
        Ok(issued) => {
            // What the page says of the old token is worth less than showing the new one.
            let old = session.operator.get(token.id).await.unwrap_or(token);
            Ok(reveal::rotated(&session.page, &settings, &issued, &old))
        }
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
                    let token = find(&session, &id).await?;
                    refuse_rotation(session, token, overlap).await
                }
                _ => Err(Message::of_error(&session.page, &error)),
            }
        }
    }
}

pub(super) async fn revoke(
    session: Session,
    Path(id): Path<String>,
    sent: Result<Form<Revoke>, FormRejection>,
) -> Result<Response, Message> {
    let Form(sent) = sent.map_err(|error| Message::bad_form(&session.page, error.status()))?;
    let token = find(&session, &id).await?;
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

async fn find(session: &Session, id: &str) -> Result<TokenRecord, Message> {
    let Ok(id) = id.parse::<TokenId>() else {
        return Err(Message::no_such_token(&session.page));
    };
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

async fn token_page(
    session: Session,
    status: StatusCode,
    token: TokenRecord,
    typed: Typed,
) -> Result<Response, Message> {
    let Session { page, operator } = &session;
    let now = page.now;
    let successor = match token.successor {
        Some(successor) => operator.get(successor).await.ok(),
        None => None,
    };
    let verdict = successor
        .as_ref()
        .and_then(|successor| usage::of_rotated(&token, successor.created_at, now));
    let about = AuditQuery::default()
        .token(token.id)
        .limit(EVENTS_OF_A_PAGE);
    let events = operator.events(&about).await.ok();
    let is_live = token.status(now) == TokenStatus::Live;
    let rotation = if is_live && token.successor.is_none() {
        Some(RotationForm::new(&session, typed.overlap)?)
    } else {
        None
    };
    let shown = TokenPage {
        notice: typed.notice,
        verdict,
        scopes: ScopesView::all(&token.scopes),
        successor: successor.map(|successor| Successor {
            id: successor.id.to_string(),
            mask: successor.mask.to_string(),
        }),
        rotation,
        rename: typed.rename.unwrap_or_else(|| Field::of(&token.name)),
        revoke: token.revoked_at.is_none().then_some(typed.revoke),
        more_events: events.as_ref().is_some_and(|events| events.next.is_some()),
        events: events.map(|events| {
            let events = events.items.iter();
            events.map(|event| EventView::new(event, now)).collect()
        }),
        token: TokenView::new(&token, now),
        page: session.page,
    };
    Ok(render(status, &shown))
}

impl RotationForm {
    fn new(session: &Session, overlap: Option<Field>) -> Result<Self, Message> {
        let longest = session.operator.max_overlap().as_secs();
        let offered: Vec<_> = OVERLAPS
            .iter()
            .filter(|(seconds, _)| *seconds <= longest)
            .collect();
        let preset = offered
            .iter()
            .rev()
            .find(|(seconds, _)| *seconds <= 7 * 86_400);
        Ok(Self {
            nonce: session.tried(session.operator.new_key())?,
            overlap: overlap.unwrap_or_else(|| {
                Field::of(preset.map_or(0, |(seconds, _)| *seconds).to_string())
            }),
            overlaps: offered
                .iter()
                .map(|(seconds, label)| (seconds.to_string(), *label))
                .collect(),
        })
    }
}
