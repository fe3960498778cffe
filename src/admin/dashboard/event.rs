//! Audit events in words.

use jiff::Timestamp;

use super::words::{Moment, visible};
use crate::audit::{AuditAction, AuditEvent, AuditOutcome};

/// An audit event as a token's page shows it.
pub(super) struct EventView {
    pub(super) says: String,
    pub(super) actor: String,
    pub(super) at: Moment,
}

impl EventView {
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
            AuditOutcome::Done => what.to_owned(),
            AuditOutcome::Refused(reason) => {
                format!("{what}: refused ({})", reason.replace('_', " "))
            }
        };
        Self {
            says,
            actor: visible(&event.actor),
            at: Moment::new(event.at, now),
        }
    }
}
