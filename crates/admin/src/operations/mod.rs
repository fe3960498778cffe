//! The audited operations on apps and tokens. The JSON API, the dashboard and the command line use
//! them.

mod apps;
mod error;
mod events;
mod hygiene;
mod nodes;
mod policy;
mod run;
mod tokens;

use std::{fmt, sync::Arc, time::Duration};

use futures_core::Stream;
use jiff::Timestamp;
use tower_api_tokens::{
    ApiTokens, AppId, AuditAction, AuditEvent, AuditEventId, AuditOutcome, AuditQuery,
    Authenticator, LifecycleErrorKind, Page, RecordVersion, Revision, StoreError, StoreErrorKind,
    TokenFormats, TokenId, TokenRecord, TokenStatus,
    store::{audit_log, records, run_to_end},
};

pub use error::{OperationError, OperationErrorKind};

use crate::{
    actor::Actor,
    audit::{AuditSink, Trail},
};

/// The audited operations on apps and tokens.
///
/// Call [`by`](Self::by) with the actor to get an [`Operator`], which has the operations.
///
/// ```
/// use tower_api_tokens::{ApiTokens, AuditQuery, MemoryStore, NewToken, TokenFormat};
/// use tower_api_tokens_admin::{Actor, Operations};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
/// let alice = Operations::new(&tokens).by(Actor::unrestricted("alice"));
///
/// let app = alice.create_app("Billing").await?;
/// let issued = alice.issue(&app.id, NewToken::named("ci")).await?;
///
/// let about = AuditQuery::default().token(issued.record().id);
/// let event = &alice.events(&about).await?.items[0];
/// assert_eq!((event.actor.as_str(), event.action.as_str()), ("alice", "token.issue"));
/// # Ok(())
/// # }
/// ```
///
/// # Audit
///
/// Every change, and every attempt that was refused, creates one [`AuditEvent`]: in the store's audit
/// log, and in every [sink](Self::with_sink). The reason of a refusal is [`OperationError::reason`].
///
/// A change and its event are one transaction. If the store cannot record the event, the change
/// fails. The exceptions are revoking a token and disabling an app: they succeed without the event,
/// which is then recorded separately.
///
/// Other events, such as refusals, are recorded immediately if the store accepts them within a
/// second. Otherwise they are queued in memory and never delay the caller. The queue holds 1,024
/// events; when it is full, the oldest are [dropped](Self::dropped_events). Call
/// [`flush_audit`](Self::flush_audit) before the process ends. Sinks receive every event either way.
///
/// After a refusal with the reason `store_failure`, it is unknown whether the change was made. If it
/// was, the store has its event too.
///
/// # Cancellation
///
/// An operation runs to completion, including its audit event, even if you drop its future.
///
/// Clones share one state.
#[derive(Clone)]
pub struct Operations {
    shared: Arc<Shared>,
}

#[derive(Clone)]
struct Shared {
    tokens: ApiTokens,
    trail: Trail,
}

impl Operations {
    /// Creates the operations for these tokens.
    #[must_use]
    pub fn new(tokens: &ApiTokens) -> Self {
        Self {
            shared: Arc::new(Shared {
                tokens: tokens.clone(),
                trail: Trail::new(tokens.registry()),
            }),
        }
    }

    /// Adds a sink for audit events. Existing clones are not affected.
    #[must_use]
    pub fn with_sink(mut self, sink: impl AuditSink) -> Self {
        let shared = Arc::make_mut(&mut self.shared);
        shared.trail.add_sink(Arc::new(sink));
        self
    }

    /// Returns the operations on behalf of an actor.
    #[must_use]
    pub fn by(&self, actor: Actor) -> Operator {
        let observer = Arc::new(self.shared.trail.clone());
        let authority = actor.authority().observer(observer);
        Operator {
            operations: self.clone(),
            tokens: self.shared.tokens.acting_as(authority),
            actor,
            expected: None,
        }
    }

