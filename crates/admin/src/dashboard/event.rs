//! Audit events in words.

use jiff::Timestamp;
use tower_api_tokens::{AuditAction, AuditEvent, AuditOutcome, LifecycleErrorKind, MaskedToken};

use super::{names::visible, words::Moment};

/// An audit event as a token's page shows it.
pub(super) struct EventView {
    pub(super) says: String,
    pub(super) actor: String,
    pub(super) at: Moment,
}

impl EventView {
    /// Whether an event belongs to a token's history. What was refused because it was mistyped does
    /// not: nothing has happened to the token.
    pub(super) fn belongs(event: &AuditEvent) -> bool {
        use LifecycleErrorKind::{InvalidExpiry, InvalidName, InvalidOverlap};

        let AuditOutcome::Refused(reason) = &event.outcome else {
            return true;
        };
        !matches!(
            reason.parse(),
            Ok(InvalidName | InvalidExpiry | InvalidOverlap)
        )
    }

    /// The event of a rotation, as the history of the successor shows it.
    pub(super) fn of_origin(rotation: &AuditEvent, old: &MaskedToken, now: Timestamp) -> Self {
        Self {
            says: format!("Created by rotating {old}"),
            ..Self::new(rotation, now)
        }
    }

    pub(super) fn new(event: &AuditEvent, now: Timestamp) -> Self {
        let what = match event.action {
            AuditAction::IssueToken => "Created",
            AuditAction::RenameToken => "Renamed",
            AuditAction::RotateToken => "Rotated",
            AuditAction::RevokeToken => "Revoked",
            AuditAction::ImportTokens => "Imported",
            other => other.as_str(),
        };
        let says = match &event.outcome {
            AuditOutcome::Refused(reason) => {
                format!("{what}: refused ({})", reason.replace('_', " "))
            }
            _ => what.to_owned(),
        };
        Self {
            says,
            actor: visible(&event.actor),
            at: Moment::new(event.at, now),
        }
    }
}
