//! The ports to a store, their contract, and the stores that come with the crate.
//!
//! [`TokenStore`] is all that verification needs: one method. [`TokenRegistry`] adds the lifecycle
//! of apps and tokens. The module `testing::conformance` checks a store against both contracts.

mod answer;
mod audit;
mod changes;
mod error;
mod forward;
mod history;
mod logs;
mod memory;
mod mutation;
mod page;
mod repeat;
mod run;
mod stream;
mod tables;

use std::fmt::Debug;

use async_trait::async_trait;
use jiff::Timestamp;

pub use answer::Answer;
pub use audit::{AuditLog, AuditQuery};
pub use changes::{Change, ChangeLog, Changes, LivePage, LoggedChange, Revision, Usage, UsageLog};
pub use error::{StoreError, StoreErrorKind};
pub use history::ChangeHistory;
pub(crate) use logs::RegistryLogs;
pub use logs::audit_log;
pub use memory::MemoryStore;
pub use mutation::{
    Applied, AsyncSnapshot, Mutation, Op, Plan, Snapshot, TokenRegistryExt, UsedKey, Write,
};
pub use page::{AppQuery, Page, PageSize, TokenQuery};
pub use repeat::{BoundKey, Repeated};
pub use run::{catch_panic, run_to_end};
pub(crate) use stream::live_pages;
pub use stream::{ChangeLogStreams, TokenRegistryStreams, pages, records};
pub use tables::{TableRegistry, Tables, Transactional};

pub use crate::{
    clock::{from_microseconds, microseconds, truncate_to_microsecond},
    entropy::jittered,
};

use crate::{
    model::{
        app::{AppId, AppRecord},
        record::TokenRecord,
    },
    token::{TokenDigest, TokenId},
};

/// The port for verification: finds the record of a presented token.
///
/// ```
/// use std::collections::HashMap;
///
/// use async_trait::async_trait;
/// use tower_api_tokens::{Answer, StoreError, TokenDigest, TokenRecord, TokenStore};
///
/// #[derive(Debug)]
/// struct Table(HashMap<TokenDigest, TokenRecord>);
///
/// #[async_trait]
/// impl TokenStore for Table {
///     async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
///         Ok(self.0.get(digest).cloned().into())
///     }
/// }
/// ```
///
/// # Absence
///
/// A token that the store does not have is an [`Answer`] without a record, never an error. An error
/// means that the store could not look it up: the caller answers 503 and admits nobody.
///
/// # Time
///
/// A store does not judge expiry, revocation or whether the app is disabled: it returns the record
/// as it stands, and the caller judges it by one clock.
///
/// # Visibility
///
/// `find` shows every change that was acknowledged before it began, or returns the position at which
/// it read, absence included: then an answer from a server that lags is used for no longer than
/// [`max_staleness`](crate::AuthenticatorBuilder::max_staleness) allows. A store that lags and
/// returns no position adds its lag to that bound.
///
/// # Cancellation
///
/// The future may be dropped at any await. That must leave nothing behind: no lock, no connection
/// in the midst of a statement.
///
/// # Restrictions
///
/// A store returns the [restrictions](TokenRecord::restrictions) of a token as they were written, byte for
/// byte. One that cannot tell whether a token has some must not return it as a token without: that would
/// admit more than was granted.
///
/// # Secrecy
///
/// A store sees digests, never plaintext. It may look up by a part of the digest or under a loose
/// collation: the caller compares the whole digest again, in constant time. Neither digests nor
/// plaintext may appear in its errors or logs.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a token store",
    label = "this needs `TokenStore`",
    note = "implement `TokenStore` for `{Self}`: its one method finds the record of a digest",
    note = "a `TokenRegistry` is what the lifecycle needs; `MemoryStore`, `SqliteStore` and `PostgresStore` are both"
)]
#[async_trait]
pub trait TokenStore: Debug + Send + Sync + 'static {
    /// Finds the record of a token by its digest.
    ///
    /// # Errors
    ///
    /// Returns an error if the store could not look the token up.
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError>;

    /// Finds the records of many tokens, and returns an answer for each digest in the same order.
    ///
    /// By default they are looked up one by one. A store that can look up many in one query should,
    /// since a preloaded cache re-reads tokens this way when many change.
    ///
    /// # Errors
    ///
    /// Returns an error if the store could not look all of them up.
    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Answer>, StoreError> {
        let mut answers = Vec::with_capacity(digests.len());
        for digest in digests {
            answers.push(self.find(digest).await?);
        }
        Ok(answers)
    }
}

