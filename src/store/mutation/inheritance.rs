use crate::{
    model::{grantable::Grantable, policy::Policy, record::TokenRecord, version::RecordVersion},
    store::{StoreError, StoreErrorKind},
};

/// What the successor of a token takes from the token: its app, name, scopes, restrictions, metadata and
/// lifetime, for [`Op::RotateToken`](super::Op::RotateToken).
///
/// The [policy](Policy::shorten) may shorten the lifetime.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inheritance {
    /// The version that the rotated token must have. `None` means any, if the mask of the token starts like
    /// that of its successor: otherwise the two have different formats.
    pub version: Option<RecordVersion>,
    /// What the actor may grant. The successor must pass [`Grantable::check_token`].
    pub grantable: Grantable,
}

impl Inheritance {
    /// Creates an inheritance from a token with the format of the successor, whatever its version.
    #[must_use]
    pub fn new(grantable: Grantable) -> Self {
        Self {
            version: None,
            grantable,
        }
    }

    /// Sets the version that the rotated token must have. Its format does not matter then.
    #[must_use]
    pub fn version(mut self, version: RecordVersion) -> Self {
        self.version = Some(version);
        self
    }

    /// Returns the successor with everything that it inherits.
    pub(super) fn complete(
        &self,
        successor: &TokenRecord,
        token: &TokenRecord,
        policy: &Policy,
    ) -> Result<TokenRecord, StoreError> {
        let is_expected = match self.version {
            Some(version) => token.version() == version,
            None => token.mask.parts().0 == successor.mask.parts().0,
        };
        if !is_expected {
            return Err(StoreError::new(StoreErrorKind::Stale));
        }
        let mut successor = successor.clone().inherit_from(token);
        let now = successor.created_at;
        let expires_at = policy.shorten(token.expiry_of_successor(now), now);
        // A rotation does not choose the expiry that the policy requires.
        let by_default = || {
            policy
                .default_expiry(now)
                .filter(|_| policy.requires_expiry())
        };
        successor.expires_at = expires_at.or_else(by_default);
        self.grantable.check_token(&successor)?;
        Ok(successor)
    }
}
