use std::{error::Error, fmt, str::FromStr};

use tower_api_tokens::{
    AppId, EntropyError, GrantError, LifecycleError, LifecycleErrorKind, PolicyError, Repeated,
    StoreError, UnknownVariantError, store::AppInUse,
};

/// The error of an operation.
///
/// The message says what to do, and contains no part of a token.
#[derive(Debug)]
pub struct OperationError {
    cause: Cause,
    app: Option<AppId>,
}

#[derive(Debug)]
enum Cause {
    Lifecycle(LifecycleError),
    Grant(GrantError),
    OwnerRequired,
}

/// The kinds of [`OperationError`]. `Display` and `FromStr` use a code like `scope_not_held`, or that
/// of the [`LifecycleErrorKind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OperationErrorKind {
    /// The state of the app or token does not allow the operation, the input is invalid, or the store
    /// failed.
    Lifecycle(LifecycleErrorKind),
    /// The token has, or would have, scopes that the actor may not grant.
    ScopeNotHeld,
    /// The token would live longer than the actor may grant.
    ExpiryNotHeld,
    /// The token could be used from networks to which the actor's own token is not restricted.
    NetworksNotHeld,
    /// Only an actor who may grant everything may do this.
    OwnerRequired,
}

const SCOPE_NOT_HELD: &str = "scope_not_held";
const EXPIRY_NOT_HELD: &str = "expiry_not_held";
const NETWORKS_NOT_HELD: &str = "networks_not_held";
const OWNER_REQUIRED: &str = "owner_required";

impl OperationErrorKind {
    /// Returns the code of the kind.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lifecycle(kind) => kind.as_str(),
            Self::ScopeNotHeld => SCOPE_NOT_HELD,
            Self::ExpiryNotHeld => EXPIRY_NOT_HELD,
            Self::NetworksNotHeld => NETWORKS_NOT_HELD,
            Self::OwnerRequired => OWNER_REQUIRED,
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
            NETWORKS_NOT_HELD => Ok(Self::NetworksNotHeld),
            OWNER_REQUIRED => Ok(Self::OwnerRequired),
            other => other.parse().map(Self::Lifecycle).map_err(|_| {
                let lifecycle = LifecycleErrorKind::ALL.iter().map(|kind| kind.as_str());
                let own = [
                    SCOPE_NOT_HELD,
                    EXPIRY_NOT_HELD,
                    NETWORKS_NOT_HELD,
                    OWNER_REQUIRED,
                ];
                let words = own.into_iter().chain(lifecycle);
                UnknownVariantError::new("kind of operation error", words)
            }),
        }
    }
}

impl OperationError {
    pub(super) fn owner_required() -> Self {
        Cause::OwnerRequired.into()
    }

    /// Sets the app that the operation was about.
    pub(super) fn about(mut self, app: AppId) -> Self {
        self.app = Some(app);
        self
    }

    /// Returns the app that the operation was about, if known.
    pub(super) fn app(&self) -> Option<AppId> {
        self.app
    }

    /// Returns the kind of this error.
    #[must_use]
    pub fn kind(&self) -> OperationErrorKind {
        match &self.cause {
            Cause::Lifecycle(error) => OperationErrorKind::Lifecycle(error.kind()),
            Cause::Grant(GrantError::Expiry(_)) => OperationErrorKind::ExpiryNotHeld,
            Cause::Grant(GrantError::Networks(_)) => OperationErrorKind::NetworksNotHeld,
            Cause::Grant(_) => OperationErrorKind::ScopeNotHeld,
            Cause::OwnerRequired => OperationErrorKind::OwnerRequired,
        }
    }

    /// Returns the token that was already created with the same idempotency key, if that is the error.
    #[must_use]
    pub fn repeated(&self) -> Option<Repeated> {
        match &self.cause {
            Cause::Lifecycle(error) => error.repeated(),
            _ => None,
        }
    }

    /// Returns the rule of the policy that the token violates, if that is the error.
    #[must_use]
    pub fn policy(&self) -> Option<&PolicyError> {
        match &self.cause {
            Cause::Lifecycle(error) => error.policy(),
            _ => None,
        }
    }

    /// Returns how many live tokens the app has, if it cannot be deleted because of them.
    #[must_use]
    pub fn app_in_use(&self) -> Option<AppInUse> {
        match &self.cause {
            Cause::Lifecycle(error) => error.app_in_use(),
            _ => None,
        }
    }

    /// Returns what the actor may not grant, if that is the error.
    pub(crate) fn grant(&self) -> Option<&GrantError> {
        match &self.cause {
            Cause::Lifecycle(error) => error.grant(),
            Cause::Grant(error) => Some(error),
            Cause::OwnerRequired => None,
        }
    }

    /// Returns the error code, like `unknown_token`: the `reason` of an audit event, and the `code` in
    /// an error response of the API.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self.kind() {
            // Clients know this code, no matter which layer found the error.
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
            Cause::OwnerRequired => f.write_str(
                "only an actor who may grant everything may do this; use a token that also has the scope `tokens:owner`, or ask an owner",
            ),
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
    fn every_kind_parses_from_its_code() {
        let lifecycle = LifecycleErrorKind::ALL.iter().copied();
        let kinds = lifecycle.map(OperationErrorKind::Lifecycle).chain([
            OperationErrorKind::ScopeNotHeld,
            OperationErrorKind::ExpiryNotHeld,
            OperationErrorKind::NetworksNotHeld,
            OperationErrorKind::OwnerRequired,
        ]);
        for kind in kinds {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let error = "broken".parse::<OperationErrorKind>().unwrap_err();
        assert_eq!(error.expected().len(), LifecycleErrorKind::ALL.len() + 4);
    }
}
