//! How an operation is run: to its end, and with the event that tells of it.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use super::{OperationError, OperationErrorKind, Operator};
use crate::{
    app::{AppId, AppRecord},
    audit::{AuditAction, AuditOutcome},
    record::TokenRecord,
    store::StoreError,
    telemetry,
    token::TokenId,
    tokens::{IssuedToken, LifecycleErrorKind},
};

/// What an operation is to do, and to what.
pub(super) struct Intent {
    pub(super) action: AuditAction,
    pub(super) app: Option<AppId>,
    pub(super) token: Option<TokenId>,
}

impl Intent {
    pub(super) fn new(action: AuditAction) -> Self {
        Self {
            action,
            app: None,
            token: None,
        }
    }

    pub(super) fn on_app(action: AuditAction, app: AppId) -> Self {
        Self {
            app: Some(app),
            ..Self::new(action)
        }
    }

    pub(super) fn on_token(action: AuditAction, token: TokenId) -> Self {
        Self {
            token: Some(token),
            ..Self::new(action)
        }
    }
}

/// What an operation gives, and what that is about.
pub(super) trait Outcome {
    fn app(&self) -> Option<AppId>;
    fn token(&self) -> Option<TokenId>;
}

impl Outcome for AppRecord {
    fn app(&self) -> Option<AppId> {
        Some(self.id)
    }

    fn token(&self) -> Option<TokenId> {
        None
    }
}

impl Outcome for TokenRecord {
    fn app(&self) -> Option<AppId> {
        Some(self.app.id)
    }

    fn token(&self) -> Option<TokenId> {
        Some(self.id)
    }
}

impl Outcome for IssuedToken {
    fn app(&self) -> Option<AppId> {
        self.record().app()
    }

    fn token(&self) -> Option<TokenId> {
        self.record().token()
    }
}

/// A count of records.
impl Outcome for usize {
    fn app(&self) -> Option<AppId> {
        None
    }

    fn token(&self) -> Option<TokenId> {
        None
    }
}

impl Operator {
    /// Makes a change and tells the audit of it, whatever becomes of the caller.
    pub(super) async fn change<T: Outcome + Send + 'static>(
        &self,
        intent: Intent,
        change: impl Future<Output = Result<T, OperationError>> + Send + 'static,
    ) -> Result<T, OperationError> {
        let trail = self.trail().clone();
        let mut event = self.event(intent.action)?;
        (event.app, event.token) = (intent.app, intent.token);

        let Some(slot) = trail.reserve() else {
            let error = OperationError::audit_backlog();
            event.outcome = AuditOutcome::Refused(error.reason().to_owned());
            trail.tell(&event);
            return Err(error);
        };
        to_end(async move {
            let made = attempt(change).await;
            match &made {
                Ok(outcome) => {
                    event.app = event.app.or(outcome.app());
                    event.token = event.token.or(outcome.token());
                }
                Err(error) => {
                    event.app = event.app.or(error.app());
                    event.outcome = AuditOutcome::Refused(error.reason().to_owned());
                }
            }
            trail.record(event, slot).await;
            made
        })
        .await
    }
}

/// Carries an operation out; a store that panics has failed. The cause of a failure is logged, as no
/// client is told of it.
pub(super) async fn attempt<T>(
    operation: impl Future<Output = Result<T, OperationError>>,
) -> Result<T, OperationError> {
    let result = match AssertUnwindSafe(operation).catch_unwind().await {
        Ok(result) => result,
        Err(_) => Err(StoreError::unavailable("the store panicked").into()),
    };
    if let Err(error) = &result
        && error.kind() == OperationErrorKind::Lifecycle(LifecycleErrorKind::Store)
    {
        telemetry::managing_failed("an operation failed", error);
    }
    result
}

pub(super) async fn to_end<T: Send + 'static>(
    operation: impl Future<Output = Result<T, OperationError>> + Send + 'static,
) -> Result<T, OperationError> {
    match tokio::spawn(operation).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::unavailable(error).into()),
    }
}
