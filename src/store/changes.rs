use std::fmt::Debug;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use jiff::Timestamp;

use super::{Page, Revision, StoreError, TokenCursor};
use crate::{
    model::{app::AppId, record::TokenRecord},
    token::{TokenDigest, TokenId},
};

/// A log of the changes to a store. A [`Follower`](crate::Follower) reads it to keep cached answers
/// fresh.
///
/// # Order
///
/// Each change increments the revision by one, in the transaction of the change. Revisions
/// therefore have no gaps, and are in the order in which the changes became visible. A reader that
/// has applied all changes up to a revision has missed none.
///
/// # Completeness
///
/// The log contains every change after which a cached answer could be wrong: a token inserted,
/// renamed, rotated or revoked, an app disabled or enabled. Recorded usage and the removal of
/// expired or revoked tokens need not be in it.
///
/// # Identity
///
/// Each [`Revision`] has a random mark. A log that no longer has a revision, or that has a
/// different one with the same number because the store was replaced or restored, returns
/// [`Changes::Gap`].
///
/// # Servers that lag
///
/// A server that no longer receives or replays changes, such as a standby that is cut off, must
/// return an error, because a follower cannot distinguish it from a server without changes. If
/// another server or an answer has shown a change that this log does not show, cached answers
/// expire after `max_staleness`. If no server shows the change for a minute, it counts as lost in a
/// failover.
///
/// # Cancellation
///
/// The same as for [`TokenStore`](super::TokenStore).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a change log",
    label = "this needs `ChangeLog`",
    note = "only a follower needs one; without it, each token is looked up again after `max_staleness`"
)]
#[async_trait]
pub trait ChangeLog: Debug + Send + Sync + 'static {
    /// Returns the revision of the latest change.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn revision(&self) -> Result<Revision, StoreError>;

    /// Returns at most `limit` changes after a revision, oldest first.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn changes(&self, since: Revision, limit: usize) -> Result<Changes, StoreError>;

    /// Waits for a notification that something has changed. It only makes followers apply a change
    /// sooner: notifications may be lost or spurious. A store without notifications waits forever,
    /// with [`std::future::pending`].
    async fn changed(&self);

    /// Lists the tokens that [`TokenQuery::live`](super::TokenQuery::live) selects at `now`, the greatest
    /// identifier first, one page at a time. A preloaded cache starts from these and then follows the changes.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn live(
        &self,
        after: Option<TokenId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<LivePage, StoreError>;

    /// Streams the same tokens as [`live`](Self::live), in any order, if the store can read them faster in one
    /// statement than page by page. `None`, which is the default, means that the pages are read.
    ///
    /// Each page of the stream has the position at which it was read, and its `next` has no meaning. A stream that
    /// ends without an error is complete. One that fails, stalls or lags behind is dropped, and the pages are read
    /// instead. If the statement keeps others from reusing space, limit its time.
    fn live_stream(&self, now: Timestamp) -> Option<LiveStream> {
        let _ = now;
        None
    }
}

/// A stream of live tokens; see [`ChangeLog::live_stream`].
pub type LiveStream = BoxStream<'static, Result<LivePage, StoreError>>;

/// The changes since a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[non_exhaustive]
pub enum Changes {
    /// The log continues from the given revision.
    Since {
        /// The changes, oldest first.
        changes: Vec<LoggedChange>,
        /// The revision of the last of these changes, or the given one if there are none.
        revision: Revision,
        /// The number of the latest revision, which may be later than that.
        latest: u64,
    },
    /// The log does not continue from the given revision.
    Gap,
}

/// A change and the revision that it led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(deny_unknown_fields)
)]
#[non_exhaustive]
pub struct LoggedChange {
    /// The revision that the change led to.
    pub revision: Revision,
    /// The change.
    pub change: Change,
}

impl LoggedChange {
    /// Creates a change that led to a revision.
    #[must_use]
    pub fn new(revision: Revision, change: Change) -> Self {
        Self { revision, change }
    }
}

/// A page of live tokens, for preloading a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(deny_unknown_fields)
)]
#[non_exhaustive]
pub struct LivePage {
    /// The tokens, the greatest identifier first.
    pub tokens: Vec<TokenRecord>,
    /// Where the next page starts; `None` on the last page.
    pub next: Option<TokenId>,
    /// The revision that the page reflects, read in the same statement.
    pub position: Revision,
    /// The digests of tokens that are left out of `tokens` because their rows could not be read.
    pub unreadable: Vec<TokenDigest>,
    /// About how many tokens all pages of a [stream](ChangeLog::live_stream) have together, if the store has an
    /// estimate. A preloaded cache then allocates its table once, which is faster than growing it. Set it on the first
    /// page; other pages do not need it.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub estimated_total: Option<u64>,
}

impl LivePage {
    /// Creates a page that was read at a position.
    #[must_use]
    pub fn new(page: Page<TokenRecord, TokenCursor>, position: Revision) -> Self {
        Self {
            tokens: page.items,
            next: page.next.map(|next| next.id()),
            position,
            unreadable: Vec::new(),
            estimated_total: None,
        }
    }
}

/// The subject of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[non_exhaustive]
pub enum Change {
    /// A token.
    Token(TokenDigest),
    /// An app, and therefore all of its tokens.
    App(AppId),
}

/// A log of when and how often tokens were used.
///
/// # Order
///
/// `last_used_at` never goes back: a time before the recorded one leaves it unchanged.
///
/// # Missing tokens
///
/// The use of a token that does not exist is ignored.
///
/// # Atomicity
///
/// A call is carried out completely or not at all, so that a call that failed can be repeated. It
/// changes no other column. A [`Follower`](crate::Follower) abandons a call after ten seconds and
/// repeats it later. If the first call was carried out after all, its uses are counted twice.
///
/// # Cancellation
///
/// The same as for [`TokenRegistry`](super::TokenRegistry).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a usage log",
    label = "this needs `UsageLog`",
    note = "implement `UsageLog` to record when and how often tokens were used; the stores of this project implement it"
)]
#[async_trait]
pub trait UsageLog: Debug + Send + Sync + 'static {
    /// Adds to the usage of tokens. Each token occurs once, in the order of the identifiers.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn record_usage(&self, usages: &[Usage]) -> Result<(), StoreError>;
}

/// The usage of a token since it was last recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Usage {
    /// The token.
    pub token: TokenId,
    /// When the token was last used, to the second.
    pub last_used_at: Timestamp,
    /// The number of additional uses.
    pub uses: u64,
}

impl Usage {
    /// Creates the usage of a token.
    #[must_use]
    pub fn new(token: TokenId, last_used_at: Timestamp, uses: u64) -> Self {
        Self {
            token,
            last_used_at,
            uses,
        }
    }

    /// Adds the usage to a record. Its `last_used_at` never goes back.
    pub fn add_to(&self, token: &mut TokenRecord) {
        token.last_used_at = token.last_used_at.max(Some(self.last_used_at));
        token.uses = token.uses.saturating_add(self.uses);
    }
}
