use std::{fmt, sync::Arc};

use axum::Router;

use super::{
    api,
    audit::AuditSink,
    cross_site::CrossSite,
    dashboard::{self, brand::Brand},
    gate::Gate,
    guard::Guard,
    operations::Operations,
    origin::OriginError,
};

/// The management API and the dashboard, to mount in a router.
///
/// ```
/// use axum::Router;
/// use tower_api_tokens::{ApiTokens, MemoryStore, TokenFormat};
/// use tower_api_tokens_admin::{Admin, JsonLines, TokenGuard};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
/// let staff = tokens.create_app("Staff").await?;
/// let admin = Admin::builder(&tokens, TokenGuard::new(&tokens, [staff.id]))
///     .with_sink(JsonLines::new(std::io::stderr())?)
///     .with_trusted_origin("https://console.acme.example")?
///     .build();
/// let app: Router = Router::new()
///     .nest_service("/admin/api", admin.router())
///     .nest_service("/admin/tokens", admin.dashboard());
/// # Ok(())
/// # }
/// ```
///
/// A [`Guard`] is required:
///
/// ```compile_fail,E0061
/// # use tower_api_tokens::{ApiTokens, MemoryStore, TokenFormat};
/// # use tower_api_tokens_admin::Admin;
/// # let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme").unwrap());
/// let admin = Admin::new(&tokens);
/// ```
///
/// and any other type is rejected at compile time:
///
/// ```compile_fail,E0277
/// # use tower_api_tokens::{ApiTokens, MemoryStore, TokenFormat};
/// # use tower_api_tokens_admin::Admin;
/// # let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme").unwrap());
/// let admin = Admin::new(&tokens, ());
/// ```
pub struct Admin {
    gate: Gate,
    service_url: Option<Arc<str>>,
    brand: Arc<Brand>,
}

/// A builder for [`Admin`].
pub struct AdminBuilder {
    admin: Admin,
}

impl AdminBuilder {
    /// Adds a sink for audit events.
    #[must_use]
    pub fn with_sink(mut self, sink: impl AuditSink) -> Self {
        let gate = &mut self.admin.gate;
        gate.operations = gate.operations.clone().with_sink(sink);
        self
    }

    /// Adds an origin, like `https://admin.example`, whose pages may send requests that make changes.
    /// Add one if pages of another origin call the API, or if a proxy changes the `Host` header.
    ///
    /// # Errors
    ///
    /// Returns an error if the text is not a valid origin.
    pub fn with_trusted_origin(mut self, origin: &str) -> Result<Self, OriginError> {
        self.admin.gate.cross_site.trust(origin)?;
        Ok(self)
    }

    /// Sets the URL in the `curl` commands of the dashboard: an endpoint of the service that accepts
    /// the tokens. Defaults to none; then the dashboard shows no commands.
    #[must_use]
    pub fn service_url(mut self, url: &str) -> Self {
        self.admin.service_url = Some(url.into());
        self
    }

    /// Sets the name, the logo, the colors and the links of the dashboard. Defaults to those of the
    /// dashboard itself.
    #[must_use]
    pub fn brand(mut self, brand: Brand) -> Self {
        self.admin.brand = Arc::new(brand);
        self
    }

    /// Returns the management API and the dashboard.
    #[must_use]
    pub fn build(self) -> Admin {
        self.admin
    }
}

impl Admin {
    /// Creates the management API and the dashboard for [`ApiTokens`](tower_api_tokens::ApiTokens) or
    /// [`Operations`], with default settings. The guard authenticates and authorizes every request.
    pub fn new(operations: impl Into<Operations>, guard: impl Guard) -> Self {
        Self::builder(operations, guard).build()
    }

    /// Creates a builder for [`ApiTokens`](tower_api_tokens::ApiTokens) or [`Operations`]. The guard
    /// authenticates and authorizes every request.
    pub fn builder(operations: impl Into<Operations>, guard: impl Guard) -> AdminBuilder {
        AdminBuilder {
            admin: Self {
                gate: Gate {
                    operations: operations.into(),
                    guard: Arc::new(guard),
                    cross_site: CrossSite::default(),
                },
                service_url: None,
                brand: Arc::default(),
            },
        }
    }

    /// Returns the operations. [Flush their audit events](Operations::flush_audit) before the process
    /// ends.
    #[must_use]
    pub fn operations(&self) -> &Operations {
        &self.gate.operations
    }

    /// Returns the JSON API. Its OpenAPI document is at `/openapi.json`.
    ///
    /// The router has a fallback, so nest it under a path of its own. Use axum's `nest_service`: with `nest`,
    /// the path with a trailing slash gets 404. Merging the router with another one that has a fallback
    /// panics.
    pub fn router(&self) -> Router {
        api::router(self.gate.clone())
    }

    /// Returns the dashboard. Nest it like [`router`](Self::router).
    ///
    /// Serve it over TLS: the browser sends credentials with every request, and allows access to the
    /// clipboard only in secure contexts.
    pub fn dashboard(&self) -> Router {
        dashboard::router(
            self.gate.clone(),
            self.service_url.clone(),
            self.brand.clone(),
        )
    }
}

impl fmt::Debug for AdminBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AdminBuilder").field(&self.admin).finish()
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin")
            .field("operations", &self.gate.operations)
            .field("cross_site", &self.gate.cross_site)
            .field("service_url", &self.service_url)
            .field("brand", &self.brand)
            .finish_non_exhaustive()
    }
}
