//! Token introspection (RFC 7662).

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::post,
};
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE, request::Parts};
use jiff::Timestamp;
use serde::Serialize;
use tower_api_tokens::{Authenticator, LiveToken, RequireScopeLayer, ScopeSet};

use super::{
    OAuthEndpoints,
    basic::decode_credentials,
    error::{OAuthError, refuse_other_app},
    form::{Form, Parameter, client_ip, token},
};

/// The maximum length of a form, in bytes: a token of the maximum length with every byte escaped, and an
/// address.
const MAX_FORM: usize = 16 * 1024;

/// The answer for every token that is not live.
const INACTIVE: &[u8] = br#"{"active":false}"#;

struct Introspection {
    endpoints: OAuthEndpoints,
    required: RequireScopeLayer,
    authenticator: Authenticator,
}

pub(super) fn router(endpoints: &OAuthEndpoints) -> Router {
    let required = ScopeSet::from_static(OAuthEndpoints::SCOPE);
    let introspection = Introspection {
        required: endpoints.layer.require_all(required),
        authenticator: endpoints.operations.authenticator().clone(),
        endpoints: endpoints.clone(),
    };
    Router::new()
        .route("/introspect", post(introspect))
        .with_state(Arc::new(introspection))
}

async fn introspect(
    State(introspection): State<Arc<Introspection>>,
    request: Request,
) -> Result<Response, Response> {
    let (mut parts, body) = request.into_parts();
    decode_credentials(&mut parts.headers);
    // Before the body is read, so that nobody else can make the server read one.
    introspection.authenticate(&parts).await?;
    let answer = introspection.answer(&parts.headers, body).await;
    answer.map_err(IntoResponse::into_response)
}

impl Introspection {
    /// Checks that the caller may introspect tokens.
    async fn authenticate(&self, request: &Parts) -> Result<(), Response> {
        let principal = self.endpoints.layer.authenticate_head(request.into()).await;
        let principal = principal.map_err(IntoResponse::into_response)?;
        let allowed = self.required.check(&principal, request.into());
        allowed.map_err(IntoResponse::into_response)?;
        let apps = self.endpoints.introspected_by.as_ref();
        match apps.is_none_or(|apps| apps.contains(principal.app_id())) {
            true => Ok(()),
            false => Err(refuse_other_app(&self.endpoints.insufficient_scope)),
        }
    }

    async fn answer(&self, headers: &HeaderMap, body: Body) -> Result<Response, OAuthError> {
        let form = Form::read(headers, body, MAX_FORM).await?;
        let [presented, client] = form.values([Parameter::Token, Parameter::ClientIp])?;
        let (presented, client) = (token(presented)?, client_ip(client)?);
        let verdict = self
            .authenticator
            .introspect(presented.as_bytes(), client)
            .await;
        let body = match verdict {
            Ok(live) => describe(&live)?,
            Err(rejection) if rejection.kind().is_unavailable() => {
                return Err(OAuthError::UNAVAILABLE);
            }
            Err(_) => Bytes::from_static(INACTIVE),
        };
        let json = [(CONTENT_TYPE, "application/json")];
        Ok((StatusCode::OK, json, body).into_response())
    }
}

/// The answer for a live token (RFC 7662 section 2.2).
#[derive(Serialize)]
struct Active<'t> {
    active: bool,
    scope: &'t str,
    client_id: &'t str,
    /// The same as `client_id`: no user is involved (RFC 9068 section 2.2). Some libraries need a subject.
    sub: &'t str,
    token_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    jti: &'t str,
}

fn describe(live: &LiveToken) -> Result<Bytes, OAuthError> {
    let principal = live.principal();
    let seconds = |at: Option<Timestamp>| at.map(Timestamp::as_second);
    let active = Active {
        active: true,
        scope: principal.scopes().as_str(),
        client_id: principal.app_id().as_str(),
        sub: principal.app_id().as_str(),
        token_type: "Bearer",
        exp: seconds(live.expires_at()),
        iat: seconds(live.issued_at()),
        nbf: seconds(live.not_before()),
        jti: &principal.token_id().to_string(),
    };
    let body = serde_json::to_vec(&active);
    body.map(Bytes::from).map_err(|_| OAuthError::UNAVAILABLE)
}
