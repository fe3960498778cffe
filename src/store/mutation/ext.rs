use async_trait::async_trait;
use jiff::Timestamp;

use super::{Mutation, Op};
use crate::{
    model::{
        app::{AppId, AppRecord},
        grantable::Grantable,
        record::TokenRecord,
    },
    store::{FleetSettings, Replacement, StoreError, TokenRegistry, TokenTarget},
};

/// A method for each [`Op`] of a registry, without an audit event, for an actor who may grant
/// everything.
#[async_trait]
pub trait TokenRegistryExt: TokenRegistry {
    /// Inserts an app; see [`Op::CreateApp`].
    ///
    /// # Errors
    ///
    /// Returns the errors of [`apply`](TokenRegistry::apply).
    async fn insert_app(&self, app: &AppRecord) -> Result<(), StoreError> {
        let mutation = Mutation::new(Op::CreateApp(app.clone()), app.created_at);
        self.apply(&mutation).await.map(drop)
    }

    /// Disables an app and returns it; see [`Op::DisableApp`].
    ///
    /// # Errors
    ///
    /// Returns the errors of [`apply`](TokenRegistry::apply).
    async fn disable_app(&self, id: &AppId, at: Timestamp) -> Result<AppRecord, StoreError> {
        let mutation = Mutation::new(Op::DisableApp(*id), at);
        self.apply(&mutation).await?.into_app()
    }

    /// Enables an app and returns it; see [`Op::EnableApp`].
    ///
    /// # Errors
    ///
    /// Returns the errors of [`apply`](TokenRegistry::apply).
    async fn enable_app(&self, id: &AppId, at: Timestamp) -> Result<AppRecord, StoreError> {
        let (app, grantable) = (*id, Grantable::everything());
        let mutation = Mutation::new(Op::EnableApp { app, grantable }, at);
        self.apply(&mutation).await?.into_app()
    }

    /// Inserts a token; see [`Op::InsertTokens`].
    ///
    /// # Errors
    ///
    /// Returns the errors of [`apply`](TokenRegistry::apply).
    async fn insert(&self, token: &TokenRecord) -> Result<(), StoreError> {
        let op = Op::InsertTokens(vec![token.clone()]);
        let mutation = Mutation::new(op, token.created_at);
        self.apply(&mutation).await.map(drop)
    }

    /// Inserts all of the tokens or none; see [`Op::InsertTokens`].
    ///
    /// # Errors
    ///
    /// Returns the errors of [`apply`](TokenRegistry::apply).
    async fn insert_all(&self, tokens: &[TokenRecord]) -> Result<(), StoreError> {
        let first = tokens.first().map(|token| token.created_at);
        let at = first.unwrap_or(Timestamp::UNIX_EPOCH);
        let mutation = Mutation::new(Op::InsertTokens(tokens.to_vec()), at);
        self.apply(&mutation).await.map(drop)
    }

    /// Renames a token and returns it; see [`Op::RenameToken`].
    ///
    /// # Errors
    ///
    /// Returns the errors of [`apply`](TokenRegistry::apply).
    async fn rename(
        &self,
        target: &TokenTarget,
        name: &str,
        at: Timestamp,
    ) -> Result<TokenRecord, StoreError> {
        let (target, name) = (*target, name.to_owned());
        let mutation = Mutation::new(Op::RenameToken { target, name }, at);
        self.apply(&mutation).await?.into_token()
    }

    /// Rotates a token and returns it; see [`Op::RotateToken`].
    ///
    /// # Errors
    ///
    /// Returns the errors of [`apply`](TokenRegistry::apply).
    async fn rotate(&self, replacement: &Replacement) -> Result<TokenRecord, StoreError> {
        let mutation = Mutation::from(replacement.clone());
        self.apply(&mutation).await?.into_token()
    }

    /// Revokes a token and returns it; see [`Op::RevokeToken`].
    ///
    /// # Errors
    ///
    /// Returns the errors of [`apply`](TokenRegistry::apply).
    async fn revoke(&self, target: &TokenTarget, at: Timestamp) -> Result<TokenRecord, StoreError> {
        let mutation = Mutation::new(Op::RevokeToken(*target), at);
        self.apply(&mutation).await?.into_token()
    }

    /// Removes tokens and returns how many; see [`Op::Purge`].
    ///
    /// # Errors
    ///
    /// Returns the errors of [`apply`](TokenRegistry::apply).
    async fn purge(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let op = Op::Purge { before, limit };
        let mutation = Mutation::new(op, before);
        self.apply(&mutation).await?.into_count()
    }

    /// Makes every follower clear its cache; see [`Op::ClearCaches`].
    ///
    /// # Errors
    ///
    /// Returns the errors of [`apply`](TokenRegistry::apply).
    async fn clear_caches(&self, at: Timestamp) -> Result<(), StoreError> {
        self.apply(&Mutation::new(Op::ClearCaches, at))
            .await
            .map(drop)
    }

    /// Sets what holds for all nodes of the fleet; see [`Op::SetFleet`].
    ///
    /// # Errors
    ///
    /// Returns the errors of [`apply`](TokenRegistry::apply).
    async fn set_fleet(&self, settings: &FleetSettings, at: Timestamp) -> Result<(), StoreError> {
        self.apply(&Mutation::new(Op::SetFleet(*settings), at))
            .await
            .map(drop)
    }
}

impl<R: TokenRegistry + ?Sized> TokenRegistryExt for R {}
