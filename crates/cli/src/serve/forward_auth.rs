//! The endpoint where a proxy authenticates each request before forwarding it.
//!
//! The proxy sends the header fields of its client. The layer reads the credential from them. Nothing
//! else that the client sends affects the status of the response.

use std::{borrow::Cow, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::any,
};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode, Uri,
    header::{CACHE_CONTROL, InvalidHeaderValue},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::json;
use tower_api_tokens::{ApiTokenLayer, AppPrincipal, Refusal, Rejection, RequestHead, ScopeSet};

/// The identity of an admitted request, for the service behind the proxy. Every such response has all
/// of these fields, so that the proxy replaces all that its client sent.
const APP_ID: HeaderName = HeaderName::from_static("x-api-app-id");
const APP_NAME: HeaderName = HeaderName::from_static("x-api-app-name");
const TOKEN_ID: HeaderName = HeaderName::from_static("x-api-token-id");
const SCOPES: HeaderName = HeaderName::from_static("x-api-scopes");

/// Everything except the unreserved characters of RFC 3986 section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Path prefixes. The path that the client requested follows.
const WITHOUT_SCOPES: &str = "/verify/any";
const WITH_SCOPES: &str = "/verify/scope/";

/// The routes.
const BARE: &str = "/verify";
const SLASH: &str = "/verify/";
const BELOW: &str = "/verify/{*rest}";

/// Whether proxies set this field from the response, so that a request must not carry it.
pub(super) fn is_identity_field(name: &HeaderName) -> bool {
    [APP_ID, APP_NAME, TOKEN_ID, SCOPES].contains(name)
}

/// Verifies the tokens of the clients of a proxy. Cloning is cheap.
#[derive(Clone)]
pub(super) struct ForwardAuth(Arc<ApiTokenLayer>);

impl ForwardAuth {
    pub(super) fn new(layer: ApiTokenLayer) -> Self {
        Self(Arc::new(layer.renderer(
            |rejection, response| match response.status() {
                // nginx treats only 401 and 403 as a refusal.
                StatusCode::BAD_REQUEST => unauthorized(rejection, response),
                _ => response,
            },
        )))
    }

    pub(super) fn router(&self) -> Router {
        let mut router = Router::new();
        for route in [BARE, SLASH, BELOW] {
            router = router.route(route, any(verify));
        }
        router.with_state(self.clone())
    }

    /// Returns the route of a path, if it is one of those of [`router`](Self::router).
    pub(super) fn route(path: &str) -> Option<&'static str> {
        match path.strip_prefix(BARE)? {
            "" => Some(BARE),
            "/" => Some(SLASH),
            below => below.starts_with('/').then_some(BELOW),
        }
    }

    /// Responds to a request for one of the routes.
    pub(super) async fn respond(&self, request: RequestHead<'_>) -> Response {
        match required_scopes(request.uri()) {
            Ok(scopes) => match self.authenticate(scopes, request).await {
                Ok(principal) => identity(&principal).unwrap_or_else(|_| {
                    // A partial identity is worse than none.
                    StatusCode::INTERNAL_SERVER_ERROR.into_response()
                }),
                Err(refusal) => refusal.into_response(),
            },
            // The proxy is misconfigured. A guess could admit requests that it should not.
            Err(hint) => (StatusCode::INTERNAL_SERVER_ERROR, hint).into_response(),
        }
    }

    /// Authenticates a request, and checks that its token has the required scopes.
    async fn authenticate(
        &self,
        required: ScopeSet,
        request: RequestHead<'_>,
    ) -> Result<AppPrincipal, Refusal> {
        let principal = self.0.authenticate_head(request).await?;
        if !required.is_empty() {
            let required = self.0.require_all(required);
            required.check(&principal, request)?;
        }
        Ok(principal)
    }
}

fn unauthorized(
    rejection: &Rejection,
    mut response: http::Response<Bytes>,
) -> http::Response<Bytes> {
    let problem = json!({
        "type": "about:blank",
        "title": "Unauthorized",
        "status": 401,
        "detail": rejection.to_string(),
    });
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    *response.body_mut() = problem.to_string().into();
    response
}

async fn verify(State(verification): State<ForwardAuth>, request: Request) -> Response {
    let (request, _) = request.into_parts();
    verification.respond((&request).into()).await
}

