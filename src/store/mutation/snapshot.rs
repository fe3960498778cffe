//! The state that a change is planned against.

use std::{collections::HashSet, iter};

use jiff::Timestamp;

use crate::{
    model::{
        app::{AppId, AppRecord},
        audit::AuditEventId,
        policy::Policy,
        record::TokenRecord,
    },
    store::{
        BoundKey, FleetSettings, NodeId, Page, PageSize, StoreError, StoreErrorKind, TokenCursor,
        TokenQuery, TokenTarget,
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
    fn tokens(&self, query: &TokenQuery, now: Timestamp) -> Page<TokenRecord, TokenCursor>;
    /// Returns the use of an idempotency key.
    fn key(&self, key: &[u8; 32]) -> Option<UsedKey>;
    /// Returns whether an audit event with this identifier exists.
    fn has_event(&self, id: AuditEventId) -> bool;

    /// Returns the policy. The default implementation returns one without rules, for a store that
    /// keeps none.
    fn policy(&self) -> Policy {
        Policy::default()
    }

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

    /// Returns at most `limit` audit events that may be removed: the oldest ones of the [event
    /// log](crate::EventLog), up to the first one that is not before the instant, and refusals before the
    /// instant. The latest event of the log stays, so that programs can follow it.
    ///
    /// The default implementation returns an error of the kind
    /// [`Unsupported`](StoreErrorKind::Unsupported).
    ///
    /// # Errors
    ///
    /// Returns an error if the store does not remove events.
    fn events_before(&self, _: Timestamp, _: usize) -> Result<Vec<AuditEventId>, StoreError> {
        Err(unsupported())
    }

    /// Returns at most `limit` idempotency keys that were used before an instant.
    ///
    /// The default implementation returns an error of the kind
    /// [`Unsupported`](StoreErrorKind::Unsupported).
    ///
    /// # Errors
    ///
    /// Returns an error if the store does not remove keys.
    fn keys_before(&self, _: Timestamp, _: usize) -> Result<Vec<[u8; 32]>, StoreError> {
        Err(unsupported())
    }

    /// Returns how many idempotency keys were used at an instant or later. It may count a few too many, so
    /// that a store need not read all of them.
    ///
    /// The default implementation returns an error of the kind
    /// [`Unsupported`](StoreErrorKind::Unsupported).
    ///
    /// # Errors
    ///
    /// Returns an error if the store does not count keys.
    fn keys_since(&self, _: Timestamp) -> Result<usize, StoreError> {
        Err(unsupported())
    }

    /// Returns the settings of the fleet.
    ///
    /// The default implementation returns an error of the kind
    /// [`Unsupported`](StoreErrorKind::Unsupported), for a store without a [registry of
    /// nodes](crate::NodeRegistry).
    ///
    /// # Errors
    ///
    /// Returns an error if the store has no registry of nodes.
    fn fleet_settings(&self) -> Result<FleetSettings, StoreError> {
        Err(unsupported())
    }

    /// Returns whether a node is registered.
    ///
    /// The default implementation returns an error of the kind
    /// [`Unsupported`](StoreErrorKind::Unsupported), for a store without a [registry of
    /// nodes](crate::NodeRegistry).
    ///
    /// # Errors
    ///
    /// Returns an error if the store has no registry of nodes.
    fn has_node(&self, _: NodeId) -> Result<bool, StoreError> {
        Err(unsupported())
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

/// Everything that a plan reads, so that no plan depends on anything that an
/// [`AsyncSnapshot`](super::AsyncSnapshot) does not provide.
pub(super) trait State {
    fn app(&self, id: &AppId) -> Option<AppRecord>;
    fn token(&self, target: &TokenTarget) -> Option<TokenRecord>;
    fn unrevoked_of(&self, app: &AppId) -> Vec<TokenRecord>;
    fn expired_or_revoked(&self, before: Timestamp, limit: usize) -> Vec<TokenId>;
    fn events_before(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<AuditEventId>, StoreError>;
    fn keys_before(&self, before: Timestamp, limit: usize) -> Result<Vec<[u8; 32]>, StoreError>;
    fn keys_since(&self, since: Timestamp) -> Result<usize, StoreError>;
    fn fleet_settings(&self) -> Result<FleetSettings, StoreError>;
    fn has_node(&self, id: NodeId) -> Result<bool, StoreError>;
    fn key(&self, key: &[u8; 32]) -> Option<UsedKey>;
    fn policy(&self) -> Policy;

    /// Counts the tokens of an app that have neither expired nor been revoked.
    fn live_of(&self, app: &AppId, at: Timestamp) -> usize;
    /// Counts those of them that have no successor.
    fn current_of(&self, app: &AppId, at: Timestamp) -> usize;
    /// Returns whether one of those without a successor has this name.
    fn is_named(&self, app: &AppId, name: &str, at: Timestamp) -> bool;

    /// Returns an error if an app has this identifier.
    fn check_new_app(&self, id: &AppId) -> Result<(), StoreError>;
    /// Returns an error if one of these tokens has no app, or shares its identifier or digest.
    fn check_new_tokens(&self, tokens: &[TokenRecord]) -> Result<(), StoreError>;
    /// Returns an error if an audit event has this identifier.
    fn check_new_event(&self, id: AuditEventId) -> Result<(), StoreError>;
}

impl<S: Snapshot + ?Sized> State for S {
    fn app(&self, id: &AppId) -> Option<AppRecord> {
        Snapshot::app(self, id)
    }

    fn token(&self, target: &TokenTarget) -> Option<TokenRecord> {
        Snapshot::token(self, target.id).filter(|token| target.selects(token))
    }

    fn unrevoked_of(&self, app: &AppId) -> Vec<TokenRecord> {
        let mut tokens = self.tokens_of(app);
        tokens.retain(|token| token.revoked_at.is_none());
        tokens
    }

    fn expired_or_revoked(&self, before: Timestamp, limit: usize) -> Vec<TokenId> {
        Snapshot::expired_or_revoked(self, before, limit)
    }

    fn events_before(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<AuditEventId>, StoreError> {
        Snapshot::events_before(self, before, limit)
    }

    fn keys_before(&self, before: Timestamp, limit: usize) -> Result<Vec<[u8; 32]>, StoreError> {
        Snapshot::keys_before(self, before, limit)
    }

    fn keys_since(&self, since: Timestamp) -> Result<usize, StoreError> {
        Snapshot::keys_since(self, since)
    }

    fn fleet_settings(&self) -> Result<FleetSettings, StoreError> {
        Snapshot::fleet_settings(self)
    }

    fn has_node(&self, id: NodeId) -> Result<bool, StoreError> {
        Snapshot::has_node(self, id)
    }

    fn key(&self, key: &[u8; 32]) -> Option<UsedKey> {
        Snapshot::key(self, key)
    }

    fn policy(&self) -> Policy {
        Snapshot::policy(self)
    }

    fn live_of(&self, app: &AppId, at: Timestamp) -> usize {
        active(&self.tokens_of(app), at).count()
    }

    fn current_of(&self, app: &AppId, at: Timestamp) -> usize {
        current(&self.tokens_of(app), at).count()
    }

    fn is_named(&self, app: &AppId, name: &str, at: Timestamp) -> bool {
        current(&self.tokens_of(app), at).any(|token| token.name == name)
    }

    fn check_new_app(&self, id: &AppId) -> Result<(), StoreError> {
        match Snapshot::app(self, id) {
            Some(_) => Err(already_exists()),
            None => Ok(()),
        }
    }

    fn check_new_tokens(&self, tokens: &[TokenRecord]) -> Result<(), StoreError> {
        let (mut ids, mut digests) = (HashSet::new(), HashSet::new());
        for token in tokens {
            if Snapshot::app(self, &token.app.id).is_none() {
                return Err(not_found());
            }
            let taken =
                Snapshot::token(self, token.id).is_some() || self.find(&token.digest).is_some();
            if taken || !ids.insert(token.id) || !digests.insert(token.digest) {
                return Err(already_exists());
            }
        }
        Ok(())
    }

    fn check_new_event(&self, id: AuditEventId) -> Result<(), StoreError> {
        match self.has_event(id) {
            true => Err(already_exists()),
            false => Ok(()),
        }
    }
}

/// Returns the tokens that have neither expired nor been revoked.
pub(super) fn active(tokens: &[TokenRecord], at: Timestamp) -> impl Iterator<Item = &TokenRecord> {
    tokens
        .iter()
        .filter(move |token| token.check_active(at).is_ok())
}

/// Returns the active tokens that have no successor.
pub(super) fn current(tokens: &[TokenRecord], at: Timestamp) -> impl Iterator<Item = &TokenRecord> {
    active(tokens, at).filter(|token| token.successor.is_none())
}

pub(super) fn unsupported() -> StoreError {
    StoreError::new(StoreErrorKind::Unsupported)
}

pub(super) fn not_found() -> StoreError {
    StoreError::new(StoreErrorKind::NotFound)
}

pub(super) fn already_exists() -> StoreError {
    StoreError::new(StoreErrorKind::AlreadyExists)
}
