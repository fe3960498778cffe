//! The lifecycle of apps and tokens.

mod acting;
mod app_tokens;
mod apps;
mod authority;
mod binding;
mod builder;
mod bulk;
mod change;
mod edits;
mod error;
mod events;
mod formats;
mod idempotency;
mod latest;
mod limited;
mod limits;
mod maintenance;
mod replacing;
mod report;
mod request;
mod search;

use std::{fmt, sync::Arc, time::Duration};

use futures_core::Stream;
use jiff::Timestamp;

pub use app_tokens::AppTokens;
pub use apps::NewApp;
#[cfg(feature = "transfer")]
pub(crate) use authority::UNNAMED;
pub use authority::{Authority, ChangeObserver};
pub use builder::ApiTokensBuilder;
pub use bulk::{BulkRevocation, TokenSelection};
pub use error::{LifecycleError, LifecycleErrorKind};
pub use events::EventStream;
pub use formats::TokenFormats;
pub use idempotency::{IdempotencyKey, IdempotencyKeyError};
pub use maintenance::{Maintenance, MaintenanceReport};
pub use report::{Report, ReportCard, ReportKind};
pub use request::{ImportedToken, IssuedToken, NewToken, Rotation};

use change::Subject;
use latest::LatestRevision;
use replacing::Replacing;

use crate::{
    authenticator::{Authenticator, FollowerBuilder},
    model::{
        app::{AppId, AppRecord},
        audit::AuditAction,
        name,
        policy::Policy,
        record::TokenRecord,
    },
    random::Entropy,
    store::{
        BoundKey, Op, Page, RegistryLogs, TokenCursor, TokenQuery, TokenRegistry, TokenTarget,
        catch_panic, records, run_to_end,
    },
    time::{Clock, truncate_to_microsecond},
    token::{MaskedToken, TokenDigest, TokenFormat, TokenId},
};

/// Manages the apps and tokens of a platform: creates apps, and issues, lists, rotates, revokes and
/// verifies tokens.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use tower_api_tokens::{ApiTokens, MemoryStore, NewToken, TokenFormat};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme_live")?);
///
/// let app = tokens.create_app("Billing").await?;
/// let token = NewToken::named("ci").scopes("invoices:read".parse()?);
/// let issued = tokens.issue(&app.id, token).await?;
/// println!("shown once: {}", issued.token().expose());
///
/// // Later: both tokens work for a day, in which every client moves to the new one.
/// let successor = tokens.rotate(issued.record().id, Duration::from_secs(86_400)).await?;
/// println!("shown once: {}", successor.token().expose());
///
/// tokens.revoke(issued.record().id).await?;
/// # Ok(())
/// # }
/// ```
///
/// Cloning is cheap, and clones share the same state.
///
/// These methods reach the tokens of every app. For pages that your customers use, call
/// [`acting_as`](Self::acting_as) with an authority that is [limited to an
/// app](Authority::limited_to), or [`app`](Self::app): the handles that they return only reach the
/// tokens of one app.
///
/// # Time
///
/// Times have a precision of microseconds.
///
/// # Cancellation
///
/// A change that has begun is completed even if its future is dropped; see
/// [`run_to_end`](crate::store::run_to_end). If the caller of `issue` goes away, the token may
/// exist all the same: it is listed and can be revoked. A store that panics counts as failed.
#[derive(Clone)]
pub struct ApiTokens {
    shared: Arc<Shared>,
    /// What is read: the registry as far as the limits of the authority allow.
    registry: Arc<dyn TokenRegistry>,
    authority: Arc<Authority>,
    latest: Arc<LatestRevision>,
}

struct Shared {
    registry: Arc<dyn TokenRegistry>,
    authenticator: Authenticator,
    formats: TokenFormats,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    accepts_imported: bool,
    max_overlap: Duration,
    policy: Option<Policy>,
    max_keys: Option<usize>,
    every_use_is_recorded: bool,
}

impl ApiTokens {
    /// Creates an instance for a registry. Tokens are issued and accepted in one format.
    pub fn new(registry: impl TokenRegistry, format: TokenFormat) -> Self {
        Self::builder(registry, format).build()
    }

