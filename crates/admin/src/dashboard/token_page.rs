//! A token's own page.

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
    successor: Option<Linked>,
    predecessor: Option<Linked>,
    rotation: Option<RotationForm>,
    rename: Field,
    revoke: Option<Field>,
    /// Why it should not be revoked by the person who looks at it.
    warning: Option<Warning>,
    /// The latest events; none where they could not be read.
    events: Option<Vec<EventView>>,
    more_events: bool,
}

/// Another token, to which the page leads.
struct Linked {
    id: String,
    mask: String,
}

impl Linked {
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
    let predecessor = predecessor_of(operator, &token).await;
    let history = History::load(operator, &token, predecessor.as_ref(), now).await;
    let rotation = if can_rotate(&token, now) {
        Some(RotationForm::new(&session, typed.overlap)?)
    } else {
        None
    };
    let shown = TokenPage {
        notice: typed.notice,
        verdict,
        scopes: ScopesView::all(&token.scopes),
        successor: successor.as_ref().map(Linked::to),
        predecessor: predecessor.as_ref().map(Linked::to),
        rotation,
        rename: typed.rename.unwrap_or_else(|| Field::of(&token.name)),
        revoke: token.revoked_at.is_none().then_some(typed.revoke),
        warning: lockout::before_revoking(&session, &token),
        more_events: history.more,
        events: history.events,
        token: TokenView::new(&token, now),
        page: session.page,
    };
    Ok(render(status, &shown))
}

/// Whether a token can be rotated now.
pub(super) fn can_rotate(token: &TokenRecord, now: Timestamp) -> bool {
    token.status(now) == TokenStatus::Live && token.successor.is_none()
}

/// The token that a token has replaced, unless it was purged or cannot be read now.
async fn predecessor_of(operator: &Operator, token: &TokenRecord) -> Option<TokenRecord> {
    let query = TokenQuery::default()
        .app(token.app.id)
        .replaced_by(token.id)
        .limit(1);
    let found = operator.list(&query).await.ok()?.items.pop()?;
    (found.successor == Some(token.id)).then_some(found)
}

/// What has happened to a token.
struct History {
    /// The latest events; none where they could not be read.
    events: Option<Vec<EventView>>,
    /// Whether there are older ones.
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
        let query = about(token).limit(EVENTS_OF_A_PAGE);
        let Ok(page) = operator.events(&query).await else {
            return Self {
                events: None,
                more: false,
            };
        };
        let belonging = page.items.iter().filter(|event| EventView::belongs(event));
        let mut events: Vec<_> = belonging.map(|event| EventView::new(event, now)).collect();
        let more = page.next.is_some();
        // A rotation is an event of the old token, and what made this one.
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
