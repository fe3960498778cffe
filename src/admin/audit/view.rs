use serde::Serialize;

use crate::audit::{AuditEvent, AuditOutcome};

/// An audit event as JSON.
#[derive(Serialize)]
pub(in crate::admin) struct EventView<'e> {
    id: String,
    at: String,
    actor: &'e str,
    action: &'static str,
    app_id: Option<&'e str>,
    token_id: Option<String>,
    outcome: &'static str,
    reason: Option<&'e str>,
}

impl<'e> From<&'e AuditEvent> for EventView<'e> {
    fn from(event: &'e AuditEvent) -> Self {
        let (outcome, reason) = match &event.outcome {
            AuditOutcome::Done => ("done", None),
            AuditOutcome::Refused(reason) => ("refused", Some(reason.as_str())),
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
