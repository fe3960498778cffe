use futures_core::Stream;

use super::{ApiTokens, LifecycleError, change::Subject};
use crate::{
    model::{
        app::{AppId, AppRecord},
        audit::AuditAction,
        metadata::Metadata,
        name,
    },
    store::{AppQuery, Op, Page, catch_panic, records, run_to_end},
};

/// A request for a new app: its name, identifier and metadata.
///
/// A name converts into a request without an identifier and without metadata.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::{AppId, Metadata, NewApp};
///
/// let app = NewApp::named("Billing")
///     .id(AppId::new("app_42")?)
///     .metadata(Metadata::new([("plan", "pro")])?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct NewApp {
    name: String,
    id: Option<AppId>,
    metadata: Metadata,
}

impl NewApp {
    /// Creates a request for an app with a name of 1 to 100 characters without control characters.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            id: None,
            metadata: Metadata::default(),
        }
    }

    /// Sets the identifier that your platform already uses for the app. Defaults to a new one; `None`
    /// means that too.
    #[must_use]
    pub fn id(mut self, id: impl Into<Option<AppId>>) -> Self {
        self.id = id.into();
        self
    }

    /// Sets the metadata of the app. Defaults to none.
    #[must_use]
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// Returns the identifier, if one was set.
    #[must_use]
    pub fn chosen_id(&self) -> Option<AppId> {
        self.id
    }

    /// Returns whether the app gets metadata.
    #[must_use]
    pub fn has_metadata(&self) -> bool {
        !self.metadata.is_empty()
    }
}

impl From<&str> for NewApp {
    fn from(name: &str) -> Self {
        Self::named(name)
    }
}

impl From<&String> for NewApp {
    fn from(name: &String) -> Self {
        Self::named(name)
    }
}

impl From<String> for NewApp {
    fn from(name: String) -> Self {
        Self::named(name)
    }
}

impl ApiTokens {
    /// Creates an app. Several apps may have the same name.
    ///
    /// # Errors
    ///
    /// Returns an error if the identifier is taken, the name is invalid, or the store fails.
    pub async fn create_app(
        &self,
        new: impl Into<NewApp> + Send,
    ) -> Result<AppRecord, LifecycleError> {
        self.create(new.into()).await
    }

    /// Creates an app with an identifier that your platform already uses for it.
    ///
    /// # Errors
    ///
    /// Returns an error if the identifier is taken, the name is invalid, or the store fails.
    pub async fn create_app_with_id(
        &self,
        id: AppId,
        name: &str,
    ) -> Result<AppRecord, LifecycleError> {
        self.create(NewApp::named(name).id(id)).await
    }

    async fn create(&self, new: NewApp) -> Result<AppRecord, LifecycleError> {
        let now = self.now();
        let id = match new.id {
            Some(id) => id,
            None => AppId::generate(now, &*self.shared.entropy)?,
        };
        let mut app = AppRecord::new(id, name::normalize_name(&new.name)?, now);
        app.metadata = new.metadata;
        let subject = Subject::new(AuditAction::CreateApp).app(id);
        let creation = self.mutation(Op::CreateApp(app), now, subject)?;
        let tokens = self.clone();
        run_to_end(async move {
            let created = tokens.apply(&creation).await;
            Ok(created.map_err(LifecycleError::about_app)?.into_app()?)
        })
        .await
    }

    /// Returns the record of an app.
    ///
    /// # Errors
    ///
    /// Returns an error if the app does not exist or the store fails.
    pub async fn get_app(&self, id: &AppId) -> Result<AppRecord, LifecycleError> {
        let found = catch_panic(|| self.registry.app(id)).await?;
        found.ok_or_else(LifecycleError::unknown_app)
    }

    /// Lists apps, one page at a time.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    pub async fn list_apps(
        &self,
        query: &AppQuery,
    ) -> Result<Page<AppRecord, AppId>, LifecycleError> {
        if query.selects_nothing() {
            return Ok(Page::empty());
        }
        Ok(catch_panic(|| self.registry.apps(query)).await?)
    }

    /// Streams the apps that [`list_apps`](Self::list_apps) lists. The limit of the query is the
    /// size of the pages, and an error ends the stream; see [`store::pages`](crate::store::pages).
    pub fn stream_apps(
        &self,
        query: AppQuery,
    ) -> impl Stream<Item = Result<AppRecord, LifecycleError>> + Send + Unpin {
        records(query.after, move |after| {
            let query = query.clone().after(after);
            async move { self.list_apps(&query).await }
        })
    }

    /// Disables an app. When this returns, none of its tokens is admitted in this process.
    /// Disabling a disabled app changes nothing.
    ///
    /// # Errors
    ///
    /// Returns an error if the app does not exist or the store fails.
    pub async fn disable_app(&self, id: &AppId) -> Result<AppRecord, LifecycleError> {
        self.change_app(*id, Op::DisableApp(*id), AuditAction::DisableApp)
            .await
    }

    /// Enables an app. Its tokens that are neither revoked nor expired are admitted again.
    ///
    /// # Errors
    ///
    /// Returns an error if the app does not exist, if one of those tokens has scopes or an expiry
    /// that the [authority](super::Authority) may not grant, or if the store fails.
    pub async fn enable_app(&self, id: &AppId) -> Result<AppRecord, LifecycleError> {
        let op = Op::EnableApp {
            app: *id,
            grantable: self.authority.what_is_grantable().clone(),
        };
        self.change_app(*id, op, AuditAction::EnableApp).await
    }

    /// Makes every node clear its cache: this one before the call returns, the others when they
    /// next read the change log.
    ///
    /// Use it after the tables were changed with their triggers disabled, because the change log
    /// does not show such changes.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    pub async fn clear_caches(&self) -> Result<(), LifecycleError> {
        let tokens = self.clone();
        let subject = Subject::new(AuditAction::ClearCaches);
        let clearing = self.mutation(Op::ClearCaches, self.now(), subject)?;
        run_to_end(async move {
            let cleared = tokens.apply(&clearing).await;
            tokens.authenticator().clear_cache();
            Ok(cleared.map(drop)?)
        })
        .await
    }
}
