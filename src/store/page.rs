use jiff::Timestamp;

use crate::{
    model::{
        app::{AppId, AppRecord},
        record::{TokenRecord, TokenStatus},
    },
    token::TokenId,
};

/// One page of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Page<T, K> {
    /// The records of this page, in the listing's order.
    pub items: Vec<T>,
    /// Where the next page begins, for the query's `after`; `None` on the last page.
    pub next: Option<K>,
}

impl<T, K> Page<T, K> {
    /// Creates a page of these records, and where the next one begins.
    #[must_use]
    pub fn new(items: Vec<T>, next: Option<K>) -> Self {
        Self { items, next }
    }

    /// The page of a listing that holds nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            items: Vec::new(),
            next: None,
        }
    }

    /// Creates a page from the first records of a listing, as many as the limit allows.
    pub fn first_of(
        items: impl IntoIterator<Item = T>,
        limit: PageSize,
        key: impl Fn(&T) -> K,
    ) -> Self {
        let surplus = items.into_iter().take(limit.get() + 1).collect();
        Self::from_surplus(surplus, limit.get(), key)
    }

    /// A page from one record more than fits into it, if there are that many.
    ///
    /// A store asks for `limit + 1` records after the cursor and leaves the rest to this function.
    #[must_use]
    pub fn from_surplus(mut items: Vec<T>, limit: usize, key: impl Fn(&T) -> K) -> Self {
        let next = if items.len() > limit {
            items.truncate(limit);
            items.last().map(key)
        } else {
            None
        };
        Self { items, next }
    }
}

/// How many records a page holds at most: 1 to 1,000, and 100 unless it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize(u16);

impl PageSize {
    /// The largest page.
    pub const MAX: usize = 1000;

    /// A page size; what is out of range is brought to the nearest that is in it.
    #[must_use]
    pub fn new(records: usize) -> Self {
        Self(u16::try_from(records.clamp(1, Self::MAX)).unwrap_or(1000))
    }

    /// The number of records.
    #[must_use]
    pub fn get(self) -> usize {
        usize::from(self.0)
    }
}

impl Default for PageSize {
    fn default() -> Self {
        Self(100)
    }
}

/// Which apps to list, by identifier.
///
/// ```
/// use tower_api_tokens::AppQuery;
///
/// let query = AppQuery::default().limit(20);
/// assert_eq!(query.limit.get(), 20);
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct AppQuery {
    /// Only apps with this in their name; ASCII letters are compared without their case.
    pub name: Option<String>,
    /// Only apps after this one: the `next` of the page before.
    pub after: Option<AppId>,
    /// The size of the page.
    pub limit: PageSize,
}

impl AppQuery {
    /// Only apps with this in their name; ASCII letters are compared without their case.
    #[must_use]
    pub fn name(mut self, part: impl Into<String>) -> Self {
        self.name = Some(part.into());
        self
    }

    /// Goes on where a page ended; `None` begins with the first page.
    #[must_use]
    pub fn after(mut self, app: impl Into<Option<AppId>>) -> Self {
        self.after = app.into();
        self
    }

    /// Sets the size of the page, 1 to 1,000.
    #[must_use]
    pub fn limit(mut self, records: usize) -> Self {
        self.limit = PageSize::new(records);
        self
    }

    /// Whether an app is one of those that the query lists.
    #[must_use]
    pub fn selects(&self, app: &AppRecord) -> bool {
        is_part(self.name.as_deref(), &app.name) && self.after.is_none_or(|after| app.id > after)
    }

    /// Makes a page of apps that come in the order of their identifiers.
    pub fn page(&self, apps: impl IntoIterator<Item = AppRecord>) -> Page<AppRecord, AppId> {
        let selected = apps.into_iter().filter(|app| self.selects(app));
        Page::first_of(selected, self.limit, |app| app.id)
    }

    /// Whether the query selects no app, whatever apps there are: no name contains U+0000, which
    /// PostgreSQL cannot be asked about.
    #[must_use]
    pub fn selects_nothing(&self) -> bool {
        self.name.as_deref().is_some_and(has_nul)
    }
}

/// Which tokens to list, the newest identifier first.
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
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TokenQuery {
    /// Only tokens of this app.
    pub app: Option<AppId>,
    /// Only tokens with this status.
    pub status: Option<TokenStatus>,
    /// Only tokens with this in their name; ASCII letters are compared without their case.
    pub name: Option<String>,
    /// Only the token that this one has replaced in a rotation.
    pub successor: Option<TokenId>,
    /// Only tokens after this one: the `next` of the page before.
    pub after: Option<TokenId>,
    /// The size of the page.
    pub limit: PageSize,
}

impl TokenQuery {
    /// Only tokens of this app.
    #[must_use]
    pub fn app(mut self, app: AppId) -> Self {
        self.app = Some(app);
        self
    }

    /// Only tokens with this status.
    #[must_use]
    pub fn status(mut self, status: TokenStatus) -> Self {
        self.status = Some(status);
        self
    }

    /// Only tokens with this in their name; ASCII letters are compared without their case.
    #[must_use]
    pub fn name(mut self, part: impl Into<String>) -> Self {
        self.name = Some(part.into());
        self
    }

    /// Only the token that `token` has replaced in a rotation. Give the app too, whose tokens are
    /// searched for it.
    #[must_use]
    pub fn replaced_by(mut self, token: TokenId) -> Self {
        self.successor = Some(token);
        self
    }

    /// Goes on where a page ended; `None` begins with the first page.
    #[must_use]
    pub fn after(mut self, token: impl Into<Option<TokenId>>) -> Self {
        self.after = token.into();
        self
    }

    /// Sets the size of the page, 1 to 1,000.
    #[must_use]
    pub fn limit(mut self, records: usize) -> Self {
        self.limit = PageSize::new(records);
        self
    }

    /// Selects the live tokens after one, as [`ChangeLog::live`](super::ChangeLog::live) lists them.
    #[must_use]
    pub fn live(after: Option<TokenId>, limit: usize) -> Self {
        let query = Self::default().status(TokenStatus::Live).limit(limit);
        Self { after, ..query }
    }

    /// Whether a token is one of those that the query lists at `now`.
    #[must_use]
    pub fn selects(&self, token: &TokenRecord, now: Timestamp) -> bool {
        self.app.is_none_or(|app| app == token.app.id)
            && self.status.is_none_or(|status| status == token.status(now))
            && is_part(self.name.as_deref(), &token.name)
            && (self.successor.is_none() || self.successor == token.successor)
            && self.after.is_none_or(|after| token.id < after)
    }

    /// Makes a page of tokens at `now` that come with the greatest identifier first.
    pub fn page(
        &self,
        tokens: impl IntoIterator<Item = TokenRecord>,
        now: Timestamp,
    ) -> Page<TokenRecord, TokenId> {
        let selected = tokens.into_iter().filter(|token| self.selects(token, now));
        Page::first_of(selected, self.limit, |token| token.id)
    }

    /// Whether the query selects no token, whatever tokens there are: no name contains U+0000, which
    /// PostgreSQL cannot be asked about.
    #[must_use]
    pub fn selects_nothing(&self) -> bool {
        self.name.as_deref().is_some_and(has_nul)
    }
}

fn is_part(part: Option<&str>, name: &str) -> bool {
    part.is_none_or(|part| {
        let name = name.to_ascii_lowercase();
        !has_nul(part) && name.contains(&part.to_ascii_lowercase())
    })
}

fn has_nul(part: &str) -> bool {
    part.contains('\0')
}
