//! Revokes many tokens: all that a query lists, in two steps, or those with given identifiers.
//!
//! Another process may have revoked some of them, and this one may still admit them from its cache. They are
//! not revoked again, but what was found out about them is applied here before the call returns.

use std::collections::BTreeSet;

use futures_util::TryStreamExt;
use jiff::Timestamp;

use super::{ApiTokens, LifecycleError, LifecycleErrorKind, change::Subject};
use crate::{
    model::{
        audit::{AuditAction, AuditEventId},
        record::{TokenRecord, TokenStatus},
    },
    store::{Op, Page, PageSize, TokenCursor, TokenOrder, TokenQuery, pages, run_to_end},
    token::{TokenDigest, TokenId},
};

/// The tokens that [`ApiTokens::revoke_selected`] revokes, as they were when an operator saw how many
/// there are.
///
/// A selection can be sent to the operator and back, with the filters of its query.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenSelection {
    /// The conditions of the selection.
    pub query: TokenQuery,
    /// The greatest identifier of a selected token. Tokens that are created later are not part of the
    /// selection.
    pub newest: TokenId,
    /// How many tokens are selected.
    pub count: usize,
}

impl TokenSelection {
    /// The maximum number of tokens in a selection.
    pub const MAX_COUNT: usize = 100_000;

    /// Creates a selection from its parts.
    #[must_use]
    pub fn new(query: TokenQuery, newest: TokenId, count: usize) -> Self {
        Self {
            query,
            newest,
            count,
        }
    }
}

/// The result of [`ApiTokens::revoke_selected`] or [`ApiTokens::revoke_many`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BulkRevocation {
    /// How many tokens were revoked.
    pub revoked: usize,
    /// The value of the field `batch` in the [changes](crate::AuditEvent::changes) of the audit events, if
    /// they are recorded.
    pub batch: Option<AuditEventId>,
}

impl ApiTokens {
    /// Selects the tokens that a query lists, to [revoke](Self::revoke_selected) them after a confirmation.
    /// Expired and revoked tokens are left out, and so is the token that the actor [acts
    /// with](super::Authority::own_token). The order, the position and the limit of the query do not
    /// matter. Returns `None` if there is no such token.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_api_tokens::{ApiTokens, MemoryStore, NewToken, TokenFormat, TokenQuery};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
    /// let app = tokens.create_app("Billing").await?.id;
    /// tokens.issue(&app, NewToken::named("ci")).await?;
    ///
    /// let selection = tokens.select_for_revocation(&TokenQuery::default().app(app)).await?;
    /// let selection = selection.ok_or("no token matches")?;
    /// println!("revoke {} tokens?", selection.count);
    /// assert_eq!(tokens.revoke_selected(&selection).await?.revoked, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error of the kind [`TooManyTokens`](LifecycleErrorKind::TooManyTokens) if the query selects
    /// more than [`MAX_COUNT`](TokenSelection::MAX_COUNT) tokens. Also returns an error if the store fails.
    pub async fn select_for_revocation(
        &self,
        query: &TokenQuery,
    ) -> Result<Option<TokenSelection>, LifecycleError> {
        let query = from_newest(query);
        let (mut newest, mut count) = (None, 0);
        let mut pages = pages(None, |after| self.revocable(&query, after));
        while let Some(page) = pages.try_next().await? {
            let first = page.items.first().map(|token| token.id);
            newest = newest.or(first);
            count += page.items.len();
            if count > TokenSelection::MAX_COUNT {
                return Err(LifecycleError::new(LifecycleErrorKind::TooManyTokens));
            }
        }
        drop(pages);
        Ok(newest.map(|newest| TokenSelection::new(query, newest, count)))
    }

    /// Revokes the tokens of a [selection](Self::select_for_revocation), 1,000 in each transaction. A token
    /// that no longer matches, because it was used or edited in the meantime, is left out.
    ///
    /// When this returns, none of them is admitted in this process, even if another one has revoked it in the
    /// meantime. Each revocation has an audit event, and all of these name the same batch. If the future is
    /// dropped, the revocation continues. After an error, some of the tokens may be revoked: call this again
    /// with the same selection to revoke the others.
    ///
    /// # Errors
    ///
    /// Returns an error of the kind [`SelectionChanged`](LifecycleErrorKind::SelectionChanged), and revokes
    /// nothing, if more tokens match than were selected: because some were edited, for example. Also returns
    /// an error if the store fails.
    pub async fn revoke_selected(
        &self,
        selection: &TokenSelection,
    ) -> Result<BulkRevocation, LifecycleError> {
        self.check_action(AuditAction::RevokeToken)?;
        let (tokens, selection) = (self.clone(), selection.clone());
        run_to_end(async move { tokens.revoke_all_of(&selection).await }).await
    }

    async fn revoke_all_of(
        &self,
        selection: &TokenSelection,
    ) -> Result<BulkRevocation, LifecycleError> {
        let mut query = from_newest(&selection.query);
        // The statement that revokes names the app as well. If the query names another one, no token is
        // listed.
        self.authority.limits().narrow(&mut query.app);
        let mut selected = Vec::new();
        let mut pages = pages(None, |after| self.revocable(&query, after));
        while let Some(page) = pages.try_next().await? {
            let older = page
                .items
                .iter()
                .filter(|token| token.id <= selection.newest);
            selected.extend(older.map(|token| (token.id, token.digest)));
            if selected.len() > selection.count {
                return Err(LifecycleError::new(LifecycleErrorKind::SelectionChanged));
            }
        }
        drop(pages);
        // Afterwards, so that a token that is revoked in between is in one of the listings.
        self.apply_revoked(&query, selection.newest).await?;
        self.revoke_in_steps(&selected, &query).await
    }

