//! Queries for tokens: filters, order and position.

mod conflict;
mod cursor;
mod order;
#[cfg(test)]
mod tests;

use jiff::Timestamp;

pub use conflict::{TokenCondition, TokenQueryConflict};
pub use cursor::{TokenCursor, TokenCursorError};
pub use order::TokenOrder;

use super::{
    Page, PageSize,
    page::{has_nul, is_part},
};
use crate::{
    model::{
        app::AppId,
        record::{TokenRecord, TokenStatus},
    },
    token::{TokenDigest, TokenFormat, TokenId},
};

/// A query for tokens. All of its conditions must hold.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::{AppId, TokenQuery, TokenStatus};
///
/// let query = TokenQuery::default()
///     .app(AppId::new("app_8hFk2")?)
///     .status(TokenStatus::Live)
///     .limit(20);
/// # Ok::<(), tower_api_tokens::AppIdError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenQuery {
    /// Only the token with this identifier.
    pub id: Option<TokenId>,
    /// Only the token with this digest.
    pub digest: Option<TokenDigest>,
    /// Only tokens of this app.
    pub app: Option<AppId>,
    /// Only tokens with this status.
    pub status: Option<TokenStatus>,
    /// Only tokens whose name contains this text, ignoring the case of ASCII letters.
    pub name: Option<String>,
    /// Only tokens whose mask starts with exactly this text, up to the ellipsis: tokens of a format.
    pub mask_head: Option<String>,
    /// Only tokens whose mask ends with exactly this text, from the ellipsis on: the last four
    /// characters.
    pub mask_tail: Option<String>,
    /// Only tokens that were created by this actor.
    pub created_by: Option<String>,
    /// Only tokens that were created before this instant.
    pub created_before: Option<Timestamp>,
    /// Only tokens that expire, and do so before this instant.
    pub expires_before: Option<Timestamp>,
    /// Only tokens that never expire.
    pub never_expires: bool,
    /// Only tokens that were created before this instant and not used since, as far as their uses
    /// are recorded.
    pub unused_since: Option<Timestamp>,
    /// Only tokens without a recorded use.
    pub never_used: bool,
    /// Only tokens that were replaced in a rotation (`true`), or were not (`false`).
    pub replaced: Option<bool>,
    /// Only replaced tokens that were used after their rotation (`true`), or were not (`false`), as far
    /// as their uses are recorded. The time of the rotation is that of the successor's identifier.
    pub used_since_rotation: Option<bool>,
    /// Only tokens that are admitted now, or will be later if nothing changes.
    pub admissible: bool,
    /// Only the token that was replaced by this one in a rotation.
    pub successor: Option<TokenId>,
    /// The order of the listing. Defaults to the one that fits the filters; see
    /// [`order`](Self::order).
    pub order: Option<TokenOrder>,
    /// Only tokens after this position: the `next` of the previous page.
    pub after: Option<TokenCursor>,
    /// The size of the page.
    pub limit: PageSize,
}

impl TokenQuery {
    /// Selects only the token with this identifier.
    #[must_use]
    pub fn id(mut self, token: TokenId) -> Self {
        self.id = Some(token);
        self
    }

    /// Selects only the token with this digest.
    #[must_use]
    pub fn digest(mut self, digest: TokenDigest) -> Self {
        self.digest = Some(digest);
        self
    }

    /// Selects only tokens of this app.
    #[must_use]
    pub fn app(mut self, app: AppId) -> Self {
        self.app = Some(app);
        self
    }

    /// Selects only tokens with this status.
    #[must_use]
    pub fn status(mut self, status: TokenStatus) -> Self {
        self.status = Some(status);
        self
    }

    /// Selects only tokens whose name contains this text, ignoring the case of ASCII letters.
    #[must_use]
    pub fn name(mut self, part: impl Into<String>) -> Self {
        self.name = Some(part.into());
        self
    }

    /// Selects only tokens that were issued in this format.
    #[must_use]
    pub fn format(mut self, format: &TokenFormat) -> Self {
        self.mask_head = Some(format!("{}_", format.prefix()));
        self
    }

