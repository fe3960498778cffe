use async_trait::async_trait;
use jiff::Timestamp;

use super::{Mutation, Op};
use crate::{
    model::{
        app::{AppId, AppRecord},
        grantable::Grantable,
        record::TokenRecord,
    },
    store::{Replacement, StoreError, TokenRegistry, TokenTarget},
};

/// Changes as methods of every registry, without an audit event and by an actor who
/// may grant everything.
#[async_trait]
pub trait TokenRegistryExt: TokenRegistry {
    /// Inserts an app, as [`Op::CreateApp`] does.
    ///
    /// # Errors
    ///
    /// As [`apply`](TokenRegistry::apply).
    async fn insert_app(&self, app: &AppRecord) -> Result<(), StoreError> {
        let mutation = Mutation::new(Op::CreateApp(app.clone()), app.created_at);
        self.apply(&mutation).await.map(drop)
    }

    /// Disables an app, as [`Op::DisableApp`] does, and returns it.
    ///
    /// # Errors
    ///
    /// As [`apply`](TokenRegistry::apply).
    async fn disable_app(&self, id: &AppId, at: Timestamp) -> Result<AppRecord, StoreError> {
        let mutation = Mutation::new(Op::DisableApp(*id), at);
        self.apply(&mutation).await?.into_app()
    }

    /// Enables an app, as [`Op::EnableApp`] does, and returns it.
    ///
    /// # Errors
    ///
    /// As [`apply`](TokenRegistry::apply).
    async fn enable_app(&self, id: &AppId, at: Timestamp) -> Result<AppRecord, StoreError> {
        let (app, grantable) = (*id, Grantable::everything());
        let mutation = Mutation::new(Op::EnableApp { app, grantable }, at);
        self.apply(&mutation).await?.into_app()
    }

    /// Inserts a token, as [`Op::InsertTokens`] does.
    ///
    /// # Errors
    ///
    /// As [`apply`](TokenRegistry::apply).
    async fn insert(&self, token: &TokenRecord) -> Result<(), StoreError> {
        let op = Op::InsertTokens(vec![token.clone()]);
        let mutation = Mutation::new(op, token.created_at);
        self.apply(&mutation).await.map(drop)
    }

    /// Inserts tokens, all of them or none.
    ///
    /// # Errors
    ///
    /// As [`apply`](TokenRegistry::apply).
    async fn insert_all(&self, tokens: &[TokenRecord]) -> Result<(), StoreError> {
        let first = tokens.first().map(|token| token.created_at);
        let at = first.unwrap_or(Timestamp::UNIX_EPOCH);
        let mutation = Mutation::new(Op::InsertTokens(tokens.to_vec()), at);
        self.apply(&mutation).await.map(drop)
    }

    /// Renames a token, as [`Op::RenameToken`] does, and returns it.
    ///
    /// # Errors
    ///
    /// As [`apply`](TokenRegistry::apply).
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

    /// Rotates a token, as [`Op::RotateToken`] does, and returns it.
    ///
    /// # Errors
    ///
    /// As [`apply`](TokenRegistry::apply).
    async fn rotate(&self, replacement: &Replacement) -> Result<TokenRecord, StoreError> {
        let mutation = Mutation::from(replacement.clone());
        self.apply(&mutation).await?.into_token()
    }

    /// Revokes a token, as [`Op::RevokeToken`] does, and returns it.
    ///
    /// # Errors
    ///
    /// As [`apply`](TokenRegistry::apply).
    async fn revoke(&self, target: &TokenTarget, at: Timestamp) -> Result<TokenRecord, StoreError> {
        let mutation = Mutation::new(Op::RevokeToken(*target), at);
        self.apply(&mutation).await?.into_token()
    }

    /// Removes tokens, as [`Op::Purge`] does, and returns how many.
    ///
    /// # Errors
    ///
    /// As [`apply`](TokenRegistry::apply).
    async fn purge(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let op = Op::Purge { before, limit };
        let mutation = Mutation::new(op, before);
        self.apply(&mutation).await?.into_count()
    }

    /// Makes every follower clear its cache, as [`Op::ClearCaches`] does.
    ///
    /// # Errors
    ///
    /// As [`apply`](TokenRegistry::apply).
    async fn clear_caches(&self, at: Timestamp) -> Result<(), StoreError> {
        self.apply(&Mutation::new(Op::ClearCaches, at))
            .await
            .map(drop)
    }
}

impl<R: TokenRegistry + ?Sized> TokenRegistryExt for R {}
