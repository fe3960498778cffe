use std::{fmt, sync::Arc};

use axum::Router;

use super::{
    api, audit::AuditSink, cross_site::CrossSite, dashboard, gate::Gate, guard::Guard,
    operations::Operations, origin::OriginError,
};

/// The management API and the dashboard, for you to mount.
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
/// There is none without a [`Guard`]:
///
/// ```compile_fail,E0061
/// # use tower_api_tokens::{ApiTokens, MemoryStore, TokenFormat};
/// # use tower_api_tokens_admin::Admin;
/// # let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme").unwrap());
/// let admin = Admin::new(&tokens);
/// ```
///
/// and what is no guard is not taken for one:
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
}

/// Sets up [`Admin`].
pub struct AdminBuilder {
    admin: Admin,
}

impl AdminBuilder {
    /// Adds a sink, which gets every audit event too.
    #[must_use]
    pub fn with_sink(mut self, sink: impl AuditSink) -> Self {
        let gate = &mut self.admin.gate;
        gate.operations = gate.operations.clone().with_sink(sink);
        self
    }

    /// Adds an origin, like `https://admin.example`, whose pages may send requests that change
    /// something. It is needed where those pages call the API, or where a proxy in front changes
    /// the host.
    ///
    /// # Errors
    ///
    /// Returns an error if the text is not an origin.
    pub fn with_trusted_origin(mut self, origin: &str) -> Result<Self, OriginError> {
        self.admin.gate.cross_site.trust(origin)?;
        Ok(self)
    }

    /// Sets the URL that the `curl` lines of the dashboard call: one of the service that takes the
    /// tokens. Defaults to none, and the dashboard shows no such lines.
    #[must_use]
    pub fn service_url(mut self, url: &str) -> Self {
        self.admin.service_url = Some(url.into());
        self
    }

    /// Returns the management API and the dashboard.
    #[must_use]
    pub fn build(self) -> Admin {
        self.admin
    }
}

impl Admin {
    /// Manages these [`ApiTokens`](tower_api_tokens::ApiTokens), or through these [`Operations`], with the
    /// default settings. The guard decides who may.
    pub fn new(operations: impl Into<Operations>, guard: impl Guard) -> Self {
        Self::builder(operations, guard).build()
    }

    /// Sets up the management of these [`ApiTokens`](tower_api_tokens::ApiTokens), or through these
    /// [`Operations`]. The guard decides who may.
    pub fn builder(operations: impl Into<Operations>, guard: impl Guard) -> AdminBuilder {
        AdminBuilder {
            admin: Self {
                gate: Gate {
                    operations: operations.into(),
                    guard: Arc::new(guard),
                    cross_site: CrossSite::default(),
                },
                service_url: None,
            },
        }
    }

    /// The operations, whose audit is to be flushed before the process ends.
    #[must_use]
    pub fn operations(&self) -> &Operations {
        &self.gate.operations
    }

    /// The JSON API, to be nested anywhere: its own document is at `/openapi.json`.
    ///
    /// It answers every path below it, so nest it under one of its own. Use axum's `nest_service`:
    /// `nest` leaves out the path with a slash at its end, which then is a bare 404. Merging it with
    /// a router that has a fallback panics, as axum says.
    pub fn router(&self) -> Router {
        api::router(self.gate.clone())
    }

    /// The dashboard, to be nested anywhere, on the terms of [`router`](Self::router).
    ///
    /// Serve it over TLS: a browser sends its credential with every request, and lets a page copy
    /// to the clipboard only where its origin is secure.
    pub fn dashboard(&self) -> Router {
        dashboard::router(self.gate.clone(), self.service_url.clone())
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
            .finish_non_exhaustive()
    }
}
