use futures_core::Stream;
use tower_api_tokens::{AppId, AppQuery, AppRecord, AuditAction, Page, store::records};

use super::{
    OperationError, Operator,
    run::{Intent, attempt},
};

impl Operator {
    /// Creates an app, with the given identifier or a generated one. Apps may share a name.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is invalid, an app with this identifier exists, or the store
    /// fails.
    pub async fn create_app(
        &self,
        id: Option<AppId>,
        name: &str,
    ) -> Result<AppRecord, OperationError> {
        let (tokens, name) = (self.tokens().clone(), name.to_owned());
        let intent = Intent {
            app: id,
            ..Intent::new(AuditAction::CreateApp)
        };
        self.change(intent, async move {
            Ok(match id {
                Some(id) => tokens.create_app_with_id(id, &name).await?,
                None => tokens.create_app(&name).await?,
            })
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
        let (tokens, id) = (self.tokens().clone(), *id);
        let intent = Intent::on_app(AuditAction::DisableApp, id);
        self.change(intent, async move { Ok(tokens.disable_app(&id).await?) })
            .await
    }

    /// Enables an app. Its tokens work again, except those that are revoked or expired.
    ///
    /// # Errors
    ///
    /// Returns an error if the actor may not grant what the app's tokens allow, the app does not exist,
    /// or the store fails.
    pub async fn enable_app(&self, id: &AppId) -> Result<AppRecord, OperationError> {
        let (tokens, id) = (self.tokens().clone(), *id);
        let intent = Intent::on_app(AuditAction::EnableApp, id);
        self.change(intent, async move { Ok(tokens.enable_app(&id).await?) })
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
