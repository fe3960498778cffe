//! A change to a registry, with its idempotency key and its audit event.

mod async_snapshot;
mod committed;
mod ext;
mod inheritance;
mod op;
mod plan;
mod policing;
mod snapshot;

use jiff::Timestamp;

pub use async_snapshot::AsyncSnapshot;
pub use committed::Committed;
pub use ext::TokenRegistryExt;
pub use inheritance::Inheritance;
pub use op::Op;
pub use plan::{Plan, Write};
pub use snapshot::{Snapshot, UsedKey};

use super::{BoundKey, StoreError, StoreErrorKind, derived_event_id};
use crate::model::{
    app::AppRecord,
    audit::{AuditChange, AuditEvent},
    policy::Policy,
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
    /// [`Op::InsertTokens`], [`Op::IssueToken`] and [`Op::RotateToken`] take a key.
    pub key: Option<BoundKey>,
    /// Refuses a new [key](Self::key) while the store has this many within their
    /// [`RETENTION`](BoundKey::RETENTION). `None` means any number.
    pub max_keys: Option<usize>,
    /// The audit event to record in the same transaction. The store replaces its
    /// [changes](AuditEvent::changes) with those of an edit or a rotation. It keeps them for
    /// [`Op::CreateApp`], [`Op::InsertTokens`] and [`Op::IssueToken`], which change nothing that exists. An
    /// event about a token without an app gets the token's app.
    pub audit: Option<AuditEvent>,
    /// Rules that the change must follow in addition to the policy of the store.
    pub policy: Option<Policy>,
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
    /// Both tokens of a rotation whose successor inherits, after the change.
    Rotated {
        /// The rotated token.
        rotated: TokenRecord,
        /// The token that replaces it.
        successor: TokenRecord,
    },
    /// The tokens that were changed, after the change.
    Tokens(Vec<TokenRecord>),
    /// The number of records inserted or removed.
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
            max_keys: None,
            audit: None,
            policy: None,
        }
    }

    /// Sets the idempotency key: the change is only made if the key was not used before.
    #[must_use]
    pub fn key(mut self, key: BoundKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Refuses a new idempotency key while the store has this many.
    #[must_use]
    pub fn max_keys(mut self, keys: impl Into<Option<usize>>) -> Self {
        self.max_keys = keys.into();
        self
    }

    /// Sets rules that the change must follow in addition to the policy of the store.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Sets the audit event to record in the transaction of the change.
    #[must_use]
    pub fn audit(mut self, event: AuditEvent) -> Self {
        self.audit = Some(event);
        self
    }

    /// Returns the audit event about one token of a change of many tokens. It is the event of the mutation,
    /// but about the token and its app, and its only [change](AuditEvent::changes) is the field `batch`: the
    /// identifier of the event of the mutation, which all events of the change have in common.
    ///
    /// Returns `None` if the mutation has no event. A token has the same event each time.
    #[must_use]
    pub fn event_of(&self, token: &TokenRecord) -> Option<AuditEvent> {
        let mut event = self.audit.clone()?;
        let batch = event.id.to_string();
        event.id = derived_event_id(event.at, [batch.as_str(), &token.id.to_string()]);
        (event.app, event.token) = (Some(token.app.id), Some(token.id));
        event.changes = vec![AuditChange::new("batch", None, Some(batch))];
        Some(event)
    }
}

impl Applied {
    /// Adds the app of a changed token to an event about the token.
    pub(crate) fn complete(&self, event: &mut AuditEvent) {
        if let Self::Token(token) | Self::Rotated { rotated: token, .. } = self
            && event.token == Some(token.id)
        {
            event.app.get_or_insert(token.app.id);
        }
    }

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

    /// Returns the rotated token and its successor.
    ///
    /// # Errors
    ///
    /// Returns an error if the store returned something other than both.
    pub fn into_rotation(self) -> Result<(TokenRecord, TokenRecord), StoreError> {
        match self {
            Self::Rotated { rotated, successor } => Ok((rotated, successor)),
            other => Err(other.unexpected("a rotated token and its successor")),
        }
    }

    /// Returns the changed tokens.
    ///
    /// # Errors
    ///
    /// Returns an error if the store returned something other than tokens.
    pub fn into_tokens(self) -> Result<Vec<TokenRecord>, StoreError> {
        match self {
            Self::Tokens(tokens) => Ok(tokens),
            other => Err(other.unexpected("tokens")),
        }
    }

    /// Returns the number of records inserted or removed.
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
            Self::Rotated { .. } => "a rotated token and its successor",
            Self::Tokens(_) => "tokens",
            Self::Count(_) => "a number",
        };
        StoreError::with_source(
            StoreErrorKind::Corrupt,
            format!("the store returned {returned} instead of {expected}; check its `apply`"),
        )
    }
}
