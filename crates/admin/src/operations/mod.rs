//! What an operator can do, and the trail that it leaves. The JSON API, the dashboard and the
//! command line are forms of it.

mod apps;
mod error;
mod run;
mod tokens;

use std::{fmt, sync::Arc, time::Duration};

use futures_core::Stream;
use jiff::Timestamp;
use tower_api_tokens::{
    ApiTokens, AuditAction, AuditEvent, AuditEventId, AuditOutcome, AuditQuery, Authority, Page,
    StoreError, TokenId,
    store::{audit_log, records, run_to_end},
};

pub use error::{OperationError, OperationErrorKind};

use crate::{
    actor::Actor,
    audit::{AuditSink, Trail},
};

/// The operations on apps and tokens, and the audit of them.
///
/// Whoever does something says who they are first: [`by`](Self::by) gives the [`Operator`] that has
/// the operations.
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
/// let app = alice.create_app(None, "Billing").await?;
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
/// Every operation that changes something, or was refused, leaves one [`AuditEvent`]: in the store's
/// audit log, and with every [sink](Self::with_sink). The reason of a refusal is
/// [`OperationError::reason`].
///
/// The event of a change is part of the change: both are kept or neither is. If the store cannot
/// record the event, the change fails, except for revoking a token and disabling an app: these are
/// made without the event, which is then written apart.
///
/// Events that are not part of a change, those of refusals above all, are written right away if the
/// store takes them within a second. Otherwise they wait in memory, at most 1,024 of them, and hold
/// nothing up; when there are more, the oldest are [dropped](Self::dropped_events). Call
/// [`flush_audit`](Self::flush_audit) before the process ends. The sinks have got every event in any
/// case.
///
/// After a refusal with the reason `store_failure` it is unknown whether the change was made; if it
/// was, there is an event of that too.
///
/// # Cancellation
///
/// A call that was dropped halfway goes on to its end, audit included.
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
    /// The operations on these tokens.
    #[must_use]
    pub fn new(tokens: &ApiTokens) -> Self {
        Self {
            shared: Arc::new(Shared {
                tokens: tokens.clone(),
                trail: Trail::new(tokens.registry()),
            }),
        }
    }

    /// Gives the audit events to a sink too. Clones that were made before do not.
    #[must_use]
    pub fn with_sink(mut self, sink: impl AuditSink) -> Self {
        let shared = Arc::make_mut(&mut self.shared);
        shared.trail.add_sink(Arc::new(sink));
        self
    }

    /// The operations as someone does them.
    #[must_use]
    pub fn by(&self, actor: Actor) -> Operator {
        let authority = Authority::of(actor.identity())
            .grantable(actor.grantable().clone())
            .observer(Arc::new(self.shared.trail.clone()));
        Operator {
            operations: self.clone(),
            tokens: self.shared.tokens.acting_as(authority),
            actor,
        }
    }

    /// For how many seconds a rotated token may live on.
    pub(crate) fn max_overlap_seconds(&self) -> u64 {
        self.shared.tokens.max_overlap().as_secs()
    }

    /// How many audit events wait for the store.
    #[must_use]
    pub fn waiting_events(&self) -> usize {
        self.shared.trail.waiting()
    }

    /// How many audit events were dropped because too many were waiting for the store.
    #[must_use]
    pub fn dropped_events(&self) -> u64 {
        self.shared.trail.dropped()
    }

    /// Writes the audit events that wait for the store.
    ///
    /// # Errors
    ///
    /// When the store does not take one of them; those go on waiting.
    pub async fn flush_audit(&self) -> Result<(), StoreError> {
        self.shared.trail.flush().await
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

/// The operations as someone does them: made by [`Operations::by`].
///
/// An operator sees all apps and tokens. What they issue, rotate and enable has scopes that they may
/// grant, and lives no longer than they may grant; the rest is refused as
/// [`ScopeNotHeld`](OperationErrorKind::ScopeNotHeld) or
/// [`ExpiryNotHeld`](OperationErrorKind::ExpiryNotHeld).
#[derive(Clone, Debug)]
pub struct Operator {
    operations: Operations,
    tokens: ApiTokens,
    actor: Actor,
}

impl Operator {
    /// Who it is.
    #[must_use]
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The time by which the state of tokens is judged.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.tokens().now()
    }

    /// Lists audit events, the latest first, a page at a time.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn events(
        &self,
        query: &AuditQuery,
    ) -> Result<Page<AuditEvent, AuditEventId>, OperationError> {
        let (registry, query) = (self.tokens().registry(), query.clone());
        run::attempt(async move { Ok(audit_log(&*registry)?.events(&query).await?) }).await
    }

    /// Streams audit events as [`events`](Self::events) lists them, with the terms of
    /// [`store::pages`](tower_api_tokens::store::pages): the limit of the query is the size of the pages, and an
    /// error ends the stream.
    pub fn stream_events(
        &self,
        query: AuditQuery,
    ) -> impl Stream<Item = Result<AuditEvent, OperationError>> + Send + Unpin {
        records(query.after, move |after| {
            let query = query.clone().after(after);
            async move { self.events(&query).await }
        })
    }

    /// Tells the audit of what was done, or tried and refused, by other means than these
    /// operations: an import, for example.
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

    /// An event that tells that the actor has done something.
    fn event(&self, action: AuditAction) -> Result<AuditEvent, OperationError> {
        let at = self.tokens().now();
        let id = AuditEventId::generate(at, self.tokens().entropy())?;
        Ok(AuditEvent::new(
            id,
            at,
            self.actor.name(),
            action,
            AuditOutcome::Done,
        ))
    }

    /// The longest overlap that a rotation may have.
    pub(crate) fn max_overlap(&self) -> Duration {
        self.tokens().max_overlap()
    }

    /// The text of a key that no request has had.
    pub(crate) fn new_key(&self) -> Result<String, OperationError> {
        let key = TokenId::generate(self.now(), self.tokens().entropy())?;
        Ok(key.to_string())
    }

    fn tokens(&self) -> &ApiTokens {
        &self.tokens
    }

    fn trail(&self) -> &Trail {
        &self.operations.shared.trail
    }
}
