//! Computes what a change writes, without I/O.

use std::{collections::HashSet, iter};

use jiff::Timestamp;

use super::{Applied, Mutation, Op};
use crate::{
    model::{
        app::{AppId, AppRecord},
        audit::{AuditEvent, AuditEventId},
        record::TokenRecord,
    },
    store::{
        BoundKey, Change, Page, PageSize, Repeated, StoreError, StoreErrorKind, TokenQuery,
        TokenTarget,
    },
    token::{TokenDigest, TokenId},
};

/// The state of a store while a change is planned and made, under one lock or in one transaction.
pub trait Snapshot {
    /// Returns an app.
    fn app(&self, id: &AppId) -> Option<AppRecord>;
    /// Returns a token, with its app in its current state.
    fn token(&self, id: TokenId) -> Option<TokenRecord>;
    /// Returns the token with a digest, with its app in its current state.
    fn find(&self, digest: &TokenDigest) -> Option<TokenRecord>;
    /// Lists tokens, the greatest identifier first, one page at a time. Use [`TokenQuery::page`] to
    /// create a page.
    fn tokens(&self, query: &TokenQuery, now: Timestamp) -> Page<TokenRecord, TokenId>;
    /// Returns the use of an idempotency key.
    fn key(&self, key: &[u8; 32]) -> Option<UsedKey>;
    /// Returns whether an audit event with this identifier exists.
    fn has_event(&self, id: AuditEventId) -> bool;

    /// Returns all tokens of an app. The default implementation lists them.
    fn tokens_of(&self, app: &AppId) -> Vec<TokenRecord> {
        let query = TokenQuery::default().app(*app);
        all_tokens(self, query, Timestamp::UNIX_EPOCH).collect()
    }

    /// Returns at most `limit` tokens that expired or were revoked before an instant. The default
    /// implementation lists all tokens.
    fn expired_or_revoked(&self, before: Timestamp, limit: usize) -> Vec<TokenId> {
        let tokens = all_tokens(self, TokenQuery::default(), before);
        let ended = tokens.filter(|token| {
            token
                .expired_or_revoked_at(before)
                .is_some_and(|ended| ended < before)
        });
        ended.take(limit).map(|token| token.id).collect()
    }
}

/// Iterates over the tokens of a listing, page by page.
fn all_tokens<S: Snapshot + ?Sized>(
    state: &S,
    query: TokenQuery,
    now: Timestamp,
) -> impl Iterator<Item = TokenRecord> {
    let query = query.limit(PageSize::MAX);
    let first = (state.tokens(&query, now), query);
    let pages = iter::successors(Some(first), move |(page, query)| {
        let query = query.clone().after(page.next?);
        Some((state.tokens(&query, now), query))
    });
    pages.flat_map(|(page, _)| page.items)
}

/// An idempotency key under which a token was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UsedKey {
    /// The key and the digest of the request.
    pub key: BoundKey,
    /// The token that was created.
    pub token: TokenId,
    /// When it was created.
    pub used_at: Timestamp,
}

impl UsedKey {
    /// Creates the record of a key under which a token was created at an instant.
    #[must_use]
    pub fn new(key: BoundKey, token: TokenId, used_at: Timestamp) -> Self {
        Self {
            key,
            token,
            used_at,
        }
    }

    /// Returns whether a request with the key at `now` still counts as repeated. A store may drop
    /// the key after that.
    #[must_use]
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        let oldest = now.checked_sub(BoundKey::RETENTION);
        self.used_at >= oldest.unwrap_or(Timestamp::MIN)
    }
}

/// The writes of a change, and its result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// What to write, completely or not at all.
    pub writes: Vec<Write>,
    /// What [`TokenRegistry::apply`](crate::TokenRegistry::apply) returns.
    pub applied: Applied,
}

/// One write of a change.
///
/// A store has to handle all variants, so the enum is exhaustive: a new variant is a breaking
/// change.
#[expect(
    clippy::large_enum_variant,
    reason = "a mutation is made for one call of a store, and not kept in numbers"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Inserts an app, or replaces the one with this identifier.
    PutApp(AppRecord),
    /// Inserts a token, or replaces the one with this identifier.
    PutToken(TokenRecord),
    /// Removes a token.
    RemoveToken(TokenId),
    /// Stores an idempotency key, replacing an older use of it.
    PutKey(UsedKey),
    /// Appends an audit event.
    AppendEvent(AuditEvent),
    /// Appends to the change log.
    Log(Change),
    /// Restarts the change log, so that it does not continue from any earlier revision.
    RestartLog,
}

