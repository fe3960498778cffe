//! The traits of token stores, and the stores that come with this crate.
//!
//! [`TokenStore`] is all that verification needs: one method. [`TokenRegistry`] adds the lifecycle
//! of apps and tokens. The documentation of each trait is its contract. The module
//! `testing::conformance` (feature `testing`) checks a store against both.

mod answer;
mod audit;
mod changes;
mod error;
mod event_history;
mod events;
mod expiring;
mod forward;
mod history;
mod logs;
mod memory;
mod mutation;
mod nodes;
mod outdated;
mod page;
mod repeat;
mod replacement;
mod revision;
mod run;
mod stream;
mod tables;
mod target;
mod token_query;

use std::fmt::Debug;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use jiff::Timestamp;

pub use answer::Answer;
pub(crate) use audit::derived_event_id;
pub use audit::{AuditLog, AuditQuery};
pub use changes::{
    Change, ChangeLog, Changes, LivePage, LiveStream, LoggedChange, Usage, UsageLog,
};
pub use error::{AppInUse, StoreError, StoreErrorKind};
pub use event_history::EventHistory;
pub use events::{
    EventLog, EventPage, EventPosition, EventPositionError, EventQuery, EventStart, LoggedEvent,
};
pub use expiring::ExpiringQuery;
pub use history::ChangeHistory;
pub(crate) use logs::RegistryLogs;
pub use logs::{audit_log, event_log, node_registry};
pub use memory::MemoryStore;
pub use mutation::{
    Applied, AsyncSnapshot, Committed, Inheritance, Mutation, Op, Plan, Snapshot, TokenRegistryExt,
    UsedKey, Write,
};
use nodes::NodeTable;
pub use nodes::{
    FleetSettings, FleetState, NodeId, NodeIdError, NodePage, NodeQuery, NodeRecord, NodeRegistry,
    NodeReport,
};
pub use outdated::{Outdated, OutdatedQuery};
pub use page::{AppQuery, Page, PageSize};
pub use repeat::{BoundKey, Repeated, digest_words};
pub use replacement::Replacement;
pub use revision::{Revision, RevisionError};
pub use run::{catch_panic, run_to_end};
pub(crate) use stream::live_pages;
pub use stream::{ChangeLogStreams, TokenRegistryStreams, pages, records};
pub use tables::{TableRegistry, Tables, Transactional};
pub use target::TokenTarget;
pub use token_query::{
    TokenCondition, TokenCursor, TokenCursorError, TokenOrder, TokenQuery, TokenQueryConflict,
};

pub use crate::{
    random::jittered,
    time::{from_microseconds, microseconds, truncate_to_microsecond},
};

use crate::{
    model::{
        app::{AppId, AppRecord},
        policy::Policy,
        record::TokenRecord,
    },
    token::TokenDigest,
};

/// A store that finds the records of tokens, which is all that verification needs.
///
/// # Examples
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
/// # Missing tokens
///
/// A token that the store does not have is an [`Answer`] without a record, never an error. An error
/// means that the store could not look up the token: the request is then refused with 503.
///
/// # Time
///
/// A store does not check expiry, revocation or whether the app is disabled. It returns the record
/// as it is, and the caller checks it with its own clock.
///
/// # Visibility
///
/// `find` reflects every change that was acknowledged before it began, or returns the position at
/// which it read, also for a missing token. With a position, an answer from a server that lags is
/// used for no longer than [`max_staleness`](crate::AuthenticatorBuilder::max_staleness) allows. A
/// store that lags and returns no position adds its lag to that bound.
///
/// # Cancellation
///
/// The future may be dropped at any await point. That must not leave a lock held, or a connection
/// in the middle of a statement.
///
/// # Restrictions
///
/// A store returns the [restrictions](TokenRecord::restrictions) of a token as they were written,
/// byte for byte. A store that does not know whether a token has restrictions must not return it as
/// a token without them: the token could then do more than was granted.
///
/// # Secrecy
///
/// A store only sees digests, never tokens. It may look up by a part of the digest, or with a
/// case-insensitive collation: the caller compares the whole digest again, in constant time.
/// Digests and tokens must not appear in its errors or logs.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a token store",
    label = "this needs `TokenStore`",
    note = "implement `TokenStore` for `{Self}`; its only required method finds the record of a digest",
    note = "`MemoryStore`, `SqliteStore` and `PostgresStore` implement both `TokenStore` and `TokenRegistry`"
)]
#[async_trait]
pub trait TokenStore: Debug + Send + Sync + 'static {
    /// Finds the record of a token by its digest.
    ///
    /// # Errors
    ///
    /// Returns an error if the store could not look up the token.
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError>;

    /// Finds the records of several tokens. Returns an answer for each digest, in the same order.
    ///
    /// The default implementation looks them up one by one. Override it if the store can look up
    /// many in one query: a preloaded cache re-reads tokens in this way.
    ///
    /// # Errors
    ///
    /// Returns an error if the store could not look up all of the tokens.
    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Answer>, StoreError> {
        let mut answers = Vec::with_capacity(digests.len());
        for digest in digests {
            answers.push(self.find(digest).await?);
        }
        Ok(answers)
    }
}

