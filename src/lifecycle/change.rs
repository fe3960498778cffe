//! How a change is made: with its audit event, and with the cache invalidated before the call returns.
//!
//! Both run in one [`run_to_end`](crate::store::run_to_end), so that a change is never made without the
//! cache being invalidated.

use jiff::Timestamp;

use super::{ApiTokens, LifecycleError};
use crate::{
    model::{
        app::AppId,
        audit::{AuditAction, AuditEvent, AuditEventId, AuditOutcome},
    },
    store::{Applied, Mutation, Op, StoreError, StoreErrorKind, catch_panic},
    token::TokenId,
};

/// What a change is about, for its audit event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject {
    action: AuditAction,
    app: Option<AppId>,
    token: Option<TokenId>,
}

impl Subject {
    pub(super) fn new(action: AuditAction) -> Self {
        Self {
            action,
            app: None,
            token: None,
        }
    }

    pub(super) fn app(self, app: AppId) -> Self {
        Self {
            app: Some(app),
            ..self
        }
    }

    pub(super) fn token(self, token: TokenId) -> Self {
        Self {
            token: Some(token),
            ..self
        }
    }
}

impl ApiTokens {
    /// The change, with an audit event if there is an actor.
    pub(super) fn mutation(
        &self,
        op: Op,
        at: Timestamp,
        subject: Subject,
    ) -> Result<Mutation, LifecycleError> {
        let mut mutation = Mutation::new(op, at);
        if let Some(actor) = self.authority.actor() {
            let id = AuditEventId::generate(at, &*self.shared.entropy)?;
            let mut event = AuditEvent::new(id, at, actor, subject.action, AuditOutcome::Done);
            (event.app, event.token) = (subject.app, subject.token);
            mutation.audit = Some(event);
        }
        Ok(mutation)
    }

    /// Makes a change, and shows its event to the observer.
    pub(super) async fn apply(&self, mutation: &Mutation) -> Result<Applied, StoreError> {
        let applied = self.call(mutation).await?;
        if let Some(event) = &mutation.audit {
            self.authority.tell(event, true);
        }
        Ok(applied)
    }

    /// Calls the store. A panic is an error, so that the cache is invalidated after it too.
    async fn call(&self, mutation: &Mutation) -> Result<Applied, StoreError> {
        catch_panic(|| self.shared.registry.apply(mutation)).await
    }

    /// Makes a change that takes access away. If the store fails to make it with its audit event, it
    /// is made without one: trouble with the audit log must not keep a leaked token alive.
    pub(super) async fn withdraw(&self, mutation: &Mutation) -> Result<Applied, StoreError> {
        let error = match self.apply(mutation).await {
            Err(error) if error.kind() != StoreErrorKind::NotFound => error,
            applied => return applied,
        };
        let mut bare = mutation.clone();
        let Some(event) = bare.audit.take() else {
            return Err(error);
        };
        let mut recorded = false;
        if error.kind() == StoreErrorKind::Unavailable {
            // It may be the connection that failed, and the change may have been made.
            match self.apply(mutation).await {
                Err(again) => recorded = again.kind() == StoreErrorKind::AlreadyExists,
                applied => return applied,
            }
        }
        let applied = self.call(&bare).await?;
        self.authority.tell(&event, recorded);
        Ok(applied)
    }
}