    /// Returns a builder for a registry and the default format.
    pub fn builder(registry: impl TokenRegistry, format: TokenFormat) -> ApiTokensBuilder {
        ApiTokensBuilder::new(Arc::new(registry), format)
    }

    /// Returns the formats of these tokens.
    #[must_use]
    pub fn formats(&self) -> &TokenFormats {
        &self.shared.formats
    }

    /// Returns the authenticator that verifies these tokens.
    #[must_use]
    pub fn authenticator(&self) -> &Authenticator {
        &self.shared.authenticator
    }

    /// Returns a builder for a task that applies changes made by other processes, and records
    /// usage.
    #[must_use]
    pub fn follow(&self) -> FollowerBuilder {
        let logs = Arc::new(RegistryLogs(Arc::clone(&self.shared.registry)));
        let records_usage = self.shared.registry.usage_log().is_some();
        let usage = records_usage.then(|| Arc::clone(&logs) as _);
        self.shared.authenticator.follow_registry(logs, usage)
    }

    /// Issues a token to an app. The token's text is only in the return value.
    ///
    /// With an [idempotency key](NewToken::idempotency_key), one token is created, however often
    /// the request is sent within a day. The text of the token is not stored, so a repeated request
    /// cannot return it.
    ///
    /// # Errors
    ///
    /// Returns an error if the app does not exist or is disabled, the name is invalid, the expiry
    /// is not in the future, tokens of the format are not issued, the app or a scope is limited to
    /// another format, or the random number generator or the store fails. Returns
    /// [`Repeated`](LifecycleErrorKind::Repeated) or [`KeyReused`](LifecycleErrorKind::KeyReused)
    /// if a token was already created under the idempotency key, and
    /// [`TooManyKeys`](LifecycleErrorKind::TooManyKeys) if there is a
    /// [maximum](ApiTokensBuilder::max_idempotency_keys) of keys and it is reached.
    pub async fn issue(&self, app: &AppId, new: NewToken) -> Result<IssuedToken, LifecycleError> {
        let action = AuditAction::IssueToken;
        self.check_action(action)?;
        let key = self.authority.key_of_issue(app, &new);
        let now = self.now();
        let format = self.shared.formats.chosen(&new.format)?;
        let token = format.generate(&*self.shared.entropy)?;
        let mask = format.mask(&token);
        let record = self.record(app, new, token.digest(), mask, now)?;
        let record = self.insert(record, key, action).await?;
        Ok(IssuedToken::new(token, record))
    }

    /// Imports a token that another system issued, by its digest.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`issue`](Self::issue). Also returns an error if a token with this
    /// digest exists, or if only your own formats are accepted, because the token could then not be
    /// used.
    pub async fn import(
        &self,
        app: &AppId,
        imported: ImportedToken,
    ) -> Result<TokenRecord, LifecycleError> {
        let action = AuditAction::ImportTokens;
        self.check_action(action)?;
        if !self.shared.accepts_imported {
            return Err(LifecycleError::new(LifecycleErrorKind::ForeignFormat));
        }
        let key = self.authority.key_of_import(app, &imported);
        let ImportedToken { new, digest, mask } = imported;
        let record = self.record(app, new, digest, mask, self.now())?;
        self.insert(record, key, action).await
    }

    /// Returns the record of a token.
    ///
    /// # Errors
    ///
    /// Returns an error if the token does not exist or the store fails.
    pub async fn get(&self, id: TokenId) -> Result<TokenRecord, LifecycleError> {
        self.get_target(&self.authority.limits().target(id)).await
    }

