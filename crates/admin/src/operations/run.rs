//! Runs operations to completion, and records their audit events.

use tower_api_tokens::{
    AppId, AuditAction, AuditOutcome, LifecycleErrorKind, TokenId,
    store::{catch_panic, run_to_end},
};

use super::{OperationError, OperationErrorKind, Operator};
use crate::telemetry;

/// The action of an operation, and the records that it concerns.
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

impl Operator {
    /// Makes a change, even if the caller drops the future. The library records successful changes in
    /// the same transaction, so only refusals are recorded here.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        intent: Intent,
        change: impl Future<Output = Result<T, OperationError>> + Send + 'static,
    ) -> Result<T, OperationError> {
        // Boxed, because it is large; see `run_to_end`.
        let change = Box::pin(change);
        let trail = self.trail().clone();
        let mut event = self.event(intent.action)?;
        (event.app, event.token) = (event.app.or(intent.app), intent.token);
        run_to_end(async move {
            let made = attempt(change).await;
            if let Err(error) = &made {
                event.app = event.app.or(error.app());
                event.outcome = AuditOutcome::Refused(error.reason().to_owned());
                trail.record(event).await;
            }
            made
        })
        .await
    }
}

/// Runs an operation, and converts a panic in the store to an error. Logs the cause of a store failure,
/// because clients do not see it.
pub(super) async fn attempt<T>(
    operation: impl Future<Output = Result<T, OperationError>>,
) -> Result<T, OperationError> {
    let result = catch_panic(|| operation).await;
    if let Err(error) = &result
        && error.kind() == OperationErrorKind::Lifecycle(LifecycleErrorKind::Store)
    {
        telemetry::managing_failed("an operation failed", error);
    }
    result
}
