//! Issues and rotates tokens in one round trip: the plan assumes what it would read, and the database makes the change
//! only if that is so. Otherwise the change is planned from what is read.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;
use tower_api_tokens::{
    AppId, AppRecord, Applied, AsyncSnapshot, Mutation, Op, Plan, Policy, StoreError, TokenId,
    TokenRecord, TokenTarget, UsedKey, Write,
    store::{microseconds, truncate_to_microsecond},
};

use super::{
    PostgresStore,
    mutate::Call,
    outcome::{Made, Outcome},
    planning::token_row,
};
use crate::rows::{json_of, unsupported};

/// The longest lifetime that the database adds to a time, in microseconds. With it, the successor of a token would expire
/// after the last [`Timestamp`], so its rotation is planned from what is read.
const LONGEST_LIFETIME: i64 = 253_402_207_200_999_999;

/// The policy as it was stored when a change last depended on it.
#[derive(Default)]
pub(super) struct AssumedPolicy(Mutex<Option<String>>);

impl AssumedPolicy {
    fn get(&self) -> Option<String> {
        let policy = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        policy.clone()
    }

    pub(super) fn set(&self, policy: Option<&str>) {
        let mut assumed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if assumed.as_deref() != policy {
            *assumed = policy.map(str::to_owned);
        }
    }
}

impl PostgresStore {
    /// Inserts a token.
    pub(super) async fn issue(&self, mutation: &Mutation) -> Result<Made, StoreError> {
        let policy = self.inner.policy.get();
        let Some((plan, rules)) = assume(mutation, policy.as_deref(), None).await else {
            return self.plan_and_commit(mutation).await;
        };
        let new = inserted(&plan);
        // Imported tokens that give no access follow other rules.
        let Some(token) = new.filter(|token| is_current(token, mutation.at)) else {
            return self.plan_and_commit(mutation).await;
        };
        let arguments = json!({
            "token": token_row(token),
            "policy": policy,
            "most": rules.max_live_tokens,
            "is_named": rules.unique_names,
        });
        let call = Call::new("issue", event_of(&plan), arguments).with_key(mutation);
        let Some(outcome) = self.make_if_assumed(&call).await? else {
            return self.plan_and_commit(mutation).await;
        };
        let mut applied = plan.applied;
        if let Applied::Token(token) = &mut applied {
            token.app = outcome.app()?;
        }
        outcome.made(applied)
    }

    /// Rotates a token.
    pub(super) async fn rotate(&self, mutation: &Mutation) -> Result<Made, StoreError> {
        let Op::RotateToken {
            target,
            successor,
            overlap_ends,
            inheritance: Some(inheritance),
        } = &mutation.op
        else {
            return self.plan_and_commit(mutation).await;
        };
        let policy = self.inner.policy.get();
        let old = rotatable(target.id, successor);
        let Some((plan, rules)) = assume(mutation, policy.as_deref(), Some(old)).await else {
            return self.plan_and_commit(mutation).await;
        };
        let limits_scopes = rules.scopes.is_some() || !rules.scopes_of.is_empty();
        let grants_everything = inheritance.grantable.is_everything();
        if limits_scopes || !grants_everything || inheritance.version.is_some() {
            // These depend on what only the token says.
            return self.plan_and_commit(mutation).await;
        }
        let (_, end) = successor.mask.parts();
        let start = successor.mask.as_str().strip_suffix(end);
        let lifetime = rules.max_lifetime.map(|lifetime| {
            let lifetime = i64::try_from(lifetime.as_micros());
            lifetime.unwrap_or(i64::MAX).min(LONGEST_LIFETIME)
        });
        let arguments = json!({
            "token": inserted(&plan).map(token_row),
            "policy": policy,
            "overlap_ends": microseconds(*overlap_ends),
            "mask_start": start,
            "max_lifetime": lifetime,
            "must_expire": rules.requires_expiry(),
        });
        // The database adds what the event says of the token.
        let call = Call::new("rotate", mutation.audit.as_ref(), arguments);
        let call = call.with_key(mutation).with_target(target);
        let Some(outcome) = self.make_if_assumed(&call).await? else {
            return self.plan_and_commit(mutation).await;
        };
        let rotated = outcome.token()?;
        let mut successor = successor.clone().inherit_from(&rotated);
        successor.created_at = truncate_to_microsecond(successor.created_at);
        successor.expires_at = outcome.successor_expires_at()?;
        outcome.made(Applied::Rotated { rotated, successor })
    }

