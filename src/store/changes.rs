use std::fmt::Debug;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Page, StoreError};
use crate::{
    model::{app::AppId, record::TokenRecord},
    token::{TokenDigest, TokenId},
};

/// The port for those who remember what a store said: tells what has changed since.
///
/// # Order
///
/// Each change raises the revision by one, in the step that makes the change, so that revisions
/// have no gaps and are in the order in which the changes became visible. Whoever has heeded all
/// changes up to a revision has missed nothing.
///
/// # Completeness
///
/// Every change after which a remembered answer could be wrong is in the log: a token inserted,
/// renamed, rotated or revoked, an app disabled or enabled. Changes of usage and the removal of tokens that
/// have ended need not be.
///
/// # Identity
///
/// A [`Revision`] is told apart by its mark, a random number for each change. A log that no longer holds a revision, or holds
/// another in its place because the store was replaced or restored, says
/// [`Changes::Gap`].
///
/// # Servers that lag
///
/// A server that no longer receives or replays changes, such as a standby that is cut off, must not
/// answer: the call fails. A follower cannot tell it from one on which nothing has changed. What an
/// answer or another server has shown and this log does not lets answers expire, for a minute at most;
/// after that it counts as lost in a failover.
///
/// # Cancellation
///
/// As for [`TokenStore`](super::TokenStore).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a change log",
    label = "this needs `ChangeLog`",
    note = "a store without one is asked again about each token when `max_staleness` has passed; only a follower needs it"
)]
#[async_trait]
pub trait ChangeLog: Debug + Send + Sync + 'static {
    /// The revision of the latest change.
    ///
    /// # Errors
    ///
    /// When the store fails.
    async fn revision(&self) -> Result<Revision, StoreError>;

    /// The changes after a revision, oldest first, at most `limit` of them.
    ///
    /// # Errors
    ///
    /// When the store fails.
    async fn changes(&self, since: Revision, limit: usize) -> Result<Changes, StoreError>;

    /// Waits for word that something has changed. It only makes followers heed a change sooner: word
    /// may be lost or come for nothing, and a store that has none waits for ever
    /// ([`std::future::pending`]).
    async fn changed(&self);

    /// The tokens that are live at `now`, the greatest identifier first, a page at a time: what the
    /// log's changes lead on from.
    ///
    /// # Errors
    ///
    /// When the store fails.
    async fn live(
        &self,
        after: Option<TokenId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<LivePage, StoreError>;
}

/// A point in the history of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Revision {
    /// How many changes there were up to this point.
    pub number: u64,
    /// A random number by which a change is told from another of the same number, in a store that
    /// was restored from a backup or replaced.
    pub mark: u64,
}

impl Revision {
    /// Creates the point after so many changes, the last of them with this mark.
    #[must_use]
    pub const fn new(number: u64, mark: u64) -> Self {
        Self { number, mark }
    }
}

/// What has changed since a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[non_exhaustive]
pub enum Changes {
    /// All that has changed up to a later revision.
    Since {
        /// What has changed, oldest first.
        changes: Vec<LoggedChange>,
        /// The revision of the last of these, or the one that was asked about if there are none.
        revision: Revision,
        /// The number of the latest revision, which may be later than that.
        latest: u64,
    },
    /// The log does not lead on from the revision that was asked about.
    Gap,
}

/// A change, with the revision that it led to.
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
    /// What was changed.
    pub change: Change,
}

impl LoggedChange {
    /// Creates the change that led to a revision.
    #[must_use]
    pub fn new(revision: Revision, change: Change) -> Self {
        Self { revision, change }
    }
}

/// A page of the tokens that are live, for a cache that is loaded as a whole.
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
    /// Where the next page begins; `None` on the last page.
    pub next: Option<TokenId>,
    /// The revision that the page reflects, read in the same statement.
    pub position: Revision,
    /// The digests of tokens whose rows could not be read, and which are left out of `tokens`.
    pub unreadable: Vec<TokenDigest>,
}

impl LivePage {
    /// Creates a page that was read at a position.
    #[must_use]
    pub fn new(page: Page<TokenRecord, TokenId>, position: Revision) -> Self {
        Self {
            tokens: page.items,
            next: page.next,
            position,
            unreadable: Vec::new(),
        }
    }
}

/// What a change was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[non_exhaustive]
pub enum Change {
    /// One token.
    Token(TokenDigest),
    /// An app, and so all of its tokens.
    App(AppId),
}

/// The port for recording when and how often tokens were used.
///
/// # Order
///
/// `last_used_at` only ever goes forward: a time before the recorded one leaves it as it is.
///
/// # Absence
///
/// The use of a token that is not there is dropped.
///
/// # Atomicity
///
/// A call happens as a whole or not at all, so that one that failed can be made again. It changes
/// no other column. A [`Follower`](crate::Follower) gives up a call that takes longer than ten seconds
/// and makes it again later: should it have happened after all, its uses are counted twice.
///
/// # Cancellation
///
/// As for [`TokenRegistry`](super::TokenRegistry).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a usage log",
    label = "this needs `UsageLog`",
    note = "implement `UsageLog` for what records when and how often tokens were used; stores of this crate do"
)]
#[async_trait]
pub trait UsageLog: Debug + Send + Sync + 'static {
    /// Adds to the usage of tokens. They come in the order of their identifiers, each one once.
    ///
    /// # Errors
    ///
    /// When the store fails.
    async fn record_usage(&self, usages: &[Usage]) -> Result<(), StoreError>;
}

/// How a token was used since it was last recorded.
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
    /// When it was last used, to the second.
    pub last_used_at: Timestamp,
    /// How many more times it was used.
    pub uses: u64,
}

impl Usage {
    /// The uses of a token.
    #[must_use]
    pub fn new(token: TokenId, last_used_at: Timestamp, uses: u64) -> Self {
        Self {
            token,
            last_used_at,
            uses,
        }
    }

    /// Adds the uses to those of a record. Its last use only moves forward.
    pub fn add_to(&self, token: &mut TokenRecord) {
        token.last_used_at = token.last_used_at.max(Some(self.last_used_at));
        token.uses = token.uses.saturating_add(self.uses);
    }
}