/// Parses the scopes that the proxy requires: from `/verify?scope=a+b`, or from `/verify/scope/a+b` and
/// everything below. `/verify/any` and everything below require none.
fn required_scopes(uri: &Uri) -> Result<ScopeSet, String> {
    let path = uri.path();
    if path == BARE {
        return from_query(uri.query().unwrap_or_default());
    }
    let prefix = path.strip_prefix(WITHOUT_SCOPES);
    if prefix.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        return Ok(ScopeSet::default());
    }
    match path.strip_prefix(WITH_SCOPES) {
        Some(rest) => from_text(rest.split('/').next().unwrap_or_default()),
        None => Err(format!(
            "unknown path; use `/verify?scope=…`, `{WITH_SCOPES}…` or `{WITHOUT_SCOPES}`\n"
        )),
    }
}

fn from_query(query: &str) -> Result<ScopeSet, String> {
    let mut texts = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("scope", scopes)) => texts.push(scopes),
            _ => {
                return Err(
                    "unknown query parameter; use only `scope`, and join scopes with `+`\n".into(),
                );
            }
        }
    }
    if texts.is_empty() {
        return Ok(ScopeSet::default());
    }
    from_text(&texts.join("+"))
}

/// Parses percent-encoded scopes joined by `+` or commas.
fn from_text(text: &str) -> Result<ScopeSet, String> {
    let mut scopes = Vec::new();
    for scope in text.split(['+', ',']) {
        let scope = percent_decode_str(scope).decode_utf8();
        scopes.push(scope.map_err(|_| "a scope is not valid UTF-8\n")?);
    }
    ScopeSet::new(scopes.iter().flat_map(|scope| scope.split(' ')))
        .map_err(|error| format!("invalid scopes: {error}\n"))
}

fn identity(principal: &AppPrincipal) -> Result<Response, InvalidHeaderValue> {
    // Formatting it as text would take longer than everything else here.
    let name = Cow::from(utf8_percent_encode(principal.app_name(), RESERVED));
    // The server adds one more.
    let mut headers = HeaderMap::with_capacity(6);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(APP_ID, HeaderValue::from_str(principal.app_id().as_str())?);
    headers.insert(APP_NAME, HeaderValue::from_str(&name)?);
    let token_id = principal.token_id().to_string();
    headers.insert(TOKEN_ID, HeaderValue::try_from(token_id)?);
    headers.insert(SCOPES, HeaderValue::from_str(principal.scopes().as_str())?);
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = headers;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(uri: &str) -> Result<String, String> {
        required_scopes(&uri.parse().unwrap()).map(|scopes| scopes.as_str().to_owned())
    }

    #[test]
    fn scopes_come_from_the_query_or_the_path() {
        for (uri, expected) in [
            ("/verify", ""),
            ("/verify?", ""),
            ("/verify?scope=a", "a"),
            ("/verify?scope=b+a", "a b"),
            ("/verify?scope=b&scope=a%20c", "a b c"),
            ("/verify?scope=a%2Bb", "a+b"),
            ("/verify?scope=b,a", "a b"),
            ("/verify?scope=a%2Cb", "a,b"),
            ("/verify/scope/b,a/orders", "a b"),
            ("/verify/any", ""),
            ("/verify/any/orders?scope=%22", ""),
            ("/verify/any/scope/a", ""),
            ("/verify/scope/a", "a"),
            ("/verify/scope/b+a/orders?scope=c", "a b"),
            ("/verify/scope/a/../../any/x", "a"),
            ("/verify/scope/a/", "a"),
        ] {
            assert_eq!(scopes(uri).as_deref(), Ok(expected), "{uri}");
        }
    }

    #[test]
    fn a_misconfigured_proxy_admits_nothing() {
        for uri in [
            "/verify?scope",
            "/verify?scope=",
            "/verify?scope=a++b",
            "/verify?scope=a,,b",
            "/verify?scope=a,",
            "/verify?scopes=a",
            "/verify?scope=a&x=y",
            "/verify?scope=%22",
            "/verify?scope=%ff",
            "/verify/",
            "/verify/anything",
            "/verify/scope",
            "/verify/scope/",
            "/verify/scope//orders",
            "/verify/orders",
        ] {
            assert!(scopes(uri).is_err(), "{uri}");
        }
    }

    #[test]
    fn the_routes_are_those_of_the_router() {
        for (path, route) in [
            ("/verify", Some(BARE)),
            ("/verify/", Some(SLASH)),
            ("/verify/any", Some(BELOW)),
            ("/verify//", Some(BELOW)),
            ("/verify/any/orders/", Some(BELOW)),
            ("/verifying", None),
            ("/Verify", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(ForwardAuth::route(path), route, "{path}");
        }
    }
}