/// A store of apps and tokens and their lifecycle.
///
/// # Uniqueness
///
/// Token identifiers, token digests and app identifiers are unique. An insertion that would repeat
/// one fails with [`AlreadyExists`](StoreErrorKind::AlreadyExists) and changes nothing. It never
/// updates an existing record.
///
/// # Atomicity
///
/// A [`Mutation`] is carried out completely or not at all, including its idempotency key and its
/// audit event. A rotation inserts the successor and changes the old token in one transaction. If
/// several rotations of one token race, exactly one succeeds. A change affects only the columns and
/// records of its operation.
///
/// # Unknown operations
///
/// An [`Op`] that the store does not support, or an audit event without an [audit
/// log](Self::audit_log), fails with [`Unsupported`](StoreErrorKind::Unsupported). It is never
/// ignored.
///
/// # Visibility
///
/// After a change has returned, no [`find`](TokenStore::find) that begins afterwards returns the
/// state before it, through this handle or any other handle to the same store.
///
/// # Durability
///
/// An acknowledged change survives a crash of the process and of the machine. A store that does not
/// guarantee this must document it.
///
/// # Missing records
///
/// Reading a missing record returns `Ok(None)` or an empty page. Changing it fails with
/// [`NotFound`](StoreErrorKind::NotFound). For a call that names an app, the records of other apps
/// count as missing.
///
/// # Time
///
/// The caller passes in the time of a change. A store has no clock of its own.
///
/// # Cancellation
///
/// The future may be dropped at any await point. The change is then either carried out completely,
/// possibly a little later, or not at all.
///
/// # Clone
///
/// If a store can be cloned, the clones share the same data.
///
/// # Restrictions
///
/// The [restrictions](TokenRecord::restrictions) of a token are kept byte for byte. A rotation
/// whose successor lacks the restrictions of the old token fails with
/// [`InvalidRecord`](StoreErrorKind::InvalidRecord), as defined by
/// [`TokenRecord::check_successor`]. If older versions of a program write to the same store, they
/// must not be able to drop restrictions, and a restricted token must look expired to them.
///
/// # Secrecy
///
/// The same as for [`TokenStore`]. No column, log line or error contains a token.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a token registry",
    label = "this needs `TokenRegistry`",
    note = "to only verify tokens, pass the store to `Authenticator::new`; issuing, rotating and revoking tokens needs `TokenRegistry`"
)]
#[async_trait]
pub trait TokenRegistry: TokenStore {
    /// Makes a change.
    ///
    /// [`Mutation::plan`] is the reference for what each operation does and returns. A returned record
    /// equals what is read afterwards: a store with less precise times returns them as it stores them.
    ///
    /// # Errors
    ///
    /// Returns an error of the kind
    ///
    /// - [`NotFound`](StoreErrorKind::NotFound) if the app or token to change, or the app of a
    ///   token to insert, does not exist;
    /// - [`AlreadyExists`](StoreErrorKind::AlreadyExists) if an identifier or digest to insert is
    ///   taken;
    /// - [`Repeated`](StoreErrorKind::Repeated), with the [token created before](Repeated) as its
    ///   source, if the mutation has an idempotency key that was already used;
    /// - [`TooManyKeys`](StoreErrorKind::TooManyKeys) if the idempotency key is new and the store has as many
    ///   as [`Mutation::max_keys`] allows;
    /// - [`Conflict`](StoreErrorKind::Conflict), with the
    ///   [`TransitionError`](crate::TransitionError) as its source, if the state of a token does
    ///   not allow its rotation;
    /// - [`InvalidRecord`](StoreErrorKind::InvalidRecord) if the successor of a token lacks its
    ///   restrictions, or the store cannot keep a record;
    /// - [`NotGranted`](StoreErrorKind::NotGranted), with the [`GrantError`](crate::GrantError) as
    ///   its source, if enabling an app would make tokens live that the actor may not grant;
    /// - [`Unsupported`](StoreErrorKind::Unsupported) if the store does not support the operation,
    ///   cannot record its audit event or count its idempotency keys, or the operation takes no key;
    /// - any other kind if the store fails. The change may or may not have been made in that case.
    async fn apply(&self, mutation: &Mutation) -> Result<Applied, StoreError>;

