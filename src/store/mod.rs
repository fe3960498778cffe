//! The ports to a store, their contract, and the stores that come with the crate.
//!
//! [`TokenStore`] is all that verification needs: one method. [`TokenRegistry`] adds the lifecycle
//! of apps and tokens. The module `testing::conformance` checks a store against both contracts.

mod audit;
mod changes;
mod error;
mod memory;
mod page;
#[cfg(feature = "postgres")]
pub mod postgres;
mod repeat;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod rows;
#[cfg(feature = "sqlite")]
pub mod sqlite;

use async_trait::async_trait;
use jiff::Timestamp;

pub use audit::{AuditLog, AuditQuery};
pub use changes::{Change, ChangeLog, Changes, Revision, Usage, UsageLog};
pub use error::{StoreError, StoreErrorKind};
pub use memory::MemoryStore;
pub use page::{AppQuery, Page, PageSize, TokenQuery};
pub use repeat::{IdempotencyKey, Repeated};

use crate::{
    app::{AppId, AppRecord},
    record::TokenRecord,
    token::{TokenDigest, TokenId},
};

/// The port for verification: finds the record of a presented token.
///
/// ```
/// use std::collections::HashMap;
///
/// use async_trait::async_trait;
/// use tower_api_tokens::{StoreError, TokenDigest, TokenRecord, TokenStore};
///
/// struct Table(HashMap<TokenDigest, TokenRecord>);
///
/// #[async_trait]
/// impl TokenStore for Table {
///     async fn find(&self, digest: &TokenDigest) -> Result<Option<TokenRecord>, StoreError> {
///         Ok(self.0.get(digest).cloned())
///     }
/// }
/// ```
///
/// # Absence
///
/// A token that the store does not know is `Ok(None)`, never an error. An error says that the
/// store could not tell: the caller answers 503 and admits nobody.
///
/// # Time
///
/// A store does not judge expiry, revocation or whether the app is disabled: it returns the record
/// as it stands, and the caller judges it by one clock.
///
/// # Visibility
///
/// `find` shows the latest change that was acknowledged anywhere, or the time by which it lags is
/// added to the bound on revocation.
///
/// # Cancellation
///
/// The future may be dropped at any await. That must leave nothing behind: no lock, no connection
/// in the midst of a statement.
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
pub trait TokenStore: Send + Sync + 'static {
    /// Finds the record of a token by its digest.
    ///
    /// # Errors
    ///
    /// When the store could not tell whether there is one.
    async fn find(&self, digest: &TokenDigest) -> Result<Option<TokenRecord>, StoreError>;
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
/// Each call happens as a whole or not at all. [`rotate`](Self::rotate) inserts the successor and
/// changes the predecessor in one step, and of many racing rotations of one token exactly one
/// succeeds. A change names its columns and affects exactly one record, or fails.
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
/// # Secrecy
///
/// As for [`TokenStore`]. No column, log line or error holds plaintext.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a token registry",
    label = "this needs `TokenRegistry`",
    note = "a store with only `find` verifies tokens through `Authenticator::new`; issuing, rotating and revoking them needs `TokenRegistry` too"
)]
#[async_trait]
pub trait TokenRegistry: TokenStore + ChangeLog + UsageLog + AuditLog {
    /// Inserts an app.
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](StoreErrorKind::AlreadyExists) when there is an app with this identifier.
    async fn insert_app(&self, app: &AppRecord) -> Result<(), StoreError>;

    /// Reads an app.
    ///
    /// # Errors
    ///
    /// When the store fails.
    async fn app(&self, id: &AppId) -> Result<Option<AppRecord>, StoreError>;

    /// Lists apps by identifier, a page at a time.
    ///
    /// # Errors
    ///
    /// When the store fails.
    async fn apps(&self, query: &AppQuery) -> Result<Page<AppRecord, AppId>, StoreError>;

    /// Disables an app as of `at`, as [`AppRecord::disable`] says, and returns it.
    ///
    /// # Errors
    ///
    /// [`NotFound`](StoreErrorKind::NotFound) when there is no such app.
    async fn disable_app(&self, id: &AppId, at: Timestamp) -> Result<AppRecord, StoreError>;

    /// Enables an app, as [`AppRecord::enable`] says, and returns it.
    ///
    /// # Errors
    ///
    /// [`NotFound`](StoreErrorKind::NotFound) when there is no such app.
    async fn enable_app(&self, id: &AppId) -> Result<AppRecord, StoreError>;

    /// Inserts a token. Of its app only the identifier counts; the app must be there.
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](StoreErrorKind::AlreadyExists) when there is a token with this identifier
    /// or this digest; [`NotFound`](StoreErrorKind::NotFound) when there is no such app.
    async fn insert(&self, token: &TokenRecord) -> Result<(), StoreError>;

    /// Inserts a token as [`insert`](Self::insert) does, unless one was made under this key before.
    ///
    /// # Errors
    ///
    /// [`Repeated`](StoreErrorKind::Repeated) with what was [made before](Repeated); otherwise as
    /// [`insert`](Self::insert).
    async fn insert_once(
        &self,
        token: &TokenRecord,
        key: &IdempotencyKey,
    ) -> Result<(), StoreError>;

    /// Inserts many tokens in one step.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert) for any one of them, and then none is inserted.
    async fn insert_all(&self, tokens: &[TokenRecord]) -> Result<(), StoreError>;

    /// Renames a token, whatever its state, and returns it.
    ///
    /// # Errors
    ///
    /// [`NotFound`](StoreErrorKind::NotFound) when there is no such token.
    async fn rename(&self, target: &TokenTarget, name: &str) -> Result<TokenRecord, StoreError>;

    /// Reads a token.
    ///
    /// # Errors
    ///
    /// When the store fails.
    async fn token(&self, target: &TokenTarget) -> Result<Option<TokenRecord>, StoreError>;

    /// Lists tokens, the greatest identifier first, a page at a time: exactly those that
    /// [`TokenQuery::selects`] at `now`.
    ///
    /// A listing is complete and stable: of the tokens that are there from its first page to its
    /// last, and are selected all the while, it shows each one once.
    ///
    /// # Errors
    ///
    /// When the store fails.
    async fn tokens(
        &self,
        query: &TokenQuery,
        now: Timestamp,
    ) -> Result<Page<TokenRecord, TokenId>, StoreError>;

    /// Inserts the successor of a token and changes the token as [`TokenRecord::rotate`] says, in
    /// one step. Returns the token as it is then.
    ///
    /// # Errors
    ///
    /// [`NotFound`](StoreErrorKind::NotFound) when there is no such token;
    /// [`Repeated`](StoreErrorKind::Repeated) with what was [made before](Repeated) when the
    /// rotation has a key under which a token was made before;
    /// [`Conflict`](StoreErrorKind::Conflict) with the [`TransitionError`](crate::TransitionError)
    /// when its state does not allow it; [`AlreadyExists`](StoreErrorKind::AlreadyExists) when
    /// the successor's identifier or digest is taken.
    async fn rotate(&self, rotation: &Rotation) -> Result<TokenRecord, StoreError>;

    /// Revokes a token as [`TokenRecord::revoke`] says, and returns it. Revoking it again changes
    /// nothing and succeeds.
    ///
    /// # Errors
    ///
    /// [`NotFound`](StoreErrorKind::NotFound) when there is no such token.
    async fn revoke(&self, target: &TokenTarget, at: Timestamp) -> Result<TokenRecord, StoreError>;

    /// Removes tokens that [ended](TokenRecord::ended_at) before an instant, at most `limit` of
    /// them, and returns how many it removed. Live tokens are never removed.
    ///
    /// # Errors
    ///
    /// When the store fails.
    async fn purge(&self, ended_before: Timestamp, limit: usize) -> Result<usize, StoreError>;
}

/// Which token a call is about, and on whose behalf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// A rotation to be carried out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rotation {
    /// The token to be rotated.
    pub target: TokenTarget,
    /// The token that takes its place.
    pub successor: TokenRecord,
    /// The time of the rotation.
    pub at: Timestamp,
    /// When the rotated token expires, at the latest.
    pub overlap_ends: Timestamp,
    /// What makes the request known again if it is repeated.
    pub key: Option<IdempotencyKey>,
}

impl Rotation {
    /// A rotation without overlap: the rotated token expires at once.
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

    /// Lets the rotated token live on until an instant.
    #[must_use]
    pub fn overlap_ends(mut self, at: Timestamp) -> Self {
        self.overlap_ends = at;
        self
    }

    /// Carries the rotation out only if no token was made under this key before.
    #[must_use]
    pub fn once(mut self, key: IdempotencyKey) -> Self {
        self.key = Some(key);
        self
    }
}
