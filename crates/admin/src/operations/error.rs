use std::{error::Error, fmt};

use tower_api_tokens::{
    AppId, EntropyError, GrantError, LifecycleError, LifecycleErrorKind, Repeated, StoreError,
};

/// Why an operation was not carried out.
///
/// The message names the cure and holds nothing of a token.
#[derive(Debug)]
pub struct OperationError {
    cause: Cause,
    app: Option<AppId>,
}

#[derive(Debug)]
enum Cause {
    Lifecycle(LifecycleError),
    Grant(GrantError),
}

/// The kinds of [`OperationError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OperationErrorKind {
    /// The lifecycle does not allow it, or its store failed.
    Lifecycle(LifecycleErrorKind),
    /// The token would have, or has, scopes that the actor may not grant.
    ScopeNotHeld,
    /// What would be admitted lives longer than the actor may grant.
    ExpiryNotHeld,
}

impl OperationError {
    /// The error of an operation on something of this app.
    pub(super) fn about(mut self, app: AppId) -> Self {
        self.app = Some(app);
        self
    }

    /// The app that the operation was about, where the operation has found out.
    pub(super) fn app(&self) -> Option<AppId> {
        self.app
    }

    /// The kind of this error.
    #[must_use]
    pub fn kind(&self) -> OperationErrorKind {
        match &self.cause {
            Cause::Lifecycle(error) => OperationErrorKind::Lifecycle(error.kind()),
            Cause::Grant(GrantError::Expiry(_)) => OperationErrorKind::ExpiryNotHeld,
            Cause::Grant(_) => OperationErrorKind::ScopeNotHeld,
        }
    }

    /// The token that was created under the same idempotency key before, if that is the error.
    #[must_use]
    pub fn repeated(&self) -> Option<Repeated> {
        match &self.cause {
            Cause::Lifecycle(error) => error.repeated(),
            _ => None,
        }
    }

    /// The error as a word, like `unknown_token`: the `reason` of an audit event and the `code` of
    /// a problem.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self.kind() {
            OperationErrorKind::Lifecycle(kind) => match kind {
                LifecycleErrorKind::InvalidName => "invalid_name",
                LifecycleErrorKind::InvalidExpiry => "invalid_expiry",
                LifecycleErrorKind::InvalidOverlap => "invalid_overlap",
                LifecycleErrorKind::ForeignFormat => "foreign_format",
                LifecycleErrorKind::UnknownFormat => "unknown_format",
                LifecycleErrorKind::NotGranted => "scope_not_held",
                LifecycleErrorKind::UnknownApp => "unknown_app",
                LifecycleErrorKind::UnknownToken => "unknown_token",
                LifecycleErrorKind::AppExists => "app_exists",
                LifecycleErrorKind::TokenExists => "token_exists",
                LifecycleErrorKind::AppDisabled => "disabled_app",
                LifecycleErrorKind::Revoked => "revoked_token",
                LifecycleErrorKind::Expired => "expired_token",
                LifecycleErrorKind::Rotated => "rotated_token",
                LifecycleErrorKind::KeyReused => "key_reused",
                LifecycleErrorKind::Repeated => "repeated",
                LifecycleErrorKind::Entropy => "entropy_failure",
                _ => "store_failure",
            },
            OperationErrorKind::ScopeNotHeld => "scope_not_held",
            OperationErrorKind::ExpiryNotHeld => "expiry_not_held",
        }
    }
}

impl From<Cause> for OperationError {
    fn from(cause: Cause) -> Self {
        Self { cause, app: None }
    }
}

impl From<LifecycleError> for OperationError {
    fn from(error: LifecycleError) -> Self {
        match error.grant() {
            Some(grant) => Cause::Grant(grant.clone()).into(),
            None => Cause::Lifecycle(error).into(),
        }
    }
}

impl From<StoreError> for OperationError {
    fn from(error: StoreError) -> Self {
        LifecycleError::from(error).into()
    }
}

impl From<EntropyError> for OperationError {
    fn from(error: EntropyError) -> Self {
        LifecycleError::from(error).into()
    }
}

impl fmt::Display for OperationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Lifecycle(error) => error.fmt(f),
            Cause::Grant(error) => error.fmt(f),
        }
    }
}

impl Error for OperationError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            Cause::Lifecycle(error) => error.source(),
            _ => None,
        }
    }
}