impl Mutation {
    /// Computes what the change writes. A store in memory applies the plan as it is. A store with a
    /// query language has a statement for each [`Op`] instead, with the same outcome.
    ///
    /// # Errors
    ///
    /// Returns the error that [`TokenRegistry::apply`](crate::TokenRegistry::apply) documents for
    /// the operation. Nothing must be written then.
    pub fn plan(&self, state: &impl Snapshot) -> Result<Plan, StoreError> {
        let mut writes = Vec::new();
        if let Some(key) = &self.key {
            writes.push(Write::PutKey(self.use_key(*key, state)?));
        }
        let applied = match &self.op {
            Op::CreateApp(app) => {
                if state.app(&app.id).is_some() {
                    return Err(already_exists());
                }
                writes.push(Write::PutApp(app.clone()));
                Applied::App(app.clone())
            }
            Op::DisableApp(id) => {
                let app = state.app(id).ok_or_else(not_found)?.disable(self.at);
                writes.extend([Write::PutApp(app.clone()), Write::Log(Change::App(*id))]);
                Applied::App(app)
            }
            Op::EnableApp { app: id, grantable } => {
                let app = state.app(id).ok_or_else(not_found)?.enable();
                if !grantable.is_everything() {
                    grantable.check_reactivated(state.tokens_of(id), self.at)?;
                }
                writes.extend([Write::PutApp(app.clone()), Write::Log(Change::App(*id))]);
                Applied::App(app)
            }
            Op::InsertTokens(tokens) => {
                check_vacant(tokens, state)?;
                for token in tokens {
                    writes.push(Write::PutToken(token.clone()));
                    writes.push(Write::Log(Change::Token(token.digest)));
                }
                Applied::Count(tokens.len())
            }
            Op::RenameToken { target, name } => {
                let mut token = find(target, state)?;
                name.clone_into(&mut token.name);
                change(token, &mut writes)
            }
            Op::RotateToken {
                target,
                successor,
                overlap_ends,
            } => {
                let token = find(target, state)?;
                token.check_successor(successor)?;
                let rotated = token.rotate(successor.id, self.at, *overlap_ends)?;
                check_vacant(std::slice::from_ref(successor), state)?;
                writes.push(Write::PutToken(successor.clone()));
                writes.push(Write::Log(Change::Token(successor.digest)));
                change(rotated, &mut writes)
            }
            Op::RevokeToken(target) => change(find(target, state)?.revoke(self.at), &mut writes),
            Op::Purge { before, limit } => {
                let removed = state.expired_or_revoked(*before, *limit);
                let count = removed.len();
                writes.extend(removed.into_iter().map(Write::RemoveToken));
                Applied::Count(count)
            }
            Op::ClearCaches => {
                writes.push(Write::RestartLog);
                Applied::Count(0)
            }
        };
        if let Some(event) = &self.audit {
            if state.has_event(event.id) {
                return Err(already_exists());
            }
            writes.push(Write::AppendEvent(event.clone()));
        }
        Ok(Plan { writes, applied })
    }

    /// Returns the token that the mutation creates, which is stored with the idempotency key.
    ///
    /// # Errors
    ///
    /// Returns an error of the kind [`Unsupported`](StoreErrorKind::Unsupported) if the mutation
    /// creates no token.
    pub fn created(&self) -> Result<TokenId, StoreError> {
        match &self.op {
            Op::InsertTokens(tokens) => tokens.first().map(|token| token.id),
            Op::RotateToken { successor, .. } => Some(successor.id),
            _ => None,
        }
        .ok_or_else(|| {
            StoreError::with_source(
                StoreErrorKind::Unsupported,
                "only a change that creates a token takes an idempotency key",
            )
        })
    }

    fn use_key(&self, key: BoundKey, state: &impl Snapshot) -> Result<UsedKey, StoreError> {
        let token = self.created()?;
        match state.key(&key.key).filter(|used| used.is_valid_at(self.at)) {
            Some(used) => Err(Repeated::new(used.token, used.key.request == key.request).into()),
            None => Ok(UsedKey {
                key,
                token,
                used_at: self.at,
            }),
        }
    }
}

fn find(target: &TokenTarget, state: &impl Snapshot) -> Result<TokenRecord, StoreError> {
    let token = state.token(target.id).filter(|token| target.selects(token));
    token.ok_or_else(not_found)
}

fn change(token: TokenRecord, writes: &mut Vec<Write>) -> Applied {
    writes.push(Write::PutToken(token.clone()));
    writes.push(Write::Log(Change::Token(token.digest)));
    Applied::Token(token)
}

fn check_vacant(tokens: &[TokenRecord], state: &impl Snapshot) -> Result<(), StoreError> {
    let (mut ids, mut digests) = (HashSet::new(), HashSet::new());
    for token in tokens {
        if state.app(&token.app.id).is_none() {
            return Err(not_found());
        }
        let taken = state.token(token.id).is_some() || state.find(&token.digest).is_some();
        if taken || !ids.insert(token.id) || !digests.insert(token.digest) {
            return Err(already_exists());
        }
    }
    Ok(())
}

fn not_found() -> StoreError {
    StoreError::new(StoreErrorKind::NotFound)
}

fn already_exists() -> StoreError {
    StoreError::new(StoreErrorKind::AlreadyExists)
}
