use super::{ApiTokens, LifecycleError, run_to_end};
use crate::{
    app::{AppId, AppRecord},
    name,
    store::{AppQuery, Page},
};

impl ApiTokens {
    /// Creates an app. Several may have one name.
    ///
    /// # Errors
    ///
    /// When the name is not one, and when the store fails.
    pub async fn create_app(&self, name: &str) -> Result<AppRecord, LifecycleError> {
        let id = AppId::generate(self.now(), &*self.shared.entropy)?;
        self.create_app_with_id(id, name).await
    }

    /// Creates an app under an identifier that the platform knows it by already.
    ///
    /// # Errors
    ///
    /// When there is an app with this identifier, when the name is not one, and when the store
    /// fails.
    pub async fn create_app_with_id(
        &self,
        id: AppId,
        name: &str,
    ) -> Result<AppRecord, LifecycleError> {
        let app = AppRecord::new(id, name::normalize(name)?, self.now());
        let inserted = self.shared.registry.insert_app(&app).await;
        inserted.map_err(LifecycleError::about_app)?;
        Ok(app)
    }

    /// Reads an app.
    ///
    /// # Errors
    ///
    /// When there is no such app, and when the store fails.
    pub async fn get_app(&self, id: &AppId) -> Result<AppRecord, LifecycleError> {
        let found = self.shared.registry.app(id).await?;
        found.ok_or_else(LifecycleError::unknown_app)
    }

    /// Lists apps, a page at a time.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn list_apps(
        &self,
        query: &AppQuery,
    ) -> Result<Page<AppRecord, AppId>, LifecycleError> {
        if query.selects_nothing() {
            return Ok(Page::empty());
        }
        Ok(self.shared.registry.apps(query).await?)
    }

    /// Disables an app: from the return of this call on none of its tokens is admitted. An app that
    /// is disabled already stays as it is.
    ///
    /// # Errors
    ///
    /// When there is no such app, and when the store fails.
    pub async fn disable_app(&self, id: &AppId) -> Result<AppRecord, LifecycleError> {
        let (tokens, id, now) = (self.clone(), *id, self.now());
        run_to_end(async move {
            let disabled = tokens.shared.registry.disable_app(&id, now).await;
            tokens.authenticator().heed_app(&id);
            disabled.map_err(LifecycleError::about_app)
        })
        .await
    }

    /// Enables an app: its tokens that are neither revoked nor expired are admitted again.
    ///
    /// # Errors
    ///
    /// When there is no such app, and when the store fails.
    pub async fn enable_app(&self, id: &AppId) -> Result<AppRecord, LifecycleError> {
        let (tokens, id) = (self.clone(), *id);
        run_to_end(async move {
            let enabled = tokens.shared.registry.enable_app(&id).await;
            tokens.authenticator().heed_app(&id);
            enabled.map_err(LifecycleError::about_app)
        })
        .await
    }
}
