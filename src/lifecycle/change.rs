//! Makes a change: records its audit event, and invalidates the cache before the call returns.
//!
//! Both run in one [`run_to_end`](crate::store::run_to_end), so that no change is made without
//! invalidating the cache.

use jiff::Timestamp;

use super::{ApiTokens, LifecycleError};
use crate::{
    model::{
        app::AppId,
        audit::{AuditAction, AuditEvent, AuditEventId, AuditOutcome},
        record::TokenRecord,
    },
    store::{
        Applied, Mutation, Op, StoreError, StoreErrorKind, TokenTarget, catch_panic, run_to_end,
    },
    token::TokenId,
};

/// The subject of a change, for its audit event.
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

    /// A token, and its app if that is known before the change.
    pub(super) fn target(self, target: &TokenTarget) -> Self {
        Self {
            app: target.app,
            ..self.token(target.id)
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
    /// The mutation, with an audit event if there is an actor or an audit log.
    pub(super) fn mutation(
        &self,
        op: Op,
        at: Timestamp,
        subject: Subject,
    ) -> Result<Mutation, LifecycleError> {
        self.authority.limits().check_action(subject.action)?;
        let mut mutation = Mutation::new(op, at);
        mutation.policy.clone_from(&self.shared.policy);
        mutation.max_keys = self.shared.max_keys;
        let has_log = self.shared.registry.audit_log().is_some();
        if let Some(actor) = self.authority.recorded_as(has_log) {
            let id = AuditEventId::generate(at, &*self.shared.entropy)?;
            let mut event = AuditEvent::new(id, at, &actor, subject.action, AuditOutcome::Done);
            (event.app, event.token) = (subject.app, subject.token);
            mutation.audit = Some(event);
        }
        Ok(mutation)
    }

    /// Makes a change, and passes its event to the observer.
    pub(super) async fn apply(&self, mutation: &Mutation) -> Result<Applied, StoreError> {
        let applied = self.call(mutation).await?;
        self.tell(mutation, &applied, true);
        Ok(applied)
    }

    /// Makes a change of a token, and invalidates the token in the cache before this returns.
    pub(super) async fn apply_about_token(
        &self,
        mutation: &Mutation,
        id: TokenId,
    ) -> Result<Applied, StoreError> {
        let applied = match mutation.op {
            Op::RevokeToken(_) | Op::SuspendToken(_) => self.apply_revocation(mutation).await,
            _ => self.apply(mutation).await,
        };
        let authenticator = self.authenticator();
        match &applied {
            Ok(Applied::Token(token)) => authenticator.apply_token_change(&token.digest),
            Ok(Applied::Rotated { rotated, successor }) => {
                let changed = [rotated.digest, successor.digest];
                authenticator.apply_token_changes(&changed);
            }
            Err(error) if is_refusal(error.kind()) => {}
            // The change may have been made.
            _ => authenticator.apply_change_of(id),
        }
        applied
    }

    /// Makes a change that is not about an app or a token.
    pub(crate) async fn make(
        &self,
        op: Op,
        action: AuditAction,
    ) -> Result<Applied, LifecycleError> {
        let tokens = self.clone();
        let mutation = self.mutation(op, self.now(), Subject::new(action))?;
        run_to_end(async move { Ok(tokens.apply(&mutation).await?) }).await
    }

    /// Passes the events of a change to the observer.
    fn tell(&self, mutation: &Mutation, applied: &Applied, recorded: bool) {
        match (applied, &mutation.audit) {
            (Applied::Tokens(tokens), _) => {
                for event in tokens.iter().filter_map(|token| mutation.event_of(token)) {
                    self.authority.tell(&event, recorded);
                }
            }
            (_, Some(event)) => {
                let mut event = event.clone();
                applied.complete(&mut event);
                self.authority.tell(&event, recorded);
            }
            (_, None) => {}
        }
    }

    /// Calls the store. A panic becomes an error, so that the cache is invalidated after it as
    /// well.
    async fn call(&self, mutation: &Mutation) -> Result<Applied, StoreError> {
        let registry = &self.shared.registry;
        let committed = catch_panic(|| registry.apply_with_revision(mutation)).await?;
        self.latest.note(committed.revision);
        let mut applied = committed.applied;
        let limits = self.authority.limits();
        match &mut applied {
            Applied::Token(token) => limits.show_token(token),
            Applied::Rotated { rotated, successor } => {
                limits.show_token(rotated);
                limits.show_token(successor);
            }
            Applied::Tokens(tokens) => tokens.iter_mut().for_each(|token| limits.show_token(token)),
            Applied::App(_) | Applied::Count(_) => {}
        }
        Ok(applied)
    }

    /// Makes a change that takes access away. If the store cannot record its audit event, the
    /// change is made without the event: a broken audit log must not keep a leaked token alive.
    pub(super) async fn apply_revocation(
        &self,
        mutation: &Mutation,
    ) -> Result<Applied, StoreError> {
        let error = match self.apply(mutation).await {
            Err(error) if error.kind() != StoreErrorKind::NotFound => error,
            applied => return applied,
        };
        let mut bare = mutation.clone();
        if bare.audit.take().is_none() {
            return Err(error);
        }
        let mut recorded = false;
        if error.kind() == StoreErrorKind::Unavailable {
            // The connection may have failed after the change was made.
            match self.apply(mutation).await {
                Err(again) => recorded = again.kind() == StoreErrorKind::AlreadyExists,
                Ok(applied) => return self.with_revoked_before(mutation, applied).await,
            }
        }
        let applied = self.call(&bare).await?;
        self.tell(mutation, &applied, recorded);
        self.with_revoked_before(mutation, applied).await
    }

    /// Adds the tokens that a revocation of many had revoked before its answer was lost. Made again, it leaves them out.
    async fn with_revoked_before(
        &self,
        mutation: &Mutation,
        mut applied: Applied,
    ) -> Result<Applied, StoreError> {
        if let (Op::RevokeTokens { tokens, .. }, Applied::Tokens(revoked)) =
            (&mutation.op, &mut applied)
        {
            let mut before = Vec::new();
            for id in tokens {
                let target = TokenTarget::any(*id);
                let token = catch_panic(|| self.shared.registry.token(&target)).await?;
                let is_earlier = |token: &TokenRecord| {
                    token.revoked_at == Some(mutation.at)
                        && revoked.iter().all(|revoked| revoked.id != token.id)
                };
                before.extend(token.filter(is_earlier));
            }
            self.tell(mutation, &Applied::Tokens(before.clone()), true);
            revoked.extend(before);
        }
        Ok(applied)
    }
}

/// Whether a change was certainly not made.
fn is_refusal(kind: StoreErrorKind) -> bool {
    matches!(
        kind,
        StoreErrorKind::NotFound
            | StoreErrorKind::Repeated
            | StoreErrorKind::Conflict
            | StoreErrorKind::Stale
            | StoreErrorKind::PolicyViolation
            | StoreErrorKind::NotGranted
            | StoreErrorKind::TooManyKeys
    )
}