    /// Selects only tokens that end with these characters, as their masks show them.
    #[must_use]
    pub fn last_four(mut self, tail: impl Into<String>) -> Self {
        self.mask_tail = Some(tail.into());
        self
    }

    /// Selects only tokens that were created by this actor.
    #[must_use]
    pub fn created_by(mut self, actor: impl Into<String>) -> Self {
        self.created_by = Some(actor.into());
        self
    }

    /// Selects only tokens that were created before an instant.
    #[must_use]
    pub fn created_before(mut self, at: Timestamp) -> Self {
        self.created_before = Some(at);
        self
    }

    /// Selects only tokens that expire before an instant.
    #[must_use]
    pub fn expires_before(mut self, at: Timestamp) -> Self {
        self.expires_before = Some(at);
        self
    }

    /// Selects only tokens that never expire.
    #[must_use]
    pub fn never_expires(mut self) -> Self {
        self.never_expires = true;
        self
    }

    /// Selects only tokens that were created before an instant and not used since.
    ///
    /// Uses are recorded by nodes with a [`UsageLog`](super::UsageLog). A token that only other nodes
    /// verify counts as unused.
    #[must_use]
    pub fn unused_since(mut self, at: Timestamp) -> Self {
        self.unused_since = Some(at);
        self
    }

    /// Selects only tokens without a recorded use.
    #[must_use]
    pub fn never_used(mut self) -> Self {
        self.never_used = true;
        self
    }

    /// Selects only tokens that were replaced in a rotation, or only those that were not.
    #[must_use]
    pub fn replaced(mut self, replaced: bool) -> Self {
        self.replaced = Some(replaced);
        self
    }

    /// Selects only replaced tokens that were used after their rotation, or only replaced ones that
    /// were not.
    #[must_use]
    pub fn used_since_rotation(mut self, used: bool) -> Self {
        self.used_since_rotation = Some(used);
        self
    }

    /// Selects only the token that was replaced by `token` in a rotation. Also set the app, so that
    /// only its tokens are searched.
    #[must_use]
    pub fn replaced_by(mut self, token: TokenId) -> Self {
        self.successor = Some(token);
        self
    }

    /// Sets the order of the listing. Defaults to the one that fits the filters.
    #[must_use]
    pub fn sorted_by(mut self, order: TokenOrder) -> Self {
        self.order = Some(order);
        self
    }

    /// Continues after a page, with its `next`; `None` starts at the first page.
    #[must_use]
    pub fn after(mut self, cursor: impl Into<Option<TokenCursor>>) -> Self {
        self.after = cursor.into();
        self
    }

    /// Sets the size of the page, from 1 to 1,000.
    #[must_use]
    pub fn limit(mut self, records: usize) -> Self {
        self.limit = PageSize::new(records);
        self
    }

    /// Creates a query for the tokens after one that are [`admissible`](field@Self::admissible), as
    /// [`ChangeLog::live`](super::ChangeLog::live) lists them.
    #[must_use]
    pub fn live(after: Option<TokenId>, limit: usize) -> Self {
        Self {
            admissible: true,
            after: after.map(TokenCursor::from),
            ..Self::default().limit(limit)
        }
    }

    /// Returns the order of the listing. If none is set, it is the one in which a store finds the tokens
    /// without reading the others:
    ///
    /// - [`Newest`](TokenOrder::Newest) for revoked tokens, because the orders below leave them out;
    /// - [`Expiry`](TokenOrder::Expiry) with a filter by expiry, for expired tokens, and for tokens that
    ///   were replaced in a rotation, which ends them;
    /// - [`LastUsed`](TokenOrder::LastUsed) with a filter by use;
    /// - [`Newest`](TokenOrder::Newest) otherwise.
    #[must_use]
    pub fn order(&self) -> TokenOrder {
        let by_expiry = self.expires_before.is_some()
            || self.never_expires
            || self.status == Some(TokenStatus::Expired)
            || self.replaced == Some(true)
            || self.used_since_rotation.is_some();
        match self.order {
            Some(order) => order,
            None if self.status == Some(TokenStatus::Revoked) => TokenOrder::Newest,
            None if by_expiry => TokenOrder::Expiry,
            None if self.unused_since.is_some() || self.never_used => TokenOrder::LastUsed,
            None => TokenOrder::Newest,
        }
    }

