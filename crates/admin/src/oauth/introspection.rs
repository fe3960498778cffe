//! Token introspection (RFC 7662).

use std::{fmt, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use http_body::Body as HttpBody;
use jiff::Timestamp;
use serde::Serialize;
use tower_api_tokens::{Authenticator, LiveToken, RequestHead, RequireScopeLayer, ScopeSet};

use super::{
    OAuthEndpoints,
    error::{OAuthError, refuse_other_app},
    form::{Form, Parameter, client_ip, token},
    no_store, post_to,
};
use crate::gate::set_no_store;

/// The maximum length of a form, in bytes: a token of the maximum length with every byte escaped, and an
/// address.
const MAX_FORM: usize = 16 * 1024;

/// The answer for every token that is not live.
const INACTIVE: &[u8] = br#"{"active":false}"#;

/// More bytes than most answers have.
const ANSWER: usize = 512;

/// The endpoint for introspection of [`OAuthEndpoints`], for a server that routes requests itself. Cloning is cheap.
#[derive(Clone)]
pub struct Introspection(Arc<Endpoint>);

struct Endpoint {
    endpoints: OAuthEndpoints,
    required: RequireScopeLayer,
    authenticator: Authenticator,
}

pub(super) fn router(introspection: Introspection) -> Router {
    Router::new()
        .route("/introspect", post_to(introspect))
        .with_state(introspection)
}

async fn introspect(State(introspection): State<Introspection>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    introspection.respond((&parts).into(), body).await
}

impl Introspection {
    pub(super) fn new(endpoints: &OAuthEndpoints) -> Self {
        let required = ScopeSet::from_static(OAuthEndpoints::SCOPE);
        Self(Arc::new(Endpoint {
            required: endpoints.layer.require_all(required),
            authenticator: endpoints.operations.authenticator().clone(),
            endpoints: endpoints.clone(),
        }))
    }

    /// Answers a request, which must have the method POST.
    pub async fn respond<B>(&self, request: RequestHead<'_>, body: B) -> Response
    where
        B: HttpBody<Data = Bytes>,
    {
        // Before the body is read, so that nobody else can make the server read one.
        if let Err(refusal) = self.0.authenticate(request).await {
            return no_store(refusal);
        }
        match self.0.answer(request.headers(), body).await {
            Ok(answer) => json(answer),
            Err(error) => no_store(error),
        }
    }
}

impl Endpoint {
    /// Checks that the caller may introspect tokens.
    async fn authenticate(&self, request: RequestHead<'_>) -> Result<(), Response> {
        let principal = self.endpoints.layer.authenticate_head(request).await;
        let principal = principal.map_err(IntoResponse::into_response)?;
        let allowed = self.required.check(&principal, request);
        allowed.map_err(IntoResponse::into_response)?;
        let apps = self.endpoints.introspected_by.as_ref();
        match apps.is_none_or(|apps| apps.contains(principal.app_id())) {
            true => Ok(()),
            false => Err(refuse_other_app(&self.endpoints.insufficient_scope)),
        }
    }

    async fn answer<B>(&self, headers: &HeaderMap, body: B) -> Result<Bytes, OAuthError>
    where
        B: HttpBody<Data = Bytes>,
    {
        let form = Form::read(headers, body, MAX_FORM).await?;
        let [presented, client] = form.values([Parameter::Token, Parameter::ClientIp])?;
        let (presented, client) = (token(presented)?, client_ip(client)?);
        let verdict = self
            .authenticator
            .introspect(presented.as_bytes(), client)
            .await;
        match verdict {
            Ok(live) => describe(&live),
            Err(rejection) if rejection.kind().is_unavailable() => Err(OAuthError::UNAVAILABLE),
            Err(_) => Ok(Bytes::from_static(INACTIVE)),
        }
    }
}

/// An answer, which is never cached. The map has room for the fields that a server adds.
fn json(answer: Bytes) -> Response {
    let mut headers = HeaderMap::with_capacity(6);
    let json = HeaderValue::from_static("application/json");
    headers.insert(CONTENT_TYPE, json);
    let mut response = Response::new(Body::from(answer));
    *response.headers_mut() = headers;
    set_no_store(response)
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
    let mut body = Vec::with_capacity(ANSWER);
    let written = serde_json::to_writer(&mut body, &active);
    written
        .map(|()| body.into())
        .map_err(|_| OAuthError::UNAVAILABLE)
}

impl fmt::Debug for Introspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Introspection")
            .field(&self.0.endpoints)
            .finish()
    }
}
