//! The page of a token.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use jiff::Timestamp;
use tower_api_tokens::{
    AuditAction, AuditEvent, AuditOutcome, AuditQuery, TokenQuery, TokenRecord, TokenStatus,
};

use super::{
    directory::Directory,
    event::{About, ActorView, EventView},
    history::HistoryView,
    input::ConfirmInput,
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

/// How many of a token's events are searched for the one that created it.
const MAX_SEARCHED: usize = 1_000;

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
    /// Who created the token, if known.
    created_by: Option<ActorView>,
    successor: Option<TokenLink>,
    predecessor: Option<TokenLink>,
    rotation: Option<RotationForm>,
    rename: Option<Field>,
    suspension: Option<Suspension>,
    revoke: Option<ConfirmInput>,
    /// Set if revoking the token locks out the signed-in operator.
    warning: Option<Warning>,
    history: HistoryView,
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

/// What can be done about the suspension of a token.
enum Suspension {
    /// It can be suspended. The warning is set if that locks out the signed-in operator.
    Suspend(Option<Warning>),
    Resume,
}

impl Suspension {
    fn of(session: &Session, token: &TokenRecord) -> Option<Self> {
        match token.status(session.page.now) {
            _ if !session.page.allows(AuditAction::SuspendToken) => None,
            TokenStatus::Revoked | TokenStatus::Expired | TokenStatus::Restricted => None,
            _ if token.suspended_at().is_some() => Some(Self::Resume),
            _ => Some(Self::Suspend(lockout::before_suspending(session, token))),
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
    let history = History::load(operator, page, &token, predecessor.as_ref()).await;
    let rotation = if page.allows(AuditAction::RotateToken) && can_rotate(&token, now) {
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
        rename: page.allows(AuditAction::RenameToken).then(|| {
            let saved = || Field::with_value(&token.name);
            submitted.rename.unwrap_or_else(saved)
        }),
        suspension: Suspension::of(&session, &token),
        revoke: (token.revoked_at.is_none() && page.allows(AuditAction::RevokeToken)).then(|| {
            let ids = ["confirm", "confirm-error"];
            ConfirmInput::new(ids, &token.name, submitted.revoke, "Revoke token")
        }),
        warning: lockout::before_revoking(&session, &token),
        created_by: history.created_by,
        history: history.view,
        token: TokenView::new(&token, now).with_format(operator.formats(), &token),
        page: session.page,
    };
    Ok(render(status, &shown))
}

/// Returns whether a token can be rotated now.
pub(super) fn can_rotate(token: &TokenRecord, now: Timestamp) -> bool {
    let status = token.status(now);
    matches!(status, TokenStatus::Live | TokenStatus::NotYetValid) && token.successor.is_none()
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
    view: HistoryView,
    created_by: Option<ActorView>,
}

impl History {
    async fn load(
        operator: &Operator,
        page: &Page,
        token: &TokenRecord,
        predecessor: Option<&TokenRecord>,
    ) -> Self {
        let mut directory = Directory::default();
        directory.add_token(token);
        let query = AuditQuery::default().token(token.id).limit(MAX_EVENTS);
        let found = operator.events(&query).await.ok();
        let more = found.as_ref().is_some_and(|found| found.next.is_some());
        let events = found.map(|found| found.items);
        // The event that created a successor is the rotation of the old token.
        let rotation = match predecessor {
            Some(old) => rotation_of(operator, old).await,
            None => None,
        };
        let issuer = match (&token.created_by, &rotation, &events) {
            (Some(actor), ..) => Some(actor.clone()),
            (None, Some(rotation), _) => Some(rotation.actor.clone()),
            (None, None, Some(events)) if !more => issuer_in(events),
            (None, None, Some(_)) => {
                let query = query.limit(MAX_SEARCHED);
                let found = operator.events(&query).await.ok();
                found.and_then(|found| issuer_in(&found.items))
            }
            (None, None, None) => None,
        };
        let shown = events.iter().flatten().chain(&rotation);
        directory.look_up(operator, shown, issuer.as_deref()).await;
        let created_by = issuer.map(|actor| ActorView::new(&actor, &directory, page));
        let events = events.map(|events| {
            let events = events.iter().filter(|event| EventView::is_history(event));
            let views = events.map(|event| EventView::new(event, About::Token, &directory, page));
            let mut views: Vec<_> = views.collect();
            if let (Some(old), Some(rotation), false) = (predecessor, &rotation, more) {
                views.push(EventView::of_origin(rotation, &old.mask, &directory, page));
            }
            views
        });
        let view = HistoryView {
            about: About::Token,
            events,
            activity: more.then(|| page.link(&format!("/activity?token={}", token.id))),
        };
        Self { view, created_by }
    }
}

/// Returns the rotation of a token.
async fn rotation_of(operator: &Operator, old: &TokenRecord) -> Option<AuditEvent> {
    let query = AuditQuery::default().token(old.id);
    let events = operator.events(&query).await.ok()?.items;
    events.into_iter().find(|event| {
        event.action == AuditAction::RotateToken && event.outcome == AuditOutcome::Done
    })
}

/// Returns the actor of the event that created the token that these events are about.
fn issuer_in(events: &[AuditEvent]) -> Option<String> {
    let mut creating = events.iter().filter(|event| {
        let creates = matches!(
            event.action,
            AuditAction::IssueToken | AuditAction::ImportTokens
        );
        creates && event.outcome == AuditOutcome::Done
    });
    creating.next_back().map(|event| event.actor.clone())
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