    /// Returns whether the query selects a token at `now`.
    ///
    /// A [cursor](field@Self::after) of a listing in another order selects nothing.
    #[must_use]
    pub fn selects(&self, token: &TokenRecord, now: Timestamp) -> bool {
        self.selects_record(token)
            && self.selects_expiry(token)
            && self.selects_use(token)
            && self.status.is_none_or(|status| status == token.status(now))
            && (!self.admissible || token.is_admissible(now))
            && (self.order().includes_revoked() || token.revoked_at.is_none())
            && self
                .after
                .is_none_or(|after| after.order() == self.order() && after.is_before(token))
    }

    fn selects_record(&self, token: &TokenRecord) -> bool {
        let (head, tail) = token.mask.parts();
        let is = |wanted: &Option<String>, value: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == value)
        };
        let is_creator = |actor: &String| token.created_by.as_ref() == Some(actor);
        self.id.is_none_or(|id| id == token.id)
            && self.digest.is_none_or(|digest| digest == token.digest)
            && self.app.is_none_or(|app| app == token.app.id)
            && is_part(self.name.as_deref(), &token.name)
            && is(&self.mask_head, head)
            && is(&self.mask_tail, tail)
            && self.created_by.as_ref().is_none_or(is_creator)
            && self.created_before.is_none_or(|at| token.created_at < at)
            && (self.successor.is_none() || self.successor == token.successor)
            && self
                .replaced
                .is_none_or(|replaced| replaced == token.successor.is_some())
    }

    fn selects_expiry(&self, token: &TokenRecord) -> bool {
        let expires_before = |at| token.expires_at.is_some_and(|expires_at| expires_at < at);
        self.expires_before.is_none_or(expires_before)
            && (!self.never_expires || token.expires_at.is_none())
    }

    fn selects_use(&self, token: &TokenRecord) -> bool {
        let last = token.last_used_at.unwrap_or(token.created_at);
        self.unused_since.is_none_or(|at| last < at)
            && (!self.never_used || token.last_used_at.is_none())
            && self
                .used_since_rotation
                .is_none_or(|used| token.used_since_rotation() == Some(used))
    }

    /// Creates a page from tokens that are ordered by identifier, the greatest first.
    pub fn page(
        &self,
        tokens: impl IntoIterator<Item = TokenRecord>,
        now: Timestamp,
    ) -> Page<TokenRecord, TokenCursor> {
        let order = self.order();
        let cursor = |token: &TokenRecord| TokenCursor::of(token, order);
        let selected = tokens.into_iter().filter(|token| self.selects(token, now));
        if order == TokenOrder::Newest {
            return Page::first_of(selected, self.limit, cursor);
        }
        let mut selected: Vec<_> = selected.collect();
        selected.sort_unstable_by_key(|token| (order.key(token), token.id));
        Page::first_of(selected, self.limit, cursor)
    }

    /// Returns whether no token can match: a text contains U+0000, which no record contains and
    /// PostgreSQL rejects, or the cursor belongs to a listing in another order.
    #[must_use]
    pub fn selects_nothing(&self) -> bool {
        let texts = [
            &self.name,
            &self.mask_head,
            &self.mask_tail,
            &self.created_by,
        ];
        texts.into_iter().flatten().any(|text| has_nul(text)) || self.has_foreign_cursor()
    }

    /// Returns whether the cursor belongs to a listing in another order.
    #[must_use]
    pub fn has_foreign_cursor(&self) -> bool {
        self.after
            .is_some_and(|after| after.order() != self.order())
    }
}
