//! A token's own page.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use super::{
    event::EventView,
    message::Message,
    page::{Page, render},
    session::Session,
    usage,
    view::{Field, Notice, ScopesView, TokenView},
};
use crate::{
    record::{TokenRecord, TokenStatus},
    store::AuditQuery,
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
pub(super) struct Typed {
    pub(super) notice: Option<Notice>,
    pub(super) rename: Option<Field>,
    pub(super) overlap: Option<Field>,
    pub(super) revoke: Field,
}

/// Shows a token, with what was typed into its forms.
pub(super) async fn token_page(
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