    /// Lists tokens, newest first, one page at a time.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    pub async fn list(
        &self,
        query: &TokenQuery,
    ) -> Result<Page<TokenRecord, TokenCursor>, LifecycleError> {
        if query.selects_nothing() {
            return Ok(Page::empty());
        }
        let (registry, now) = (&self.registry, self.now());
        Ok(catch_panic(|| registry.tokens(query, now)).await?)
    }

    /// Streams the tokens that [`list`](Self::list) lists. The limit of the query is the size of
    /// the pages, and an error ends the stream; see [`store::pages`](crate::store::pages).
    pub fn stream_tokens(
        &self,
        query: TokenQuery,
    ) -> impl Stream<Item = Result<TokenRecord, LifecycleError>> + Send + Unpin {
        records(query.after, move |after| {
            let query = query.clone().after(after);
            async move { self.list(&query).await }
        })
    }

    /// Rotates a token: issues a successor with the same app, name and scopes. The old token stays
    /// valid for the overlap, or until its own expiry if that is earlier.
    ///
    /// If the old token has an expiry, the successor gets the same lifetime. Move every client to
    /// the new token before the overlap ends; [`TokenRecord::last_used_at`] of the old token shows
    /// whether one still uses it. Rotate without an overlap only if the token has leaked.
    ///
    /// If several rotations of one token race, exactly one succeeds. With an [idempotency
    /// key](Rotation::idempotency_key), a repeated request is recognized.
    ///
    /// # Errors
    ///
    /// Returns an error if the token does not exist, is revoked or expired, or was already rotated,
    /// if its app is disabled, if the overlap is longer than the limit, if tokens of its format are
    /// not rotated, if the app or a scope is limited to another format, or if the random number
    /// generator or the store fails. Returns [`Stale`](LifecycleErrorKind::Stale) if the token does not have
    /// the [version](Rotation::version) of the request, or if others keep changing the token meanwhile. Returns
    /// [`Repeated`](LifecycleErrorKind::Repeated) or
    /// [`KeyReused`](LifecycleErrorKind::KeyReused) if a token was already created under the
    /// idempotency key.
    pub async fn rotate(
        &self,
        id: TokenId,
        rotation: impl Into<Rotation>,
    ) -> Result<IssuedToken, LifecycleError> {
        self.replace(id, rotation.into()).await
    }

    /// Renames a token, whatever its status.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is invalid, the token does not exist, or the store fails.
    pub async fn rename(&self, id: TokenId, name: &str) -> Result<TokenRecord, LifecycleError> {
        let target = self.authority.limits().target(id);
        let name = name::normalize_name(name)?;
        let op = Op::RenameToken { target, name };
        self.change_token(target, op, AuditAction::RenameToken)
            .await
    }

    /// Revokes a token. When this returns, the token is no longer admitted in this process.
    /// Revoking it again succeeds ([RFC 7009 section
    /// 2.2](https://www.rfc-editor.org/rfc/rfc7009#section-2.2)) and notifies every node again.
    ///
    /// After an error, the token may or may not be revoked: call again until it succeeds. The token
    /// is revoked even if its audit event cannot be recorded.
    ///
    /// # Errors
    ///
    /// Returns an error if the token does not exist or the store fails.
    pub async fn revoke(&self, id: TokenId) -> Result<TokenRecord, LifecycleError> {
        let target = self.authority.limits().target(id);
        let op = Op::RevokeToken(target);
        self.change_token(target, op, AuditAction::RevokeToken)
            .await
    }

    /// Removes the records of tokens that expired or were revoked before an instant. Returns how
    /// many were removed. While its record exists, a request with a revoked token is logged with
    /// the token's identifier. Afterwards, the token is unknown.
    ///
    /// It works in small steps, so that other changes can run in between. The first step records
    /// the audit event. A call that fails may have removed some records.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    pub async fn purge(&self, before: Timestamp) -> Result<usize, LifecycleError> {
        let now = self.now();
        let op = Op::Purge {
            before: before.min(now),
            limit: maintenance::STEP,
        };
        let step = self.mutation(op, now, Subject::new(AuditAction::PurgeTokens))?;
        self.remove_in_steps(step, maintenance::STEP).await
    }

    /// Returns the registry with the apps and tokens. That of a limited handle has its limits, and cannot be
    /// changed.
    #[must_use]
    pub fn registry(&self) -> Arc<dyn TokenRegistry> {
        Arc::clone(&self.registry)
    }

    /// Returns the registry without the limits of the authority.
    pub(crate) fn unlimited_registry(&self) -> Arc<dyn TokenRegistry> {
        Arc::clone(&self.shared.registry)
    }

    /// Returns the time of the monotonic clock.
    pub(crate) fn monotonic(&self) -> Duration {
        self.shared.clock.precise_monotonic()
    }

    /// Returns the maximum overlap of a rotation.
    #[must_use]
    pub fn max_overlap(&self) -> Duration {
        self.shared.max_overlap
    }

    /// Returns the source of randomness.
    #[must_use]
    pub fn entropy(&self) -> &dyn Entropy {
        &*self.shared.entropy
    }

    async fn get_target(&self, target: &TokenTarget) -> Result<TokenRecord, LifecycleError> {
        let found = catch_panic(|| self.registry.token(target)).await?;
        found.ok_or_else(LifecycleError::unknown_token)
    }

    async fn replace(
        &self,
        id: TokenId,
        rotation: Rotation,
    ) -> Result<IssuedToken, LifecycleError> {
        self.check_action(AuditAction::RotateToken)?;
        let key = self.authority.key_of_rotation(id, &rotation);
        let overlap = rotation.overlap;
        let now = self.now();
        if overlap > self.shared.max_overlap {
            return Err(LifecycleError::overlap_too_long(self.shared.max_overlap));
        }
        let overlap_ends = now
            .checked_add(overlap)
            .map_err(|_| LifecycleError::overlap_too_long(self.shared.max_overlap))?;
        let target = self.authority.limits().target(id);
        let replacing = Replacing {
            tokens: self,
            target,
            now,
            overlap_ends: truncate_to_microsecond(overlap_ends),
            key,
            expected: rotation.version,
        };
        replacing.run().await
    }

    async fn insert(
        &self,
        (token, expires_by_default): (TokenRecord, bool),
        key: Option<BoundKey>,
        action: AuditAction,
    ) -> Result<TokenRecord, LifecycleError> {
        let (digest, now) = (token.digest, token.created_at);
        let subject = about(action, &token);
        let op = Op::IssueToken {
            token,
            expires_by_default,
            grantable: self.authority.what_is_grantable().clone(),
        };
        let mut insertion = self.mutation(op, now, subject)?;
        insertion.key = key;
        let tokens = self.clone();
        run_to_end(async move {
            let inserted = tokens.apply(&insertion).await;
            tokens.authenticator().apply_token_change(&digest);
            let inserted = inserted.map_err(LifecycleError::about_new_token)?;
            Ok(inserted.into_token()?)
        })
        .await
    }

    /// Creates the record of a new token, after checking every part of the request. Returns whether the token
    /// gets the default expiry too.
    fn record(
        &self,
        app: &AppId,
        new: NewToken,
        digest: TokenDigest,
        mask: MaskedToken,
        now: Timestamp,
    ) -> Result<(TokenRecord, bool), LifecycleError> {
        let name = name::normalize_name(&new.name)?;
        let expires_at = new.expiry(now)?.map(truncate_to_microsecond);
        if expires_at.is_some_and(|expires_at| expires_at <= now) {
            return Err(LifecycleError::new(LifecycleErrorKind::InvalidExpiry));
        }
        let limits = self.authority.limits();
        limits.check_metadata(new.metadata.iter().map(|(key, _)| key))?;
        if !limits.reaches(app) {
            return Err(LifecycleError::unknown_app());
        }
        let id = TokenId::generate(now, &*self.shared.entropy)?;
        let app = AppRecord::unread(*app);
        let expires_by_default = !new.chooses_expiry();
        let mut token = TokenRecord::new(id, digest, mask, app, name, now);
        token.restrictions = new.restrictions()?;
        token.scopes = new.scopes;
        token.expires_at = expires_at;
        token.metadata = new.metadata;
        token.created_by = self.authority.actor_shown();
        if !expires_by_default {
            self.authority.what_is_grantable().check_token(&token)?;
        }
        self.shared.formats.check(&token)?;
        Ok((token, expires_by_default))
    }

    /// Returns the current time of the configured clock, truncated to microseconds.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        truncate_to_microsecond(self.shared.clock.now())
    }
}

fn about(action: AuditAction, token: &TokenRecord) -> Subject {
    Subject::new(action).app(token.app.id).token(token.id)
}

impl From<&ApiTokens> for Authenticator {
    fn from(tokens: &ApiTokens) -> Self {
        tokens.authenticator().clone()
    }
}

impl fmt::Debug for ApiTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiTokens")
            .field("authenticator", &self.shared.authenticator)
            .field("formats", &self.shared.formats)
            .field("authority", &self.authority)
            .field("max_overlap", &self.shared.max_overlap)
            .finish_non_exhaustive()
    }
}
