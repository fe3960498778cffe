//! What a change does to a state, worked out without I/O.

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

/// The state that a change is planned against, as it is under the lock that the change is made
/// under.
pub trait Snapshot {
    /// Returns an app.
    fn app(&self, id: &AppId) -> Option<AppRecord>;
    /// Returns a token, with its app as it is now.
    fn token(&self, id: TokenId) -> Option<TokenRecord>;
    /// Returns the token with a digest, with its app as it is now.
    fn find(&self, digest: &TokenDigest) -> Option<TokenRecord>;
    /// Lists tokens, the greatest identifier first, a page at a time; [`TokenQuery::page`] makes one.
    fn tokens(&self, query: &TokenQuery, now: Timestamp) -> Page<TokenRecord, TokenId>;
    /// Returns what was created under an idempotency key.
    fn key(&self, key: &[u8; 32]) -> Option<UsedKey>;
    /// Whether an audit event has this identifier.
    fn has_event(&self, id: AuditEventId) -> bool;

    /// Returns every token of an app. By default they are listed.
    fn tokens_of(&self, app: &AppId) -> Vec<TokenRecord> {
        let query = TokenQuery::default().app(*app);
        all_tokens(self, query, Timestamp::UNIX_EPOCH).collect()
    }

    /// Returns at most `limit` tokens that expired or were revoked before an instant. By default every
    /// token is listed for that.
    fn ended(&self, before: Timestamp, limit: usize) -> Vec<TokenId> {
        let tokens = all_tokens(self, TokenQuery::default(), before);
        let ended = tokens.filter(|token| {
            token
                .expired_or_revoked_at(before)
                .is_some_and(|ended| ended < before)
        });
        ended.take(limit).map(|token| token.id).collect()
    }
}

/// The tokens of a listing, page after page.
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
    /// Creates the record of a token that was created under a key at an instant.
    #[must_use]
    pub fn new(key: BoundKey, token: TokenId, used_at: Timestamp) -> Self {
        Self {
            key,
            token,
            used_at,
        }
    }

    /// Whether the key still makes a request at `now` a repetition. A store may drop it after that.
    #[must_use]
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        let oldest = now.checked_sub(BoundKey::RETENTION);
        self.used_at >= oldest.unwrap_or(Timestamp::MIN)
    }
}

/// What a change writes, and what it returns.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// What to write, all of it or nothing.
    pub writes: Vec<Write>,
    /// What [`TokenRegistry::apply`](crate::TokenRegistry::apply) returns.
    pub applied: Applied,
}

/// One part of what a change writes.
///
/// A store has to handle all of them, so the list is exhaustive: another kind is a breaking change.
#[expect(
    clippy::large_enum_variant,
    reason = "a mutation is made for one call of a store, and not kept in numbers"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Insert an app, or replace the one with this identifier.
    PutApp(AppRecord),
    /// Insert a token, or replace the one with this identifier.
    PutToken(TokenRecord),
    /// Remove a token.
    RemoveToken(TokenId),
    /// Store an idempotency key, in place of an older use of the same one.
    PutKey(UsedKey),
    /// Append an audit event.
    AppendEvent(AuditEvent),
    /// Append to the change log.
    Log(Change),
    /// Start the change log anew, so that no earlier revision leads on to it.
    RestartLog,
}

impl Mutation {
    /// Works out what the change writes. A store in memory applies the result as it is; a store
    /// with a query language has a statement for each [`Op`] instead, and the same outcome.
    ///
    /// # Errors
    ///
    /// Returns the error that [`TokenRegistry::apply`](crate::TokenRegistry::apply) documents for
    /// the operation; nothing is to be written then.
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
                let ended = state.ended(*before, *limit);
                let count = ended.len();
                writes.extend(ended.into_iter().map(Write::RemoveToken));
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

    /// Returns the token that is created, which is stored under the idempotency key.
    ///
    /// # Errors
    ///
    /// Returns an error of the kind [`Unsupported`](StoreErrorKind::Unsupported) if the mutation creates no
    /// token.
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
