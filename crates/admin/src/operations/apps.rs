use futures_core::Stream;
use tower_api_tokens::{AppId, AppQuery, AppRecord, AuditAction, Page, store::records};

use super::{
    OperationError, Operator,
    run::{Intent, attempt},
};

impl Operator {
    /// Creates an app, under an identifier that the platform knows it by already or a new one.
    /// Several apps may have one name.
    ///
    /// # Errors
    ///
    /// When the name is not one, when there is an app with this identifier, and when the store
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

    /// Reads an app.
    ///
    /// # Errors
    ///
    /// When there is no such app, and when the store fails.
    pub async fn get_app(&self, id: &AppId) -> Result<AppRecord, OperationError> {
        attempt(async { Ok(self.tokens().get_app(id).await?) }).await
    }

    /// Lists apps, a page at a time.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn list_apps(
        &self,
        query: &AppQuery,
    ) -> Result<Page<AppRecord, AppId>, OperationError> {
        attempt(async { Ok(self.tokens().list_apps(query).await?) }).await
    }

    /// Streams apps as [`list_apps`](Self::list_apps) lists them, with the terms of
    /// [`store::pages`](tower_api_tokens::store::pages): the limit of the query is the size of the pages, and an
    /// error ends the stream.
    pub fn stream_apps(
        &self,
        query: AppQuery,
    ) -> impl Stream<Item = Result<AppRecord, OperationError>> + Send + Unpin {
        records(query.after, move |after| {
            let query = query.clone().after(after);
            async move { self.list_apps(&query).await }
        })
    }

    /// Disables an app: from the return of this call on none of its tokens is admitted. An app that
    /// is disabled already stays as it is.
    ///
    /// # Errors
    ///
    /// When there is no such app, and when the store fails.
    pub async fn disable_app(&self, id: &AppId) -> Result<AppRecord, OperationError> {
        let (tokens, id) = (self.tokens().clone(), *id);
        let intent = Intent::on_app(AuditAction::DisableApp, id);
        self.change(intent, async move { Ok(tokens.disable_app(&id).await?) })
            .await
    }

    /// Enables an app: its tokens that are neither revoked nor expired are admitted again.
    ///
    /// # Errors
    ///
    /// When there is no such app, and when the store fails.
    pub async fn enable_app(&self, id: &AppId) -> Result<AppRecord, OperationError> {
        let (tokens, id) = (self.tokens().clone(), *id);
        let intent = Intent::on_app(AuditAction::EnableApp, id);
        self.change(intent, async move { Ok(tokens.enable_app(&id).await?) })
            .await
    }

    /// Makes every node clear its cache, as [`ApiTokens::clear_caches`](tower_api_tokens::ApiTokens::clear_caches)
    /// does.
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