    /// Revokes the token with this text, on behalf of its holder: the audit log records the token itself
    /// as the actor. Returns the record of the token, or `None` if nothing was revoked, because no token
    /// has this text, or it has expired or was revoked before. When this returns, the token is not admitted in
    /// this process, even if another one has revoked it.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    pub async fn revoke_presented(
        &self,
        text: &str,
    ) -> Result<Option<TokenRecord>, OperationError> {
        let tokens = &self.shared.tokens;
        let found = run::attempt(async { Ok(tokens.find_token(text).await?) }).await;
        let found = unless(found, LifecycleErrorKind::ForeignFormat)?.flatten();
        let has_ended = |token: &TokenRecord| {
            let status = token.status(tokens.now());
            matches!(status, TokenStatus::Revoked | TokenStatus::Expired)
        };
        let Some(token) = found else {
            return Ok(None);
        };
        let holder = self.by(Actor::holder(token.id, token.app.id));
        if has_ended(&token) {
            // Revokes nothing, but ensures that this process does not admit the token any more if another one
            // has revoked it.
            holder.revoke_many(&[token.id]).await?;
            return Ok(None);
        }
        // It may have been purged in the meantime.
        unless(
            holder.revoke(token.id).await,
            LifecycleErrorKind::UnknownToken,
        )
    }

    /// Returns the authenticator of the tokens.
    pub(crate) fn authenticator(&self) -> &Authenticator {
        self.shared.tokens.authenticator()
    }

    /// Returns the maximum overlap of a rotation, in seconds.
    pub(crate) fn max_overlap_seconds(&self) -> u64 {
        self.shared.tokens.max_overlap().as_secs()
    }

    /// Returns how many audit events are queued for the store.
    #[must_use]
    pub fn waiting_events(&self) -> usize {
        self.shared.trail.waiting()
    }

    /// Returns how many audit events were dropped because the queue was full.
    #[must_use]
    pub fn dropped_events(&self) -> u64 {
        self.shared.trail.dropped()
    }

    /// Writes the queued audit events to the store.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails. The remaining events stay queued.
    pub async fn flush_audit(&self) -> Result<(), StoreError> {
        self.shared.trail.flush().await
    }
}

/// Converts an error of this kind to `None`.
fn unless<T>(
    result: Result<T, OperationError>,
    kind: LifecycleErrorKind,
) -> Result<Option<T>, OperationError> {
    match result {
        Err(error) if error.kind() == OperationErrorKind::Lifecycle(kind) => Ok(None),
        result => result.map(Some),
    }
}

impl From<&ApiTokens> for Operations {
    fn from(tokens: &ApiTokens) -> Self {
        Self::new(tokens)
    }
}

impl From<&Operations> for Operations {
    fn from(operations: &Operations) -> Self {
        operations.clone()
    }
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operations")
            .field("tokens", &self.shared.tokens)
            .field("waiting_events", &self.waiting_events())
            .finish_non_exhaustive()
    }
}

/// The operations on behalf of an actor. Created by [`Operations::by`].
///
/// An operator sees all apps and tokens, unless the actor is [limited to an app](Actor::limited_to) or to
/// [reading](Actor::read_only). Issuing, editing, rotating, resuming and enabling are limited
/// to the scopes and the lifetime that the actor may grant, and otherwise fail with
/// [`ScopeNotHeld`](OperationErrorKind::ScopeNotHeld) or
/// [`ExpiryNotHeld`](OperationErrorKind::ExpiryNotHeld). Only an [unrestricted](Actor::unrestricted)
/// actor may write the metadata of apps, delete apps and set the policy; otherwise these fail with
/// [`OwnerRequired`](OperationErrorKind::OwnerRequired).
///
/// An actor who signed in with a [token](Actor::token) that is restricted to networks only issues tokens for
/// networks within them, unless the actor is unrestricted.
#[derive(Clone, Debug)]
pub struct Operator {
    operations: Operations,
    tokens: ApiTokens,
    actor: Actor,
    /// The version that the record of the next change must have.
    expected: Option<RecordVersion>,
}

impl Operator {
    /// Returns the actor.
    #[must_use]
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Returns a revision of the store that includes every change by this operator so far. See
    /// [`ApiTokens::latest_revision`].
    #[must_use]
    pub fn latest_revision(&self) -> Option<Revision> {
        self.tokens.latest_revision()
    }

