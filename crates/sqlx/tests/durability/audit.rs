//! A change and its audit event are both durable, or neither is.

use std::collections::{HashMap, HashSet};

use futures_util::TryStreamExt;
use tower_api_tokens::{
    AuditAction, AuditEvent, AuditQuery, StoreError, TokenId, TokenRecord, TokenRegistry,
    TokenRegistryStreams,
};

use crate::{ledger::Found, violation::Violation};

pub(crate) async fn read_all(store: &dyn TokenRegistry) -> Result<Vec<AuditEvent>, StoreError> {
    let events = store.stream_events(AuditQuery::default().limit(1000));
    events.try_collect().await
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