    /// Applies the revocations, by any process, of tokens that the query would list if they were live.
    async fn apply_revoked(
        &self,
        query: &TokenQuery,
        newest: TokenId,
    ) -> Result<(), LifecycleError> {
        let mut query = query.clone().status(TokenStatus::Revoked);
        query.admissible = false;
        let mut pages = pages(None, |after| self.listed(&query, after));
        while let Some(page) = pages.try_next().await? {
            let older = page.items.iter().filter(|token| token.id <= newest);
            let revoked: Vec<_> = older.map(|token| token.digest).collect();
            self.authenticator().apply_token_changes(&revoked);
        }
        Ok(())
    }

    /// Revokes the tokens with these identifiers, 1,000 in each transaction, for example those that
    /// leaked. Tokens that do not exist, have expired or were revoked before are left out, and so is the
    /// token that the actor [acts with](super::Authority::own_token).
    ///
    /// When this returns, none of those that are revoked is admitted in this process, even if another one had
    /// revoked it before. Each revocation has an audit event, and all of these name the same batch. If the
    /// future is dropped, the revocation continues. After an error, some of the tokens may be revoked: call
    /// this again to revoke the others.
    ///
    /// # Errors
    ///
    /// Returns an error of the kind [`TooManyTokens`](LifecycleErrorKind::TooManyTokens), and revokes
    /// nothing, if there are more than [`MAX_COUNT`](TokenSelection::MAX_COUNT) identifiers. Also returns an
    /// error if the store fails.
    pub async fn revoke_many(&self, tokens: &[TokenId]) -> Result<BulkRevocation, LifecycleError> {
        self.check_action(AuditAction::RevokeToken)?;
        if tokens.len() > TokenSelection::MAX_COUNT {
            return Err(LifecycleError::new(LifecycleErrorKind::TooManyTokens));
        }
        let (this, tokens) = (self.clone(), BTreeSet::from_iter(tokens.iter().copied()));
        run_to_end(async move { this.revoke_each_of(&tokens).await }).await
    }

    async fn revoke_each_of(
        &self,
        tokens: &BTreeSet<TokenId>,
    ) -> Result<BulkRevocation, LifecycleError> {
        let now = self.now();
        let (mut selected, mut ended) = (Vec::new(), Vec::new());
        for id in tokens {
            match self.get(*id).await {
                Ok(token) if self.is_revocable(&token, now) => {
                    selected.push((token.id, token.digest));
                }
                Ok(token) => ended.push(token.digest),
                Err(error) if error.kind() == LifecycleErrorKind::UnknownToken => {}
                Err(error) => return Err(error),
            }
        }
        self.authenticator().apply_token_changes(&ended);
        let mut query = from_newest(&TokenQuery::default());
        self.authority.limits().narrow(&mut query.app);
        self.revoke_in_steps(&selected, &query).await
    }

    /// Revokes those of these tokens that the query selects.
    async fn revoke_in_steps(
        &self,
        selected: &[(TokenId, TokenDigest)],
        query: &TokenQuery,
    ) -> Result<BulkRevocation, LifecycleError> {
        let now = self.now();
        let (mut batch, mut revoked) = (None, 0);
        for step in selected.chunks(PageSize::MAX) {
            let op = Op::RevokeTokens {
                tokens: step.iter().map(|(id, _)| *id).collect(),
                query: query.clone(),
            };
            let mut revocation = self.mutation(op, now, Subject::new(AuditAction::RevokeToken))?;
            if let (Some(event), Some(batch)) = (&mut revocation.audit, batch) {
                event.id = batch;
            }
            batch = revocation.audit.as_ref().map(|event| event.id);
            let applied = self.apply_revocation(&revocation).await;
            let digests: Vec<_> = step.iter().map(|(_, digest)| *digest).collect();
            self.authenticator().apply_token_changes(&digests);
            revoked += applied?.into_tokens()?.len();
        }
        Ok(BulkRevocation { revoked, batch })
    }

    /// Lists the tokens after a position that can be revoked.
    async fn revocable(
        &self,
        query: &TokenQuery,
        after: Option<TokenCursor>,
    ) -> Result<Page<TokenRecord, TokenCursor>, LifecycleError> {
        let now = self.now();
        let mut page = self.listed(query, after).await?;
        page.items.retain(|token| self.is_revocable(token, now));
        Ok(page)
    }

    /// Lists the tokens after a position.
    async fn listed(
        &self,
        query: &TokenQuery,
        after: Option<TokenCursor>,
    ) -> Result<Page<TokenRecord, TokenCursor>, LifecycleError> {
        self.list(&query.clone().after(after)).await
    }

    fn is_revocable(&self, token: &TokenRecord, now: Timestamp) -> bool {
        token.check_active(now).is_ok() && !self.authority.acts_with(token.id)
    }
}

/// Returns the query in an order in which newer tokens come first.
fn from_newest(query: &TokenQuery) -> TokenQuery {
    let query = query.clone().after(None).sorted_by(TokenOrder::Newest);
    query.limit(PageSize::MAX)
}
