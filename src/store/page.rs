use crate::model::app::{AppId, AppRecord};

/// One page of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Page<T, K> {
    /// The records of this page, in the order of the listing.
    pub items: Vec<T>,
    /// Where the next page starts, for the query's `after`; `None` on the last page.
    pub next: Option<K>,
    /// The identifiers of records that were left out of `items` because the store could not read them.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Vec::is_empty")
    )]
    pub unreadable: Vec<String>,
}

impl<T, K> Page<T, K> {
    /// Creates a page from its records and the cursor of the next page.
    #[must_use]
    pub fn new(items: Vec<T>, next: Option<K>) -> Self {
        Self {
            items,
            next,
            unreadable: Vec::new(),
        }
    }

    /// Creates the page of an empty listing.
    #[must_use]
    pub fn empty() -> Self {
        Self::new(Vec::new(), None)
    }

    /// Creates a page from the start of a listing, up to the limit.
    pub fn first_of(
        items: impl IntoIterator<Item = T>,
        limit: PageSize,
        key: impl Fn(&T) -> K,
    ) -> Self {
        let surplus = items.into_iter().take(limit.get() + 1).collect();
        Self::from_surplus(surplus, limit.get(), key)
    }

    /// Creates a page from at most `limit + 1` records. If there are more than `limit`, the last
    /// one is dropped and the page has a `next`.
    ///
    /// A store selects `limit + 1` records after the cursor and calls this function.
    #[must_use]
    pub fn from_surplus(mut items: Vec<T>, limit: usize, key: impl Fn(&T) -> K) -> Self {
        let next = if items.len() > limit {
            items.truncate(limit);
            items.last().map(key)
        } else {
            None
        };
        Self::new(items, next)
    }
}

/// The maximum number of records in a page: 1 to 1,000. Defaults to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize(u16);

impl PageSize {
    /// The maximum page size.
    pub const MAX: usize = 1000;

    /// Creates a page size, limited to 1 to 1,000.
    #[must_use]
    pub fn new(records: usize) -> Self {
        Self(u16::try_from(records.clamp(1, Self::MAX)).unwrap_or(1000))
    }

    /// Returns the number of records.
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

/// A query for apps, ordered by identifier.
///
/// # Examples
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
    /// Only apps whose name contains this text, ignoring the case of ASCII letters.
    pub name: Option<String>,
    /// Only apps after this one: the `next` of the previous page.
    pub after: Option<AppId>,
    /// The size of the page.
    pub limit: PageSize,
}

impl AppQuery {
    /// Selects only apps whose name contains this text, ignoring the case of ASCII letters.
    #[must_use]
    pub fn name(mut self, part: impl Into<String>) -> Self {
        self.name = Some(part.into());
        self
    }

    /// Continues after a page, with its `next`; `None` starts at the first page.
    #[must_use]
    pub fn after(mut self, app: impl Into<Option<AppId>>) -> Self {
        self.after = app.into();
        self
    }

    /// Sets the size of the page, from 1 to 1,000.
    #[must_use]
    pub fn limit(mut self, records: usize) -> Self {
        self.limit = PageSize::new(records);
        self
    }

    /// Returns whether the query selects an app.
    #[must_use]
    pub fn selects(&self, app: &AppRecord) -> bool {
        is_part(self.name.as_deref(), &app.name) && self.after.is_none_or(|after| app.id > after)
    }

    /// Creates a page from apps that are ordered by identifier.
    pub fn page(&self, apps: impl IntoIterator<Item = AppRecord>) -> Page<AppRecord, AppId> {
        let selected = apps.into_iter().filter(|app| self.selects(app));
        Page::first_of(selected, self.limit, |app| app.id)
    }

    /// Returns whether no app can match: the name contains U+0000, which no name contains and
    /// PostgreSQL rejects.
    #[must_use]
    pub fn selects_nothing(&self) -> bool {
        self.name.as_deref().is_some_and(has_nul)
    }
}

/// Returns whether a name contains a text, ignoring the case of ASCII letters.
pub(super) fn is_part(part: Option<&str>, name: &str) -> bool {
    part.is_none_or(|part| {
        let name = name.to_ascii_lowercase();
        !has_nul(part) && name.contains(&part.to_ascii_lowercase())
    })
}

pub(super) fn has_nul(part: &str) -> bool {
    part.contains('\0')
}
