//! [`AppPrincipal`] as an axum extractor (feature `axum`).
//!
//! Extract `AppPrincipal` to require a token, or `Option<AppPrincipal>` behind an
//! [optional](crate::ApiTokenLayer::optional) layer.
//!
//! # Examples
//!
//! ```
//! use axum::{Router, routing::get};
//! use tower_api_tokens::{ApiTokenLayer, ApiTokens, AppPrincipal, MemoryStore, TokenFormat};
//!
//! async fn whoami(principal: AppPrincipal) -> String {
//!     principal.app_name().to_owned()
//! }
//!
//! async fn greet(principal: Option<AppPrincipal>) -> String {
//!     principal.map_or_else(|| "hello".into(), |p| format!("hello, {}", p.app_name()))
//! }
//!
//! let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
//! let app: Router = Router::new()
//!     .route("/whoami", get(whoami))
//!     .route_layer(ApiTokenLayer::new(&tokens))
//!     .merge(
//!         Router::new()
//!             .route("/", get(greet))
//!             .route_layer(ApiTokenLayer::new(&tokens).optional()),
//!     );
//! # Ok::<(), tower_api_tokens::PrefixError>(())
//! ```

use std::fmt;

use axum_core::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};

use crate::{
    middleware::{Anonymous, Challenger, ResponseFormat},
    model::principal::AppPrincipal,
    rejection::Rejection,
    telemetry::{self, Needs},
    words::words,
};

/// The rejection of a request that has no principal to extract.
#[derive(Debug)]
pub struct AppPrincipalRejection {
    absence: Absence,
}

#[derive(Debug)]
enum Absence {
    /// The layer let the request through without a principal.
    Anonymous {
        challenger: std::sync::Arc<Challenger>,
        rejection: Rejection,
        format: ResponseFormat,
    },
    /// There is no layer around the route.
    LayerMissing,
}

/// Why a principal could not be extracted. Its text form is a word such as `layer_missing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AppPrincipalRejectionKind {
    /// The layer is optional and the request has no credential: 401.
    Anonymous,
    /// There is no [`ApiTokenLayer`](crate::ApiTokenLayer) around the route: 500.
    LayerMissing,
}

words!(AppPrincipalRejectionKind, "kind of rejection", {
    Anonymous = "anonymous",
    LayerMissing = "layer_missing",
});

impl AppPrincipalRejection {
    fn of(parts: &Parts) -> Self {
        let absence = match parts.extensions.get() {
            Some(Anonymous(challenger)) => Absence::Anonymous {
                challenger: challenger.clone(),
                rejection: challenger.missing(parts.into()),
                format: challenger.format_for(parts.into()),
            },
            None => {
                telemetry::layer_missing(Needs::Extractor);
                Absence::LayerMissing
            }
        };
        Self { absence }
    }

    /// Returns why the principal could not be extracted.
    #[must_use]
    pub fn kind(&self) -> AppPrincipalRejectionKind {
        match self.absence {
            Absence::Anonymous { .. } => AppPrincipalRejectionKind::Anonymous,
            Absence::LayerMissing => AppPrincipalRejectionKind::LayerMissing,
        }
    }
}

impl fmt::Display for AppPrincipalRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.absence {
            Absence::Anonymous { .. } => "the request has no credential",
            Absence::LayerMissing => {
                "no `ApiTokenLayer` around this route; add `.route_layer(ApiTokenLayer::new(&tokens))` to its router"
            }
        })
    }
}

impl std::error::Error for AppPrincipalRejection {}

impl IntoResponse for AppPrincipalRejection {
    fn into_response(self) -> Response {
        let hint = self.to_string();
        match self.absence {
            Absence::Anonymous {
                challenger,
                rejection,
                format,
            } => challenger.refuse(rejection, format).into_response(),
            Absence::LayerMissing => (StatusCode::INTERNAL_SERVER_ERROR, hint).into_response(),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for AppPrincipal {
    type Rejection = AppPrincipalRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        match parts.extensions.get::<Self>() {
            Some(principal) => Ok(principal.clone()),
            None => Err(AppPrincipalRejection::of(parts)),
        }
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for AppPrincipal {
    type Rejection = AppPrincipalRejection;

    /// Returns `None` behind an optional layer if the request has no credential. Without a layer it
    /// still fails.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Self::Rejection> {
        if let Some(principal) = parts.extensions.get::<Self>() {
            return Ok(Some(principal.clone()));
        }
        match parts.extensions.get::<Anonymous>() {
            Some(_) => Ok(None),
            None => Err(AppPrincipalRejection::of(parts)),
        }
    }
}