    /// Makes a change as [`apply`](Self::apply) does, and returns a revision of the [change
    /// log](Self::change_log) that includes it. A node that has applied this revision has applied
    /// the change.
    ///
    /// The default implementation calls [`apply`](Self::apply) and returns no revision. A store
    /// that overrides it reads the revision in the transaction of the change.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`apply`](Self::apply).
    async fn apply_with_revision(&self, mutation: &Mutation) -> Result<Committed, StoreError> {
        Ok(Committed::new(self.apply(mutation).await?, None))
    }

    /// Returns an app.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn app(&self, id: &AppId) -> Result<Option<AppRecord>, StoreError>;

    /// Returns a token.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn token(&self, target: &TokenTarget) -> Result<Option<TokenRecord>, StoreError>;

    /// Returns the policy that [`apply`](Self::apply) enforces. The default implementation returns one
    /// without rules, for a store that keeps none and returns
    /// [`Unsupported`](StoreErrorKind::Unsupported) for [`Op::SetPolicy`].
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn policy(&self) -> Result<Policy, StoreError> {
        Ok(Policy::default())
    }

    /// Lists apps by identifier, one page at a time.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn apps(&self, query: &AppQuery) -> Result<Page<AppRecord, AppId>, StoreError>;

    /// Lists the tokens for which [`TokenQuery::selects`] returns true at `now`, in the order of
    /// [`TokenQuery::order`], one page at a time.
    ///
    /// A listing is complete and stable: a token that exists and matches the query while all pages
    /// are read is listed exactly once. This does not apply to a token that moves to another place in
    /// the order in the meantime.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails, and an error of the kind
    /// [`Unsupported`](StoreErrorKind::Unsupported) if the query has a status or an order that only a
    /// newer version of the library knows.
    async fn tokens(
        &self,
        query: &TokenQuery,
        now: Timestamp,
    ) -> Result<Page<TokenRecord, TokenCursor>, StoreError>;

    /// Counts the tokens that [`tokens`](Self::tokens) lists after the position of the query, up to `limit`.
    ///
    /// The default implementation lists them. Override it if the store can count them in one query.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`tokens`](Self::tokens).
    async fn count(
        &self,
        query: &TokenQuery,
        now: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        let query = query.clone().limit(PageSize::MAX);
        let (mut counted, mut after) = (0, query.after);
        while counted < limit {
            let page = self.tokens(&query.clone().after(after), now).await?;
            counted += page.items.len();
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(counted.min(limit))
    }

    /// Lists the tokens for which [`ExpiringQuery::selects`] returns true, the earliest expiry first, one
    /// page at a time.
    ///
    /// The default implementation reads all tokens that have not expired. Override it if the store can
    /// find tokens by their expiry.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn expiring(
        &self,
        query: &ExpiringQuery,
    ) -> Result<Page<TokenRecord, ExpiringQuery>, StoreError> {
        let mut found = Vec::new();
        let mut all = pages(None, |after| {
            let every = TokenQuery::default().limit(PageSize::MAX).after(after);
            async move { self.tokens(&every, query.from).await }
        });
        while let Some(page) = all.try_next().await? {
            found.extend(page.items.into_iter().filter(|token| query.selects(token)));
        }
        Ok(query.page(found))
    }

    /// Counts the records that maintenance would remove, up to the limit of the query for each kind of
    /// record. [`Outdated::of_snapshot`] is the reference.
    ///
    /// The default implementation returns an error of the kind
    /// [`Unsupported`](StoreErrorKind::Unsupported).
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails or does not support it.
    async fn outdated(&self, _query: &OutdatedQuery) -> Result<Outdated, StoreError> {
        Err(StoreError::new(StoreErrorKind::Unsupported))
    }

    /// Returns the change log, for a [`Follower`](crate::Follower). Without one, changes made by
    /// other processes take effect within
    /// [`max_staleness`](crate::AuthenticatorBuilder::max_staleness). Defaults to `None`.
    fn change_log(&self) -> Option<&dyn ChangeLog> {
        None
    }

    /// Returns the log for recording usage. Without one, usage is not recorded. Defaults to `None`.
    fn usage_log(&self) -> Option<&dyn UsageLog> {
        None
    }

    /// Returns the log of audit events. Without one, a [`Mutation`] with an event is
    /// [`Unsupported`](StoreErrorKind::Unsupported). Defaults to `None`.
    fn audit_log(&self) -> Option<&dyn AuditLog> {
        None
    }

    /// Returns the log of events in the order of their commits. Defaults to `None`: programs cannot follow
    /// the changes then.
    fn event_log(&self) -> Option<&dyn EventLog> {
        None
    }

    /// Returns the registry of the nodes that verify tokens. Defaults to `None`: nodes are not listed, and a
    /// change is known to have reached all of them only when the greatest
    /// [`max_staleness`](crate::AuthenticatorBuilder::max_staleness) has passed.
    fn node_registry(&self) -> Option<&dyn NodeRegistry> {
        None
    }
}
