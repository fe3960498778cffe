//! Audit events in the history of a token.

use jiff::Timestamp;
use tower_api_tokens::{AuditAction, AuditEvent, AuditOutcome, LifecycleErrorKind, MaskedToken};

use super::{names::visible, text::Moment};

/// An audit event as a token's page shows it.
pub(super) struct EventView {
    pub(super) description: String,
    pub(super) actor: String,
    pub(super) at: Moment,
}

impl EventView {
    /// Returns whether an event belongs in a token's history. A typing error does not: nothing
    /// happened to the token.
    pub(super) fn is_history(event: &AuditEvent) -> bool {
        use LifecycleErrorKind::{InvalidExpiry, InvalidName, InvalidOverlap};

        let AuditOutcome::Refused(reason) = &event.outcome else {
            return true;
        };
        !matches!(
            reason.parse(),
            Ok(InvalidName | InvalidExpiry | InvalidOverlap)
        )
    }

    /// Creates the view of a rotation for the history of the successor.
    pub(super) fn of_origin(rotation: &AuditEvent, old: &MaskedToken, now: Timestamp) -> Self {
        Self {
            description: format!("Created by rotating {old}"),
            ..Self::new(rotation, now)
        }
    }

    pub(super) fn new(event: &AuditEvent, now: Timestamp) -> Self {
        Self {
            description: match &event.outcome {
                AuditOutcome::Refused(reason) => failure(event.action, reason),
                _ => success(event.action).to_owned(),
            },
            actor: visible(&event.actor),
            at: Moment::new(event.at, now),
        }
    }
}

fn success(action: AuditAction) -> &'static str {
    match action {
        AuditAction::IssueToken => "Created",
        AuditAction::RenameToken => "Renamed",
        AuditAction::RotateToken => "Rotated",
        AuditAction::RevokeToken => "Revoked",
        AuditAction::ImportTokens => "Imported",
        other => other.as_str(),
    }
}

fn failure(action: AuditAction, reason: &str) -> String {
    let attempt = match action {
        AuditAction::IssueToken => "create",
        AuditAction::RenameToken => "rename",
        AuditAction::RotateToken => "rotate",
        AuditAction::RevokeToken => "revoke",
        AuditAction::ImportTokens => "import",
        other => return format!("{} failed: {}", other.as_str(), reason.replace('_', " ")),
    };
    let reason = match reason {
        "rotated_token" => "already rotated".to_owned(),
        "revoked_token" => "the token is revoked".to_owned(),
        "expired_token" => "the token has expired".to_owned(),
        "disabled_app" => "the app is disabled".to_owned(),
        "scope_not_held" => "missing scopes".to_owned(),
        "expiry_not_held" => "it would outlast the person's own access".to_owned(),
        "format_not_allowed" => "the app or a scope needs another format".to_owned(),
        "store_failure" => "database error".to_owned(),
        "repeated" => "submitted twice".to_owned(),
        code => code.replace('_', " "),
    };
    format!("Couldn't {attempt}: {reason}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_described_in_plain_words() {
        let rotate = AuditAction::RotateToken;
        assert_eq!(
            failure(rotate, "rotated_token"),
            "Couldn't rotate: already rotated"
        );
        assert_eq!(failure(rotate, "key_reused"), "Couldn't rotate: key reused");
    }
}
