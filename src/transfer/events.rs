//! The events of an import: one for each transaction, so that a million tokens have a thousand.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use jiff::Timestamp;

use crate::{
    lifecycle::UNNAMED,
    model::audit::{AuditAction, AuditChange, AuditEvent, AuditEventId, AuditOutcome},
    random::{Entropy, EntropyError},
    store::{Op, TokenRegistry, derived_event_id},
};

/// Creates the events of an import.
pub(super) struct ImportEvents {
    actor: String,
    /// What the events have in common.
    import: AuditEventId,
    created: AtomicU64,
    recorded: AtomicU64,
}

impl ImportEvents {
    /// Returns `None` if nothing is recorded, because there is neither an actor nor an audit log.
    pub(super) fn begin(
        actor: Option<&str>,
        registry: &dyn TokenRegistry,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Option<Self>, EntropyError> {
        let unnamed = registry.audit_log().map(|_| UNNAMED);
        let Some(actor) = actor.or(unnamed) else {
            return Ok(None);
        };
        Ok(Some(Self {
            actor: actor.to_owned(),
            import: AuditEventId::generate(now, entropy)?,
            created: AtomicU64::new(0),
            recorded: AtomicU64::new(0),
        }))
    }

    /// Creates the event of a change.
    pub(super) fn of(&self, op: &Op, now: Timestamp) -> AuditEvent {
        let mut event = self.event(now);
        let tokens = match op {
            Op::InsertTokens(tokens) => tokens.as_slice(),
            Op::CreateApp(app) => {
                event.app = Some(app.id);
                &[]
            }
            _ => &[],
        };
        if let [token] = tokens {
            (event.app, event.token) = (Some(token.app.id), Some(token.id));
        }
        let tokens = Some(tokens.len().to_string());
        event.changes.push(AuditChange::new("tokens", None, tokens));
        event
    }

    /// Creates the event of an import that has changed nothing; `None` if it has recorded a change.
    pub(super) fn of_nothing(&self, now: Timestamp) -> Option<AuditEvent> {
        (self.recorded.load(Relaxed) == 0).then(|| self.event(now))
    }

    /// Notes that the event of a change was recorded.
    pub(super) fn note_recorded(&self) {
        self.recorded.fetch_add(1, Relaxed);
    }

    fn event(&self, now: Timestamp) -> AuditEvent {
        let import = self.import.to_string();
        let number = self.created.fetch_add(1, Relaxed).to_string();
        let id = derived_event_id(now, [import.as_str(), &number]);
        let (action, outcome) = (AuditAction::ImportTokens, AuditOutcome::Done);
        let mut event = AuditEvent::new(id, now, &self.actor, action, outcome);
        event
            .changes
            .push(AuditChange::new("import", None, Some(import)));
        event
    }
}