/// The port for the lifecycle of apps and tokens.
///
/// # Uniqueness
///
/// Each token's identifier, each token's digest and each app's identifier is there once. An insert
/// that meets one of them fails with [`AlreadyExists`](StoreErrorKind::AlreadyExists) and changes
/// nothing: it never updates what is there.
///
/// # Atomicity
///
/// A [`Mutation`] happens as a whole or not at all, its idempotency key and its audit event included.
/// A rotation inserts the successor and changes the predecessor in one step, and of many racing
/// rotations of one token exactly one succeeds. A change names its columns and affects exactly the
/// records that it is about.
///
/// # Unknown operations
///
/// An [`Op`] that the store does not know, or an audit event where it has no
/// [audit log](Self::audit_log), fails with [`Unsupported`](StoreErrorKind::Unsupported). It is never
/// ignored.
///
/// # Visibility
///
/// After a change has returned, no [`find`](TokenStore::find) that begins afterwards shows the
/// state before it, through this handle or any other onto the same store.
///
/// # Durability
///
/// A change that was acknowledged survives a crash, of the process and of the machine. A store that
/// does not promise this says so.
///
/// # Absence
///
/// To read what is not there gives `Ok(None)` or an empty page; to change it fails with
/// [`NotFound`](StoreErrorKind::NotFound). A record of another app than a call names is not there.
///
/// # Time
///
/// The time of a change comes with the call; a store has no clock of its own.
///
/// # Cancellation
///
/// The future may be dropped at any await. What it was to change is then wholly done, now or
/// shortly afterwards, or not done at all.
///
/// # Clone
///
/// Where a store can be cloned, the clones share one state.
///
/// # Restrictions
///
/// The [restrictions](TokenRecord::restrictions) of a token are kept byte for byte. A rotation whose
/// successor lacks those of the token that it replaces fails with
/// [`InvalidRecord`](StoreErrorKind::InvalidRecord), as [`TokenRecord::check_successor`] says. Where programs
/// of older versions write to the same store, they must not be able to drop them, and a token that they
/// cannot judge looks expired to them.
///
/// # Secrecy
///
/// As for [`TokenStore`]. No column, log line or error holds plaintext.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a token registry",
    label = "this needs `TokenRegistry`",
    note = "a store with only `find` verifies tokens through `Authenticator::new`; issuing, rotating and revoking them needs `TokenRegistry` too"
)]
#[async_trait]
pub trait TokenRegistry: TokenStore {
    /// Makes a change.
    ///
    /// [`Mutation::plan`] is the reference for what each operation does and returns.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](StoreErrorKind::NotFound) if the app or token to change, or the app of a token
    ///   to insert, does not exist;
    /// - [`AlreadyExists`](StoreErrorKind::AlreadyExists) if an identifier or digest to insert is
    ///   taken;
    /// - [`Repeated`](StoreErrorKind::Repeated), with what was [created before](Repeated), if the
    ///   mutation has an idempotency key that was used;
    /// - [`Conflict`](StoreErrorKind::Conflict), with the
    ///   [`TransitionError`](crate::TransitionError), if the state of a token does not allow its
    ///   rotation;
    /// - [`InvalidRecord`](StoreErrorKind::InvalidRecord) if the successor of a token lacks its
    ///   restrictions, or the store cannot keep a record;
    /// - [`NotGranted`](StoreErrorKind::NotGranted), with the [`GrantError`](crate::GrantError), if
    ///   enabling an app would admit tokens that the actor may not grant;
    /// - [`Unsupported`](StoreErrorKind::Unsupported) if the store does not know the operation, cannot
    ///   record its audit event, or the operation takes no idempotency key;
    /// - any other kind if the store fails. It is then unknown whether the change was made.
    async fn apply(&self, mutation: &Mutation) -> Result<Applied, StoreError>;

