//! Makes changes. Each is one round trip, so a process that stops at any moment holds no lock.

use jiff::Timestamp;
use serde_json::{Value, json};
use tower_api_tokens::{
    AuditEvent, BoundKey, Mutation, Op, StoreError, TokenDigest, TokenTarget, store::microseconds,
};

use super::{
    PostgresStore,
    audit::event_row,
    error::odd_outcome,
    outcome::{Made, Returns},
};
use crate::rows::{Identifier, first_identifier_at, unsupported};

/// A change as the database takes it: a JSON object with the function, its event and its arguments.
pub(super) struct Call(Value);

impl Call {
    pub(super) fn new(function: &str, event: Option<&AuditEvent>, arguments: Value) -> Self {
        let mut call = arguments;
        call["call"] = function.into();
        call["event"] = event.map(event_row).into();
        Self(call)
    }

    /// Adds the time of the change and its idempotency key.
    pub(super) fn with_key(mut self, mutation: &Mutation) -> Self {
        let hex = |bytes| TokenDigest::from_bytes(bytes).to_hex();
        let oldest = mutation.at.checked_sub(BoundKey::RETENTION);
        self.0["at"] = microseconds(mutation.at).into();
        self.0["oldest_key"] = microseconds(oldest.unwrap_or(Timestamp::MIN)).into();
        self.0["key"] = mutation.key.map(|key| hex(key.key)).into();
        self.0["max_keys"] = mutation.max_keys.map(number).into();
        self.0["request"] = mutation.key.map(|key| hex(key.request)).into();
        self
    }

    pub(super) fn with_target(mut self, target: &TokenTarget) -> Self {
        self.0["target"] = target.id.to_string().into();
        self.0["target_app"] = target.app.map(|app| app.to_string()).into();
        self
    }

    pub(super) fn text(&self) -> String {
        self.0.to_string()
    }
}

impl PostgresStore {
    pub(super) async fn mutate(&self, mutation: &Mutation) -> Result<Made, StoreError> {
        self.check_access()?;
        if mutation.key.is_some() {
            mutation.created()?;
        }
        match &mutation.op {
            Op::Purge { before, limit } => self.purge(mutation, *before, *limit).await,
            // Operations that take access away read nothing first, so they also work on unreadable
            // rows.
            Op::DisableApp(_)
            | Op::RevokeToken(_)
            | Op::ClearCaches
            | Op::TrimEvents { .. }
            | Op::TrimKeys { .. }
            | Op::RemoveNode(_) => self.make(mutation, &[]).await,
            Op::InsertTokens(tokens) if tokens.len() == 1 => self.issue(mutation).await,
            Op::IssueToken { .. } => self.issue(mutation).await,
            Op::RotateToken { .. } => self.rotate(mutation).await,
            _ => self.plan_and_commit(mutation).await,
        }
    }

    /// Makes a change. A purge removes these candidates first, and then others up to its limit.
    pub(super) async fn make(
        &self,
        mutation: &Mutation,
        candidates: &[Identifier],
    ) -> Result<Made, StoreError> {
        let (call, returns) = call(mutation, candidates)?;
        let urgent = matches!(mutation.op, Op::DisableApp(_) | Op::RevokeToken(_));
        let outcome = self.make_change(call.text(), urgent).await?;
        match outcome.is_made()? {
            true => outcome.made(outcome.applied(returns)?),
            false => Err(odd_outcome("a plan of a change without one")),
        }
    }
}

/// Returns a limit as the database takes it.
fn number(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn call(mutation: &Mutation, candidates: &[Identifier]) -> Result<(Call, Returns), StoreError> {
    let event = mutation.audit.as_ref();
    let at = microseconds(mutation.at);
    Ok(match &mutation.op {
        Op::DisableApp(id) => {
            let arguments = json!({ "target": id, "at": at });
            (Call::new("disable_app", event, arguments), Returns::App)
        }
        Op::RevokeToken(target) => {
            let call = Call::new("revoke_token", event, json!({ "at": at }));
            (call.with_target(target), Returns::Token)
        }
        Op::Purge { before, limit } => {
            let arguments = json!({
                "candidates": candidates.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "before": microseconds(*before),
                "limit": number(*limit),
            });
            (Call::new("purge_tokens", event, arguments), Returns::Count)
        }
        Op::TrimEvents { before, limit } => {
            let arguments = json!({
                "before": microseconds(*before),
                "first": first_identifier_at(*before).to_string(),
                "limit": number(*limit),
            });
            (Call::new("trim_events", event, arguments), Returns::Count)
        }
        Op::TrimKeys { before, limit } => {
            let arguments = json!({ "before": microseconds(*before), "limit": number(*limit) });
            (Call::new("trim_keys", event, arguments), Returns::Count)
        }
        Op::RemoveNode(id) => {
            let arguments = json!({ "node": id.to_string() });
            (Call::new("remove_node", event, arguments), Returns::Count)
        }
        Op::ClearCaches => (Call::new("clear_caches", event, json!({})), Returns::Count),
        _ => return Err(unsupported()),
    })
}
