//! A change to a registry, with its idempotency key and its audit event.

mod ext;
mod plan;

use jiff::Timestamp;

pub use ext::TokenRegistryExt;
pub use plan::{Plan, Snapshot, UsedKey, Write};

use super::{BoundKey, StoreError, StoreErrorKind, TokenTarget};
use crate::model::{
    app::{AppId, AppRecord},
    audit::AuditEvent,
    grantable::Grantable,
    record::TokenRecord,
};

/// A change for [`TokenRegistry::apply`](super::TokenRegistry::apply), which carries it out
/// completely or not at all.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::{AppId, AppRecord, MemoryStore, Mutation, Op, TokenRegistry};
/// use jiff::Timestamp;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// let at = Timestamp::UNIX_EPOCH;
/// let app = AppRecord::new(AppId::new("billing")?, "Billing", at);
/// let applied = store.apply(&Mutation::new(Op::CreateApp(app), at)).await?;
/// assert_eq!(applied.into_app()?.name, "Billing");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mutation {
    /// What to change.
    pub op: Op,
    /// The time of the change.
    pub at: Timestamp,
    /// Makes the change only if no token was created under this key within
    /// [`RETENTION`](BoundKey::RETENTION) before `at`, and stores the key. Only
    /// [`Op::InsertTokens`] and [`Op::RotateToken`] take a key.
    pub key: Option<BoundKey>,
    /// The audit event to record in the same transaction.
    pub audit: Option<AuditEvent>,
}

/// The operation of a [`Mutation`].
#[expect(
    clippy::large_enum_variant,
    reason = "a mutation is made for one call of a store, and not kept in numbers"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Op {
    /// Inserts an app.
    CreateApp(AppRecord),
    /// Disables an app, as [`AppRecord::disable`] does.
    DisableApp(AppId),
    /// Enables an app, as [`AppRecord::enable`] does.
    EnableApp {
        /// The app.
        app: AppId,
        /// What the actor may grant. The app is only enabled if every token that becomes live
        /// passes [`Grantable::check`].
        grantable: Grantable,
    },
    /// Inserts tokens. Only the identifier of a token's app is used; the app must exist.
    InsertTokens(Vec<TokenRecord>),
    /// Renames a token, whatever its status.
    RenameToken {
        /// The token.
        target: TokenTarget,
        /// The new name.
        name: String,
    },
    /// Inserts the successor of a token, and changes the token as [`TokenRecord::rotate`] does.
    RotateToken {
        /// The token to rotate.
        target: TokenTarget,
        /// The token that replaces it.
        successor: TokenRecord,
        /// When the rotated token expires, unless its own expiry is earlier.
        overlap_ends: Timestamp,
    },
    /// Revokes a token, as [`TokenRecord::revoke`] does. Revoking a revoked token succeeds, and is
    /// recorded in the change log again.
    RevokeToken(TokenTarget),
    /// Removes tokens that [expired or were revoked](TokenRecord::expired_or_revoked_at) before an
    /// instant.
    Purge {
        /// The instant.
        before: Timestamp,
        /// The maximum number of tokens to remove.
        limit: usize,
    },
    /// Restarts the change log, so that every follower clears its cache.
    ClearCaches,
}

/// The result of a [`Mutation`].
#[expect(
    clippy::large_enum_variant,
    reason = "a mutation is made for one call of a store, and not kept in numbers"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Applied {
    /// The app, after the change.
    App(AppRecord),
    /// The token, after the change. For a rotation, this is the rotated token.
    Token(TokenRecord),
    /// The number of tokens inserted or removed.
    Count(usize),
}

impl Mutation {
    /// Creates a change without an idempotency key and without an audit event.
    #[must_use]
    pub fn new(op: Op, at: Timestamp) -> Self {
        Self {
            op,
            at,
            key: None,
            audit: None,
        }
    }

    /// Sets the idempotency key: the change is only made if the key was not used before.
    #[must_use]
    pub fn key(mut self, key: BoundKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Sets the audit event to record in the transaction of the change.
    #[must_use]
    pub fn audit(mut self, event: AuditEvent) -> Self {
        self.audit = Some(event);
        self
    }
}

impl Applied {
    /// Returns the changed app.
    ///
    /// # Errors
    ///
    /// Returns an error if the store returned something other than an app.
    pub fn into_app(self) -> Result<AppRecord, StoreError> {
        match self {
            Self::App(app) => Ok(app),
            other => Err(other.unexpected("an app")),
        }
    }

    /// Returns the changed token.
    ///
    /// # Errors
    ///
    /// Returns an error if the store returned something other than a token.
    pub fn into_token(self) -> Result<TokenRecord, StoreError> {
        match self {
            Self::Token(token) => Ok(token),
            other => Err(other.unexpected("a token")),
        }
    }

    /// Returns the number of tokens inserted or removed.
    ///
    /// # Errors
    ///
    /// Returns an error if the store returned something other than a number.
    pub fn into_count(self) -> Result<usize, StoreError> {
        match self {
            Self::Count(count) => Ok(count),
            other => Err(other.unexpected("a number")),
        }
    }

    fn unexpected(&self, expected: &str) -> StoreError {
        let returned = match self {
            Self::App(_) => "an app",
            Self::Token(_) => "a token",
            Self::Count(_) => "a number",
        };
        StoreError::with_source(
            StoreErrorKind::Corrupt,
            format!("the store returned {returned} instead of {expected}; check its `apply`"),
        )
    }
}
