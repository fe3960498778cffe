//! Edits, suspension and the policy.

use super::{ApiTokens, LifecycleError, change::Subject};
use crate::{
    model::{
        app::{AppId, AppRecord},
        audit::AuditAction,
        edit::{AppEdit, TokenEdit},
        name,
        policy::Policy,
        record::TokenRecord,
        version::RecordVersion,
    },
    store::{Op, TokenTarget, catch_panic, run_to_end},
    token::TokenId,
};

impl ApiTokens {
    /// Edits a token: its name, scopes, expiry, networks or metadata. When this returns, this process
    /// admits the token as edited.
    ///
    /// With a [version](TokenRecord::version), the token is only edited if it still has that version.
    ///
    /// # Errors
    ///
    /// Returns an error if the token does not exist or has another version, its state does not allow
    /// the edit (see [`TokenEdit::apply`]), the name, the expiry, the networks or the metadata are
    /// invalid, the [authority](super::Authority) may not grant what the edit adds, the policy does not
    /// allow it, a new scope is limited to another format, or the store fails.
    pub async fn edit(
        &self,
        id: TokenId,
        version: impl Into<Option<RecordVersion>> + Send,
        edit: TokenEdit,
    ) -> Result<TokenRecord, LifecycleError> {
        self.check_action(AuditAction::EditToken)?;
        let (target, version) = (self.authority.limits().target(id), version.into());
        let mut edit = edit;
        edit.name = edit.name.as_deref().map(name::normalize_name).transpose()?;
        self.authority
            .limits()
            .check_metadata(edit.metadata.keys())?;
        let op = Op::EditToken {
            target,
            version,
            edit,
            grantable: self.authority.what_is_grantable().clone(),
        };
        self.change_token(target, op, AuditAction::EditToken).await
    }

    /// Suspends a token: it is refused until it is [resumed](Self::resume). Its expiry does not change.
    /// When this returns, the token is no longer admitted in this process. Suspending a suspended token
    /// changes nothing.
    ///
    /// # Errors
    ///
    /// Returns an error if the token does not exist, is revoked or expired, or the store fails.
    pub async fn suspend(&self, id: TokenId) -> Result<TokenRecord, LifecycleError> {
        let target = self.authority.limits().target(id);
        let op = Op::SuspendToken(target);
        self.change_token(target, op, AuditAction::SuspendToken)
            .await
    }

    /// Resumes a suspended token. Resuming a token that is not suspended changes nothing.
    ///
    /// # Errors
    ///
    /// Returns an error if the token does not exist or is revoked, the [authority](super::Authority) may
    /// not grant its scopes or its expiry, or the store fails.
    pub async fn resume(&self, id: TokenId) -> Result<TokenRecord, LifecycleError> {
        let target = self.authority.limits().target(id);
        let op = Op::ResumeToken {
            target,
            grantable: self.authority.what_is_grantable().clone(),
        };
        self.change_token(target, op, AuditAction::ResumeToken)
            .await
    }

    /// Edits an app: its name or metadata.
    ///
    /// With a [version](AppRecord::version), the app is only edited if it still has that version.
    ///
    /// # Errors
    ///
    /// Returns an error if the app does not exist or has another version, the name or the metadata is
    /// invalid, or the store fails.
    pub async fn edit_app(
        &self,
        id: &AppId,
        version: impl Into<Option<RecordVersion>> + Send,
        edit: AppEdit,
    ) -> Result<AppRecord, LifecycleError> {
        let mut edit = edit;
        edit.name = edit.name.as_deref().map(name::normalize_name).transpose()?;
        let op = Op::EditApp {
            app: *id,
            version: version.into(),
            edit,
        };
        self.change_app(*id, op, AuditAction::EditApp).await
    }

    /// Deletes an app, together with the records of its expired and revoked tokens.
    ///
    /// # Errors
    ///
    /// Returns an error of the kind [`AppInUse`](super::LifecycleErrorKind::AppInUse) if the app has a
    /// token that has neither expired nor been revoked. Also returns an error if the app does not exist,
    /// or the store fails.
    pub async fn delete_app(&self, id: &AppId) -> Result<AppRecord, LifecycleError> {
        let op = Op::DeleteApp(*id);
        self.change_app(*id, op, AuditAction::DeleteApp).await
    }

    /// Returns the policy of the store, which applies to every process. A handle that is limited to an
    /// app gets the rules for this app.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    pub async fn policy(&self) -> Result<Policy, LifecycleError> {
        Ok(catch_panic(|| self.registry.policy()).await?)
    }

    /// Returns the policy of the store and of this process combined, which new tokens must follow.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    pub async fn effective_policy(&self) -> Result<Policy, LifecycleError> {
        let policy = catch_panic(|| self.shared.registry.policy()).await?;
        Ok(self.combined_policy(policy))
    }

    /// Returns a policy of the store combined with the one of this process, as the actor sees it. Does not
    /// read the store.
    #[must_use]
    pub fn combined_policy(&self, policy: Policy) -> Policy {
        let policy = match &self.shared.policy {
            Some(stricter) => policy.and(stricter),
            None => policy,
        };
        self.authority.limits().show_policy(policy)
    }

    /// Sets the policy of the store. Existing tokens stay as they are.
    ///
    /// With a [version](Policy::version), the policy is only set if it still has that version.
    ///
    /// # Errors
    ///
    /// Returns an error if the policy has another version, or the store fails or keeps no policy.
    pub async fn set_policy(
        &self,
        version: impl Into<Option<RecordVersion>> + Send,
        policy: Policy,
    ) -> Result<(), LifecycleError> {
        let op = Op::SetPolicy {
            version: version.into(),
            policy,
        };
        let subject = Subject::new(AuditAction::SetPolicy);
        let setting = self.mutation(op, self.now(), subject)?;
        let tokens = self.clone();
        run_to_end(async move {
            let set = tokens.apply(&setting).await;
            set.map(drop).map_err(LifecycleError::about_edit)
        })
        .await
    }

    /// Changes a token, and invalidates it in the cache before this returns.
    pub(super) async fn change_token(
        &self,
        target: TokenTarget,
        op: Op,
        action: AuditAction,
    ) -> Result<TokenRecord, LifecycleError> {
        self.check_action(action)?;
        if let Op::EditToken { edit, .. } = &op
            && let Some(scopes) = &edit.scopes
        {
            // Nothing changes the mask of a token, so it may be checked beforehand.
            let token = self.get_target(&target).await?;
            self.shared.formats.check_scopes(scopes, &token.mask)?;
        }
        let subject = Subject::new(action).target(&target);
        let change = self.mutation(op, self.now(), subject)?;
        let tokens = self.clone();
        run_to_end(async move {
            let changed = tokens.apply_about_token(&change, target.id).await;
            Ok(changed.map_err(LifecycleError::about_token)?.into_token()?)
        })
        .await
    }

    /// Changes an app, and invalidates it in the cache before this returns.
    pub(super) async fn change_app(
        &self,
        id: AppId,
        op: Op,
        action: AuditAction,
    ) -> Result<AppRecord, LifecycleError> {
        let takes_access = matches!(op, Op::DisableApp(_));
        let change = self.mutation(op, self.now(), Subject::new(action).app(id))?;
        let tokens = self.clone();
        run_to_end(async move {
            let changed = match takes_access {
                true => tokens.apply_revocation(&change).await,
                false => tokens.apply(&change).await,
            };
            tokens.authenticator().apply_app_change(&id);
            Ok(changed.map_err(LifecycleError::about_app)?.into_app()?)
        })
        .await
    }
}
