//! The page of a token.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use jiff::Timestamp;
use tower_api_tokens::{
    AuditAction, AuditOutcome, AuditQuery, TokenQuery, TokenRecord, TokenStatus,
};

use super::{
    event::EventView,
    lockout::{self, Warning},
    message::Message,
    page::{Page, render},
    session::Session,
    usage,
    view::{Field, Notice, ScopesView, TokenView},
};
use crate::operations::Operator;

/// How many of a token's events its page shows.
const MAX_EVENTS: usize = 20;

/// The overlaps to choose from, in seconds.
const OVERLAPS: &[(u64, &str)] = &[
    (0, "Revoke immediately"),
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
    /// Whether a rotated token is still in use.
    usage: Option<Notice>,
    token: TokenView,
    scopes: ScopesView,
    successor: Option<TokenLink>,
    predecessor: Option<TokenLink>,
    rotation: Option<RotationForm>,
    rename: Field,
    revoke: Option<Field>,
    /// Set if revoking the token locks out the signed-in operator.
    warning: Option<Warning>,
    /// The latest events, or `None` if they could not be read.
    events: Option<Vec<EventView>>,
    more_events: bool,
}

/// A link to another token.
struct TokenLink {
    id: String,
    mask: String,
}

impl TokenLink {
    fn to(token: &TokenRecord) -> Self {
        Self {
            id: token.id.to_string(),
            mask: token.mask.to_string(),
        }
    }
}

struct RotationForm {
    nonce: String,
    overlap: Field,
    overlaps: Vec<(String, &'static str)>,
}

/// A notice, and the forms as they were submitted, with their errors.
#[derive(Default)]
pub(super) struct Submitted {
    pub(super) notice: Option<Notice>,
    pub(super) rename: Option<Field>,
    pub(super) overlap: Option<Field>,
    pub(super) revoke: Field,
}

/// Renders the page of a token, with its forms as they were submitted.
pub(super) async fn token_page(
    session: Session,
    status: StatusCode,
    token: TokenRecord,
    submitted: Submitted,
) -> Result<Response, Message> {
    let Session { page, operator } = &session;
    let now = page.now;
    let successor = match token.successor {
        Some(successor) => operator.get(successor).await.ok(),
        None => None,
    };
    let usage = successor
        .as_ref()
        .and_then(|successor| usage::notice_for_rotated(&token, successor.created_at, now));
    let predecessor = predecessor_of(operator, &token).await;
    let history = History::load(operator, &token, predecessor.as_ref(), now).await;
    let rotation = if can_rotate(&token, now) {
        Some(RotationForm::new(&session, submitted.overlap)?)
    } else {
        None
    };
    let shown = TokenPage {
        notice: submitted.notice,
        usage,
        scopes: ScopesView::all(&token.scopes),
        successor: successor.as_ref().map(TokenLink::to),
        predecessor: predecessor.as_ref().map(TokenLink::to),
        rotation,
        rename: submitted
            .rename
            .unwrap_or_else(|| Field::with_value(&token.name)),
        revoke: token.revoked_at.is_none().then_some(submitted.revoke),
        warning: lockout::before_revoking(&session, &token),
        more_events: history.more,
        events: history.events,
        token: TokenView::new(&token, now).with_format(operator.formats(), &token),
        page: session.page,
    };
    Ok(render(status, &shown))
}

/// Returns whether a token can be rotated now.
pub(super) fn can_rotate(token: &TokenRecord, now: Timestamp) -> bool {
    token.status(now) == TokenStatus::Live && token.successor.is_none()
}

/// Returns the token that this one replaced. Returns `None` if it was purged or cannot be read.
async fn predecessor_of(operator: &Operator, token: &TokenRecord) -> Option<TokenRecord> {
    let query = TokenQuery::default()
        .app(token.app.id)
        .replaced_by(token.id)
        .limit(1);
    let found = operator.list(&query).await.ok()?.items.pop()?;
    (found.successor == Some(token.id)).then_some(found)
}

/// The history of a token.
struct History {
    /// The latest events, or `None` if they could not be read.
    events: Option<Vec<EventView>>,
    /// Whether there are older events.
    more: bool,
}

impl History {
    async fn load(
        operator: &Operator,
        token: &TokenRecord,
        predecessor: Option<&TokenRecord>,
        now: Timestamp,
    ) -> Self {
        let about = |token: &TokenRecord| AuditQuery::default().token(token.id);
        let query = about(token).limit(MAX_EVENTS);
        let Ok(page) = operator.events(&query).await else {
            return Self {
                events: None,
                more: false,
            };
        };
        let history = page
            .items
            .iter()
            .filter(|event| EventView::is_history(event));
        let mut events: Vec<_> = history.map(|event| EventView::new(event, now)).collect();
        let more = page.next.is_some();
        // The event that created this token is the rotation of the old one.
        if let (Some(old), false) = (predecessor, more) {
            let rotations = operator.events(&about(old)).await.ok();
            let rotations = rotations.map(|page| page.items).unwrap_or_default();
            let rotation = rotations.iter().find(|event| {
                event.action == AuditAction::RotateToken && event.outcome == AuditOutcome::Done
            });
            events.extend(rotation.map(|event| EventView::of_origin(event, &old.mask, now)));
        }
        Self {
            events: Some(events),
            more,
        }
    }
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
            nonce: session.or_error_page(session.operator.new_key())?,
            overlap: overlap.unwrap_or_else(|| {
                Field::with_value(preset.map_or(0, |(seconds, _)| *seconds).to_string())
            }),
            overlaps: offered
                .iter()
                .map(|(seconds, label)| (seconds.to_string(), *label))
                .collect(),
        })
    }
}