    /// Makes a change unless something is not as assumed.
    async fn make_if_assumed(&self, call: &Call) -> Result<Option<Outcome>, StoreError> {
        let outcome = self.make_change(call.text(), false).await?;
        if outcome.is_made()? {
            return Ok(Some(outcome));
        }
        self.inner.policy.set(outcome.detail()?);
        Ok(None)
    }
}

/// Plans a change against assumptions. Returns the rules that it has followed too, and nothing if it would be refused.
async fn assume(
    mutation: &Mutation,
    policy: Option<&str>,
    token: Option<TokenRecord>,
) -> Option<(Plan, Policy)> {
    let policy: Policy = json_of(policy).ok()?;
    let rules = match &mutation.policy {
        Some(of_process) => policy.and(of_process),
        None => policy.clone(),
    };
    let mut mutation = mutation.clone();
    mutation.at = truncate_to_microsecond(mutation.at);
    let mut assumed = Assumed { policy, token };
    let plan = mutation.plan_async(&mut assumed).await.ok()?;
    Some((plan.truncated_to_microseconds(), rules))
}

/// Returns the token that a plan inserts.
fn inserted(plan: &Plan) -> Option<&TokenRecord> {
    plan.writes.iter().find_map(|write| match write {
        Write::InsertToken(token) => Some(token),
        _ => None,
    })
}

fn event_of(plan: &Plan) -> Option<&tower_api_tokens::AuditEvent> {
    plan.writes.iter().find_map(|write| match write {
        Write::AppendEvent(event) => Some(event),
        _ => None,
    })
}

/// Whether a token counts for the policy of its app.
fn is_current(token: &TokenRecord, at: Timestamp) -> bool {
    let is_expired = token.expires_at.is_some_and(|expires_at| expires_at <= at);
    token.revoked_at.is_none() && token.successor.is_none() && !is_expired
}

/// Returns a token that can be rotated into this one, and that expires.
fn rotatable(id: TokenId, successor: &TokenRecord) -> TokenRecord {
    let mut token = successor.clone();
    token.id = id;
    token.expires_at = token.created_at.checked_add(Duration::from_secs(1)).ok();
    (token.revoked_at, token.successor) = (None, None);
    token.app.disabled_at = None;
    token
}

/// What a plan assumes: the policy, perhaps a token, and that apps are enabled.
struct Assumed {
    policy: Policy,
    token: Option<TokenRecord>,
}

#[async_trait]
impl AsyncSnapshot for Assumed {
    async fn app(&mut self, id: &AppId) -> Result<Option<AppRecord>, StoreError> {
        Ok(Some(AppRecord::new(*id, "", Timestamp::UNIX_EPOCH)))
    }

    async fn token(&mut self, _: &TokenTarget) -> Result<Option<TokenRecord>, StoreError> {
        Ok(self.token.clone())
    }

    async fn unrevoked_of(&mut self, _: &AppId) -> Result<Vec<TokenRecord>, StoreError> {
        Ok(Vec::new())
    }

    async fn expired_or_revoked(
        &mut self,
        _: Timestamp,
        _: usize,
    ) -> Result<Vec<TokenId>, StoreError> {
        Err(unsupported())
    }

    async fn keys_since(&mut self, _: Timestamp) -> Result<usize, StoreError> {
        Ok(0)
    }

    async fn key(&mut self, _: &[u8; 32]) -> Result<Option<UsedKey>, StoreError> {
        Ok(None)
    }

    async fn policy(&mut self) -> Result<Policy, StoreError> {
        Ok(self.policy.clone())
    }
}