    /// Returns the current time of the clock that decides when tokens expire.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.tokens().now()
    }

    /// Lists audit events, latest first, one page at a time.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    pub async fn events(
        &self,
        query: &AuditQuery,
    ) -> Result<Page<AuditEvent, AuditEventId>, OperationError> {
        let (registry, query) = (self.tokens().registry(), query.clone());
        run::attempt(async move { Ok(audit_log(&*registry)?.events(&query).await?) }).await
    }

    /// Streams the audit events that [`events`](Self::events) returns, page by page. The limit of the
    /// query sets the page size, and the stream ends after an error. See
    /// [`store::pages`](tower_api_tokens::store::pages).
    pub fn stream_events(
        &self,
        query: AuditQuery,
    ) -> impl Stream<Item = Result<AuditEvent, OperationError>> + Send + Unpin {
        records(query.after, move |after| {
            let query = query.clone().after(after);
            async move { self.events(&query).await }
        })
    }

    /// Records an audit event for something that happened outside of these operations, such as an
    /// import.
    ///
    /// # Errors
    ///
    /// Returns an error if the random number generator fails.
    pub async fn note(
        &self,
        action: AuditAction,
        outcome: AuditOutcome,
    ) -> Result<(), OperationError> {
        let mut event = self.event(action)?;
        event.outcome = outcome;
        let trail = self.trail().clone();
        run_to_end(async move {
            trail.record(event).await;
            Ok(())
        })
        .await
    }

    /// Returns the app that the actor is limited to, if any.
    pub(crate) fn limited_to(&self) -> Option<AppId> {
        self.tokens().limited_to().copied()
    }

    /// Checks that the limits of the actor allow an action at all.
    pub(crate) fn check_action(&self, action: AuditAction) -> Result<(), OperationError> {
        Ok(self.tokens().check_action(action)?)
    }

    /// Checks that the limits of the actor allow an action at all, before anything else of it is done. A
    /// refusal is recorded.
    pub(crate) async fn require_action(&self, action: AuditAction) -> Result<(), OperationError> {
        if self.check_action(action).is_ok() {
            return Ok(());
        }
        let operator = self.clone();
        let refusal = async move { operator.check_action(action) };
        self.change(run::Intent::new(action), refusal).await
    }

    /// Creates the event of a successful action by the actor. If the actor is limited to an app, it is about
    /// this app: another app never gets events of what such an actor tries.
    fn event(&self, action: AuditAction) -> Result<AuditEvent, OperationError> {
        let at = self.tokens().now();
        let id = AuditEventId::generate(at, self.tokens().entropy())?;
        let actor = self.tokens().actor();
        let mut event = AuditEvent::new(id, at, &actor, action, AuditOutcome::Done);
        event.app = self.limited_to();
        Ok(event)
    }

    /// Returns the formats of the tokens.
    pub(crate) fn formats(&self) -> &TokenFormats {
        self.tokens().formats()
    }

    /// Returns the maximum overlap of a rotation.
    pub(crate) fn max_overlap(&self) -> Duration {
        self.tokens().max_overlap()
    }

    /// Generates a new idempotency key.
    pub(crate) fn new_key(&self) -> Result<String, OperationError> {
        let key = TokenId::generate(self.now(), self.tokens().entropy())?;
        Ok(key.to_string())
    }

    /// Returns an operator who changes a record only if it has this version right before the change.
    /// `None` accepts any. Edits and rotations take their version themselves, and check it in the change.
    pub(crate) fn expecting(&self, version: Option<RecordVersion>) -> Self {
        Self {
            expected: version,
            ..self.clone()
        }
    }

    /// Checks the version of an app against the expected one.
    async fn check_app(&self, id: &AppId) -> Result<(), OperationError> {
        match self.expected {
            Some(expected) => check(expected, self.tokens().get_app(id).await?.version()),
            None => Ok(()),
        }
    }

    /// Checks the version of a token against the expected one.
    async fn check_token(&self, id: TokenId) -> Result<(), OperationError> {
        match self.expected {
            Some(expected) => check(expected, self.tokens().get(id).await?.version()),
            None => Ok(()),
        }
    }

    /// Checks that the actor may grant everything. Limits of the actor are left to the library, whose error
    /// is about them.
    fn require_owner(&self) -> Result<(), OperationError> {
        let has_limits = self.limited_to().is_some() || self.tokens().is_read_only();
        match has_limits || self.actor.grantable().is_everything() {
            true => Ok(()),
            false => Err(OperationError::owner_required()),
        }
    }

    /// Returns the tokens, for a change that may grant access: from the networks of the actor's own token
    /// alone.
    async fn granting(&self) -> Result<ApiTokens, OperationError> {
        let tokens = self.tokens();
        let Some(own) = self.actor.own_token() else {
            return Ok(tokens.clone());
        };
        if self.actor.grantable().is_everything() {
            return Ok(tokens.clone());
        }
        // Not as the actor, whose own token may belong to another app than the one they are limited to.
        let own = self.operations.shared.tokens.get(own).await?;
        Ok(match own.networks() {
            Some(networks) => {
                let grantable = self.actor.grantable().clone().networks(networks.clone());
                let observer = Arc::new(self.trail().clone());
                let authority = self.actor.authority().observer(observer);
                tokens.acting_as(authority.grantable(grantable))
            }
            None => tokens.clone(),
        })
    }

    fn tokens(&self) -> &ApiTokens {
        &self.tokens
    }

    fn trail(&self) -> &Trail {
        &self.operations.shared.trail
    }
}

fn check(expected: RecordVersion, current: RecordVersion) -> Result<(), OperationError> {
    match expected == current {
        true => Ok(()),
        false => Err(StoreError::new(StoreErrorKind::Stale).into()),
    }
}
