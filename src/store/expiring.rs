use jiff::Timestamp;

use super::{Page, PageSize};
use crate::{model::record::TokenRecord, token::TokenId};

/// A query for tokens that expire soon, ordered by expiry and then by identifier.
///
/// Revoked tokens are left out. So are replaced tokens, because their successors are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExpiringQuery {
    /// Only tokens that expire after this instant.
    pub from: Timestamp,
    /// Also selects tokens that expire at `from` if their identifier is greater than this one.
    pub after: Option<TokenId>,
    /// Only tokens that expire at or before this instant.
    pub until: Timestamp,
    /// The size of the page.
    pub limit: PageSize,
}

impl ExpiringQuery {
    /// Creates a query for the tokens that expire after `from`, until `until`.
    #[must_use]
    pub fn new(from: Timestamp, until: Timestamp) -> Self {
        Self {
            from,
            after: None,
            until,
            limit: PageSize::default(),
        }
    }

    /// Sets the size of the page, from 1 to 1,000.
    #[must_use]
    pub fn limit(mut self, records: usize) -> Self {
        self.limit = PageSize::new(records);
        self
    }

    /// Returns whether the query selects a token.
    #[must_use]
    pub fn selects(&self, token: &TokenRecord) -> bool {
        let is_later = |expires_at: Timestamp| {
            expires_at > self.from
                || expires_at == self.from && self.after.is_some_and(|after| token.id > after)
        };
        token.revoked_at.is_none()
            && token.successor.is_none()
            && token
                .expires_at
                .is_some_and(|expires_at| is_later(expires_at) && expires_at <= self.until)
    }

    /// Creates a page from the tokens that the query selects, in any order.
    #[must_use]
    pub fn page(&self, mut tokens: Vec<TokenRecord>) -> Page<TokenRecord, Self> {
        tokens.retain(|token| self.selects(token));
        tokens.sort_unstable_by_key(|token| (token.expires_at, token.id));
        Page::first_of(tokens, self.limit, |last| self.next(last))
    }

    /// Returns the query for the page after one that ends with a token.
    #[must_use]
    pub fn next(&self, last: &TokenRecord) -> Self {
        Self {
            from: last.expires_at.unwrap_or(self.until),
            after: Some(last.id),
            ..*self
        }
    }
}