    /// Reads an app.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn app(&self, id: &AppId) -> Result<Option<AppRecord>, StoreError>;

    /// Reads a token.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn token(&self, target: &TokenTarget) -> Result<Option<TokenRecord>, StoreError>;

    /// Lists apps by identifier, a page at a time.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn apps(&self, query: &AppQuery) -> Result<Page<AppRecord, AppId>, StoreError>;

    /// Lists tokens, the greatest identifier first, a page at a time: exactly those that
    /// [`TokenQuery::selects`] at `now`.
    ///
    /// A listing is complete and stable: it shows each token once that exists from its first page to
    /// its last and is selected all that time.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn tokens(
        &self,
        query: &TokenQuery,
        now: Timestamp,
    ) -> Result<Page<TokenRecord, TokenId>, StoreError>;

    /// The log of changes, for a [`Follower`](crate::Follower). Without one, changes that other
    /// processes make take effect here after
    /// [`max_staleness`](crate::AuthenticatorBuilder::max_staleness).
    fn change_log(&self) -> Option<&dyn ChangeLog> {
        None
    }

    /// Where the use of tokens is recorded. Without one, it is not.
    fn usage_log(&self) -> Option<&dyn UsageLog> {
        None
    }

    /// Where audit events are kept. Without one, a [`Mutation`] with an event is
    /// [`Unsupported`](StoreErrorKind::Unsupported).
    fn audit_log(&self) -> Option<&dyn AuditLog> {
        None
    }
}

/// Which token a call is about, and on whose behalf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TokenTarget {
    /// The token.
    pub id: TokenId,
    /// The app that the token must belong to; for a call on behalf of an app, a token of another
    /// is not there.
    pub app: Option<AppId>,
}

impl TokenTarget {
    /// Any app's token, on the operator's behalf.
    #[must_use]
    pub fn any(id: TokenId) -> Self {
        Self { id, app: None }
    }

    /// The token, if it is this app's.
    #[must_use]
    pub fn of_app(id: TokenId, app: AppId) -> Self {
        Self { id, app: Some(app) }
    }

    /// Whether `token` is the one that is meant.
    #[must_use]
    pub fn selects(&self, token: &TokenRecord) -> bool {
        self.id == token.id && self.app.is_none_or(|app| app == token.app.id)
    }
}

/// The replacement of a token by its successor, as [`Op::RotateToken`] makes it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Replacement {
    /// The token to be rotated.
    pub target: TokenTarget,
    /// The token that takes its place.
    pub successor: TokenRecord,
    /// The time of the rotation.
    pub at: Timestamp,
    /// When the rotated token expires, at the latest.
    pub overlap_ends: Timestamp,
    /// The idempotency key of the request.
    pub key: Option<BoundKey>,
}

impl Replacement {
    /// Creates a replacement without overlap: the rotated token expires immediately.
    #[must_use]
    pub fn new(target: TokenTarget, successor: TokenRecord, at: Timestamp) -> Self {
        Self {
            target,
            successor,
            at,
            overlap_ends: at,
            key: None,
        }
    }

    /// Sets when the rotated token expires, at the latest.
    #[must_use]
    pub fn overlap_ends(mut self, at: Timestamp) -> Self {
        self.overlap_ends = at;
        self
    }

    /// Sets the idempotency key: the change is made only if no token was created under it before.
    #[must_use]
    pub fn key(mut self, key: BoundKey) -> Self {
        self.key = Some(key);
        self
    }
}

impl From<Replacement> for Mutation {
    fn from(rotation: Replacement) -> Self {
        let op = Op::RotateToken {
            target: rotation.target,
            successor: rotation.successor,
            overlap_ends: rotation.overlap_ends,
        };
        Self {
            key: rotation.key,
            ..Self::new(op, rotation.at)
        }
    }
}
