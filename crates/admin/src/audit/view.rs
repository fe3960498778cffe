use serde::Serialize;
use tower_api_tokens::{AuditEvent, AuditOutcome};
use utoipa::ToSchema;

/// An audit event as JSON.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEvent)]
pub(crate) struct EventView<'e> {
    /// The event's identifier.
    #[schema(format = "uuid")]
    id: String,
    /// When it was done.
    #[schema(format = DateTime)]
    at: String,
    /// Who did it.
    #[schema(max_length = 200)]
    actor: &'e str,
    /// What was done, like `token.issue`.
    #[schema(pattern = "^[a-z]+\\.[a-z]+$")]
    action: &'static str,
    /// The app that it was done to or for; null if there is none, or it is not known.
    #[schema(required)]
    app_id: Option<&'e str>,
    /// The token that it was done to; null if there is none.
    #[schema(format = "uuid", required)]
    token_id: Option<String>,
    /// Whether it was done.
    outcome: OutcomeView,
    /// Why it was refused, like `unknown_token`; null if it was done.
    #[schema(required)]
    reason: Option<&'e str>,
}

/// What came of it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AuditOutcome)]
pub(crate) enum OutcomeView {
    Done,
    Refused,
}

impl<'e> From<&'e AuditEvent> for EventView<'e> {
    fn from(event: &'e AuditEvent) -> Self {
        let (outcome, reason) = match &event.outcome {
            AuditOutcome::Refused(reason) => (OutcomeView::Refused, Some(reason.as_str())),
            _ => (OutcomeView::Done, None),
        };
        Self {
            id: event.id.to_string(),
            at: event.at.to_string(),
            actor: &event.actor,
            action: event.action.as_str(),
            app_id: event.app.as_ref().map(|app| app.as_str()),
            token_id: event.token.map(|token| token.to_string()),
            outcome,
            reason,
        }
    }
}
