use tower_api_tokens::{AuditAction, Policy, RecordVersion};

use super::{
    OperationError, Operator,
    run::{Intent, attempt},
};

impl Operator {
    /// Returns the policy of the store, which applies to every process.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    pub async fn policy(&self) -> Result<Policy, OperationError> {
        attempt(async { Ok(self.tokens().policy().await?) }).await
    }

    /// Returns the policy of the store and of this process combined, which new tokens must follow.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    pub async fn effective_policy(&self) -> Result<Policy, OperationError> {
        attempt(async { Ok(self.tokens().effective_policy().await?) }).await
    }

    /// Returns a policy of the store combined with the one of this process.
    pub(crate) fn combined_policy(&self, policy: Policy) -> Policy {
        self.tokens().combined_policy(policy)
    }

    /// Sets the policy of the store, and returns it. Existing tokens stay as they are. With a
    /// [version](Policy::version), the policy is only set if it still has that version.
    ///
    /// # Errors
    ///
    /// Returns [`OwnerRequired`](super::OperationErrorKind::OwnerRequired) if the actor is
    /// restricted. Also returns an error if the policy has another version, or the store fails or
    /// keeps no policy.
    pub async fn set_policy(
        &self,
        version: impl Into<Option<RecordVersion>> + Send,
        policy: Policy,
    ) -> Result<Policy, OperationError> {
        let (operator, version) = (self.clone(), version.into());
        self.change(Intent::new(AuditAction::SetPolicy), async move {
            operator.require_owner()?;
            let set = operator.tokens().set_policy(version, policy.clone());
            set.await?;
            Ok(policy)
        })
        .await
    }
}
