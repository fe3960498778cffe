use std::{error::Error, fmt, str::FromStr};

use tower_api_tokens::{
    AppId, EntropyError, GrantError, LifecycleError, LifecycleErrorKind, Repeated, StoreError,
    UnknownVariantError,
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

/// The kinds of [`OperationError`]. The text of a kind is its word, like `scope_not_held`; that of a kind
/// of the lifecycle is the word of that.
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

const SCOPE_NOT_HELD: &str = "scope_not_held";
const EXPIRY_NOT_HELD: &str = "expiry_not_held";

impl OperationErrorKind {
    /// The kind as a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lifecycle(kind) => kind.as_str(),
            Self::ScopeNotHeld => SCOPE_NOT_HELD,
            Self::ExpiryNotHeld => EXPIRY_NOT_HELD,
        }
    }
}

impl fmt::Display for OperationErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for OperationErrorKind {
    type Err = UnknownVariantError;

    fn from_str(text: &str) -> Result<Self, UnknownVariantError> {
        match text {
            SCOPE_NOT_HELD => Ok(Self::ScopeNotHeld),
            EXPIRY_NOT_HELD => Ok(Self::ExpiryNotHeld),
            other => other.parse().map(Self::Lifecycle).map_err(|_| {
                let lifecycle = LifecycleErrorKind::ALL.iter().map(|kind| kind.as_str());
                let words = [SCOPE_NOT_HELD, EXPIRY_NOT_HELD]
                    .into_iter()
                    .chain(lifecycle);
                UnknownVariantError::new("kind of operation error", words)
            }),
        }
    }
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
            // The code that clients know, whichever store found out.
            OperationErrorKind::Lifecycle(LifecycleErrorKind::NotGranted) => SCOPE_NOT_HELD,
            kind => kind.as_str(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_back() {
        let lifecycle = LifecycleErrorKind::ALL.iter().copied();
        let kinds = lifecycle.map(OperationErrorKind::Lifecycle).chain([
            OperationErrorKind::ScopeNotHeld,
            OperationErrorKind::ExpiryNotHeld,
        ]);
        for kind in kinds {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let error = "broken".parse::<OperationErrorKind>().unwrap_err();
        assert_eq!(error.expected().len(), LifecycleErrorKind::ALL.len() + 2);
    }
}
