use futures_core::Stream;
use tower_api_tokens::{
    AppEdit, AppId, AppQuery, AppRecord, AuditAction, NewApp, Page, RecordVersion, store::records,
};

use super::{
    OperationError, Operator,
    run::{Intent, attempt},
};

impl Operator {
    /// Creates an app. Pass a name, or a [`NewApp`] with an identifier or metadata. Apps may share a
    /// name.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is invalid, an app with this identifier exists, or the store
    /// fails. Returns [`OwnerRequired`](super::OperationErrorKind::OwnerRequired) if the app has
    /// metadata and the actor is restricted.
    pub async fn create_app(
        &self,
        new: impl Into<NewApp> + Send,
    ) -> Result<AppRecord, OperationError> {
        let (operator, new) = (self.clone(), new.into());
        let intent = Intent {
            app: new.chosen_id(),
            ..Intent::new(AuditAction::CreateApp)
        };
        self.change(intent, async move {
            if new.has_metadata() {
                operator.require_owner()?;
            }
            Ok(operator.tokens().create_app(new).await?)
        })
        .await
    }

    /// Edits an app: its name or metadata. With a [version](AppRecord::version), the app is only
    /// edited if it still has that version.
    ///
    /// # Errors
    ///
    /// Returns [`OwnerRequired`](super::OperationErrorKind::OwnerRequired) if the edit changes
    /// metadata and the actor is restricted. Also returns an error if
    /// [`ApiTokens::edit_app`](tower_api_tokens::ApiTokens::edit_app) returns one.
    pub async fn edit_app(
        &self,
        id: &AppId,
        version: impl Into<Option<RecordVersion>> + Send,
        edit: AppEdit,
    ) -> Result<AppRecord, OperationError> {
        let (operator, id, version) = (self.clone(), *id, version.into());
        let intent = Intent::on_app(AuditAction::EditApp, id);
        self.change(intent, async move {
            if !edit.metadata.is_empty() {
                operator.require_owner()?;
            }
            Ok(operator.tokens().edit_app(&id, version, edit).await?)
        })
        .await
    }

    /// Deletes an app, together with the records of its expired and revoked tokens.
    ///
    /// # Errors
    ///
    /// Returns [`OwnerRequired`](super::OperationErrorKind::OwnerRequired) if the actor is
    /// restricted. Also returns an error if the app does not exist, it has a token that is neither
    /// expired nor revoked, or the store fails.
    pub async fn delete_app(&self, id: &AppId) -> Result<AppRecord, OperationError> {
        let (operator, id) = (self.clone(), *id);
        let intent = Intent::on_app(AuditAction::DeleteApp, id);
        self.change(intent, async move {
            operator.require_owner()?;
            operator.check_app(&id).await?;
            Ok(operator.tokens().delete_app(&id).await?)
        })
        .await
    }

    /// Returns an app.
    ///
    /// # Errors
    ///
    /// Returns an error if the app does not exist or the store fails.
    pub async fn get_app(&self, id: &AppId) -> Result<AppRecord, OperationError> {
        attempt(async { Ok(self.tokens().get_app(id).await?) }).await
    }

    /// Lists apps, one page at a time.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    pub async fn list_apps(
        &self,
        query: &AppQuery,
    ) -> Result<Page<AppRecord, AppId>, OperationError> {
        attempt(async { Ok(self.tokens().list_apps(query).await?) }).await
    }

    /// Streams the apps that [`list_apps`](Self::list_apps) returns, page by page. The limit of the
    /// query sets the page size, and the stream ends after an error. See
    /// [`store::pages`](tower_api_tokens::store::pages).
    pub fn stream_apps(
        &self,
        query: AppQuery,
    ) -> impl Stream<Item = Result<AppRecord, OperationError>> + Send + Unpin {
        records(query.after, move |after| {
            let query = query.clone().after(after);
            async move { self.list_apps(&query).await }
        })
    }

    /// Disables an app. Once this call returns, this node rejects the app's tokens; other nodes follow
    /// within their `max_staleness`. Disabling a disabled app changes nothing.
    ///
    /// # Errors
    ///
    /// Returns an error if the app does not exist or the store fails.
    pub async fn disable_app(&self, id: &AppId) -> Result<AppRecord, OperationError> {
        let (operator, id) = (self.clone(), *id);
        let intent = Intent::on_app(AuditAction::DisableApp, id);
        self.change(intent, async move {
            operator.check_app(&id).await?;
            Ok(operator.tokens().disable_app(&id).await?)
        })
        .await
    }

    /// Enables an app. Its tokens work again, except those that are revoked or expired.
    ///
    /// # Errors
    ///
    /// Returns an error if the actor may not grant what the app's tokens allow, the app does not exist,
    /// or the store fails.
    pub async fn enable_app(&self, id: &AppId) -> Result<AppRecord, OperationError> {
        let (operator, id) = (self.clone(), *id);
        let intent = Intent::on_app(AuditAction::EnableApp, id);
        self.change(intent, async move {
            operator.check_app(&id).await?;
            let tokens = operator.granting().await?;
            Ok(tokens.enable_app(&id).await?)
        })
        .await
    }

    /// Clears the cache of every node, like
    /// [`ApiTokens::clear_caches`](tower_api_tokens::ApiTokens::clear_caches).
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    pub async fn clear_caches(&self) -> Result<(), OperationError> {
        let tokens = self.tokens().clone();
        let intent = Intent::new(AuditAction::ClearCaches);
        self.change(intent, async move { Ok(tokens.clear_caches().await?) })
            .await
    }
}
