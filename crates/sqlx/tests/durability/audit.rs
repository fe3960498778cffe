//! A change and its audit event are both durable, or neither is.

use std::collections::{HashMap, HashSet};

use tower_api_tokens::{
    AuditAction, AuditEvent, AuditQuery, StoreError, TokenId, TokenRecord, TokenRegistry,
};

use crate::{ledger::Found, violation::Violation};

pub(crate) async fn read_all(store: &dyn TokenRegistry) -> Result<Vec<AuditEvent>, StoreError> {
    let log = store.audit_log().expect("the store has an audit log");
    let (mut events, mut query) = (Vec::new(), AuditQuery::default().limit(1000));
    loop {
        let page = log.events(&query).await?;
        events.extend(page.items);
        query.after = page.next;
        if query.after.is_none() {
            return Ok(events);
        }
    }
}

/// Checked only by the records and the events.
pub(crate) fn check(found: &Found, events: &[AuditEvent]) -> Result<(), Violation> {
    let mut counts = HashMap::new();
    for event in events {
        if let Some(token) = event.token {
            *counts.entry((event.action, token)).or_insert(0_usize) += 1;
        }
    }
    let successors: HashSet<_> = found.values().filter_map(|token| token.successor).collect();
    let mut count = |action: AuditAction, token: &TokenRecord| {
        let count = counts.remove(&(action, token.id)).unwrap_or_default();
        (count, Violation::Unrecorded(action, token.id))
    };
    for token in found.values() {
        let (issued, unrecorded) = count(AuditAction::IssueToken, token);
        if issued != usize::from(!successors.contains(&token.id)) {
            return Err(unrecorded);
        }
        let (rotated, unrecorded) = count(AuditAction::RotateToken, token);
        if rotated != usize::from(token.successor.is_some()) {
            return Err(unrecorded);
        }
        // A revocation can be repeated.
        let (revoked, unrecorded) = count(AuditAction::RevokeToken, token);
        if (revoked > 0) != token.revoked_at.is_some() {
            return Err(unrecorded);
        }
    }
    let left: Option<((AuditAction, TokenId), usize)> = counts.into_iter().next();
    left.map_or(Ok(()), |((action, token), _)| {
        Err(Violation::NotDone(action, token))
    })
}
