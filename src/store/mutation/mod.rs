//! A change of a registry: what is changed, with the idempotency key and the audit event that belong
//! to it.

mod async_snapshot;
mod ext;
mod op;
mod plan;
mod snapshot;

use jiff::Timestamp;

pub use async_snapshot::AsyncSnapshot;
pub use ext::TokenRegistryExt;
pub use op::Op;
pub use plan::{Plan, Write};
pub use snapshot::{Snapshot, UsedKey};

use super::{BoundKey, StoreError, StoreErrorKind};
use crate::model::{app::AppRecord, audit::AuditEvent, record::TokenRecord};

/// A change, to be made by [`TokenRegistry::apply`](super::TokenRegistry::apply) as a whole or not
/// at all.
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
    /// What is changed.
    pub op: Op,
    /// The time of the change.
    pub at: Timestamp,
    /// Makes the change only if no token was created under this key within
    /// [`RETENTION`](BoundKey::RETENTION) before `at`, and stores the key with it. Only
    /// [`Op::InsertTokens`] and [`Op::RotateToken`] take one.
    pub key: Option<BoundKey>,
    /// Recorded in the same transaction, so that a change and its event are kept or lost together.
    pub audit: Option<AuditEvent>,
}

/// What a [`Mutation`] has changed.
#[expect(
    clippy::large_enum_variant,
    reason = "a mutation is made for one call of a store, and not kept in numbers"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Applied {
    /// The app, as it is now.
    App(AppRecord),
    /// The token, as it is now: for a rotation, the rotated one.
    Token(TokenRecord),
    /// The number of tokens that were inserted or removed.
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

    /// Makes the change only if no token was created under this key before.
    #[must_use]
    pub fn key(mut self, key: BoundKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Records an audit event in the transaction of the change.
    #[must_use]
    pub fn audit(mut self, event: AuditEvent) -> Self {
        self.audit = Some(event);
        self
    }
}

impl Applied {
    /// The app that was changed.
    ///
    /// # Errors
    ///
    /// Returns an error if the store answered with something other than an app.
    pub fn into_app(self) -> Result<AppRecord, StoreError> {
        match self {
            Self::App(app) => Ok(app),
            other => Err(other.unexpected("an app")),
        }
    }

    /// The token that was changed.
    ///
    /// # Errors
    ///
    /// Returns an error if the store answered with something other than a token.
    pub fn into_token(self) -> Result<TokenRecord, StoreError> {
        match self {
            Self::Token(token) => Ok(token),
            other => Err(other.unexpected("a token")),
        }
    }

    /// How many tokens were inserted or removed.
    ///
    /// # Errors
    ///
    /// Returns an error if the store answered with something other than a number.
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
            format!(
                "the store returned {returned} where {expected} was expected; check its `apply`"
            ),
        )
    }
}
